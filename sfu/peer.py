"""One participant's transport as Python knows it: numbers, layers that arrive, and what each slot was last told."""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..codecs import catalogue
from . import steering
from .dtls import Handshake
from .engine import TRACKS, Credentials, Engine, Layer, Slot
from .send import declared_height
from .shards import Shard
from .types import OfferedTrack, PeerOffer, SlotSsrc

_ICE_CHARS = string.ascii_letters + string.digits
# Until a layer has been silent for so long, it may still come (CONTRACT, "Sending").
GRACE = 1.0


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
        shown: what the engine was last told for each of its slots: (peer, track, layer).
        layers: by track and layer, the pixels of the shorter side of what arrives now, 0 while unknown.
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
    version: int = 1
    handshake: Handshake | None = None
    shown: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    layers: dict[int, dict[int, int]] = field(default_factory=dict)
    first_layer: dict[int, float] = field(default_factory=dict)
    connected: bool = False
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

    def heights(self, track: int, now: float) -> dict[int, int]:
        """Pixels of the shorter side by layer, of the layers that exist.

        Before the first packet, and for a second after it, those offered count: a slot that waits for the right one
        from the start gets its first key frame.
        """
        offered = self._track(track)
        layers = self.layers.get(track, {})
        rids: tuple[str | None, ...] = offered.rids or (None,)
        expected = not layers or now < self.first_layer[track] + GRACE
        return {
            layer: layers.get(layer) or declared_height(TRACKS[track], rid)
            for layer, rid in enumerate(rids)
            if layer in layers or expected
        }

    def _track(self, track: int) -> OfferedTrack:
        return (self.offer.microphone, self.offer.camera, self.offer.screen)[track]

    def close(self) -> None:
        """Ends the handshake and the clock; the engine's peer is the caller's to remove."""
        if self.handshake is not None:
            self.handshake.close()
        if self.expiry is not None:
            self.expiry.cancel()


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
