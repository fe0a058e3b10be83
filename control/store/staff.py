"""Staff's sessions and the codes that open them, and who waits in a care unit's rooms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select

from .models import Participant, Room, Session, StaffCode, StaffSession
from .store import Db


async def session(db: Db, token: bytes) -> StaffSession | None:
    return await db.scalar(select(StaffSession).where(StaffSession.token == token))


async def code(db: Db, code: bytes) -> StaffCode | None:
    return await db.get(StaffCode, code)


async def forget(db: Db, row: StaffSession | StaffCode) -> None:
    await db.delete(row)


async def forget_expired(db: Db, now: datetime) -> None:
    await db.execute(delete(StaffSession).where(StaffSession.expires_at <= now))
    await db.execute(delete(StaffCode).where(StaffCode.expires_at <= now))


async def care_unit_of(db: Db, room: str, tenant: str) -> str | None:
    """What the unit of the tenant's room is known by."""
    return await db.scalar(select(Room.care_unit_key).where(Room.id == room, Room.tenant == tenant))


async def waiting(
    db: Db, tenant: str, care_unit: str, rooms: Sequence[str], states: Sequence[str], after: str | None, limit: int
) -> Sequence[tuple[Room, Participant, Session]]:
    """Every arrival in one of `states`, in the unit's rooms that are in one of `rooms`, in the order they came."""
    query = (
        select(Room, Participant, Session)
        .join(Participant, Participant.room == Room.id)
        .join(Session, Session.participant == Participant.id)
        .where(Room.tenant == tenant, Room.care_unit_key == care_unit, Room.state.in_(rooms))
        .where(Participant.deleted_at.is_(None))
        .where(Session.closed_at.is_(None), Session.arrived_at.is_not(None), Session.state.in_(states))
        .order_by(Session.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(Session.id > after)
    return [(row[0], row[1], row[2]) for row in await db.execute(query)]
