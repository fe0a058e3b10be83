"""One room in memory: its snapshot, its arrivals, and the telling of both to everyone who may hear it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ...sfu.types import Device, Level, Person, Reason, SlotView, Way, Wish
from ..visits.rules import INSIDE, State
from ..visits.values import Arrival, RoomSnapshot
from . import server_messages as said
from . import telling, views
from .care import Care
from .chat import ChatLog, Line
from .client import Client
from .presence import Presence
from .present import Present
from .record import Record
from .relays import Relays
from .sharing import Sharing
from .telling import REPLACED_OR_OVER, SAID_HELLO_ELSEWHERE
from .timings import Timings
from .troubles import Troubles

if TYPE_CHECKING:
    # Only its name: importing the node loads the engine, which the command line's small commands do without.
    from ...sfu.node import Node

# States that end a peer; somebody on hold keeps theirs (CONTRACT, A lost network).
_PEERLESS = frozenset({State.LEFT, State.DENIED, State.REMOVED, State.INVITED})


class Snapshots(Protocol):
    """What a room asks of `Visits`."""

    async def latest(self, room: str) -> RoomSnapshot: ...


class LiveRoom:
    """A room that somebody has said hello to.

    `snapshot` is what is on disk, `present` what memory adds for each of its arrivals. Whatever changes either ends in
    `publish`, which tells every client all that is now different for it.
    """

    def __init__(
        self,
        id: str,
        visits: Snapshots,
        node: Node,
        now: Callable[[], float],
        wall: Callable[[], float],
        record: Record,
        timings: Timings,
        relays: Relays,
    ) -> None:
        self.id = id
        self.node = node
        self.present: dict[str, Present] = {}
        self.chat = ChatLog(wall())
        self.sharing = Sharing()
        self.care = Care(self, record)
        self.snapshot: RoomSnapshot | None = None
        self._visits = visits
        self.now = now
        self._record = record
        self._timings = timings
        self._relays = relays
        self._speaking = said.Speaking(speaking=[]).encode()
        self._persons: list[Person] | None = None
        self._applying = False
        self._lock = asyncio.Lock()
        self._asked = self._done = 0

    # -- from the disk --

    async def refresh(self) -> None:
        """Takes a snapshot and acts on it; askers that came before it was taken share it."""
        self._asked += 1
        asked = self._asked
        async with self._lock:
            if self._done >= asked:
                return
            taken = self._asked
            snapshot = await self._visits.latest(self.id)
            self._done = taken
            self._apply(snapshot)

    @property
    def over(self) -> bool:
        """The visit has ended or was cancelled."""
        return self.snapshot is not None and self.snapshot.state in views.OVER

    @property
    def by_video(self) -> bool:
        """Whether people are seen and heard here; a visit by phone or chat has no media."""
        return self.snapshot is None or self.snapshot.form == "video"

    @property
    def clients(self) -> list[Client]:
        """Everyone connected."""
        return [present.client for present in self.present.values() if present.client is not None]

    @property
    def together(self) -> bool:
        """Whether people are in a visit here: two at least, of whom one may just have lost the network."""
        inside = [present for present in self.present.values() if present.state in INSIDE]
        return len(inside) > 1 and any(present.client is not None for present in inside)

    def _apply(self, snapshot: RoomSnapshot) -> None:
        self.snapshot = snapshot
        self._applying = True
        try:
            arrivals = {arrival.session: arrival for arrival in snapshot.arrivals}
            for session in [session for session in self.present if session not in arrivals]:
                self._gone(self.present.pop(session))
            for arrival in snapshot.arrivals:
                self._step(arrival)
            if self.over:
                self.node.close_room(self.id)
                self._persons = None
                for present in self.present.values():
                    present.presence.dropped()
                    self.care.outside(present)
            else:
                self._tell_media(snapshot)
        finally:
            self._applying = False
        self.publish()

    def _gone(self, present: Present) -> None:
        """Its link was renewed, or another browser of the same person was admitted."""
        self.care.outside(present)
        self.care.gone(present)
        self.node.drop(self.id, present.key)
        self.sharing.release(present.session)
        if present.client is not None:
            present.client.close(REPLACED_OR_OVER)

    def _step(self, arrival: Arrival) -> None:
        present = self.present.get(arrival.session)
        if present is None:
            present = self.present[arrival.session] = self._discover(arrival)
        former, present.state = present.state, arrival.state
        # The rules write it too; a write of ours that is still on its way is repeated, which does no harm.
        present.written = arrival.connection == "connected"
        if arrival.state == State.ADMITTED:
            present.hearing.open(self.chat.last)
        elif former == State.ADMITTED:
            present.hearing.close(self.chat.last)
            present.hand = False
            if self.sharing.release(present.session):
                self.node.share(self.id, present.key, False)
        if arrival.state != State.WAITING:
            present.held = False
        elif former not in (None, State.WAITING, State.LEFT, State.INVITED):
            present.held = True
        if former in INSIDE and arrival.state not in INSIDE:
            self.care.outside(present)
        if arrival.state in _PEERLESS and former is not None and former not in _PEERLESS:
            self.node.drop(self.id, present.key)
            present.presence.dropped()
            present.prepared = False
            self.care.gone(present)
        if arrival.state in INSIDE and present.prepared:
            self._let_in(present)
        self._time(arrival, present, former)
        self._own_the_name(arrival, present)

    def _let_in(self, present: Present) -> None:
        """Somebody who waited gets media, by the peer that was made ready where there still is one."""
        present.prepared = False
        if self.node.holds(self.id, present.key):
            present.presence.let_in(self.now())
            if present.presence.media:
                self._timings.join.observe(0.0)
            else:
                present.expected = self.now()

    def _time(self, arrival: Arrival, present: Present, former: State | None) -> None:
        """Measures how long somebody waited, and begins to measure how long media take them."""
        if arrival.state == State.WAITING:
            present.waits_since = arrival.since
        elif arrival.state == State.ADMITTED and present.waits_since is not None:
            self._timings.waiting.observe(max(0.0, (arrival.since - present.waits_since).total_seconds()))
        if arrival.state not in (State.WAITING, State.IDENTIFYING) or present.held:
            present.waits_since = None
        if arrival.state not in INSIDE:
            present.expected = None
        elif former not in INSIDE and present.client is not None and not present.presence.peer:
            present.expected = self.now()

    def _discover(self, arrival: Arrival) -> Present:
        connected = arrival.connection in ("connecting", "connected")
        # After a restart everyone who was connected has as long to come back as anyone who falls silent.
        presence = Presence(state=arrival.connection, answered=self.now() if connected else None)
        taken = any(present.key == arrival.participant for present in self.present.values())
        key = arrival.participant if arrival.current and not taken else arrival.session
        # Who was here before a restart, and doesn't come back, has fallen silent; others have not been heard yet.
        troubles = Troubles(heard=arrival.connection == "lost")
        return Present(arrival.session, arrival.participant, key, presence, written=connected, troubles=troubles)

    def _own_the_name(self, arrival: Arrival, present: Present) -> None:
        """A second browser that has become the participant takes over its place in media, so that slots stay."""
        if not arrival.current or arrival.state not in INSIDE or present.key == arrival.participant:
            return
        holder = self.by_key(arrival.participant)
        if present.presence.peer or (holder is not None and holder.state in INSIDE):
            return
        if holder is not None:
            # A browser that has left, or waits, and isn't the participant's any more.
            self.node.drop(self.id, holder.key)
            holder.presence.dropped()
            holder.prepared = False
            holder.key = holder.session
        present.key = arrival.participant
        if present.client is not None and self.snapshot is not None:
            self.node.welcome(self.id, present.key, present.client.device, self.snapshot.max_participants)

    def _tell_media(self, snapshot: RoomSnapshot) -> None:
        persons = views.persons(snapshot, self.present)
        if persons == self._persons:
            return
        former, self._persons = self._persons or [], persons
        self.node.people(self.id, persons, snapshot.max_participants)
        if {person.id for person in persons} - {person.id for person in former}:
            # Wishes name participants; where one of those has come by another browser, media has a new name for them.
            for present in self.present.values():
                self.wish(present, again=False)

    def wish(self, present: Present, again: bool = True) -> None:
        """Hands a viewer's wishes on, in the names that media has for people.

        Args:
            again: also when media was told the same before. Wishes that name somebody else than those who came
                meanwhile would hide them, and a newcomer in a fresh slot is shown until the page wishes otherwise.
        """
        if present.wishes is None or present.state not in INSIDE:
            return
        keys = self.keys()
        show = [
            Wish(keys[wish.participant], wish.source, wish.max_height)
            for wish in present.wishes.show
            if wish.participant in keys
        ]
        pin = None if present.wishes.pin is None else keys.get(present.wishes.pin)
        if again or present.wished != (show, pin):
            present.wished = (show, pin)
            self.node.wishes(self.id, present.key, show, pin)

    # -- telling --

    def publish(self) -> None:
        """Tells every client what is different for it."""
        if self.snapshot is not None:
            telling.publish(self.snapshot, self.present, self._speaking, self._relays)

    def say(self, message: said.ServerMessage, to: Callable[[Present], bool]) -> None:
        """Says something once to everyone connected for whom `to` holds."""
        self.say_text(message.encode(), to)

    def say_text(self, text: str, to: Callable[[Present], bool]) -> None:
        """As `say`, for a message that has been encoded."""
        for present in self.present.values():
            if present.client is not None and to(present):
                present.client.say_text(text)

    def admitted(self, present: Present) -> bool:
        """Whether this arrival hears the room."""
        return present.state == State.ADMITTED

    def waits(self, present: Present) -> bool:
        """Whether this arrival stands in the queue."""
        return present.state in (State.WAITING, State.IDENTIFYING)

    def keys(self) -> dict[str, str]:
        """Who is inside, by participant: the name that media has for them."""
        inside = [present for present in self.present.values() if present.state in INSIDE]
        # Where one participant has two arrivals inside, the admitted one is the participant.
        inside.sort(key=self.admitted)
        return {present.participant: present.key for present in inside}

    def host(self, present: Present) -> bool:
        """Whether this arrival may act as a host."""
        person = None if self.snapshot is None else views.person(self.snapshot, present.participant)
        return self.admitted(present) and person is not None and person.host

    # -- clients --

    async def enter(self, session: str, participant: str, client: Client) -> None:
        """Welcomes a client that has said hello: welcome, its one status, and whole lists."""
        await self.refresh()
        present = self.present.get(session)
        if present is None or self.snapshot is None:
            if self.snapshot is not None and self.over:
                # It came for the first time, after the end.
                welcome = self.node.welcome(self.id, session, client.device, self.snapshot.max_participants)
                client.say(views.welcome(self.snapshot, participant, None, welcome))
                client.say(said.Ended())
                self.node.close_room(self.id)
            client.close(REPLACED_OR_OVER)
            return
        if present.client is not None:
            present.client.close(SAID_HELLO_ELSEWHERE)
        present.client = client
        self._relays.returned(present)
        welcome = self.node.welcome(self.id, present.key, client.device, self.snapshot.max_participants)
        client.say(views.welcome(self.snapshot, present.participant, present.state, welcome))
        kept = welcome.media == "kept"
        present.prepared = present.prepared and kept
        present.presence.hello(self.now(), kept, counts=not present.prepared)
        if welcome.media == "new" and present.state in INSIDE:
            present.expected = self.now()
        present.slots = self.node.slots(self.id, present.key)
        self.tick(self.now())
        self.publish()
        for source, by in present.muted_by.items():
            client.say(said.MuteOrder(source="camera" if source == "camera" else "microphone", by=by))
        if self.host(present):
            for call in self.care.calls():
                client.say(call)
        lines = self.chat.after(client.last_chat)
        client.say_again([line.message for line in lines if self.may_read(present, line)])

    def hears(self, present: Present, line: Line) -> bool:
        """Whether a line that is said now goes to this arrival."""
        if line.to is None:
            return self.admitted(present)
        return self.host(present) or (line.to == present.participant and self.waits(present))

    def may_read(self, present: Present, line: Line) -> bool:
        """Whether a line was said to this arrival, at the time."""
        if line.to is not None:
            addressed = line.to == present.participant and present.key == present.participant
            return addressed or self.host(present)
        return present.hearing.heard(line.seq)

    def detach(self, session: str, client: Client) -> None:
        """The websocket has gone; whoever it was stays, until they are lost for long enough."""
        present = self.present.get(session)
        if present is not None and present.client is client:
            present.client = None

    # -- from the clock and from media --

    def tick(self, now: float) -> None:
        """Sees who has fallen silent or is back; tells and writes what has changed."""
        changed = False
        for present in self.present.values():
            if present.client is not None:
                present.presence.answered = present.client.answered
            before = present.presence.state
            after = present.presence.at(now)
            changed = changed or before != after
            known = after in ("connected", "lost") and present.state not in (State.LEFT, State.REMOVED)
            if known and present.written != (after == "connected") and not self.over:
                present.written = after == "connected"
                self._record.connection(present.session, present.written)
            self.care.look(present, now)
            if present.client is not None and present.state in INSIDE:
                changed = changed or self._relays.due(present)
        if changed:
            self.publish()

    def by_key(self, key: str) -> Present | None:
        """The arrival that media knows by this name."""
        return next((present for present in self.present.values() if present.key == key), None)

    def slots_changed(self, key: str, slots: Sequence[SlotView]) -> None:
        """Media has given out a viewer's slots anew."""
        present = self.by_key(key)
        if present is not None:
            present.slots = tuple(slots)
            if not self._applying:
                self.publish()

    def speaking(self, keys: Sequence[str]) -> None:
        """Media says who speaks now; only the admitted are heard by all."""
        people = [present for present in map(self.by_key, keys) if present is not None and self.admitted(present)]
        self._speaking = said.Speaking(speaking=[present.participant for present in people]).encode()
        for present in self.present.values():
            if present.client is not None and self.admitted(present) and present.client.was_told("participants"):
                present.client.tell("speaking", self._speaking)

    def connection(self, key: str, connected: bool) -> None:
        """Media or RTCP came within 5 s, or no longer does."""
        present = self.by_key(key)
        if present is not None and self.snapshot is not None:
            present.presence.media = connected
            if connected and present.expected is not None:
                self._timings.join.observe(self.now() - present.expected)
                present.expected = None
            if not connected and present.presence.peer:
                # A page that closed its connection, rather than lost it, has no peer any more: its websocket counts.
                media = self.node.welcome(self.id, key, Device(), self.snapshot.max_participants).media
                present.presence.peer = media == "kept"
            self.tick(self.now())

    def expired(self, key: str) -> None:
        """The node has dropped a peer that was silent for long."""
        present = self.by_key(key)
        if present is not None:
            present.presence.dropped()
            self.tick(self.now())

    def send_changed(self, key: str, send: Mapping[str, Any]) -> None:
        """Somebody is to send otherwise from now on."""
        present = self.by_key(key)
        if present is not None and present.client is not None:
            present.client.say(said.Send(**send))

    def quality(self, to: str, key: str, level: Level, reason: Reason, way: Way) -> None:
        """Media says how well a viewer sees and hears somebody."""
        self.care.rate(to, key, level, reason, way)
        if not self._applying:
            self.publish()

    def muted_by_host(self, participant: str, by: str) -> None:
        """A host has turned somebody's microphone off."""
        for present in self.present.values():
            if present.participant == participant and present.state in INSIDE:
                present.muted["microphone"] = True
                present.muted_by["microphone"] = by
                self.node.mute(self.id, present.key, "microphone", True)
                if present.client is not None:
                    present.client.say(said.MuteOrder(source="microphone", by=by))
        self.publish()
