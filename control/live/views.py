"""Who is told what: the status of one arrival, and the lists, from a snapshot and from memory. No I/O, no state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import cast

from ...sfu.types import Person, Welcome
from ..visits.care_units import ACCOMPANYING
from ..visits.rules import INSIDE, RoomState, State
from ..visits.values import Arrival, Form, Identity, Participant, Role, RoomSnapshot
from . import server_messages as said
from .present import Present

OVER = frozenset({RoomState.ENDED, RoomState.CANCELLED})
# Whom a care unit's texts are for: who is cared for, and who comes because of them.
VISITING = ACCOMPANYING | {Role.PATIENT}


def rfc3339(at: datetime) -> str:
    """A time with its offset, to the millisecond at most."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def identity(of: Identity | None) -> said.Identity | None:
    """An identity check as clients see it."""
    return None if of is None else said.Identity(method=of.method, level=of.level, by=of.by, at=rfc3339(of.at))


def status(
    room: RoomSnapshot, arrival: Arrival, *, held: bool, staff_present: bool, ice_servers: list[said.IceServer]
) -> said.Status | None:
    """The one status that an arrival has; None for one that has left. Only who is inside learns of `ice_servers`."""
    if room.state in OVER:
        return said.Ended()
    match arrival.state:
        case State.WAITING if held:
            return said.Held()
        case State.WAITING:
            return said.Waiting(since=rfc3339(arrival.since), staff_present=staff_present)
        case State.IDENTIFYING:
            return said.Identifying(host=arrival.identifying_host or "", ice_servers=ice_servers)
        case State.ADMITTED:
            return said.Admitted(ice_servers=ice_servers)
        case State.DENIED:
            return said.Denied(reason=arrival.reason)
        case State.REMOVED:
            return said.Removed(reason=arrival.reason)
    return None


def admitted(room: RoomSnapshot) -> Iterable[Arrival]:
    """Those who hear and see each other."""
    return (arrival for arrival in room.arrivals if arrival.state == State.ADMITTED and arrival.current)


def persons(room: RoomSnapshot, present: Mapping[str, Present]) -> list[Person]:
    """Who may have media now, by the names that media has for them."""
    hosts = {person.id for person in room.participants if person.host}
    signing = {person.id for person in room.participants if person.sign_language}
    keys = {arrival.participant: present[arrival.session].key for arrival in admitted(room)}
    found = []
    for arrival in room.arrivals:
        key, signs = present[arrival.session].key, arrival.participant in signing
        if arrival.state == State.ADMITTED and arrival.current:
            found.append(Person(key, "admitted", arrival.participant in hosts, sign_language=signs))
        elif arrival.state == State.IDENTIFYING and arrival.identifying_host in keys:
            found.append(Person(key, "identifying", with_host=keys[arrival.identifying_host], sign_language=signs))
    return found


def participants(room: RoomSnapshot, present: Mapping[str, Present]) -> said.Participants:
    """Everyone admitted."""
    people = {person.id: person for person in room.participants}
    return said.Participants(
        participants=[
            said.ParticipantShown(
                id=arrival.participant,
                role=people[arrival.participant].role,
                host=people[arrival.participant].host,
                display_name=people[arrival.participant].display_name,
                identity=identity(arrival.identity),
                connection=present[arrival.session].presence.state,
                muted=said.MutedSources(**present[arrival.session].muted),
                hand=present[arrival.session].hand,
            )
            for arrival in admitted(room)
            if arrival.participant in people
        ]
    )


def queue(room: RoomSnapshot, present: Mapping[str, Present]) -> said.Queue:
    """Everyone who waits or is being identified."""
    people = {person.id: person for person in room.participants}
    return said.Queue(
        queue=[
            said.Queued(
                session=arrival.session,
                participant=arrival.participant,
                role=people[arrival.participant].role,
                display_name=people[arrival.participant].display_name,
                since=rfc3339(arrival.since),
                state="identifying" if arrival.state == State.IDENTIFYING else "waiting",
                identity=identity(arrival.identity),
                expected=None if arrival.identity is None else arrival.identity.expected,
                identified_as=None if arrival.identity is None else arrival.identity.name,
                connection=present[arrival.session].presence.state,
            )
            for arrival in room.arrivals
            if arrival.state in (State.WAITING, State.IDENTIFYING) and arrival.participant in people
        ]
    )


def staff_present(room: RoomSnapshot, present: Mapping[str, Present]) -> bool:
    """Whether somebody who can admit is there now."""
    hosts = {person.id for person in room.participants if person.host}
    return any(
        arrival.participant in hosts and present[arrival.session].presence.state == "connected"
        for arrival in admitted(room)
    )


def person(room: RoomSnapshot, participant: str) -> Participant | None:
    """Somebody invited, by id."""
    return next((person for person in room.participants if person.id == participant), None)


def fallback(room: RoomSnapshot, participant: str) -> said.Fallback:
    """Somebody needs to be phoned; the number itself is asked for by HTTP, which is written down."""
    whom = person(room, participant)
    return said.Fallback(participant=participant, phone_available=bool(whom and whom.phone))


def _unit_texts(room: RoomSnapshot, whom: Participant | None, state: State | None) -> dict[str, dict[str, str]] | None:
    # Whoever has been let in, or has come to work, has no use for them, and may be on a network where they cost.
    if whom is None or whom.host or whom.role not in VISITING or state in INSIDE:
        return None
    texts = {subject: {tag: text for tag, text in said.items() if text} for subject, said in room.unit.texts.items()}
    return {subject: said for subject, said in texts.items() if said} or None


def welcome(room: RoomSnapshot, participant: str, state: State | None, media: Welcome) -> said.WelcomeSaid:
    """What everyone who says hello may know, whether they are let in or not."""
    whom = person(room, participant)
    unit = room.care_unit
    return said.WelcomeSaid(
        room=said.WelcomeRoom(
            title=room.title,
            care_unit={
                name: value
                for name, value in (
                    ("name", unit.name),
                    ("hsa_id", unit.hsa_id),
                    ("phone", unit.phone or room.unit.phone),
                )
                if value is not None
            },
            language=room.language,
            starts_at=rfc3339(room.starts_at),
            time_zone=room.time_zone,
            form=cast(Form, room.form),
            training=room.training,
            functions=sorted(room.functions),
            texts=_unit_texts(room, whom, state),
        ),
        participant=said.WelcomeParticipant(
            id=participant,
            role="other" if whom is None else whom.role,
            host=whom is not None and whom.host,
            display_name="" if whom is None else whom.display_name,
            state=str(state or State.INVITED),
        ),
        slots=media.slots,
        send=media.send,
        media=media.media,
        device_class=media.device_class,
    )
