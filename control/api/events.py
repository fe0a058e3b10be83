"""/v1/events"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ..visits.feed import Entry
from .caller import Scope
from .fields import MISSING, Body, Shown, View
from .routing import Answer, Asked, Routes

routes = Routes()

# Whole numbers up to here are the same in every JSON reader (RFC 8259, section 6).
MAX_POSITION = 2**53 - 1


class EventView(View):
    """Something that happened. Positions are a tenant's 1, 2, 3 …, in the order of commits."""

    id: str
    position: int
    type: str
    occurred_at: Shown
    room: str
    external_ref: str | None = MISSING
    participant: str | None = MISSING
    data: dict[str, Any]

    @classmethod
    def of(cls, one: Entry) -> EventView:
        return cls(
            id=one.id,
            position=one.position,
            type=one.type,
            occurred_at=one.occurred_at,
            room=one.room,
            external_ref=one.external_ref,
            participant=one.participant,
            data=dict(one.data),
        )


class EventList(View):
    """`next` is the `after` of the next page; null where this was all so far: ask again after the last position."""

    items: list[EventView]
    next: int | None


class EventQuery(Body):
    after: Annotated[int, Field(ge=0, le=MAX_POSITION)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


@routes.add("GET", "/v1/events", scope=Scope.ROOMS_READ, query=EventQuery, answer=EventList)
async def listed(asked: Asked) -> Answer:
    """Read what has happened after a position; nothing is ever missing in between."""
    query: EventQuery = asked.query
    found, following = await asked.visits.events(asked.tenant, query.after, query.limit)
    return Answer(EventList(items=[EventView.of(one) for one in found], next=following))
