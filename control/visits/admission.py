"""Letting people in and out: what hosts and portals do to arrivals."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..store import models
from . import arrivals, views
from .identity import BY_HOST, unmet
from .refused import FieldError, Refused
from .rules import INSIDE, Event, NotAllowed, RoomState, State, after
from .scene import Scene
from .subjects import Subjects
from .values import Actor, Role, Verb, Vouched

EVENTS = {
    Verb.IDENTIFY: Event.IDENTIFY,
    Verb.ADMIT: Event.ADMIT,
    Verb.HOLD: Event.HOLD,
    Verb.DENY: Event.DENY,
    Verb.REMOVE: Event.REMOVE,
}


def act(
    scene: Scene,
    participant_id: str,
    verb: Verb,
    by: Actor,
    *,
    session: str | None,
    reason: str | None,
    host: str | None,
) -> models.Participant:
    """Does what `verb` says to one arrival; doing it again changes nothing.

    Raises:
        Refused: with what isn't met.
    """
    scene.need_authority(by)
    if scene.state not in (RoomState.OPEN, RoomState.IN_PROGRESS):
        raise Refused("state-conflict", f"the room is {scene.state.replace('_', ' ')}")
    participant = scene.participant(participant_id)
    arrival = scene.arrival(participant, session, verb)
    if verb is Verb.MUTE:
        if arrival.state not in INSIDE:
            raise Refused("state-conflict", f"cannot mute someone who is {arrival.state}")
        scene.audit("participant.muted", participant.id, by, session=arrival.id, reason=reason)
    elif verb is Verb.IDENTIFY:
        _identify(scene, participant, arrival, by, host or by.participant)
    elif verb is Verb.ADMIT:
        _admit(scene, participant, arrival, by, reason)
    else:
        scene.move(arrival, EVENTS[verb], by, reason)
    return participant


def _allowed(arrival: models.Session, event: Event) -> None:
    try:
        after(State(arrival.state), event)
    except NotAllowed as error:
        raise Refused("state-conflict", str(error)) from None


def _identify(
    scene: Scene, participant: models.Participant, arrival: models.Session, by: Actor, host_id: str | None
) -> None:
    if host_id is None:
        detail = "say which host shall see the document"
        raise Refused("invalid-body", "host is missing", errors=[FieldError("#/host", detail)])
    _allowed(arrival, Event.IDENTIFY)
    if scene.room.form != "video":
        raise Refused("state-conflict", f"a {scene.room.form} visit has no picture in which to show a document")
    host = scene.host(host_id)
    if arrival.state == State.IDENTIFYING:
        if arrival.identifying_host != host.id:
            raise Refused("state-conflict", "another host is identifying them")
        return
    # Whoever is identified sees and hears this host and nobody else; a host with two would carry words between them.
    if any(one.identifying_host == host.id for one in scene.open_sessions()):
        raise Refused("host-busy", "the host is identifying somebody else")
    _need_room(scene, scene.inside())
    arrival.identifying_host = host.id
    scene.move(arrival, Event.IDENTIFY, by, host=host.id)


def _admit(
    scene: Scene, participant: models.Participant, arrival: models.Session, by: Actor, reason: str | None
) -> None:
    _allowed(arrival, Event.ADMIT)
    if arrival.state != State.ADMITTED:
        missing = unmet(scene.room.identity_policy, Role(participant.role), views.identity(arrival.identity))
        if missing:
            raise Refused("identity-not-met", missing)
        current = scene.current(participant)
        makes_room = current is not None and current is not arrival and current.state in INSIDE
        others = scene.inside(but=arrival) - (1 if makes_room else 0)
        _need_room(scene, others)
    arrivals.take_over(scene, participant, arrival)
    scene.move(arrival, Event.ADMIT, by, reason)


def _need_room(scene: Scene, inside: int) -> None:
    if inside >= scene.room.max_participants:
        raise Refused("room-full", f"max_participants is {scene.room.max_participants}, and so many are in it already")


def record_identity(
    scene: Scene,
    participant_id: str,
    method: str,
    by: Actor,
    *,
    document_type: str | None,
    session: str | None,
) -> models.Participant:
    """A host has seen a document or knows the person."""
    scene.need_authority(by)
    if method not in BY_HOST:
        detail = "expected document or known_in_person"
        raise Refused("invalid-body", "method doesn't fit", errors=[FieldError("#/method", detail)])
    if scene.state not in (RoomState.OPEN, RoomState.IN_PROGRESS):
        raise Refused("state-conflict", f"the room is {scene.state.replace('_', ' ')}")
    participant = scene.participant(participant_id)
    if by.participant == participant.id:
        raise Refused("not-allowed", "nobody identifies themselves")
    arrival = scene.arrival(participant, session, "identify")
    if arrival.state not in (State.WAITING, State.IDENTIFYING, State.ADMITTED):
        raise Refused("state-conflict", f"cannot identify someone who is {arrival.state}")
    kept: dict[str, Any] = {
        "method": method,
        "level": "document",
        "by": views.actor(by),
        "at": scene.now.isoformat(),
    }
    if document_type is not None:
        kept["document_type"] = document_type
    former = arrival.identity
    if former is not None and {**former, "at": None} == {**kept, "at": None}:
        return participant
    arrival.identity = kept
    scene.note(
        "participant.identified",
        participant.id,
        by,
        session=arrival.id,
        method=method,
        level="document",
        document_type=document_type,
    )
    return participant


def of_eid(
    participant: models.Participant, who: Vouched, by: Actor, at: datetime, subjects: Subjects
) -> dict[str, Any]:
    """An eID's identity as it is kept: whether it is the expected person's, and never the subject itself."""
    kept: dict[str, Any] = {"method": who.method, "level": who.level, "by": views.actor(by), "at": at.isoformat()}
    if who.name:
        kept["name"] = who.name
    expected = subjects.expected(participant.tenant, participant.expected_subject, who.subject)
    return kept if expected is None else {**kept, "expected": expected}


def record_eid(scene: Scene, session: models.Session, kept: dict[str, Any]) -> bool:
    """Somebody in `session` has logged in by an eID, as `of_eid` says; whether that meets what the room demands.

    What doesn't count never takes the place of what does, except another person's eID: who has shown both is a question
    for hosts.
    """
    if scene.state not in (RoomState.OPEN, RoomState.IN_PROGRESS):
        raise Refused("state-conflict", f"the room is {scene.state.replace('_', ' ')}")
    if session.arrived_at is None or session.state in (State.DENIED, State.REMOVED):
        raise Refused("state-conflict", f"cannot identify someone who is {session.state}")
    participant = scene.participant(session.participant)
    role, policy = Role(participant.role), scene.room.identity_policy
    former, new = views.identity(session.identity), views.identity(kept)
    counts = unmet(policy, role, new) is None
    keeps = former is not None and not counts and unmet(policy, role, former) is None
    if not keeps or kept.get("expected") is False:
        session.identity = kept
    scene.note(
        "participant.identified",
        participant.id,
        Actor(**kept["by"]),
        session=session.id,
        method=kept["method"],
        level=kept["level"],
        expected=kept.get("expected"),
    )
    accepted = counts and kept.get("expected") is not False
    if accepted and session.state == State.WAITING and arrivals.needs_nobody(scene, participant, session):
        # The host whom the portal had vouched for, and of whom only this was missing.
        arrivals.take_over(scene, participant, session)
        scene.move(session, Event.RETURN)
    return accepted
