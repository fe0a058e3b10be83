"""What one client says, and what comes of it: checked against what its arrival may do, then acted on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from ...sfu.types import Offer
from ..visits.rules import INSIDE, State
from ..visits.values import Actor, Function, Participant, RoomSnapshot, Session, Verb
from . import client_messages as heard
from . import server_messages as said
from . import views
from .client import Client
from .present import Present
from .room import LiveRoom

SOURCES: tuple[Literal["microphone", "camera"], ...] = ("microphone", "camera")


class Deciding(Protocol):
    """What a conversation asks of `Visits`."""

    async def leave(self, session: str) -> Session: ...

    async def act(
        self, room: str, participant: str, verb: Verb, by: Actor, *, session: str | None = None
    ) -> Participant: ...

    async def record_identity(
        self,
        room: str,
        participant: str,
        method: str,
        by: Actor,
        *,
        document_type: str | None = None,
        session: str | None = None,
    ) -> Participant: ...

    async def lock(self, room: str, by: Actor) -> RoomSnapshot: ...

    async def unlock(self, room: str, by: Actor) -> RoomSnapshot: ...

    async def end(self, room: str, by: Actor) -> RoomSnapshot: ...


class Declined(Exception):
    """Something that only memory can refuse.

    Attributes:
        code: as in `error`.
        detail: what isn't met.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Conversation:
    """One client's, from its hello to its last word."""

    def __init__(self, room: LiveRoom, session: str, client: Client, visits: Deciding, wall: Callable[[], float]):
        self._room = room
        self._session = session
        self._client = client
        self._visits = visits
        self._wall = wall

    async def act(self, message: heard.AfterHello) -> None:
        """Does what the message asks for.

        Raises:
            Refused, OfferRefused, Declined: it isn't done and nothing has changed; `code` and `detail` say why.
        """
        present = self._room.present.get(self._session)
        if present is None or present.client is not self._client:
            return  # this websocket is being closed
        match message:
            case heard.Ping():
                self._client.say(said.Pong(id=message.id))
            case heard.OfferSaid():
                await self._offer(present, message)
            case heard.PrepareSaid():
                await self._prepare(present, message)
            case heard.Wishes():
                present.wishes = message
                self._room.wish(present)
            case heard.Muted():
                self._muted(present, message)
            case heard.ChatSaid():
                self._chat(present, message)
            case heard.TypingSaid():
                self._inside(present)
                self._on(Function.CHAT)
                self._room.say(said.Typing(participant=present.participant, text=message.text), self._room.admitted)
            case heard.HandSaid():
                self._hand(present, message)
            case heard.Sharing():
                self._sharing(present, message)
            case heard.Help():
                self._room.care.ask(present)
            case heard.Stats():
                if present.state in INSIDE:  # else it has crossed with a host's decision
                    self._room.node.stats(self._room.id, present.key, message.figures())
            case heard.Leave():
                await self._visits.leave(self._session)
                self._client.close(1000)
            case heard.Decision():
                await self._visits.act(
                    self._room.id,
                    message.participant,
                    Verb(message.type),
                    self._actor(present),
                    session=message.session,
                )
            case heard.IdentitySaid():
                await self._visits.record_identity(
                    self._room.id,
                    message.participant,
                    message.method,
                    self._actor(present),
                    document_type=message.document_type,
                    session=message.session,
                )
            case heard.RoomDecision():
                decide = {"lock": self._visits.lock, "unlock": self._visits.unlock, "end": self._visits.end}
                await decide[message.type](self._room.id, self._actor(present))

    def _inside(self, present: Present) -> None:
        if not self._room.admitted(present):
            raise Declined("not-allowed", "only people who are admitted may say this")

    def _on(self, function: Function) -> None:
        room = self._room.snapshot
        if room is not None and function not in room.functions:
            raise Declined("function-off", f"{function} is switched off in this visit")

    def _actor(self, present: Present) -> Actor:
        """The host who decides. `Visits` asks the same of the participant; here the arrival must be the host's own."""
        room = self._room.snapshot
        person = None if room is None else views.person(room, present.participant)
        if room is None or person is None or not self._room.host(present):
            raise Declined("not-allowed", "only a host who is admitted may decide this")
        return Actor(person.id, person.display_name, room.care_unit.name, person.id)

    # -- media --

    async def _offer(self, present: Present, offer: heard.OfferSaid) -> None:
        if present.state not in INSIDE:
            raise Declined("not-allowed", "an offer is for people who are admitted or identifying")
        self._count(offer.id)
        room, key, node = self._room, present.key, self._room.node
        self._client.offering = True
        try:
            sdp = await node.join(room.id, key, Offer(offer.id, offer.sdp, offer.restart))
            stays = room.admitted(present) or room.waits(present)
            if not stays or room.present.get(self._session) is not present:
                # Somebody decided otherwise while the answer was made; only on hold the peer stays.
                node.drop(room.id, key)
                return
            self._client.say(said.Answer(id=offer.id, sdp=sdp))
            if not offer.restart:
                self._joined(present)
            present.slots = node.slots(room.id, key)
        finally:
            self._client.offering = False
            room.publish()

    async def _prepare(self, present: Present, offer: heard.PrepareSaid) -> None:
        """Connects somebody who waits, so that being let in costs one way through the network instead of five."""
        if present.state in INSIDE:
            # It has crossed with a host's decision: what was to be ready in time is just in time.
            await self._offer(present, heard.OfferSaid(type="offer", id=offer.id, sdp=offer.sdp, restart=False))
            return
        if present.state != State.WAITING:
            raise Declined("not-allowed", "one prepares while one waits to be let in")
        if present.key != present.participant:
            raise Declined("not-allowed", "this person's place is another browser's")
        self._count(offer.id)
        room, key, node = self._room, present.key, self._room.node
        snapshot = room.snapshot
        if snapshot is None:
            return
        sdp = await node.prepare(room.id, key, Offer(offer.id, offer.sdp), snapshot.max_participants)
        if present.state != State.WAITING or present.key != key or room.present.get(self._session) is not present:
            # Somebody decided while the answer was made. Who was let in offers anew: this peer would come too late.
            node.drop(room.id, key)
            return
        present.presence.dropped()
        present.prepared = True
        self._client.say(said.Answer(id=offer.id, sdp=sdp))
        self._renewed(present)

    def _count(self, id: int) -> None:
        """What an offer of either kind must meet; its id is used up from here on."""
        if not self._room.by_video:
            raise Declined("not-allowed", "this visit was booked without sound and pictures")
        if id <= self._client.last_offer:
            raise Declined("bad-offer", f"the id must grow; the last one was {self._client.last_offer}")
        self._client.last_offer = id

    def _joined(self, present: Present) -> None:
        present.presence.joined(self._room.now())
        present.prepared = False
        self._renewed(present)

    def _renewed(self, present: Present) -> None:
        """A new peer knows nothing of what its participant said before; a page that was loaded anew neither."""
        for source in SOURCES:
            if source not in self._client.said_muted and source not in present.muted_by:
                present.muted[source] = False
            if present.muted[source]:
                self._room.node.mute(self._room.id, present.key, source, True)
        if self._room.sharing.holder == present.session:
            # A page that was loaded anew shares nothing; one that only made a new connection has said so here.
            if self._client.shares:
                self._room.node.share(self._room.id, present.key, True)
            else:
                self._room.sharing.release(present.session)
                self._room.node.share(self._room.id, present.key, False)
        self._room.wish(present)

    def _muted(self, present: Present, message: heard.Muted) -> None:
        present.muted[message.source] = message.muted
        self._client.said_muted.add(message.source)
        if not message.muted:
            present.muted_by.pop(message.source, None)
        self._room.node.mute(self._room.id, present.key, message.source, message.muted)
        self._room.publish()

    def _sharing(self, present: Present, message: heard.Sharing) -> None:
        self._inside(present)
        room = self._room
        if not message.on:
            self._client.shares = False
            if room.sharing.release(present.session):
                room.node.share(room.id, present.key, False)
            return
        self._on(Function.SCREEN)
        former = room.present.get(room.sharing.holder or "")
        there = former is not None and former.presence.state != "lost"
        if not room.sharing.take(present.session, room.host(present), there):
            raise Declined("screen-taken", "somebody else shows their screen")
        self._client.shares = True
        if former is not None and former is not present:
            room.node.share(room.id, former.key, False)
            if former.client is not None:
                former.client.shares = False
                former.client.refuse("screen-taken", "a host shows their screen instead of yours", "sharing")
        room.node.share(room.id, present.key, True)

    # -- talk --

    def _chat(self, present: Present, message: heard.ChatSaid) -> None:
        self._inside(present)
        self._on(Function.CHAT)
        room = self._room
        if message.to is not None:
            self._actor(present)
            if not any(other.participant == message.to and room.waits(other) for other in room.present.values()):
                raise Declined("not-found", "`to` is nobody who waits here")
        line = room.chat.said(present.participant, message.id)
        if line is not None:
            # Said again because the websocket was lost before its echo came; it counts once, and is echoed once more.
            self._client.say_text(line.message)
            return
        line = room.chat.say(present.participant, message.id, message.text, self._wall(), message.to)
        room.say_text(line.message, lambda other: room.hears(other, line))

    def _hand(self, present: Present, message: heard.HandSaid) -> None:
        self._inside(present)
        if present.hand != message.raised:
            present.hand = message.raised
            hand = said.Hand(participant=present.participant, raised=message.raised)
            self._room.say(hand, self._room.admitted)
            self._room.publish()
