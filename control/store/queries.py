"""What is asked of the database; everything that is found is bound to a tenant or to a secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Result, and_, bindparam, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from .models import ApiKey, CareUnit, EmbedToken, Event, Participant, Rating, Room, Session, Tenant
from .retention import Retained

__all__ = ["IntegrityError"]

T = TypeVar("T", Participant, Session)

# What every arrival and every booking asks is put into SQL once: that costs more than the answer.
_ROOM = select(Room).where(Room.id == bindparam("id"))
_PARTICIPANT = select(Participant).where(Participant.id == bindparam("id"))
_BY_LINK = (
    select(Participant, Room)
    .join(Room, Room.id == Participant.room)
    .where(Participant.link == bindparam("link"), Participant.deleted_at.is_(None))
)
_PEOPLE = (
    select(Participant, Session)
    .outerjoin(Session, and_(Session.participant == Participant.id, Session.closed_at.is_(None)))
    .where(Participant.room == bindparam("room"), Participant.deleted_at.is_(None))
    .order_by(Participant.id, Session.id)
)
_SESSION = select(Session).where(Session.id == bindparam("id"))
_BY_TOKEN = (
    select(Session, Room)
    .join(Room, Room.id == Session.room)
    .where(or_(Session.token == bindparam("token"), Session.former_token == bindparam("token")))
)
_API_KEY = select(ApiKey).where(ApiKey.secret == bindparam("secret"))


async def room(db: AsyncSession, room_id: str, tenant: str | None) -> Room | None:
    """The room, where it is the tenant's; `tenant` None asks for whoever's it is."""
    found = await db.scalar(_ROOM, {"id": room_id})
    if found is None or found.retained >= Retained.NO_PEOPLE:
        return None
    return found if tenant in (None, found.tenant) else None


async def people(db: AsyncSession, room_id: str) -> tuple[list[Participant], list[Session]]:
    """Everyone invited to the room, in order of invitation, and their arrivals that aren't closed."""
    participants: dict[str, Participant] = {}
    sessions: list[Session] = []
    for participant, session in await db.execute(_PEOPLE, {"room": room_id}):
        participants[participant.id] = participant
        if session is not None:
            sessions.append(session)
    return list(participants.values()), sessions


async def session(db: AsyncSession, session_id: str) -> Session | None:
    return await db.scalar(_SESSION, {"id": session_id})


async def session_by_token(db: AsyncSession, digest: bytes) -> tuple[Session, Room] | None:
    """The session that has or had this token, with its room."""
    return _pair(await db.execute(_BY_TOKEN, {"token": digest}))


async def session_by_resume(db: AsyncSession, digest: bytes) -> Session | None:
    return await db.scalar(select(Session).where(or_(Session.resume == digest, Session.former_resume == digest)))


async def participant(db: AsyncSession, participant_id: str) -> Participant | None:
    return await db.scalar(_PARTICIPANT, {"id": participant_id})


async def participant_by_link(db: AsyncSession, digest: bytes) -> tuple[Participant, Room] | None:
    """Whom this link is for, with the room."""
    return _pair(await db.execute(_BY_LINK, {"link": digest}))


def _pair(found: Result[T, Room]) -> tuple[T, Room] | None:
    row = found.one_or_none()
    return None if row is None or row[1].retained >= Retained.NO_PEOPLE else (row[0], row[1])


async def with_plain_contacts(db: AsyncSession, limit: int) -> Sequence[Participant]:
    """Some of those, withdrawn ones too, whose number or address isn't sealed yet."""
    query = select(Participant).where(or_(Participant.phone.is_not(None), Participant.email.is_not(None)))
    return (await db.scalars(query.order_by(Participant.id).limit(limit))).all()


async def embed_token(db: AsyncSession, digest: bytes) -> EmbedToken | None:
    return await db.get(EmbedToken, digest)


async def forget_embed_tokens(db: AsyncSession, before: datetime) -> None:
    await db.execute(delete(EmbedToken).where(EmbedToken.expires_at < before))


async def room_with_external_ref(db: AsyncSession, tenant: str, external_ref: str, states: Sequence[str]) -> str | None:
    """Id of the live room that has this `external_ref`."""
    query = select(Room.id).where(Room.tenant == tenant, Room.external_ref == external_ref, Room.state.in_(states))
    return await db.scalar(query)


async def care_unit(db: AsyncSession, tenant: str, care_unit: str) -> CareUnit | None:
    """What the unit has chosen, where it has."""
    return await db.get(CareUnit, (tenant, care_unit))


async def invited_by(db: AsyncSession, room: str, participant: str) -> str | None:
    """Id of who invited somebody: a host's participant id, or what the portal calls a person; None for the portal."""
    query = select(Event.data).where(
        Event.room == room, Event.participant == participant, Event.type == "participant.invited"
    )
    data = await db.scalar(query.limit(1))
    return None if data is None else data.get("by", {}).get("id")


async def rating(db: AsyncSession, participant: str) -> Rating | None:
    return await db.get(Rating, participant)


async def was_admitted(db: AsyncSession, room: str, participant: str) -> bool:
    """Whether somebody was ever let in."""
    query = select(Event.id).where(
        Event.room == room, Event.participant == participant, Event.type == "participant.admitted"
    )
    return await db.scalar(query.limit(1)) is not None


@dataclass(frozen=True)
class RoomFilter:
    """What `GET /v1/rooms` lists: `starts_from` up to but not including `starts_to`, after the id `after`."""

    state: str | None = None
    starts_from: datetime | None = None
    starts_to: datetime | None = None
    external_ref: str | None = None
    care_unit: str | None = None
    after: str | None = None


async def rooms(db: AsyncSession, tenant: str, chosen: RoomFilter, limit: int) -> Sequence[Room]:
    """Rooms of the tenant in the order they were made."""
    query = select(Room).where(Room.tenant == tenant, Room.retained < Retained.NO_PEOPLE).order_by(Room.id).limit(limit)
    if chosen.state is not None:
        query = query.where(Room.state == chosen.state)
    if chosen.starts_from is not None:
        query = query.where(Room.starts_at >= chosen.starts_from)
    if chosen.starts_to is not None:
        query = query.where(Room.starts_at < chosen.starts_to)
    if chosen.external_ref is not None:
        query = query.where(Room.external_ref == chosen.external_ref)
    if chosen.care_unit is not None:
        query = query.where(Room.care_unit_key == chosen.care_unit)
    if chosen.after is not None:
        query = query.where(Room.id > chosen.after)
    return (await db.scalars(query)).all()


async def rooms_to_open(db: AsyncSession, now: datetime) -> Sequence[str]:
    return (await db.scalars(select(Room.id).where(Room.state == "scheduled", Room.opens_at <= now))).all()


async def rooms_to_close(db: AsyncSession, now: datetime, live: Sequence[str], inside: Sequence[str]) -> Sequence[str]:
    """Rooms past `closes_at` in which nobody is any more."""
    someone = select(Session.id).where(Session.room == Room.id, Session.closed_at.is_(None), Session.state.in_(inside))
    query = select(Room.id).where(Room.state.in_(live), Room.closes_at <= now, ~someone.exists())
    return (await db.scalars(query)).all()


async def sessions_lost(db: AsyncSession, before: datetime, present: Sequence[str]) -> Sequence[tuple[str, str]]:
    """(room, session) of everyone present who has been lost since `before` or longer."""
    query = (
        select(Session.room, Session.id)
        .join(Room, Room.id == Session.room)
        .where(Session.lost_since <= before, Session.closed_at.is_(None), Session.state.in_(present))
        .where(Room.state.in_(("scheduled", "open", "in_progress")))
    )
    return [(row.room, row.id) for row in await db.execute(query)]


async def with_plain_subject(db: AsyncSession) -> Sequence[Participant]:
    """Everyone whose `expected_subject` isn't a mark yet: a key's name, a colon, 43 characters (`Keyring.mark`)."""
    kept = Participant.expected_subject
    return (await db.scalars(select(Participant).where(kept.is_not(None), kept.not_like("%:" + "_" * 43)))).all()


async def lose_everyone(db: AsyncSession, now: datetime) -> None:
    """After a restart nobody is connected until they say so."""
    query = update(Session).where(Session.connection.in_(("connected", "connecting")))
    await db.execute(query.values(connection="lost", lost_since=now))


async def forget_sessions(db: AsyncSession, ids: Sequence[str]) -> None:
    """Those that never said `hello`."""
    await db.execute(delete(Session).where(Session.id.in_(ids)))


async def events(db: AsyncSession, tenant: str, after: int, limit: int) -> Sequence[Event]:
    query = select(Event).where(Event.tenant == tenant, Event.position > after).order_by(Event.position).limit(limit)
    return (await db.scalars(query)).all()


async def feed(db: AsyncSession, tenant: str, after: int, limit: int) -> Sequence[tuple[Event, str | None]]:
    """The tenant's events after a position, in order, each with its room's `external_ref`."""
    query = select(Event, Room.external_ref).join(Room, Room.id == Event.room)
    query = query.where(Event.tenant == tenant, Event.position > after).order_by(Event.position).limit(limit)
    return [(row.Event, row.external_ref) for row in await db.execute(query)]


async def api_key(db: AsyncSession, digest: bytes) -> ApiKey | None:
    return await db.scalar(_API_KEY, {"secret": digest})


async def api_keys(db: AsyncSession, tenant: str | None) -> Sequence[ApiKey]:
    query = select(ApiKey).order_by(ApiKey.id)
    return (await db.scalars(query if tenant is None else query.where(ApiKey.tenant == tenant))).all()


async def tenants(db: AsyncSession) -> Sequence[Tenant]:
    return (await db.scalars(select(Tenant).order_by(Tenant.id))).all()
