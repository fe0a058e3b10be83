"""The engine's typed face: commands go down as bytes, events and tables come up.

One `Engine` is one shard: a native thread with one UDP port (`sfu/engine`). The layout of commands and events is
known here and in `sfu/engine/src/command.rs` and `event.rs`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

import cffi
import numpy as np
import structlog
from numpy.typing import NDArray

from ..codecs import catalogue
from .dtls import Keys
from .sound import SoundMode
from .types import OfferedTrack, Payload, PeerOffer

log = structlog.get_logger(__name__)

_ffi = cffi.FFI()
_ffi.cdef("""
    typedef struct shard shard;
    shard *vardrum_shard_start(
        const uint8_t *ip, size_t ip_len, uint16_t port, bool gso, bool tcp, uint8_t *error, size_t error_len);
    void vardrum_shard_stop(shard *);
    uint16_t vardrum_shard_port(const shard *);
    int vardrum_shard_event_fd(const shard *);
    int vardrum_shard_command(const shard *, const uint8_t *bytes, size_t len);
    size_t vardrum_shard_events(const shard *, uint8_t *out, size_t len);
    size_t vardrum_shard_counters(const shard *, uint64_t *out, size_t len);
    bool vardrum_shard_alive(const shard *);
    uint64_t vardrum_shard_cpu(const shard *);
    uint64_t vardrum_shard_memory(const shard *);
    size_t vardrum_names(int which, char *out, size_t len);

    typedef struct tables tables;
    tables *vardrum_shard_tables(const shard *);
    void vardrum_tables_free(tables *);
    const double *vardrum_tables_newest(tables *, int which, size_t *count);

    typedef struct srtp srtp;
    srtp *vardrum_srtp_new(uint16_t profile, const uint8_t *key, size_t key_len, const uint8_t *salt, size_t salt_len);
    void vardrum_srtp_free(srtp *);
    intptr_t vardrum_srtp_seal(srtp *, uint8_t *buffer, size_t room, size_t len, uint32_t roll_over);
    intptr_t vardrum_srtp_open(srtp *, uint8_t *buffer, size_t len);
    intptr_t vardrum_opus_join(const uint8_t *packets, const uint16_t *lens, size_t count, uint8_t *out, size_t room);
""")

# The order of tracks and the numbers of header extensions on the border (`command.rs`).
TRACKS = ("microphone", "camera", "screen")
MICROPHONE, CAMERA, SCREEN = range(3)
EXTENSIONS: Mapping[str, int] = {
    "urn:ietf:params:rtp-hdrext:sdes:mid": 0,
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id": 1,
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id": 2,
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01": 3,
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time": 4,
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level": 5,
    catalogue.EXTENSION_DEPENDENCY_DESCRIPTOR: 6,
}
_NO_APT = 255
_EVENTS = 1 << 18


class Uplink(IntEnum):
    """Columns of `Engine.uplinks`: one row for each layer that a peer has ever sent. All counts are since it joined."""

    PEER = 0
    TRACK = 1  # number in TRACKS
    LAYER = 2  # number of the rid in the offer
    ALIVE = 3  # 1 while packets come
    PACKETS = 4  # received first-hand
    LOST = 5  # never received first-hand; falls where one comes late
    BYTES = 6  # of payload
    LOUDNESS = 7  # 0 to 127 (RFC 6464 turned round), 0 while muted; of the track
    ROUND_TRIP_US = 8  # to the peer
    FRAMES = 9  # pictures; of sound: packets
    KEY_FRAMES = 10
    JITTER_US = 11  # RFC 3550, section 6.4.1
    REPAIRED = 12  # came by RTX, by RED, or because they were asked for


class Downlink(IntEnum):
    """Columns of `Engine.downlinks`: one row for each peer with keys.

    Counts are since it joined. Bytes and rates are those on the wire, IP and UDP headers included, of RTP: sound,
    pictures, repairs and padding.
    """

    PEER = 0
    SENT_PACKETS = 1
    SENT_BYTES = 2
    ACKED_PACKETS = 3  # by transport-cc feedback, as are the next three
    ACKED_BYTES = 4
    LOST_PACKETS = 5  # falls where one comes late
    ROUND_TRIP_US = 6  # 100,000 while unknown
    QUEUE_DELAY_US = 7  # one-way delay against its least of the last 10 s
    TREND = 8  # growth of that delay over time, without a unit: 0.1 is 100 ms each second
    ACKED_RATE_BPS = 9  # bit/s that arrived, over about 500 ms
    SOUND_LOSS = 10  # 0 to 1, of the newest receiver reports on audio slots; NaN without
    PICTURE_LOSS = 11  # the same on video slots
    REMB_BPS = 12  # receiver estimated maximum bitrate; 0 without
    PROBE_ID = 13  # of the newest probe; 0 without
    PROBE_RATE_BPS = 14  # bit/s at which it came through; 0 while unknown
    HELD_PACKETS = 15  # in the pacer
    TARGET_BPS = 16  # bit/s; 0 for none
    NACKS = 17  # packets that the peer has asked for again
    FEEDBACK_AGE_US = 18  # since the newest transport-cc feedback; NaN without
    IN_FLIGHT_BYTES = 19  # sent after the newest packet that was received
    SOUND_ACKED = 20  # of ACKED_PACKETS
    SOUND_LOST = 21  # of LOST_PACKETS


def _library() -> Any:
    spec = importlib.util.find_spec("._engine", __package__)
    if spec is None or spec.origin is None:
        raise ImportError("the engine is not built; `make run` or `pip install` builds it")
    return _ffi.dlopen(spec.origin)


_lib = _library()


@dataclass(frozen=True)
class Credentials:
    """ICE user fragment and password (RFC 8839, section 5.4)."""

    ufrag: str
    pwd: str


@dataclass(frozen=True)
class Slot:
    """A slot as the engine knows it; `rtx_ssrc` None for sound."""

    video: bool
    mid: str
    ssrc: int
    rtx_ssrc: int | None


@dataclass(frozen=True)
class Dtls:
    """A DTLS datagram from a validated address of `peer`."""

    peer: int
    datagram: bytes


@dataclass(frozen=True)
class Connection:
    """Something authentic came within 5 s, or stopped coming."""

    peer: int
    connected: bool


@dataclass(frozen=True)
class Layer:
    """A layer began or ceased to arrive; `width` and `height` are of its newest key frame, 0 while unknown."""

    peer: int
    track: int
    layer: int
    alive: bool
    width: int
    height: int


@dataclass(frozen=True)
class Path:
    """ICE has chosen, for the first time or anew, where to send to."""

    peer: int


@dataclass(frozen=True)
class Transport:
    """Consent to send (RFC 7675) was lost: nothing came for 30 s from where media goes; or it is there again."""

    peer: int
    consent: bool


@dataclass(frozen=True)
class Picture:
    """The first whole picture has gone out of whom `show` put into a slot of `peer`."""

    peer: int
    slot: int


Event = Dtls | Connection | Layer | Path | Transport | Picture


class EngineError(Exception):
    """The engine could not start, or was given something it can't read."""


class Engine:
    """One shard.

    Args:
        ip: address to bind.
        port: UDP port; 0 lets the system choose.
        on_event: called on the event loop for each event.
        gso: whether datagrams of one size for one destination may go out as one, where kernel and device can.
        tcp: whether the same port takes TCP connections too.

    Raises:
        EngineError: the address can't be bound.
    """

    def __init__(
        self, ip: str, port: int, on_event: Callable[[Event], None], *, gso: bool = True, tcp: bool = False
    ) -> None:
        error = _ffi.new("uint8_t[]", 256)
        text = ip.encode()
        self._shard = _lib.vardrum_shard_start(text, len(text), port, gso, tcp, error, 256)
        if self._shard == _ffi.NULL:
            reason = bytes(_ffi.buffer(error, 256)).split(b"\0")[0].decode(errors="replace")
            raise EngineError(f"media.ip {ip}, media.port {port}: {reason}")
        self.port: int = _lib.vardrum_shard_port(self._shard)
        self._on_event = on_event
        self._buffer = _ffi.new("uint8_t[]", _EVENTS)
        self._tables = _ffi.gc(_lib.vardrum_shard_tables(self._shard), _lib.vardrum_tables_free)
        self._loop = asyncio.get_running_loop()
        self._fd: int = _lib.vardrum_shard_event_fd(self._shard)
        self._loop.add_reader(self._fd, self._read)

    def stop(self) -> None:
        """Ends the thread; may be called twice."""
        if self._shard is not None:
            self._loop.remove_reader(self._fd)
            _lib.vardrum_shard_stop(self._shard)
            self._shard = None

    def add_peer(self, peer: int, local: Credentials, offer: PeerOffer, slots: Sequence[Slot]) -> None:
        """Makes a peer of an offer; `peer` is any number not in use, above 0."""
        remote = Credentials(offer.ufrag, offer.pwd)
        known = [(EXTENSIONS[uri], id_) for uri, id_ in offer.extensions.items() if uri in EXTENSIONS]
        tracks = (offer.microphone, offer.camera, offer.screen)
        self._command(
            struct.pack("<BI", 1, peer),
            _credentials(local),
            _credentials(remote),
            _list(_payload(payload) for payload in offer.payloads),
            _list(struct.pack("<BB", number, id_) for number, id_ in known),
            *(_track(track) for track in tracks),
            _list(_slot(slot) for slot in slots),
        )

    def restart_ice(self, peer: int, local: Credentials, remote: Credentials) -> None:
        """New credentials; the former stay valid until the new ones are used."""
        self._command(struct.pack("<BI", 2, peer), _credentials(local), _credentials(remote))

    def set_keys(self, peer: int, keys: Keys) -> None:
        """SRTP may flow from here on."""
        self._command(
            struct.pack("<BIH", 3, peer, keys.profile),
            *(_bytes(part) for part in (keys.rx_key, keys.rx_salt, keys.tx_key, keys.tx_salt)),
        )

    def send_dtls(self, peer: int, datagram: bytes) -> None:
        """Sends a handshake datagram to where ICE says."""
        self._command(struct.pack("<BIH", 4, peer, len(datagram)), datagram)

    def show(
        self, viewer: int, slot: int, publisher: int, track: int, layer: int, temporal: int = 255, *, asks: bool = True
    ) -> None:
        """Shows a layer of `publisher` in a slot from its next key frame on; nobody where `publisher` is 0.

        `temporal` is the highest temporal layer that goes out, 255 all: less from the next picture on, more from the
        first on that can be decoded. `asks`: for that key frame at once; else one is expected to come by itself, and
        is asked for where it hasn't come after 0.5 s.
        """
        self._command(struct.pack("<BIBIBBBB", 5, viewer, slot, publisher, track, layer, temporal, asks))

    def mute(self, peer: int, track: int, muted: bool) -> None:
        """While muted nothing of the track is forwarded."""
        self._command(struct.pack("<BIBB", 6, peer, track, muted))

    def set_target(self, peer: int, bits_per_second: int) -> None:
        """Sends a peer no more than so much on the wire: pictures wait for their turn; sound never does.

        Args:
            bits_per_second: headers, sound, repairs and padding included; 0 sends everything as it comes.
        """
        self._command(struct.pack("<BII", 9, peer, bits_per_second))

    def probe(self, peer: int, probe: int, bits_per_second: int, milliseconds: int) -> None:
        """Sends a peer so much for so long, padding where its media are less, to see how fast that comes through.

        Args:
            peer: whom.
            probe: 1 to 65535; the row of `downlinks` has it in PROBE_ID, and its result in PROBE_RATE_BPS. The former
                probe ends.
            bits_per_second: on the wire, media included.
            milliseconds: up to 65535; 100 are enough where that is 5 packets or more (padding goes in packets of about
                330 bytes). The result comes with the feedback on the last one, within a round trip and 300 ms.
        """
        self._command(struct.pack("<BIHIH", 10, peer, probe, bits_per_second, milliseconds))

    def remove_peer(self, peer: int) -> None:
        """Forgets the peer; slots that show it show nobody."""
        self._command(struct.pack("<BI", 7, peer))

    def set_sound(self, peer: int, mode: SoundMode) -> None:
        """How sound goes to `peer` from its next packets on; whatever it was before, numbers and times go on."""
        flags = mode.joined | mode.pauses_dropped << 1
        self._command(struct.pack("<BIBBB", 8, peer, mode.redundancy, mode.copies, flags))

    def counters(self) -> dict[str, int]:
        """All counters by name, at most 100 ms old; those that begin with `drop_` say why packets went no further."""
        values = np.zeros(len(COUNTERS), dtype=np.uint64)
        count = _lib.vardrum_shard_counters(self._shard, _ffi.cast("uint64_t *", values.ctypes.data), len(values))
        return {name: int(value) for name, value in zip(COUNTERS[:count], values, strict=False)}

    def uplinks(self) -> NDArray[np.float64]:
        """Shape (layers that have ever sent, len(Uplink)), at most 100 ms old.

        A read-only view of the engine's memory: what it shows is another table after the next call.
        """
        return self._view(_UPLINKS, len(Uplink))

    def downlinks(self) -> NDArray[np.float64]:
        """Shape (peers with keys, len(Downlink)), at most 100 ms old; a view as `uplinks`' is."""
        return self._view(_DOWNLINKS, len(Downlink))

    def _view(self, which: int, columns: int) -> NDArray[np.float64]:
        count = _ffi.new("size_t *")
        numbers = _lib.vardrum_tables_newest(self._tables, which, count)
        return np.asarray(_Rows(self._tables, int(_ffi.cast("uintptr_t", numbers)), count[0] // columns, columns))

    @property
    def alive(self) -> bool:
        """False once the shard's thread has panicked: nothing of it comes or goes any more."""
        return bool(_lib.vardrum_shard_alive(self._shard))

    def cpu_ns(self) -> int:
        """CPU time of the shard's thread in nanoseconds, at most 100 ms old."""
        return int(_lib.vardrum_shard_cpu(self._shard))

    def memory(self) -> int:
        """Bytes that the shard holds for its peers, at most a second old; OpenSSL's own are not in it."""
        return int(_lib.vardrum_shard_memory(self._shard))

    def _command(self, *parts: bytes) -> None:
        message = b"".join(parts)
        if self._shard is None or _lib.vardrum_shard_command(self._shard, message, len(message)) != 0:
            raise EngineError(f"command {message[0]} was not taken")

    def _read(self) -> None:
        length = _lib.vardrum_shard_events(self._shard, self._buffer, _EVENTS)
        data = bytes(_ffi.buffer(self._buffer, length))
        at = 0
        while at < length:
            (size,) = struct.unpack_from("<H", data, at)
            event = _event(data[at + 2 : at + 2 + size])
            at += 2 + size
            try:
                self._on_event(event)
            except Exception:
                # The events behind it are other people's.
                log.exception("an event was not handled", kind=type(event).__name__)
            if self._shard is None:  # stopped by the listener
                return


def _event(data: bytes) -> Event:
    kind, peer = struct.unpack_from("<BI", data)
    match kind:
        case 1:
            return Dtls(peer, data[5:])
        case 2:
            return Connection(peer, bool(data[5]))
        case 3:
            track, layer, alive, width, height = struct.unpack_from("<BBBHH", data, 5)
            return Layer(peer, track, layer, bool(alive), width, height)
        case 4:
            return Path(peer)
        case 5:
            return Transport(peer, bool(data[5]))
        case 6:
            return Picture(peer, data[5])
    raise EngineError(f"event {kind} is not known")


def _bytes(data: bytes) -> bytes:
    if len(data) > 255:
        raise EngineError("longer than 255 bytes")
    return bytes((len(data),)) + data


def _list(items: Iterable[bytes]) -> bytes:
    listed = list(items)
    if len(listed) > 255:
        raise EngineError("more than 255 items")
    return bytes((len(listed),)) + b"".join(listed)


def _credentials(credentials: Credentials) -> bytes:
    return _bytes(credentials.ufrag.encode()) + _bytes(credentials.pwd.encode())


def _payload(payload: Payload) -> bytes:
    if payload.apt is not None:
        return bytes((payload.payload_type, 0, payload.apt))
    return bytes((payload.payload_type, catalogue.NUMBERS[payload.codec], _NO_APT))


def _track(track: OfferedTrack) -> bytes:
    return (
        _bytes(track.mid.encode())
        + _list(_bytes(rid.encode()) for rid in track.rids)
        + _list(struct.pack("<II", primary, rtx or 0) for primary, rtx in track.ssrcs[:8])
    )


def _slot(slot: Slot) -> bytes:
    return struct.pack("<B", slot.video) + _bytes(slot.mid.encode()) + struct.pack("<II", slot.ssrc, slot.rtx_ssrc or 0)


def _names(which: int) -> tuple[str, ...]:
    out = _ffi.new("char[]", 8192)
    length = _lib.vardrum_names(which, out, 8192)
    return tuple(cast("bytes", _ffi.buffer(out, length)[:]).decode().split())


COUNTERS = _names(0)
_UPLINKS, _DOWNLINKS = 0, 1
for _number, _columns in enumerate((Uplink, Downlink), start=1):
    if _names(_number) != tuple(column.name.lower() for column in _columns):
        raise ImportError(f"the engine's {_columns.__name__.lower()} table has other columns: it is of another version")


class _Rows:
    """Rows of numbers in memory that `owner` keeps; numpy makes a view of it that keeps this."""

    def __init__(self, owner: object, address: int, rows: int, columns: int) -> None:
        self._owner = owner
        self.__array_interface__ = {
            "version": 3,
            "typestr": np.dtype(np.float64).str,
            "shape": (rows, columns),
            "data": (address, True),
        }


class Srtp:
    """SRTP and SRTCP both ways under one master key: the engine's own, for tests against other implementations.

    Raises:
        EngineError: the profile is not known, or the key or salt is not as long as it asks.
    """

    def __init__(self, profile: int, key: bytes, salt: bytes) -> None:
        srtp = _lib.vardrum_srtp_new(profile, key, len(key), salt, len(salt))
        if srtp == _ffi.NULL:
            raise EngineError("no such profile, or a key or salt of another length")
        self._srtp = _ffi.gc(srtp, _lib.vardrum_srtp_free)

    def seal(self, packet: bytes, roll_over: int = 0) -> bytes:
        """The sealed packet; SRTCP indices are counted, the roll-over counter of SRTP is the caller's."""
        buffer = _ffi.new("uint8_t[]", packet + bytes(64))
        length = _lib.vardrum_srtp_seal(self._srtp, buffer, len(packet) + 64, len(packet), roll_over)
        if length < 0:
            raise EngineError("not an RTP or RTCP packet")
        return bytes(_ffi.buffer(buffer, length))

    def open(self, packet: bytes) -> bytes | None:
        """The opened packet; None for one that is forged, replayed or malformed."""
        buffer = _ffi.new("uint8_t[]", packet)
        length = _lib.vardrum_srtp_open(self._srtp, buffer, len(packet))
        return bytes(_ffi.buffer(buffer, length)) if length >= 0 else None


def join_opus(packets: Sequence[bytes]) -> bytes | None:
    """One Opus packet of several, as the engine joins them; None where they can't be joined. For tests alone."""
    out = _ffi.new("uint8_t[]", 65_536)
    lens = _ffi.new("uint16_t[]", [len(packet) for packet in packets])
    length = _lib.vardrum_opus_join(b"".join(packets), lens, len(packets), out, 65_536)
    return bytes(_ffi.buffer(out, length)) if length >= 0 else None
