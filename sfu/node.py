"""Media of this machine: the one face that control sees.

Python decides here, in three steps that each event runs through: what is so (`Room`, `Peer`), what should be shown
(`Place.wanted`), and what of that the engine has not been told yet (`_route`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
import structlog
from numpy.typing import NDArray

from . import census
from .adaptation import Adaptation
from .census import Census
from .devices import DeviceState
from .dtls import Certificate, Handshake, Keys
from .engine import MICROPHONE, Connection, Dtls, Event, Layer, Picture, Transport, Uplink
from .engine import Credentials as IceCredentials
from .peer import GRACE, Peer, new_credentials, new_slots
from .place import TRACK, Place
from .publishing import Publishing
from .room import Room
from .routing import Routing
from .sdp import read_offer, read_restart
from .sdp_answer import write_answer
from .send import camera_for
from .shards import Shard, Shards
from .types import (
    Device,
    DeviceStats,
    Distribution,
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

# A peer is kept for so long without a packet (CONTRACT, "A lost network"); the engine says "lost" after 5 s.
KEPT = 300.0
LOST = 5.0
# How often the engine's table is read.
TICK = 0.1


class Node:
    """An SFU: rooms spread over shards, each room on one of them for life.

    All methods but `start`, `stop` and `join` are synchronous: what they change is decided when they return, and
    `Listener.slots_changed` has been called for every viewer whose slots changed.
    """

    def __init__(self, settings: MediaSettings, listener: Listener, now: Callable[[], float] = time.monotonic) -> None:
        # Set once media can't go on: what holds the node should end, and be started anew.
        self.failed = asyncio.Event()
        self._settings = settings
        self._listener = listener
        self._now = now
        self._places: dict[str, Place] = {}
        self._by_number: dict[int, Peer] = {}
        self._last_number = 0
        self._shards: Shards | None = None
        self._certificate: Certificate | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._handshake_drops: Counter[str] = Counter()  # of peers that are gone
        self._refused = 0
        self._routing = Routing(listener, now)
        self._adaptation = Adaptation(listener, self._routing)
        self._census = Census()
        # By room and participant, from their hello on.
        self._devices: dict[str, dict[str, DeviceState]] = {}

    async def start(self) -> None:
        """Binds the media ports.

        Raises:
            EngineError: an address can't be bound.
        """
        self._certificate = Certificate.generateCertificate()
        self._shards = Shards(self._settings, self._on_event)
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Ends all media; may be called twice."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for room in list(self._places):
            self.close_room(room)
        if self._shards is not None:
            self._shards.stop()
            self._shards = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def ports(self) -> list[int]:
        """The UDP ports that media uses, one per shard."""
        return [shard.engine.port for shard in self._running]

    @property
    def _running(self) -> Shards:
        if self._shards is None:
            raise RuntimeError("the node has not been started")
        return self._shards

    def people(self, room: str, persons: Sequence[Person], max_participants: int) -> None:
        """Takes the whole list of who may have media now; someone left out keeps the peer, without media."""
        place = self._places.get(room)
        if place is None:
            if not persons:
                return
            place = self._places[room] = Place(Room(max_participants))
        before = place.room.people.keys()
        place.room.set_people(persons, place.peers)
        for newcomer in place.room.people.keys() - before:
            if (peer := place.peers.get(newcomer)) is not None:
                # Who waited sent nothing, and has as long to begin as somebody who has just connected.
                peer.started, peer.waits = self._now(), False
        place.forget_strangers()
        self._routing.room(room, place)

    def welcome(self, room: str, participant: str, device: Device, max_participants: int) -> Welcome:
        """What a page needs before its offer: how many slots, and how its device should send."""
        place = self._places.get(room)
        peer = None if place is None else place.peers.get(participant)
        devices = self._devices.setdefault(room, {})
        state = devices.get(participant)
        if state is None or state.device != device:
            state = devices[participant] = DeviceState(device, self._now())
        if peer is not None:
            peer.device = state
        pairs = max_participants - 1
        publishing = self._publishing(state) if peer is None else peer.publishing
        return Welcome(
            slots={"audio": pairs, "video": pairs + 1},
            send=publishing.send,
            media="new" if peer is None else "kept",
            device_class=state.device_class,
        )

    def _publishing(self, device: DeviceState) -> Publishing:
        return Publishing(camera_for(device.said_class), self._now())

    def stats(self, room: str, participant: str, stats: DeviceStats) -> None:
        """Takes what a page measured of its own device."""
        device, place = self._devices.get(room, {}).get(participant), self._places.get(room)
        if device is None:
            return
        before = device.limits
        device.report(self._now(), stats)
        if place is not None and device.limits != before:
            self._routing.room(room, place)

    async def join(self, room: str, participant: str, offer: Offer) -> str:
        """The answer to a participant's offer; a new peer replaces the former one.

        Raises:
            OfferRefused: the offer breaks the contract, its sender may have no media now, or nobody new may have
                because the visits that run need what there is (`overloaded`: try again); nothing has changed.
        """
        place = self._places.get(room)
        if place is None or participant not in place.room.people:
            raise OfferRefused("not-admitted", "an offer is taken once one is admitted or being identified")
        if offer.restart:
            return self._restart(place, participant, offer)
        peer_offer = read_offer(offer.sdp)
        shard = self._shard_for(place)
        if shard.full and participant not in place.known | place.peers.keys():
            self._refused += 1
            raise OfferRefused("overloaded", "there is no room for more people just now; offer again in some seconds")
        return self._join(room, place, participant, peer_offer, shard)

    async def prepare(self, room: str, participant: str, offer: Offer, max_participants: int) -> str:
        """The answer to the offer of somebody who may have no media yet: a peer as on hold, until `people` names them.

        A new peer replaces the former one. At most `max_participants` of a room's peers are such.

        Raises:
            OfferRefused: the offer breaks the contract, or there is no room (`overloaded`): nothing has changed, and
                an offer by `join` does as well later on.
        """
        peer_offer = read_offer(offer.sdp)
        place = self._places.get(room) or Place(Room(max_participants))
        shard = self._shard_for(place)
        waiting = place.peers.keys() - place.room.people.keys() - {participant}
        if shard.full or len(waiting) >= max_participants:
            raise OfferRefused("overloaded", "nobody else is connected ahead just now; offer once you are let in")
        self._places[room] = place
        answer = self._join(room, place, participant, peer_offer, shard)
        place.peers[participant].waits = True
        return answer

    def holds(self, room: str, participant: str) -> bool:
        """Whether there is a peer, with media or without."""
        place = self._places.get(room)
        return place is not None and participant in place.peers

    def _shard_for(self, place: Place) -> Shard:
        if place.peers and place.shard is not None:
            return place.shard
        return self._running.least_busy()

    def _join(self, room: str, place: Place, participant: str, offer: PeerOffer, shard: Shard) -> str:
        audio, video = new_slots(offer, place.room.max_participants - 1)
        former = place.peers.get(participant)
        if not place.peers:
            shard.load.expect(self._now())
        self._remove(place, participant)
        place.shard = shard
        place.known.add(participant)
        self._last_number += 1
        devices = self._devices.setdefault(room, {})
        device = devices.setdefault(participant, DeviceState(Device(), self._now()))
        # What a kept peer was asked for is what `welcome` told its page.
        publishing = former.publishing if former is not None else self._publishing(device)
        publishing.offered(self._now(), offer.camera.rids, offer.screen.rids)
        peer = Peer(room, participant, self._last_number, shard, offer, audio, video, self._now(), device, publishing)
        local = new_credentials()
        peer.engine.add_peer(peer.number, local, offer, peer.slots)
        peer.shard.peers += 1
        peer.handshake = self._handshake(peer)
        place.peers[participant] = peer
        self._by_number[peer.number] = peer
        self._expect(peer)
        for source in place.muted.get(participant, ()):
            peer.engine.mute(peer.number, TRACK[source], True)
        self._routing.room(room, place)
        return self._answer(peer, local)

    def _restart(self, place: Place, participant: str, offer: Offer) -> str:
        peer = place.peers.get(participant)
        if peer is None:
            raise OfferRefused("no-peer", "there is no peer to restart; offer a new one with restart: false")
        peer.offer = read_restart(offer.sdp, peer.offer)
        local = new_credentials()
        peer.engine.restart_ice(peer.number, local, IceCredentials(peer.offer.ufrag, peer.offer.pwd))
        peer.version += 1
        return self._answer(peer, local)

    def _answer(self, peer: Peer, local: IceCredentials) -> str:
        assert self._certificate is not None  # noqa: S101  # made by `start`, as is the engine that `peer` is in
        return write_answer(
            peer.offer,
            ufrag=local.ufrag,
            pwd=local.pwd,
            fingerprint=self._certificate.fingerprint,
            candidates=[(address, peer.engine.port) for address in self._settings.announced],
            tcp=self._settings.tcp,
            slots=[*peer.audio, *peer.video],
            cname=f"vardrum{peer.number}",
            version=peer.version,
        )

    def _handshake(self, peer: Peer) -> Handshake:
        assert self._certificate is not None  # noqa: S101  # made by `start`

        def send(datagram: bytes) -> None:
            if peer.number in self._by_number:
                peer.engine.send_dtls(peer.number, datagram)

        def done(keys: Keys) -> None:
            if peer.number in self._by_number:
                peer.engine.set_keys(peer.number, keys)

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
        return [] if peer is None else place.views(peer)

    def wishes(self, room: str, participant: str, show: Sequence[Wish], pin: str | None) -> None:
        """Takes the whole list of pictures that are on a viewer's screen."""
        place = self._places.get(room)
        view = None if place is None else place.room.views.get(participant)
        if place is not None and view is not None:
            view.wish(show, pin)
            self._routing.room(room, place)

    def mute(self, room: str, participant: str, source: Source, muted: bool) -> None:
        """While muted nothing of `source` is forwarded, also from a peer that comes later."""
        place = self._places.get(room)
        if place is None:
            return
        sources = place.muted.setdefault(participant, set())
        (sources.add if muted else sources.discard)(source)
        if (peer := place.peers.get(participant)) is not None:
            peer.engine.mute(peer.number, TRACK[source], muted)

    def share(self, room: str, participant: str, on: bool) -> None:
        """Gives the screen slot to `participant`, or takes it back."""
        place = self._places.get(room)
        if place is None:
            return
        if on:
            place.room.sharer = participant
        elif place.room.sharer == participant:
            place.room.sharer = None
        self._routing.room(room, place)

    def drop(self, room: str, participant: str) -> None:
        """Closes a participant's peer: left, removed, denied or replaced."""
        place = self._places.get(room)
        if place is None:
            return
        self._remove(place, participant)
        place.muted.pop(participant, None)
        self._devices.get(room, {}).pop(participant, None)
        self._routing.room(room, place)
        self._forget(room, place)

    def close_room(self, room: str) -> None:
        """Closes everyone's peer."""
        place = self._places.pop(room, None)
        self._devices.pop(room, None)
        if place is not None:
            for participant in list(place.peers):
                self._remove(place, participant)

    def metrics(self) -> dict[str, float | Mapping[str, float] | Mapping[tuple[str, ...], float] | Distribution]:
        """Counters of all shards (`drop_…` by reason), peers, rooms, CPU seconds, and each shard's load by number.

        Also what is sent now: `pictures` by source and layer, `sound_peers` by mode.
        """
        shards = self._running
        peers = self._by_number.values()
        drops = self._handshake_drops.copy()
        for peer in peers:
            drops.update(_drops(peer))
        return {
            **shards.counters(),
            **{f"drop_{reason.replace('-', '_')}": count for reason, count in drops.items()},
            "peers": len(peers),
            "rooms": len(self._places),
            "shards": len(shards),
            "shards_dead": shards.dead,
            "peer_memory_bytes": sum(shard.engine.memory() for shard in shards),
            "joins_refused": self._refused,
            "shard_overloaded": {str(shard.number): float(shard.load.overloaded) for shard in shards},
            "shard_busy_ratio": {str(shard.number): shard.load.busy for shard in shards},
            "shard_peers": {str(shard.number): shard.peers for shard in shards},
            "cpu_seconds": sum(shard.engine.cpu_ns() for shard in shards) / 1e9,
            "round_trip_seconds": self._census.round_trip,
            "downlink_loss_ratio": self._census.downlink_loss,
            "uplink_loss_ratio": self._census.uplink_loss,
            "pictures": census.pictures(peers),
            "pictures_paused": census.paused(peers),
            "sound_peers": census.sound(peers),
        }

    def _forget(self, room: str, place: Place) -> None:
        if not place.peers and not place.room.people:
            self._places.pop(room, None)

    def _remove(self, place: Place, participant: str) -> None:
        peer = place.peers.pop(participant, None)
        if peer is None:
            return
        # Its close_notify has to leave before the engine forgets the address.
        peer.close()
        self._handshake_drops.update(_drops(peer))
        del self._by_number[peer.number]
        peer.engine.remove_peer(peer.number)
        peer.shard.peers -= 1
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
                peer.was_connected |= connected
                said = "media comes" if connected else "media has stopped"
                log.info(said, room=peer.room, participant=peer.participant)
                if not connected:
                    self._expect(peer)
                self._listener.connection(peer.room, peer.participant, connected)
            case Transport(consent=consent):
                said = "consent regained" if consent else "consent lost"
                log.info(said, room=peer.room, participant=peer.participant)
            case Layer():
                before = bool(peer.layers.get(event.track))
                peer.on_layer(event, self._now())
                if event.alive and not before:
                    asyncio.get_running_loop().call_later(GRACE, self._reroute, peer.room)
                self._reroute(peer.room)
            case Picture(slot=slot):
                if (place := self._places.get(peer.room)) is not None:
                    self._routing.picture(peer.room, place, peer, slot)

    def _reroute(self, room: str) -> None:
        if (place := self._places.get(room)) is not None:
            self._routing.room(room, place)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                now = self._now()
                self._running.measure(now)
                if self._running.dead:
                    self.failed.set()
                if not self._by_number and not self._places:
                    continue  # at night: nobody is there to be measured
                # Engines' numbers of peers are the node's: unique over all shards.
                down, up = self._running.downlinks(), self._running.uplinks()
                self._listen(now, up)
                self._adaptation.tick(now, down, up, self._by_number, self._places)
                self._census.look(now, down, self._adaptation.uplink_losses)
            except Exception:
                # One room's trouble must not end the speakers' lists and the loads of all.
                log.exception("a tick failed")

    def _listen(self, now: float, up: NDArray[np.float64]) -> None:
        sound = up[up[:, Uplink.TRACK] == MICROPHONE]
        loudness = dict(sound[:, (Uplink.PEER, Uplink.LOUDNESS)].tolist())
        for room, place in list(self._places.items()):
            heard = {
                peer.participant: loudness.get(peer.number, 0.0)
                for peer in place.peers.values()
                if peer.participant in place.room.people
            }
            if (speaking := place.speakers.update(heard, now)) is not None:
                self._listener.speaking(room, speaking)
                self._routing.room(room, place)


def _drops(peer: Peer) -> Counter[str]:
    return Counter() if peer.handshake is None else peer.handshake.drops
