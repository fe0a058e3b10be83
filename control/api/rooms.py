"""/v1/rooms"""

from __future__ import annotations

import base64
from typing import Annotated

from pydantic import Field

from ..secret import ID
from ..store.queries import RoomFilter
from ..visits.bookings import NewRoom
from ..visits.refused import FieldError, Refused
from ..visits.rules import RoomState
from ..visits.values import RoomSnapshot
from .bodies import RoomBody, RoomList, RoomPatch, RoomView
from .caller import Scope
from .fields import Body, Instant, Name
from .routing import Answer, Asked, Routes, etag

routes = Routes()


def _shown(room: RoomSnapshot, asked: Asked, status: int = 200) -> Answer:
    return Answer(RoomView.of(room, contact=asked.contact), status, etag(room.version))


@routes.add(
    "POST",
    "/v1/rooms",
    scope=Scope.ROOMS_WRITE,
    body=RoomBody,
    answer=RoomView,
    status=201,
    problems=("external-ref-taken",),
)
async def create(asked: Asked) -> Answer:
    """Book a visit, with the links of whoever is invited at once."""
    body: RoomBody = asked.body
    new = NewRoom(
        care_unit=body.care_unit.model_dump(exclude_none=True),
        starts_at=body.starts_at,
        ends_at=body.ends_at,
        form=body.form,
        training=body.training,
        external_ref=body.external_ref,
        patient_ref=body.patient_ref,
        title=body.title,
        time_zone=body.time_zone,
        language=body.language,
        max_participants=body.max_participants,
        identity_policy={str(role): str(demand) for role, demand in body.identity_policy.items()},
    )
    room, invited = await asked.visits.create_room(asked.tenant, new, [one.new() for one in body.participants])
    links = {one.participant.id: one.join_url for one in invited}
    headers = {**etag(room.version), "Location": f"/v1/rooms/{room.id}"}
    return Answer(RoomView.of(room, links, contact=asked.contact), 201, headers)


class RoomQuery(Body):
    state: RoomState | None = None
    starts_from: Annotated[Instant | None, Field(alias="from")] = None
    starts_to: Annotated[Instant | None, Field(alias="to")] = None
    external_ref: Name | None = None
    care_unit: Name | None = None
    cursor: Annotated[str | None, Field(max_length=200)] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


def cursor_of(last: str | None) -> str | None:
    """Where a list goes on; opaque to callers, so that it may change."""
    return None if last is None else base64.urlsafe_b64encode(last.encode()).rstrip(b"=").decode()


def after_cursor(cursor: str | None) -> str | None:
    """The id a cursor stands for. Raises Refused `invalid-query`."""
    if cursor is None:
        return None
    try:
        last = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        last = ""
    if not ID.fullmatch(last):
        raise Refused("invalid-query", "cursor doesn't fit", errors=[FieldError("#/cursor", "isn't one of ours")])
    return last


@routes.add("GET", "/v1/rooms", scope=Scope.ROOMS_READ, staff=True, query=RoomQuery, answer=RoomList)
async def listed(asked: Asked) -> Answer:
    """List visits in the order they were booked."""
    query: RoomQuery = asked.query
    chosen = RoomFilter(
        state=query.state,
        starts_from=query.starts_from,
        starts_to=query.starts_to,
        external_ref=query.external_ref,
        care_unit=unit_of(asked, query.care_unit),
        after=after_cursor(query.cursor),
    )
    rooms, last = await asked.visits.rooms(asked.tenant, chosen, query.limit)
    await asked.visits.seen(rooms, "list")
    return Answer(RoomList(items=[RoomView.of(one, contact=asked.contact) for one in rooms], next=cursor_of(last)))


def unit_of(asked: Asked, named: str | None) -> str | None:
    """The care unit that a list is of: a staff token's own. Raises Refused `not-allowed` for another."""
    member = asked.known.staff
    if member is None:
        return named
    if named not in (None, member.care_unit):
        raise Refused("not-allowed", "this staff token is another care unit's")
    return member.care_unit


@routes.add("GET", "/v1/rooms/{room}", scope=Scope.ROOMS_READ, answer=RoomView)
async def read(asked: Asked) -> Answer:
    """Read a visit."""
    room = await asked.visits.snapshot(asked.room, tenant=asked.tenant)
    await asked.visits.seen([room], "room")
    return _shown(room, asked)


@routes.add(
    "PATCH",
    "/v1/rooms/{room}",
    scope=Scope.ROOMS_WRITE,
    body=RoomPatch,
    answer=RoomView,
    problems=("external-ref-taken", "state-conflict", "version-mismatch"),
)
async def change(asked: Asked) -> Answer:
    """Reschedule or correct a visit; links keep working."""
    body: RoomPatch = asked.body
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    for name in ("care_unit", "identity_policy"):
        patch = getattr(body, name)
        if patch is not None:
            # Only what was said: what a merge patch doesn't mention stays (RFC 7396, section 2).
            changes[name] = body.model_dump(mode="json", include={name}, exclude_unset=True)[name]
    room = await asked.visits.change_room(asked.room, changes, version=asked.version(), tenant=asked.tenant)
    return _shown(room, asked)


@routes.add("DELETE", "/v1/rooms/{room}", scope=Scope.ROOMS_WRITE, status=204, problems=("state-conflict",))
async def cancel(asked: Asked) -> Answer:
    """Cancel a visit that isn't in progress."""
    await asked.visits.cancel_room(asked.room, tenant=asked.tenant)
    return Answer(status=204)
