"""What goes out to every client of a room, and in which order: its status, then slots, then the lists."""

from __future__ import annotations

from collections.abc import Mapping

from ..visits.rules import INSIDE, State
from ..visits.values import Arrival, RoomSnapshot
from . import server_messages as said
from . import views
from .client import Client, Kind
from .present import Present
from .relays import Relays

REPLACED_OR_OVER = 4002
SAID_HELLO_ELSEWHERE = 4001
NORMAL = 1000


def publish(room: RoomSnapshot, present: Mapping[str, Present], speaking: str, relays: Relays) -> None:
    """Tells every client what is different for it since it was last told.

    Args:
        present: every arrival of the room, by session.
        speaking: the `speaking` message as it is now.
        relays: makes credentials for a TURN server, for those who are inside.
    """
    staff = views.staff_present(room, present)
    hosts = {person.id for person in room.participants if person.host}
    participants = queue = None
    for arrival in room.arrivals:
        one = present[arrival.session]
        client = one.client
        if client is None or client.closing:
            continue
        ice_servers = relays.servers(one) if arrival.state in INSIDE and room.form == "video" else []
        status = views.status(room, arrival, held=one.held, staff_present=staff, ice_servers=ice_servers)
        _status(client, status)
        if client.closing or client.offering:
            # Slots go out after the answer that names their mids, and the lists after the slots: a page must know where
            # a newcomer will be seen before it hears of them.
            continue
        _slots(client, one, arrival, present)
        _quality(client, one, arrival)
        if arrival.state != State.ADMITTED:
            client.forget("participants", "queue", "speaking")
            continue
        participants = participants or views.participants(room, present).encode()
        client.tell("participants", participants)
        client.tell("speaking", speaking)
        if arrival.participant in hosts:
            queue = queue or views.queue(room, present).encode()
            client.tell("queue", queue)


def _status(client: Client, status: said.Status | None) -> None:
    if status is None:
        client.close(NORMAL)
        return
    client.tell("status", status.encode())
    if isinstance(status, (said.Removed, said.Ended)):
        client.close(REPLACED_OR_OVER)


def _slots(client: Client, one: Present, arrival: Arrival, present: Mapping[str, Present]) -> None:
    if arrival.state in INSIDE:
        whose = {other.key: other.participant for other in present.values()}
        slots = [
            said.Slot(mid=slot.mid, participant=whose[slot.participant], source=slot.source, paused=slot.paused)
            for slot in one.slots
            if slot.participant in whose
        ]
        client.tell("slots", said.Slots(slots=slots).encode())
    elif client.was_told("slots"):
        client.tell("slots", said.Slots(slots=[]).encode())


def quality_of(participant: str) -> Kind:
    """What a client was told last of one participant's quality is remembered under this."""
    return f"quality {participant}"


def _quality(client: Client, one: Present, arrival: Arrival) -> None:
    if arrival.state not in INSIDE:
        return
    alone = arrival.state == State.IDENTIFYING
    for participant, quality in one.quality.items():
        # While one is being identified nobody else is there but that host.
        if not alone or participant in (one.participant, arrival.identifying_host):
            client.tell(quality_of(participant), quality.encode())
