"""How people are reached, sealed; and the messages that are to be sent to them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # What the plain columns hold is sealed at the next start: a migration doesn't know the keyring.
    for name in ("phone_sealed", "email_sealed", "link_sealed"):
        op.add_column("participants", sa.Column(name, sa.LargeBinary(), nullable=True))
    op.create_table(
        "messages",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("room", sa.String(length=48), nullable=False),
        sa.Column("participant", sa.String(length=48), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["participant"], ["participants.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["room"], ["rooms.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_messages_participant", "messages", ["participant"], unique=False)
    op.create_index("ix_messages_room", "messages", ["room"], unique=False)
    op.create_index("messages_due", "messages", ["state", "channel", "due_at"], unique=False)
