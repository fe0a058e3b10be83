"""Taking data out of the database: what a room's people leave behind, step by step, and what one person does.

A table that refers to rooms, participants, sessions or events and isn't named in `KEPT` goes with them: what somebody
adds later is forgotten in time without being thought of here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import Table, delete, or_, select, update

from .models import (
    Answer,
    Base,
    EmbedToken,
    Event,
    Login,
    Participant,
    Room,
    Session,
    StaffCode,
    StaffSession,
)
from .store import Db


class Retained(IntEnum):
    """How much of a room is kept."""

    ALL = 0
    NO_TELEMETRY = 1
    NO_PEOPLE = 2  # only what statistics need; for everybody else the room is gone


# What statistics are made of.
KEPT = frozenset({"rooms", "participants", "events", "ratings"})
# Words and ids of ours in an event's data; the rest (who acted, by name) is people's.
KEPT_DATA = frozenset(
    {"session", "second", "role", "host", "method", "level", "lost", "fields", "mode", "outcome", "rating"}
)
# Where `reason` is one of our words. Elsewhere somebody has typed it.
OUR_REASONS = ("media.", "fallback.")
# Of an identity who checked what and when, and not who it was.
KEPT_IDENTITY = frozenset({"method", "level", "by", "at", "expected"})
# Of a participant nothing that may be missing stays, but whether the invitation was taken back and how far they came.
STAYS = frozenset({"deleted_at", "session"})


async def over(db: Db, stages: Sequence[int], before: datetime, limit: int) -> Sequence[Room]:
    """Rooms of these stages that were over before this time, the oldest first."""
    query = select(Room).where(Room.retained.in_(stages), Room.ended_at < before)
    return (await db.scalars(query.order_by(Room.ended_at).limit(limit))).all()


async def forget_telemetry(db: Db, room: Room) -> None:
    """How media went, and browsers that were replaced or never came."""
    media = (Event.room == room.id, Event.type.like("media.%"))
    await db.execute(update(Event).where(*media).values(data={}))
    current = select(Participant.session).where(Participant.room == room.id, Participant.session.is_not(None))
    unused = or_(Session.closed_at.is_not(None), Session.arrived_at.is_(None))
    await db.execute(delete(Session).where(Session.room == room.id, unused, Session.id.not_in(current)))
    room.retained = Retained.NO_TELEMETRY


async def forget_people(db: Db, room: Room) -> None:
    """Everything that says who was in it, or was about them."""
    await forget_telemetry(db, room)
    people = select(Participant.id).where(Participant.room == room.id)
    await _remove_dependents(db, select(Room.id).where(Room.id == room.id), people, KEPT)
    for event in await db.scalars(select(Event).where(Event.room == room.id)):
        _without_people(event)
    for one in await db.scalars(select(Participant).where(Participant.room == room.id)):
        forget_person(one)
        one.session = None
    room.title = room.external_ref = room.patient_ref = None
    room.retained = Retained.NO_PEOPLE


async def remove(db: Db, rooms: Sequence[str]) -> None:
    """Removes rooms with all that belongs to them."""
    people = select(Participant.id).where(Participant.room.in_(rooms))
    await _remove_dependents(db, select(Room.id).where(Room.id.in_(rooms)), people, frozenset({"rooms"}))
    await db.execute(delete(Room).where(Room.id.in_(rooms)))


async def sweep(db: Db, now: datetime) -> None:
    """What has expired by itself: tokens, logins, and answers kept for an Idempotency-Key."""
    for table in (EmbedToken, Answer, Login, StaffCode, StaffSession):
        await db.execute(delete(table).where(table.expires_at < now))


# -- one person --


async def people(db: Db, tenant: str, reference: str) -> Sequence[Participant]:
    """Who has this reference of the portal's; and patients without one, in rooms whose `patient_ref` it is."""
    theirs = select(Room.id).where(Room.tenant == tenant, Room.patient_ref == reference)
    patient = (Participant.role == "patient", Participant.external_ref.is_(None), Participant.room.in_(theirs))
    query = select(Participant).where(
        Participant.tenant == tenant, or_(Participant.external_ref == reference, Participant.id.in_(_ids(*patient)))
    )
    return (await db.scalars(query.order_by(Participant.id))).all()


async def rooms_of_patient(db: Db, tenant: str, reference: str) -> Sequence[Room]:
    query = select(Room).where(Room.tenant == tenant, Room.patient_ref == reference)
    return (await db.scalars(query.order_by(Room.id))).all()


async def forgotten(db: Db, participants: Iterable[str]) -> set[str]:
    """Which of these participants are of rooms that nothing else than figures is kept of, if that."""
    known = select(Participant.id).join(Room, Room.id == Participant.room)
    known = known.where(Participant.id.in_(participants), Room.retained < Retained.NO_PEOPLE)
    return set(participants) - set((await db.scalars(known)).all())


async def rooms_by_id(db: Db, ids: Sequence[str]) -> Sequence[Room]:
    return (await db.scalars(select(Room).where(Room.id.in_(ids)).order_by(Room.id))).all()


def forget_person(one: Participant) -> None:
    """Takes out all that is about somebody; that somebody was invited, as what, stays."""
    for column in Participant.__table__.columns:
        if column.nullable and column.name not in STAYS:
            setattr(one, column.name, None)
    one.display_name = ""
    one.version += 1


async def forget_traces(db: Db, participants: Sequence[str], reference: str) -> None:
    """What else is kept about these participants: identities, messages to them, their acts by name.

    Args:
        reference: what a portal calls them, also where they act.
    """

    def acted(by: Any) -> bool:
        who = {by.get("id"), by.get("participant")} if isinstance(by, dict) else set()
        return not who.isdisjoint((*participants, reference))

    rooms = select(Participant.room).where(Participant.id.in_(participants))
    for session in await db.scalars(select(Session).where(Session.room.in_(rooms))):
        identity = session.identity or {}
        if session.participant in participants:
            session.reason = None
            identity = {key: value for key, value in identity.items() if key in KEPT_IDENTITY}
        if acted(identity.get("by")):
            identity = {**identity, "by": {**identity["by"], "name": ""}}
        if session.identity is not None and session.identity != identity:
            session.identity = identity
    theirs = select(Session.id).where(Session.participant.in_(participants))
    await db.execute(delete(Login).where(Login.session.in_(theirs)))
    nothing = select(Room.id).where(Room.id.is_(None))
    chosen = select(Participant.id).where(Participant.id.in_(participants))
    await _remove_dependents(db, nothing, chosen, (KEPT - {"ratings"}) | {"sessions"})
    for event in await db.scalars(select(Event).where(Event.room.in_(rooms))):
        if event.participant in participants or acted(event.data.get("by")):
            _without_people(event)


def _without_people(event: Event) -> None:
    ours = KEPT_DATA | ({"reason"} if event.type.startswith(OUR_REASONS) else set())
    kept = {key: value for key, value in event.data.items() if key in ours}
    if kept != event.data:
        event.data = kept


def _ids(*where: Any) -> Any:
    return select(Participant.id).where(*where)


async def _remove_dependents(db: Db, rooms: Any, people: Any, kept: frozenset[str]) -> None:
    """Deletes what refers to these rooms and people, directly or by a session or an event of theirs."""
    sessions = select(Session.id).where(or_(Session.room.in_(rooms), Session.participant.in_(people)))
    events = select(Event.id).where(Event.room.in_(rooms))
    chosen = {"rooms": rooms, "participants": people, "sessions": sessions, "events": events}
    await db.flush()
    for table in reversed(Base.metadata.sorted_tables):
        if table.name not in kept:
            where = [column.in_(chosen[target]) for column, target in _references(table) if target in chosen]
            if where:
                await db.execute(delete(table).where(or_(*where)))


def _references(table: Table) -> list[tuple[Any, str]]:
    return [(key.parent, key.column.table.name) for key in table.foreign_keys if key.column.name == "id"]
