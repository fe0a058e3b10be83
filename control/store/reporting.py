"""What reports and statistics read: bounded pieces, so that no transaction is open for long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, or_, select

from .models import Event, Participant, Rating, Room, Session
from .store import Db, Store

# Rooms that are read at once, with all that belongs to them: some 20 ms of the loop.
PAGE = 100


async def people(db: Db, room: str) -> Sequence[Participant]:
    """Everyone who was ever invited to the room, those too whose invitation was taken back."""
    return (await db.scalars(select(Participant).where(Participant.room == room).order_by(Participant.id))).all()


async def arrivals(db: Db, room: str) -> Sequence[Session]:
    """All arrivals of the room, those too that were replaced."""
    return (await db.scalars(select(Session).where(Session.room == room).order_by(Session.id))).all()


async def events(db: Db, room: str, limit: int) -> Sequence[Event]:
    """What happened in the room, in order; the first `limit` of it."""
    query = select(Event).where(Event.room == room).order_by(Event.position).limit(limit)
    return (await db.scalars(query)).all()


@dataclass(frozen=True)
class Period:
    """Visits of a tenant that are booked to begin from `begins` up to but not including `ends`, training left out."""

    tenant: str
    begins: datetime
    ends: datetime
    care_unit: str | None = None


class BookedRoom(NamedTuple):
    """What is counted of a room."""

    id: str
    care_unit: str
    form: str
    state: str
    starts_at: datetime


class Person(NamedTuple):
    room: str
    id: str
    role: str
    host: bool


class Happened(NamedTuple):
    room: str
    at: datetime
    type: str
    participant: str | None
    data: dict[str, Any]


class Rated(NamedTuple):
    room: str
    participant: str
    technical: int | None
    visit: int | None
    given_at: datetime


@dataclass(frozen=True)
class Piece:
    """Some rooms of a period, and what belongs to them; events in order."""

    rooms: Sequence[BookedRoom]
    people: Sequence[Person]
    events: Sequence[Happened]
    ratings: Sequence[Rated]


async def pieces(store: Store, period: Period, types: Sequence[str], size: int = PAGE) -> AsyncIterator[Piece]:
    """The period's rooms with their events of these types, in pieces that are a transaction each.

    Columns and no entities: to make those takes several times as long, and a year has many.
    """
    people = select(Participant.room, Participant.id, Participant.role, Participant.host)
    events = select(Event.room, Event.occurred_at, Event.type, Event.participant, Event.data).order_by(Event.position)
    ratings = select(Rating.room, Rating.participant, Rating.technical, Rating.visit, Rating.given_at)
    after: tuple[datetime, str] | None = None
    while True:
        async with store.read() as db:
            rooms = await _rooms(db, period, after, size)
            ids = [one.id for one in rooms]
            chosen = events.where(Event.room.in_(ids), Event.type.in_(types))
            piece = Piece(
                rooms,
                [Person(*row) for row in await db.execute(people.where(Participant.room.in_(ids)))],
                [Happened(*row) for row in await db.execute(chosen)],
                [Rated(*row) for row in await db.execute(ratings.where(Rating.room.in_(ids)))],
            )
        if rooms:
            yield piece
        if len(rooms) < size:
            return
        after = rooms[-1].starts_at, rooms[-1].id


async def _rooms(db: Db, period: Period, after: tuple[datetime, str] | None, limit: int) -> Sequence[BookedRoom]:
    query = select(Room.id, Room.care_unit_key, Room.form, Room.state, Room.starts_at).where(
        Room.tenant == period.tenant,
        Room.training.is_(False),
        Room.starts_at >= period.begins,
        Room.starts_at < period.ends,
    )
    if period.care_unit is not None:
        query = query.where(Room.care_unit_key == period.care_unit)
    if after is not None:
        at, last = after
        query = query.where(or_(Room.starts_at > at, and_(Room.starts_at == at, Room.id > last)))
    return [BookedRoom(*row) for row in await db.execute(query.order_by(Room.starts_at, Room.id).limit(limit))]
