"""The words that control and media share: plain values, no behaviour."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal, Protocol

Source = Literal["microphone", "camera", "screen"]
Level = Literal["good", "poor", "sound_only", "lost"]
# Whose network or phone it is, from the side of the one who is told; "" where all is well.
Reason = Literal["", "your_network", "their_network", "your_phone", "their_phone"]
# Of one's own quality: what comes to them is bad, what goes from them, or both.
Way = Literal["", "down", "up", "both"]
# `qualityLimitationReason` of W3C webrtc-stats.
Limitation = Literal["none", "cpu", "bandwidth", "other"]


@dataclass(frozen=True)
class MediaSettings:
    """Where this node sends and receives media.

    Attributes:
        ip: the address that is bound, IPv4 or IPv6.
        public_ips: the addresses that are announced in candidates, the best first; `ip` where there are none.
        port: UDP port of the first shard, the others' follow; 0 lets the system choose each.
        shards: how many native threads move packets, one UDP port each.
        gso: whether the kernel is given datagrams of one size for one destination as one (UDP GSO).
        tcp: whether the same ports take TCP too (RFC 6544), for networks that let no UDP through.
    """

    ip: str = "127.0.0.1"
    public_ips: tuple[str, ...] = ()
    port: int = 40000
    shards: int = 1
    gso: bool = True
    tcp: bool = True

    @property
    def announced(self) -> tuple[str, ...]:
        """The addresses of candidates."""
        return self.public_ips or (self.ip,)


@dataclass(frozen=True)
class Device:
    """What a page says of its device in `hello` (CONTRACT, Websocket); everything may be missing."""

    memory: float | None = None
    cores: int | None = None
    mobile: bool | None = None
    network: str | None = None
    save_data: bool | None = None
    efficient: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeviceStats:
    """What a page measured since its former report; pages report every 2 s.

    Attributes:
        seconds: how long the interval was.
        decoded, dropped: frames of all pictures that were decoded; those of them not drawn for want of time.
        decode_ms: mean time that a frame took to decode; None while nothing was decoded.
        limitation: why the camera is sent smaller or slower than asked for; None while it isn't sent.
        battery: 0 to 1, None where unknown or charging.
        pictures: slots in which frames were decoded; height: of the tallest, its shorter side in pixels.
        codecs: MIME types of what was decoded.
    """

    seconds: float
    decoded: int = 0
    dropped: int = 0
    decode_ms: float | None = None
    limitation: Limitation | None = None
    battery: float | None = None
    pictures: int = 0
    height: int = 0
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Person:
    """Somebody who may have media in a room now.

    Attributes:
        with_host: for someone `identifying`, the host whom they see.
        sign_language: interprets it: their picture is what others listen to.
    """

    id: str
    state: Literal["admitted", "identifying"]
    host: bool = False
    with_host: str | None = None
    sign_language: bool = False


@dataclass(frozen=True)
class Offer:
    """A client's `offer`: `restart` is an ICE restart of the peer one has, else a new peer."""

    id: int
    sdp: str
    restart: bool = False


@dataclass(frozen=True)
class Wish:
    """A picture that is on a viewer's screen, `max_height` pixels tall (its shorter side)."""

    participant: str
    source: Literal["camera", "screen"]
    max_height: int


@dataclass(frozen=True)
class SlotView:
    """Whom a viewer's slot shows, in the viewer's own mid."""

    mid: str
    participant: str
    source: Source
    paused: bool = False


@dataclass(frozen=True)
class Welcome:
    """The part of `welcome` that media decides."""

    slots: Mapping[str, int]
    send: Mapping[str, Any]
    media: Literal["kept", "new"]
    device_class: str


class OfferRefused(Exception):
    """An offer that can't be answered; nothing has changed.

    Attributes:
        code: for machines, such as `bad-offer`.
        detail: for the developer of the page: what was expected.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Listener(Protocol):
    """What a node tells; called on the event loop, must not block."""

    def slots_changed(self, room: str, participant: str, slots: list[SlotView]) -> None: ...

    def speaking(self, room: str, participants: list[str]) -> None: ...

    def connection(self, room: str, participant: str, connected: bool) -> None: ...

    def expired(self, room: str, participant: str) -> None: ...

    def send_changed(self, room: str, participant: str, send: Mapping[str, Any]) -> None: ...

    def quality(self, room: str, to: str, participant: str, level: Level, reason: Reason, way: Way) -> None: ...


@dataclass(frozen=True)
class PeerOffer:
    """An offer, read and checked: everything that the engine and the rooms need of it.

    Attributes:
        payloads: what each payload type means for this peer, one table over all m-lines (BUNDLE, RFC 8843, 9.2).
        extensions: header extension URI to id, one table over all m-lines.
        tracks: the client's microphone, camera and screen.
        slots: mids of recvonly lines, in order.
        sections: all m-lines in order, with what `sdp.write_answer` needs of them.
    """

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    payloads: tuple[Payload, ...]
    extensions: Mapping[str, int]
    microphone: OfferedTrack
    camera: OfferedTrack
    screen: OfferedTrack
    audio_slots: tuple[str, ...]
    video_slots: tuple[str, ...]
    sections: tuple[Section, ...] = ()
    allow_mixed: bool = False


@dataclass(frozen=True)
class Payload:
    """One payload type: `codec` as in `codecs.catalogue`; for an rtx type, `apt` is what it repairs."""

    payload_type: int
    codec: str
    apt: int | None = None


@dataclass(frozen=True)
class Format:
    """A payload type as it stands in the answer: its `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` values."""

    payload_type: int
    rtpmap: str
    fmtp: str = ""
    feedback: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """One m-line of an offer, checked, and cut down to what is answered.

    Attributes:
        formats: in the order of the answer.
        extensions: (id, URI) pairs; the id with its direction as we answer it (`7/recvonly`) where the offer had one.
        rids: of the layers that the client sends.
    """

    kind: Literal["audio", "video"]
    mid: str
    formats: tuple[Format, ...]
    extensions: tuple[tuple[str, str], ...]
    rids: tuple[str, ...] = ()
    reduced_size: bool = False
    allow_mixed: bool = False


@dataclass(frozen=True)
class OfferedTrack:
    """A sending m-line.

    Attributes:
        rids: as offered, in order; empty for one encoding.
        ssrcs: (primary, rtx or None) pairs where the client declares them.
    """

    mid: str
    rids: tuple[str, ...] = ()
    ssrcs: tuple[tuple[int, int | None], ...] = field(default=())


@dataclass(frozen=True)
class SlotSsrc:
    """A slot's streams in the answer: a primary SSRC, one for RTX where it carries pictures; `msid` its stream id."""

    mid: str
    ssrc: int
    rtx_ssrc: int | None
    msid: str


class Distribution:
    """How often something was how large, since the start.

    Attributes:
        about: what it is, for who reads figures.
        sum: of all values.
    """

    def __init__(self, about: str, bounds: tuple[float, ...]) -> None:
        """`bounds`: upper ends of the ranges that are told apart, growing; what is larger than all has one more."""
        self.about = about
        self.sum = 0.0
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    def add(self, values: Iterable[float]) -> None:
        """Counts values; none of them NaN."""
        for value in values:
            self._counts[bisect_left(self._bounds, value)] += 1
            self.sum += value

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Upper ends, the last `+Inf`, and how many values were no larger."""
        ends = [*map(str, self._bounds), "+Inf"]
        return zip(ends, accumulate(self._counts), strict=True)
