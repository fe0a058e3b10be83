"""The audit trail; how much of a room is still kept."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=48), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("care_unit", sa.String(length=200), nullable=True),
        sa.Column("known", sa.String(length=16), nullable=False),
        sa.Column("actor_key", sa.String(length=48), nullable=True),
        sa.Column("actor_care_unit", sa.String(length=200), nullable=True),
        sa.Column("room", sa.String(length=48), nullable=True),
        sa.Column("participant", sa.String(length=48), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.String(length=200), nullable=True),
        sa.Column("actor_name", sa.String(length=200), nullable=True),
        sa.Column("patient_ref", sa.String(length=200), nullable=True),
        sa.Column("person_name", sa.String(length=200), nullable=True),
        sa.Column("person_ref", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("salts", sa.LargeBinary(), nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.Column("erased_by", sa.BigInteger(), nullable=True),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("tenant", "number"),
    )
    for name, column in (
        ("audit_by_room", "room"),
        ("audit_by_patient", "patient_ref"),
        ("audit_by_person", "person_ref"),
        ("audit_by_actor", "actor_id"),
        ("audit_by_time", "at"),
        ("audit_by_action", "action"),
    ):
        op.create_index(name, "audit_entries", ["tenant", column], unique=False)
    op.create_table(
        "audit_heads",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("exported_number", sa.BigInteger(), nullable=False),
        sa.Column("exported_line", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("tenant"),
    )
    # Not in a batch: that would make the table anew, and lose what SQLite can't tell of its partial index.
    op.add_column("rooms", sa.Column("retained", sa.Integer(), server_default="0", nullable=False))
    op.create_index("rooms_by_retention", "rooms", ["retained", "ended_at"], unique=False)
    # A cancelled room was over when it was cancelled, which is the last that happened to it.
    op.execute("UPDATE rooms SET ended_at = updated_at WHERE state = 'cancelled' AND ended_at IS NULL")
