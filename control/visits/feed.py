"""The feed of a tenant's events: what happened, gapless and in the order in which it came to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..store import models, queries
from ..store.store import Db


@dataclass(frozen=True)
class Entry:
    """An event as portals hear of it (CONTRACT, `event`)."""

    id: str
    position: int
    type: str
    occurred_at: datetime
    room: str
    external_ref: str | None
    participant: str | None
    data: Mapping[str, Any]


def entry(row: models.Event, external_ref: str | None) -> Entry:
    """`external_ref` is the room's."""
    return Entry(
        id=row.id,
        position=row.position,
        type=row.type,
        occurred_at=row.occurred_at,
        room=row.room,
        external_ref=external_ref,
        participant=row.participant,
        data=row.data,
    )


async def page(db: Db, tenant: str, after: int, limit: int) -> tuple[list[Entry], int | None]:
    """Up to `limit` events after a position, and the position to go on after where there are more already."""
    rows = await queries.feed(db, tenant, after, limit + 1)
    shown = [entry(*row) for row in rows[:limit]]
    return shown, shown[-1].position if len(rows) > limit else None
