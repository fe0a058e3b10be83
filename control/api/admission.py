"""Letting people in and out, and locking and ending the room, over HTTP."""

from __future__ import annotations

from ..visits.values import Participant, Verb
from .bodies import ActBody, IdentifyBody, IdentityBody, LinkBody, ParticipantView, RoomView
from .caller import Scope
from .participants import ONE
from .routing import Answer, Asked, Handler, Routes, etag

routes = Routes()
SUMMARIES = {
    Verb.IDENTIFY: "Show somebody who waits to one host alone, so that a document can be held up.",
    Verb.ADMIT: "Let somebody in.",
    Verb.HOLD: "Put somebody back to waiting.",
    Verb.DENY: "Turn somebody who waits away.",
    Verb.REMOVE: "Take somebody out of the visit.",
    Verb.MUTE: "Mute somebody's microphone until they unmute it.",
}
NEEDS = {
    Verb.IDENTIFY: ("room-full", "host-busy", "host-not-available"),
    Verb.ADMIT: ("room-full", "identity-not-met"),
}


def _shown(one: Participant, asked: Asked) -> Answer:
    return Answer(ParticipantView.of(one, contact=asked.contact), 200, etag(one.version))


def _act(verb: Verb) -> Handler:
    async def act(asked: Asked) -> Answer:
        body: ActBody = asked.body
        participant = await asked.visits.act(
            asked.room,
            asked.participant,
            verb,
            asked.acting,
            session=body.session,
            reason=body.reason,
            host=body.host if isinstance(body, IdentifyBody) else None,
            tenant=asked.tenant,
        )
        return _shown(participant, asked)

    act.__doc__ = SUMMARIES[verb]
    return act


for _verb in Verb:
    routes.add(
        "POST",
        f"{ONE}/{_verb}",
        scope=Scope.ADMISSION,
        hosts=True,
        body=IdentifyBody if _verb is Verb.IDENTIFY else ActBody,
        body_optional=True,
        answer=ParticipantView,
        problems=("state-conflict", "session-needed", *NEEDS.get(_verb, ())),
    )(_act(_verb))


@routes.add(
    "PUT",
    f"{ONE}/identity",
    scope=Scope.ADMISSION,
    hosts=True,
    body=IdentityBody,
    answer=ParticipantView,
    problems=("state-conflict", "session-needed"),
)
async def identity(asked: Asked) -> Answer:
    """Record that a host has seen a document or knows the person."""
    body: IdentityBody = asked.body
    participant = await asked.visits.record_identity(
        asked.room,
        asked.participant,
        body.method,
        asked.acting,
        document_type=body.document_type,
        session=body.session,
        tenant=asked.tenant,
    )
    return _shown(participant, asked)


def _room_act(name: str, summary: str) -> Handler:
    async def act(asked: Asked) -> Answer:
        act_on = getattr(asked.visits, name)
        room = await act_on(asked.room, asked.acting, tenant=asked.tenant)
        return Answer(RoomView.of(room, contact=asked.contact), 200, etag(room.version))

    act.__doc__ = summary
    return act


for _name, _summary in (
    ("lock", "Take no new arrivals any more."),
    ("unlock", "Take new arrivals again."),
    ("end", "End the visit for everyone."),
    ("reopen", "Undo an end of less than ten minutes ago."),
):
    routes.add(
        "POST",
        f"/v1/rooms/{{room}}/{_name}",
        scope=Scope.ADMISSION,
        hosts=True,
        body=LinkBody,
        body_optional=True,
        answer=RoomView,
        problems=("state-conflict",),
    )(_room_act(_name, _summary))
