"""Events are counted for each tenant, and say nobody's name."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = "id, tenant, position, room, participant, type, occurred_at, data"
COUNTED = COLUMNS.replace("position", "row_number() OVER (PARTITION BY tenant ORDER BY position)")


def upgrade() -> None:
    op.add_column("tenants", sa.Column("last_event", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.drop_index("ix_events_room", "events")
    op.drop_index("ix_events_tenant", "events")
    op.rename_table("events", "events_0001")
    events = op.create_table(
        "events",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("room", sa.String(length=48), nullable=False),
        sa.Column("participant", sa.String(length=48), nullable=True),
        sa.Column("type", sa.String(length=48), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["room"], ["rooms.id"], name="events_room"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name="events_tenant"),
        sa.PrimaryKeyConstraint("id", name="events_id"),
    )
    op.execute(f"INSERT INTO events ({COLUMNS}) SELECT {COUNTED} FROM events_0001")  # noqa: S608
    op.drop_table("events_0001")
    op.create_index("events_in_order", "events", ["tenant", "position"], unique=True)
    op.create_index("ix_events_room", "events", ["room"], unique=False)
    op.execute("UPDATE tenants SET last_event = (SELECT count(*) FROM events WHERE events.tenant = tenants.id)")
    _forget_names(events)


def _forget_names(events: sa.Table) -> None:
    """Who acted is known by an id; why somebody was denied or removed is free text, and stays with the session."""
    connection = op.get_bind()
    for row in connection.execute(sa.select(events.c.id, events.c.data)).all():
        by = row.data.get("by")
        if by is None:
            continue
        data = {**row.data, "by": {key: value for key, value in by.items() if key != "name"}}
        data.pop("reason", None)
        connection.execute(events.update().where(events.c.id == row.id).values(data=data))
