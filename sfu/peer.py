"""One participant's transport as Python knows it: numbers, layers that arrive, and what each slot was last told."""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..codecs import catalogue
from . import steering
from .allocation import NOTHING, Allocation, Want
from .bandwidth import START
from .devices import DeviceState
from .dtls import Handshake
from .engine import TRACKS, Credentials, Engine, Layer, Slot
from .publishing import Publishing
from .rates import PACKET_OVERHEAD
from .shards import Shard
from .types import OfferedTrack, PeerOffer, SlotSsrc

_ICE_CHARS = string.ascii_letters + string.digits
# Until a layer has been silent for so long, it may still come (CONTRACT, "Sending").
GRACE = 1.0
# A layer that was switched on and hasn't come within can't be sent: the browser, or its network, doesn't bear it.
COMES_WITHIN = 5.0


# A camera that hasn't begun to send within is off.
EXPECTED = 5.0


@dataclass(frozen=True)
class Rung:
    """A layer as it can be shown.

    Attributes:
        height: pixels of its shorter side.
        declared: bit/s on the wire, as large as it may be; asked: as large as it is asked to be now.
        alive: whether it comes now.
    """

    height: int
    declared: float
    asked: float
    alive: bool


def new_credentials() -> Credentials:
    """Fresh ICE credentials: 47 and 142 bits (RFC 8445, section 5.3, asks for 24 and 128)."""
    return Credentials(*("".join(secrets.choice(_ICE_CHARS) for _ in range(n)) for n in (8, 24)))


@dataclass
class Peer:
    """A participant's one transport.

    Attributes:
        number: what the engine calls it; unique over all shards.
        shard: where its room lives.
        audio, video: the slots, in order; both numbered from 0 in the offer, one after the other in the engine.
        shown: what the engine was last told for each of its slots: (peer, track, layer, temporal).
        layers: by track and layer, the pixels of the shorter side of what arrives now, 0 while unknown.
        device: what it bears; publishing: what it is asked to send.
        target: bit/s on the wire that may be sent to it; pace: as the engine was last told.
        congested: whether a queue grows on the way to it; queue: how long, in seconds, what arrived last waited there.
        loss_down: share of sound that it lost, as it reports.
        wants, allocation: what it wishes for, and what of that it is sent; decided: when that was last decided.
        waits: it was connected ahead of being let in, and is sent nothing, not even probes.
        awaited: slots whose picture was paused and is to come back, but has not gone out yet.
        sends, decodes: codecs, as `steering` has them; codec: the MIME type of what it is asked to send pictures in.
    """

    room: str
    participant: str
    number: int
    shard: Shard
    offer: PeerOffer
    audio: tuple[SlotSsrc, ...]
    video: tuple[SlotSsrc, ...]
    started: float
    device: DeviceState
    publishing: Publishing
    version: int = 1
    handshake: Handshake | None = None
    shown: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    target: float = START
    pace: float = 0.0
    congested: bool = False
    queue: float = 0.0
    loss_down: float = 0.0
    wants: list[Want] = field(default_factory=list)
    allocation: Allocation = NOTHING
    decided: float = 0.0
    awaited: set[int] = field(default_factory=set)
    layers: dict[int, dict[int, int]] = field(default_factory=dict)
    first_layer: dict[int, float] = field(default_factory=dict)
    connected: bool = False
    was_connected: bool = False
    waits: bool = False
    expiry: asyncio.TimerHandle | None = None
    sends: tuple[str, ...] = field(init=False)
    decodes: frozenset[str] | None = field(init=False)
    codec: str | None = field(init=False)

    def __post_init__(self) -> None:
        """Reads out of the offer what is needed each time somebody comes or goes."""
        self.sends, self.decodes = steering.sends(self.offer), steering.decodes(self.offer)
        self.codec = catalogue.BY_NAME[self.sends[0]].mime if self.sends else None

    @property
    def engine(self) -> Engine:
        """The shard's engine, which has this peer."""
        return self.shard.engine

    @property
    def slots(self) -> list[Slot]:
        """The slots in the engine's order."""
        return [
            *(Slot(False, slot.mid, slot.ssrc, None) for slot in self.audio),
            *(Slot(True, slot.mid, slot.ssrc, slot.rtx_ssrc) for slot in self.video),
        ]

    @property
    def offers_red(self) -> bool:
        """Whether sound can go to this peer as RED (RFC 2198)."""
        return any(payload.codec == "red" for payload in self.offer.payloads)

    @property
    def gives_feedback(self) -> bool:
        """Whether it will tell what of all that is sent to it has arrived (transport-cc)."""
        return catalogue.EXTENSION_TRANSPORT_CC in self.offer.extensions

    def audio_slot(self, pair: int) -> int | None:
        """The engine's number of a pair's audio slot; None where the client has fewer."""
        return pair if pair < len(self.audio) else None

    def video_slot(self, place: int) -> int | None:
        """The engine's number of a video slot; None where the client has fewer."""
        return len(self.audio) + place if place < len(self.video) else None

    def on_layer(self, event: Layer, now: float) -> None:
        """A layer came, went or changed its size."""
        layers = self.layers.setdefault(event.track, {})
        if not event.alive:
            layers.pop(event.layer, None)
            return
        if not layers:
            self.first_layer[event.track] = now
        layers[event.layer] = min(event.width, event.height)

    def rungs(self, track: int, now: float) -> dict[int, Rung]:
        """The layers that there are, or could be if they were asked for.

        Before the first packet, and for a second after it, those offered count as there: a slot that waits for the
        right one from the start gets its first key frame.
        """
        layers = self.layers.get(track, {})
        rids: tuple[str | None, ...] = self._track(track).rids or (None,)
        expected = not layers or now < self.first_layer[track] + GRACE
        found = {}
        for layer, rid in enumerate(rids):
            if TRACKS[track] == "camera" and self.publishing.in_trouble and layer not in self.publishing.encodings_on:
                # What still comes of it stood in the sender's queue, and holds up what is wanted instead.
                continue
            alive = layer in layers or expected
            if alive or self.publishing.may_come(TRACKS[track], layer, now, COMES_WITHIN):
                height, payload = self.publishing.declared(TRACKS[track], rid)
                asked = min(self.publishing.asked(TRACKS[track], layer), payload)
                found[layer] = Rung(layers.get(layer) or height, on_wire(payload), on_wire(asked), alive)
        return found

    def is_off(self, track: int, now: float) -> bool:
        """Whether nothing comes of a track that should: no camera, or one that was taken away.

        Before its first packet a camera is waited for, so that its viewers have room for it.
        """
        if self.layers.get(track):
            return False
        return track in self.first_layer or now - self.started > EXPECTED

    def _track(self, track: int) -> OfferedTrack:
        return (self.offer.microphone, self.offer.camera, self.offer.screen)[track]

    def close(self) -> None:
        """Ends the handshake and the clock; the engine's peer is the caller's to remove."""
        if self.handshake is not None:
            self.handshake.close()
        if self.expiry is not None:
            self.expiry.cancel()


def on_wire(payload: float) -> float:
    """bit/s on the wire of a picture of so many bit/s at 20 frames a second: a packet each, or one for 900 bytes."""
    return payload + max(0.09 * payload, 20 * PACKET_OVERHEAD * 8)


def new_slots(offer: PeerOffer, pairs: int) -> tuple[tuple[SlotSsrc, ...], tuple[SlotSsrc, ...]]:
    """SSRCs and streams for an offer's slots: audio and video of a pair share one stream; the screen has its own."""
    ssrcs = _ssrcs()
    audio = tuple(SlotSsrc(mid, next(ssrcs), None, f"pair{i}") for i, mid in enumerate(offer.audio_slots[:pairs]))
    video = tuple(
        SlotSsrc(mid, next(ssrcs), next(ssrcs), f"pair{i}" if i < pairs else "screen")
        for i, mid in enumerate(offer.video_slots[: pairs + 1])
    )
    return audio, video


def _ssrcs() -> Iterator[int]:
    """Random, distinct and not 0."""
    seen = {0}
    while True:
        ssrc = secrets.randbits(32)
        if ssrc not in seen:
            seen.add(ssrc)
            yield ssrc
