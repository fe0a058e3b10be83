"""Media of this machine: the one face that control sees.

Python decides here, in three steps that each event runs through: what is so (`Room`, `Peer`), what should be shown
(`_wanted`), and what of that the engine has not been told yet (`_route`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import structlog

from .dtls import Certificate, Handshake, Keys
from .engine import Connection, Dtls, Engine, Event, Layer
from .engine import Credentials as IceCredentials
from .peer import GRACE, Peer, new_credentials, new_slots
from .room import Room, layer_for
from .sdp import read_offer, read_restart
from .sdp_answer import write_answer
from .send import welcome_send
from .speakers import Speakers
from .types import (
    Device,
    Listener,
    MediaSettings,
    Offer,
    OfferRefused,
    PeerOffer,
    Person,
    SlotView,
    Source,
    Welcome,
    Wish,
)

log = structlog.get_logger(__name__)

MICROPHONE, CAMERA, SCREEN = 0, 1, 2
TRACK: dict[Source, int] = {"microphone": MICROPHONE, "camera": CAMERA, "screen": SCREEN}
NOBODY = (0, 0, 0)

# A peer is kept for so long without a packet (CONTRACT, "A lost network"); the engine says "lost" after 5 s.
KEPT = 300.0
LOST = 5.0
# How often the engine's table is read.
TICK = 0.1


@dataclass
class _Place:
    """What a node keeps of one room."""

    room: Room
    peers: dict[str, Peer] = field(default_factory=dict)
    muted: dict[str, set[Source]] = field(default_factory=dict)
    told: dict[str, list[SlotView]] = field(default_factory=dict)
    speakers: Speakers = field(default_factory=Speakers)


class Node:
    """An SFU with one shard.

    All methods but `start`, `stop` and `join` are synchronous: what they change is decided when they return, and
    `Listener.slots_changed` has been called for every viewer whose slots changed.
    """

    def __init__(self, settings: MediaSettings, listener: Listener, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._listener = listener
        self._now = now
        self._places: dict[str, _Place] = {}
        self._by_number: dict[int, Peer] = {}
        self._last_number = 0
        self._engine: Engine | None = None
        self._certificate: Certificate | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._handshake_drops: Counter[str] = Counter()  # of peers that are gone

    async def start(self) -> None:
        """Binds the media port.

        Raises:
            EngineError: the address can't be bound.
        """
        self._certificate = Certificate.generateCertificate()
        self._engine = Engine(self._settings.ip, self._settings.port, self._on_event)
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Ends all media; may be called twice."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for room in list(self._places):
            self.close_room(room)
        if self._engine is not None:
            self._engine.stop()
            self._engine = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The UDP port that media uses."""
        return self._running.port

    @property
    def _running(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the node has not been started")
        return self._engine

    def people(self, room: str, persons: Sequence[Person], max_participants: int) -> None:
        """Takes the whole list of who may have media now; someone left out keeps the peer, without media."""
        place = self._places.get(room)
        if place is None:
            if not persons:
                return
            place = self._places[room] = _Place(Room(max_participants))
        place.room.set_people(persons, place.peers)
        self._route(room, place)

    def welcome(self, room: str, participant: str, device: Device, max_participants: int) -> Welcome:
        """What a page needs before its offer; everyone gets the same `send` for now."""
        place = self._places.get(room)
        kept = place is not None and participant in place.peers
        pairs = max_participants - 1
        return Welcome(
            slots={"audio": pairs, "video": pairs + 1},
            send=welcome_send(),
            media="kept" if kept else "new",
            device_class="low" if device.mobile else "desktop",
        )

    async def join(self, room: str, participant: str, offer: Offer) -> str:
        """The answer to a participant's offer; a new peer replaces the former one.

        Raises:
            OfferRefused: the offer breaks the contract, or its sender may have no media now; nothing has changed.
        """
        place = self._places.get(room)
        if place is None or participant not in place.room.people:
            raise OfferRefused("not-admitted", "an offer is taken once one is admitted or being identified")
        if offer.restart:
            return self._restart(place, participant, offer)
        return self._join(room, place, participant, read_offer(offer.sdp))

    def _join(self, room: str, place: _Place, participant: str, offer: PeerOffer) -> str:
        audio, video = new_slots(offer, place.room.max_participants - 1)
        self._remove(place, participant)
        self._last_number += 1
        peer = Peer(room, participant, self._last_number, offer, audio, video, self._now())
        local = new_credentials()
        self._running.add_peer(peer.number, local, offer, peer.slots)
        peer.handshake = self._handshake(peer)
        place.peers[participant] = peer
        self._by_number[peer.number] = peer
        self._expect(peer)
        for source in place.muted.get(participant, ()):
            self._running.mute(peer.number, TRACK[source], True)
        self._route(room, place)
        return self._answer(peer, local)

    def _restart(self, place: _Place, participant: str, offer: Offer) -> str:
        peer = place.peers.get(participant)
        if peer is None:
            raise OfferRefused("no-peer", "there is no peer to restart; offer a new one with restart: false")
        peer.offer = read_restart(offer.sdp, peer.offer)
        local = new_credentials()
        self._running.restart_ice(peer.number, local, IceCredentials(peer.offer.ufrag, peer.offer.pwd))
        peer.version += 1
        return self._answer(peer, local)

    def _answer(self, peer: Peer, local: IceCredentials) -> str:
        assert self._certificate is not None  # noqa: S101  # made by `start`, as is the engine that `peer` is in
        return write_answer(
            peer.offer,
            ufrag=local.ufrag,
            pwd=local.pwd,
            fingerprint=self._certificate.fingerprint,
            candidates=[(self._settings.public_ip or self._settings.ip, self._running.port)],
            slots=[*peer.audio, *peer.video],
            cname=f"vardrum{peer.number}",
            version=peer.version,
        )

    def _handshake(self, peer: Peer) -> Handshake:
        assert self._certificate is not None  # noqa: S101  # made by `start`

        def send(datagram: bytes) -> None:
            if peer.number in self._by_number:
                self._running.send_dtls(peer.number, datagram)

        def done(keys: Keys) -> None:
            if peer.number in self._by_number:
                self._running.set_keys(peer.number, keys)

        def over() -> None:
            if self._by_number.get(peer.number) is peer:
                self.drop(peer.room, peer.participant)
                self._listener.connection(peer.room, peer.participant, False)

        def failed(reason: str) -> None:
            log.warning("handshake failed", room=peer.room, participant=peer.participant, reason=reason)
            over()

        return Handshake(self._certificate, peer.offer.fingerprints, send, done, failed, over)

    def slots(self, room: str, participant: str) -> list[SlotView]:
        """Whom each of a viewer's slots shows now; empty without a peer."""
        place = self._places.get(room)
        if place is None:
            return []
        peer = place.peers.get(participant)
        return [] if peer is None else self._views(place, peer)

    def wishes(self, room: str, participant: str, show: Sequence[Wish], pin: str | None) -> None:
        """Takes the whole list of pictures that are on a viewer's screen."""
        place = self._places.get(room)
        view = None if place is None else place.room.views.get(participant)
        if place is not None and view is not None:
            view.wish(show)
            self._route(room, place)

    def mute(self, room: str, participant: str, source: Source, muted: bool) -> None:
        """While muted nothing of `source` is forwarded, also from a peer that comes later."""
        place = self._places.get(room)
        if place is None:
            return
        sources = place.muted.setdefault(participant, set())
        (sources.add if muted else sources.discard)(source)
        if (peer := place.peers.get(participant)) is not None:
            self._running.mute(peer.number, TRACK[source], muted)

    def share(self, room: str, participant: str, on: bool) -> None:
        """Gives the screen slot to `participant`, or takes it back."""
        place = self._places.get(room)
        if place is None:
            return
        if on:
            place.room.sharer = participant
        elif place.room.sharer == participant:
            place.room.sharer = None
        self._route(room, place)

    def drop(self, room: str, participant: str) -> None:
        """Closes a participant's peer: left, removed, denied or replaced."""
        place = self._places.get(room)
        if place is None:
            return
        self._remove(place, participant)
        place.muted.pop(participant, None)
        self._route(room, place)
        self._forget(room, place)

    def close_room(self, room: str) -> None:
        """Closes everyone's peer."""
        place = self._places.pop(room, None)
        if place is not None:
            for participant in list(place.peers):
                self._remove(place, participant)

    def metrics(self) -> dict[str, float]:
        """Counters of the engine (`drop_…` by reason), peers, rooms, and the engine's CPU seconds."""
        engine = self._running
        drops = self._handshake_drops.copy()
        for peer in self._by_number.values():
            drops.update(_drops(peer))
        return {
            **engine.counters(),
            **{f"drop_{reason.replace('-', '_')}": count for reason, count in drops.items()},
            "peers": len(self._by_number),
            "rooms": len(self._places),
            "cpu_seconds": engine.cpu_ns() / 1e9,
        }

    def _forget(self, room: str, place: _Place) -> None:
        if not place.peers and not place.room.people:
            self._places.pop(room, None)

    def _remove(self, place: _Place, participant: str) -> None:
        peer = place.peers.pop(participant, None)
        if peer is None:
            return
        # Its close_notify has to leave before the engine forgets the address.
        peer.close()
        self._handshake_drops.update(_drops(peer))
        del self._by_number[peer.number]
        self._running.remove_peer(peer.number)
        place.told.pop(participant, None)
        for other in place.peers.values():
            other.shown = {slot: shown for slot, shown in other.shown.items() if shown[0] != peer.number}

    def _expect(self, peer: Peer) -> None:
        """Drops the peer after 5 minutes without a packet, counted from now."""
        if peer.expiry is not None:
            peer.expiry.cancel()
        peer.expiry = asyncio.get_running_loop().call_later(KEPT - LOST, self._expire, peer)

    def _expire(self, peer: Peer) -> None:
        if self._by_number.get(peer.number) is peer and not peer.connected:
            self.drop(peer.room, peer.participant)
            self._listener.expired(peer.room, peer.participant)

    def _on_event(self, event: Event) -> None:
        peer = self._by_number.get(event.peer)
        if peer is None:
            return
        match event:
            case Dtls(datagram=datagram):
                if peer.handshake is not None:
                    peer.handshake.feed(datagram)
            case Connection(connected=connected):
                peer.connected = connected
                if not connected:
                    self._expect(peer)
                self._listener.connection(peer.room, peer.participant, connected)
            case Layer():
                before = bool(peer.layers.get(event.track))
                peer.on_layer(event, self._now())
                if event.alive and not before:
                    asyncio.get_running_loop().call_later(GRACE, self._reroute, peer.room)
                self._reroute(peer.room)

    def _reroute(self, room: str) -> None:
        if (place := self._places.get(room)) is not None:
            self._route(room, place)

    def _route(self, room: str, place: _Place) -> None:
        """Tells the engine and the listener what has become different for any viewer."""
        for viewer in list(place.peers.values()):
            wanted = self._wanted(place, viewer)
            for slot in viewer.shown.keys() | wanted.keys():
                shown = wanted.get(slot, NOBODY)
                if viewer.shown.get(slot, NOBODY) != shown:
                    self._running.show(viewer.number, slot, *shown)
            viewer.shown = wanted
            views = self._views(place, viewer)
            if place.told.get(viewer.participant, []) != views:
                place.told[viewer.participant] = views
                self._listener.slots_changed(room, viewer.participant, views)

    def _wanted(self, place: _Place, viewer: Peer) -> dict[int, tuple[int, int, int]]:
        """What each of a viewer's slots should show: (peer, track, layer) by the engine's slot number."""
        wanted: dict[int, tuple[int, int, int]] = {}
        view = place.room.views.get(viewer.participant)
        if view is None:
            return wanted

        def show(slot: int | None, publisher: Peer, track: int, height: int | None) -> None:
            if slot is None or height is None:
                return
            layer = layer_for(height, publisher.heights(track, self._now()))
            if layer is not None:
                wanted[slot] = (publisher.number, track, layer)

        for pair, other in place.room.seen_by(viewer.participant):
            if (publisher := place.peers.get(other)) is not None:
                show(viewer.audio_slot(pair), publisher, MICROPHONE, 0)
                show(viewer.video_slot(pair), publisher, CAMERA, view.camera_height(other))
        sharer = self._sharer_for(place, viewer.participant)
        if sharer is not None and (publisher := place.peers.get(sharer)) is not None:
            show(viewer.video_slot(len(view.pairs)), publisher, SCREEN, view.screen_height(sharer))
        return wanted

    def _sharer_for(self, place: _Place, viewer: str) -> str | None:
        sharer = place.room.sharer
        return sharer if sharer is not None and place.room.may_receive(viewer, sharer) else None

    def _views(self, place: _Place, viewer: Peer) -> list[SlotView]:
        views: list[SlotView] = []
        for pair, other in place.room.seen_by(viewer.participant):
            if pair < len(viewer.audio):
                views.append(SlotView(viewer.audio[pair].mid, other, "microphone"))
            if pair < len(viewer.video):
                views.append(SlotView(viewer.video[pair].mid, other, "camera"))
        pairs = place.room.max_participants - 1
        sharer = self._sharer_for(place, viewer.participant)
        if sharer is not None and pairs < len(viewer.video):
            views.append(SlotView(viewer.video[pairs].mid, sharer, "screen"))
        return views

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                self._listen()
            except Exception:
                # One room's trouble must not end the speakers' lists of all.
                log.exception("the speakers' tick failed")

    def _listen(self) -> None:
        loudness = {int(row[0]): float(row[7]) for row in self._running.table() if row[1] == MICROPHONE}
        for room, place in list(self._places.items()):
            heard = {
                peer.participant: loudness.get(peer.number, 0.0)
                for peer in place.peers.values()
                if peer.participant in place.room.people
            }
            if (speaking := place.speakers.update(heard, self._now())) is not None:
                self._listener.speaking(room, speaking)


def _drops(peer: Peer) -> Counter[str]:
    return Counter() if peer.handshake is None else peer.handshake.drops
