"""Logins by OpenID Connect, staff's sessions; people's numbers are kept no more."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "logins",
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("browser", sa.LargeBinary(), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("session", sa.String(length=48), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("returned_at", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.LargeBinary(), nullable=True),
        sa.Column("identity", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("state"),
        sa.UniqueConstraint("code"),
    )
    op.create_index("ix_logins_expires_at", "logins", ["expires_at"], unique=False)
    op.create_table(
        "staff_sessions",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.String(length=200), nullable=False),
        sa.Column("user_name", sa.String(length=200), nullable=False),
        sa.Column("care_unit", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token"),
    )
    op.create_index("ix_staff_sessions_expires_at", "staff_sessions", ["expires_at"], unique=False)
    op.create_table(
        "staff_codes",
        sa.Column("code", sa.LargeBinary(), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=200), nullable=False),
        sa.Column("user_name", sa.String(length=200), nullable=False),
        sa.Column("care_units", sa.JSON(), nullable=False),
        sa.Column("browser", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_index("ix_staff_codes_expires_at", "staff_codes", ["expires_at"], unique=False)
    _forget_subjects()


def _forget_subjects() -> None:
    """Whom an eID belonged to was kept with a session's identity. What was expected is marked at the next start.

    Embed tokens live for a minute: whoever holds one asks for another.
    """
    connection = op.get_bind()
    connection.execute(sa.text("DELETE FROM embed_tokens"))
    sessions = sa.table("sessions", sa.column("id", sa.String()), sa.column("identity", sa.JSON(none_as_null=True)))
    for row in connection.execute(sa.select(sessions).where(sessions.c.identity.is_not(None))).all():
        if "subject" in (row.identity or {}):
            kept = {name: value for name, value in row.identity.items() if name != "subject"}
            connection.execute(sessions.update().where(sessions.c.id == row.id).values(identity=kept))
