"""/v1/rooms/{room}/participants"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..visits.refused import Refused
from ..visits.values import Actor, Invited, Participant, Vouched
from .bodies import (
    EmbedTokenView,
    LinkBody,
    ParticipantBody,
    ParticipantList,
    ParticipantPatch,
    ParticipantView,
    VouchBody,
)
from .caller import Scope
from .fields import Body
from .rooms import after_cursor, cursor_of
from .routing import Answer, Asked, Routes, etag

routes = Routes()
ALL = "/v1/rooms/{room}/participants"
ONE = "/v1/rooms/{room}/participants/{part}"


def _shown(one: Participant, asked: Asked) -> Answer:
    return Answer(ParticipantView.of(one, contact=asked.contact), 200, etag(one.version))


def _linked(invited: Invited, asked: Asked, status: int) -> Answer:
    view = ParticipantView.of(invited.participant, invited.join_url, contact=asked.contact)
    return Answer(view, status, etag(invited.participant.version))


async def _find(asked: Asked) -> Participant:
    room = await asked.visits.snapshot(asked.room, tenant=asked.tenant)
    found = next((one for one in room.participants if one.id == asked.participant), None)
    if found is None:
        raise Refused("not-found", "there is no such participant in this room")
    await asked.visits.seen([room], "participant")
    return found


@routes.add(
    "POST",
    ALL,
    scope=Scope.ROOMS_WRITE,
    hosts=True,
    body=ParticipantBody,
    answer=ParticipantView,
    status=201,
    problems=("state-conflict", "room-full"),
)
async def invite(asked: Asked) -> Answer:
    """Invite somebody, also in mid-visit; the answer carries their link, which is told only here."""
    body: ParticipantBody = asked.body
    invited = await asked.visits.invite(asked.room, body.new(), by=asked.by, tenant=asked.tenant)
    answer = _linked(invited, asked, 201)
    location = f"/v1/rooms/{asked.room}/participants/{invited.participant.id}"
    return Answer(answer.body, 201, {**answer.headers, "Location": location})


class ParticipantQuery(Body):
    cursor: Annotated[str | None, Field(max_length=200)] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@routes.add("GET", ALL, scope=Scope.ROOMS_READ, hosts=True, query=ParticipantQuery, answer=ParticipantList)
async def listed(asked: Asked) -> Answer:
    """List who is invited, in the order they were."""
    query: ParticipantQuery = asked.query
    room = await asked.visits.snapshot(asked.room, tenant=asked.tenant)
    await asked.visits.seen([room], "participants")
    after = after_cursor(query.cursor) or ""
    people = [one for one in room.participants if one.id > after]
    items = [ParticipantView.of(one, contact=asked.contact) for one in people[: query.limit]]
    return Answer(ParticipantList(items=items, next=cursor_of(items[-1].id) if len(people) > query.limit else None))


@routes.add("GET", ONE, scope=Scope.ROOMS_READ, hosts=True, answer=ParticipantView)
async def read(asked: Asked) -> Answer:
    """Read one participant."""
    return _shown(await _find(asked), asked)


@routes.add(
    "PATCH",
    ONE,
    scope=Scope.ROOMS_WRITE,
    hosts=True,
    body=ParticipantPatch,
    answer=ParticipantView,
    problems=("state-conflict", "version-mismatch"),
)
async def change(asked: Asked) -> Answer:
    """Correct what is known about a participant."""
    body: ParticipantPatch = asked.body
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    one = await asked.visits.change_participant(
        asked.room, asked.participant, changes, version=asked.version(), by=asked.by, tenant=asked.tenant
    )
    return _shown(one, asked)


@routes.add("DELETE", ONE, scope=Scope.ROOMS_WRITE, hosts=True, status=204, problems=("state-conflict",))
async def withdraw(asked: Asked) -> Answer:
    """Take an invitation back; who is in the room must be removed first."""
    await asked.visits.withdraw(asked.room, asked.participant, by=asked.by, tenant=asked.tenant)
    return Answer(status=204)


@routes.add(
    "POST",
    ONE + "/link",
    scope=Scope.ROOMS_WRITE,
    hosts=True,
    body=LinkBody,
    body_optional=True,
    answer=ParticipantView,
    problems=("state-conflict",),
)
async def link(asked: Asked) -> Answer:
    """Make a new link; the old one stops working, and who waits by it is closed."""
    invited = await asked.visits.renew_link(asked.room, asked.participant, by=asked.by, tenant=asked.tenant)
    return _linked(invited, asked, 200)


@routes.add(
    "POST",
    ONE + "/sessions",
    scope=Scope.ROOMS_WRITE,
    body=VouchBody,
    body_optional=True,
    answer=EmbedTokenView,
    status=201,
    problems=("gone",),
)
async def vouch(asked: Asked) -> Answer:
    """Vouch for somebody whom the portal has logged in (scope vouch with `identity`, or for a host)."""
    body: VouchBody = asked.body
    if body.identity is not None or (await _find(asked)).host:
        asked.known.need(Scope.VOUCH)
    who = body.identity
    by = asked.by or Actor(id=asked.known.id, name="portal")
    vouched = None if who is None else Vouched(who.method, who.level, who.subject, who.name)
    token = await asked.visits.embed_token(asked.room, asked.participant, vouched, tenant=asked.tenant, by=by)
    return Answer(EmbedTokenView(embed_token=token.embed_token, expires_at=token.expires_at), 201)
