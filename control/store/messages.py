"""The outbox of e-mail and SMS: what is to be sent when, what was, and what couldn't be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from .models import Message, Participant, Room

OPEN = ("waiting", "sending")


async def drop_waiting(
    db: AsyncSession, participant: str, *, kinds: Collection[str] = (), but_channels: Collection[str] = ()
) -> None:
    """Takes back what hasn't gone yet: of these kinds (all where empty), except by these channels."""
    await db.flush()
    query = delete(Message).where(Message.participant == participant, Message.state == "waiting")
    if kinds:
        query = query.where(Message.kind.in_([str(one) for one in kinds]))
    if but_channels:
        query = query.where(Message.channel.not_in([str(one) for one in but_channels]))
    await db.execute(query)


async def waiting(db: AsyncSession, participant: str) -> Sequence[Message]:
    """What is still to be sent to somebody, or being sent."""
    query = select(Message).where(Message.participant == participant, Message.state.in_(OPEN))
    return (await db.scalars(query)).all()


async def told(db: AsyncSession, participant: str) -> Mapping[str, str]:
    """By which channels somebody has heard of their visit, or is just hearing of it, and the newest kind of each."""
    query = select(Message).where(Message.participant == participant, Message.state.in_(("sent", "sending")))
    return {one.channel: one.kind for one in await db.scalars(query.order_by(Message.id))}


async def due(db: AsyncSession, channel: str, now: datetime, limit: int) -> Sequence[tuple[Message, Participant, Room]]:
    """What is to be sent now, the longest due first; each with whom it is for."""
    query = (
        select(Message, Participant, Room)
        .join(Participant, Participant.id == Message.participant)
        .join(Room, Room.id == Message.room)
        .where(Message.state == "waiting", Message.channel == channel, Message.due_at <= now)
        .order_by(Message.due_at, Message.id)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in await db.execute(query)]


async def message(db: AsyncSession, message_id: str) -> Message | None:
    return await db.get(Message, message_id)


async def overdue(db: AsyncSession, channel: str, now: datetime) -> int:
    """How many should have gone by now."""
    query = select(func.count()).select_from(Message)
    query = query.where(Message.state == "waiting", Message.channel == channel, Message.due_at <= now)
    return await db.scalar(query) or 0


async def unknown_again(db: AsyncSession, channel: str) -> int:
    """After a restart nobody knows whether what was being sent has gone: it is sent again; how many."""
    query = update(Message).where(Message.state == "sending", Message.channel == channel)
    result = await db.execute(query.values(state="waiting"))
    return int(getattr(result, "rowcount", 0))


async def forget_link(db: AsyncSession, participant: str) -> None:
    """Empties the link's secret of somebody to whom nothing is to be sent any more."""
    await db.flush()
    still = select(Message.id).where(Message.participant == participant, Message.state.in_(OPEN)).exists()
    query = update(Participant).where(Participant.id == participant, ~still)
    await db.execute(query.values(link_sealed=None))
