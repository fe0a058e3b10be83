"""What care units have chosen, ratings, and rooms by when they start, for statistics."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "care_units",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("care_unit", sa.String(length=200), nullable=False),
        sa.Column("functions", sa.JSON(), nullable=False),
        sa.Column("phone", sa.String(length=32), nullable=True),
        sa.Column("texts", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("neutral_name", sa.String(length=200), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("tenant", "care_unit"),
    )
    op.create_table(
        "ratings",
        sa.Column("participant", sa.String(length=48), nullable=False),
        sa.Column("room", sa.String(length=48), nullable=False),
        sa.Column("technical", sa.Integer(), nullable=True),
        sa.Column("visit", sa.Integer(), nullable=True),
        sa.Column("given_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["participant"], ["participants.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["room"], ["rooms.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("participant"),
    )
    op.create_index("ix_ratings_room", "ratings", ["room"], unique=False)
    op.create_index("rooms_by_start", "rooms", ["tenant", "starts_at"], unique=False)
