"""Webhooks and what is on its way to them, in the database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import aliased
from sqlalchemy.sql import ColumnElement

from .models import Delivery, Event, Room, Webhook
from .store import Db

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"
# Events looked at in one transaction: otits wait for it.
BATCH = 500
# Rows deleted in one transaction.
PRUNED = 1000

# -- of one tenant --


async def hooks(db: Db, tenant: str, after: str | None, limit: int) -> Sequence[Webhook]:
    """In the order they were made."""
    query = select(Webhook).where(Webhook.tenant == tenant, Webhook.deleted_at.is_(None))
    if after is not None:
        query = query.where(Webhook.id > after)
    return (await db.scalars(query.order_by(Webhook.id).limit(limit))).all()


async def hook(db: Db, tenant: str, hook_id: str) -> Webhook | None:
    query = select(Webhook).where(Webhook.id == hook_id, Webhook.tenant == tenant, Webhook.deleted_at.is_(None))
    return await db.scalar(query)


async def count(db: Db, tenant: str) -> int:
    query = select(func.count()).select_from(Webhook).where(Webhook.tenant == tenant, Webhook.deleted_at.is_(None))
    return await db.scalar(query) or 0


async def last_position(db: Db, tenant: str) -> int:
    """Of the tenant's newest event; 0 before the first."""
    return await db.scalar(select(func.max(Event.position)).where(Event.tenant == tenant)) or 0


async def deliveries(db: Db, hook_id: str, state: str | None, before: str | None, limit: int) -> Sequence[Delivery]:
    """Newest first."""
    query = select(Delivery).where(Delivery.hook == hook_id)
    if state is not None:
        query = query.where(Delivery.state == state)
    if before is not None:
        query = query.where(Delivery.id < before)
    return (await db.scalars(query.order_by(Delivery.id.desc()).limit(limit))).all()


async def delivery(db: Db, hook_id: str, delivery_id: str) -> Delivery | None:
    return await db.scalar(select(Delivery).where(Delivery.id == delivery_id, Delivery.hook == hook_id))


# -- of all, for who delivers --


async def all_hooks(db: Db) -> Sequence[Webhook]:
    """Those that aren't deleted."""
    return (await db.scalars(select(Webhook).where(Webhook.deleted_at.is_(None)))).all()


async def is_behind(db: Db) -> bool:
    """Whether there are events that haven't been looked at for some webhook."""
    newer = select(Event.id).where(Event.tenant == Webhook.tenant, Event.position > Webhook.position)
    return bool(await db.scalar(select(Webhook.id).where(Webhook.deleted_at.is_(None), newer.exists()).limit(1)))


@dataclass(frozen=True)
class Queued:
    """What `queue` has done.

    Attributes:
        hooks: webhooks for which there are new deliveries.
        happened: when each event that was read had happened.
        more: whether there may be more events.
    """

    hooks: set[str]
    happened: list[datetime]
    more: bool


async def queue(db: Db, new_id: Callable[[], str], now: datetime) -> Queued:
    """Makes deliveries of events that haven't been looked at.

    Positions are in the order of commits, so nothing can appear behind what was looked at.
    """
    by_tenant: dict[str, list[Webhook]] = {}
    for one in await all_hooks(db):
        by_tenant.setdefault(one.tenant, []).append(one)
    queued: set[str] = set()
    happened: list[datetime] = []
    more = False
    for tenant, theirs in by_tenant.items():
        after = min(one.position for one in theirs)
        query = select(Event).where(Event.tenant == tenant, Event.position > after)
        events = (await db.scalars(query.order_by(Event.position).limit(BATCH))).all()
        if not events:
            continue
        more = more or len(events) == BATCH
        happened += [event.occurred_at for event in events]
        for one in theirs:
            wanted = [event for event in events if event.position > one.position]
            if await _queue_for(db, one, wanted, new_id, now):
                queued.add(one.id)
            one.position = max(one.position, events[-1].position)
    await db.flush()
    return Queued(queued, happened, more)


async def _queue_for(db: Db, one: Webhook, events: Sequence[Event], new_id: Callable[[], str], now: datetime) -> bool:
    wanted = [event for event in events if not one.events or event.type in one.events]
    if not wanted:
        return False
    query = select(Delivery.room).where(Delivery.hook == one.id, Delivery.room.in_({event.room for event in wanted}))
    held = set((await db.scalars(query.where(_in_line(Delivery)).distinct())).all())
    rows = []
    for event in wanted:
        rows.append(
            {
                "id": new_id(),
                "hook": one.id,
                "event": event.id,
                "room": event.room,
                "type": event.type,
                "position": event.position,
                "state": PENDING,
                "in_order": True,
                "attempts": 0,
                "queued_at": now,
                # Whoever comes after another of its room waits for its turn.
                "due_at": None if event.room in held else now,
            }
        )
        held.add(event.room)
    await db.execute(insert(Delivery), rows)
    return True


@dataclass(frozen=True)
class Due:
    """A delivery whose turn it is, with what is told of the event."""

    delivery: Delivery
    event: Event
    external_ref: str | None


async def due(db: Db, hook_id: str, now: datetime, busy: Collection[str], limit: int) -> list[Due]:
    """Deliveries to try now, the longest due first; `busy` are under way already."""
    query = (
        select(Delivery, Event, Room.external_ref)
        .join(Event, Event.id == Delivery.event)
        .join(Room, Room.id == Event.room)
        .where(Delivery.hook == hook_id, Delivery.due_at <= now)
        .order_by(Delivery.due_at, Delivery.id)
        .limit(limit)
    )
    if busy:
        query = query.where(Delivery.id.not_in(busy))
    return [Due(row.Delivery, row.Event, row.external_ref) for row in await db.execute(query)]


@dataclass(frozen=True)
class Tried:
    """What is written down of a try.

    Attributes:
        due_at: when it is tried next, while it is pending.
    """

    delivery: str
    hook: str
    room: str
    state: str
    due_at: datetime | None
    tried_at: datetime
    milliseconds: int
    status: int | None
    reason: str


async def settle(db: Db, tried: Iterable[Tried], now: datetime) -> None:
    """Writes tries down, and gives their turn to those behind what is done with."""
    done: dict[str, set[str]] = {}
    for one in tried:
        change = update(Delivery).where(Delivery.id == one.delivery, Delivery.state == PENDING)
        await db.execute(
            change.values(
                state=one.state,
                attempts=Delivery.attempts + 1,
                due_at=one.due_at,
                tried_at=one.tried_at,
                milliseconds=one.milliseconds,
                status=one.status,
                reason=one.reason,
            ).execution_options(synchronize_session=False)
        )
        if one.state != PENDING:
            done.setdefault(one.hook, set()).add(one.room)
    for hook_id, rooms in done.items():
        await _next_in_line(db, now, Delivery.hook == hook_id, Delivery.room.in_(rooms))


async def mark(db: Db, hook_id: str, **values: Any) -> None:
    """Sets `failing_since`, `away_since` or `disabled_at`."""
    await db.execute(update(Webhook).where(Webhook.id == hook_id).values(**values))


async def next_in_line(db: Db, hook_id: str, now: datetime) -> None:
    """Gives their turn to all of a webhook whose predecessors are gone."""
    await _next_in_line(db, now, Delivery.hook == hook_id)


async def expire(db: Db, hook_id: str, before: datetime, busy: Collection[str], reason: str) -> int:
    """Gives up what has been pending since `before`; how many. `reason` is that of what was never tried."""
    change = update(Delivery).where(Delivery.hook == hook_id, Delivery.state == PENDING, Delivery.queued_at <= before)
    if busy:
        change = change.where(Delivery.id.not_in(busy))
    change = change.values(state=DEAD, due_at=None, reason=func.coalesce(Delivery.reason, reason))
    found = await db.execute(change.execution_options(synchronize_session=False))
    return found.rowcount  # type: ignore[attr-defined, no-any-return]


async def forget(db: Db, delivered_before: datetime, dead_before: datetime) -> bool:
    """Deletes some of what nobody will look at any more, and of deleted webhooks; whether there may be more."""
    more = False
    for one in (await db.scalars(select(Webhook))).all():
        its = Delivery.hook == one.id
        old: tuple[ColumnElement[bool], ...] = (
            its & (Delivery.state == DELIVERED) & (Delivery.queued_at < delivered_before),
            its & (Delivery.state == DEAD) & (Delivery.queued_at < dead_before),
        )
        left = 0
        for which in (its,) if one.deleted_at is not None else old:
            ids = (await db.scalars(select(Delivery.id).where(which).limit(PRUNED))).all()
            if ids:
                await db.execute(delete(Delivery).where(Delivery.id.in_(ids)))
            left = max(left, len(ids))
        if one.deleted_at is not None and left < PRUNED:
            await db.delete(one)
        more = more or left == PRUNED
    return more


async def waiting(db: Db) -> tuple[datetime | None, int]:
    """Since when the oldest that is still to be delivered has been queued, and how many there are."""
    alive = select(Webhook.id).where(Webhook.deleted_at.is_(None), Webhook.disabled_at.is_(None))
    query = select(func.min(Delivery.queued_at), func.count())
    found = (await db.execute(query.where(Delivery.hook.in_(alive), Delivery.state == PENDING))).one()
    return found[0], found[1]


def _in_line(row: type[Delivery]) -> ColumnElement[bool]:
    return (row.state == PENDING) & row.in_order


async def _next_in_line(db: Db, now: datetime, *chosen: ColumnElement[bool]) -> None:
    earlier = aliased(Delivery)
    held_by = select(earlier.id).where(
        earlier.hook == Delivery.hook,
        earlier.room == Delivery.room,
        earlier.position < Delivery.position,
        _in_line(earlier),
    )
    change = update(Delivery).where(_in_line(Delivery), Delivery.due_at.is_(None), *chosen, ~held_by.exists())
    await db.execute(change.values(due_at=now).execution_options(synchronize_session=False))
