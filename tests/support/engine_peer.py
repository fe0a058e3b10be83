"""A peer of the engine over a real socket: ICE, SRTP, layers with RTX out, slots with NACK in; no browser, no DTLS."""

from __future__ import annotations

import hashlib
import hmac
import random
import select
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vardrum.codecs import catalogue
from vardrum.sfu.dtls import Keys
from vardrum.sfu.engine import Credentials, Engine, Slot, Srtp
from vardrum.sfu.types import OfferedTrack, Payload, PeerOffer

MID, RID, REPAIRED_RID, DEPENDENCY = 4, 10, 11, 12
OPUS = 111
TYPES = {"vp8": 96, "h264-1": 102, "vp9": 98, "av1": 45}
GCM_128 = 7
LAYERS = ("l", "h")
DEADLINE = 5.0
_COOKIE = bytes.fromhex("2112a442")


@dataclass(frozen=True)
class Packet:
    """An RTP packet in the clear."""

    ssrc: int
    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    extensions: Mapping[int, bytes] = field(default_factory=dict)

    def written(self) -> bytes:
        """RFC 3550 with extensions in the form that their sizes need (RFC 8285)."""
        short = all(len(data) <= 16 for data in self.extensions.values())
        elements = b"".join(
            (bytes((number << 4 | len(data) - 1,)) if short else bytes((number, len(data)))) + data
            for number, data in self.extensions.items()
        )
        elements += bytes(-len(elements) % 4)
        head = struct.pack(
            ">BBHII",
            0x90 if elements else 0x80,
            self.marker << 7 | self.payload_type,
            self.sequence,
            self.timestamp,
            self.ssrc,
        )
        if elements:
            head += struct.pack(">HH", 0xBEDE if short else 0x1000, len(elements) // 4) + elements
        return head + self.payload


def parse(data: bytes) -> Packet:
    """Reads what `Srtp.open` gave; padding is taken off."""
    first, second, sequence, timestamp, ssrc = struct.unpack_from(">BBHII", data)
    at = 12 + 4 * (first & 15)
    extensions: dict[int, bytes] = {}
    if first & 0x10:
        form, words = struct.unpack_from(">HH", data, at)
        end = at + 4 + 4 * words
        at += 4
        while at < end:
            if data[at] == 0:
                at += 1
                continue
            if form == 0xBEDE:
                number, size, at = data[at] >> 4, (data[at] & 15) + 1, at + 1
            else:
                number, size, at = data[at], data[at + 1], at + 2
            extensions[number] = data[at : at + size]
            at += size
        at = end
    payload = data[at : len(data) - data[-1]] if first & 0x20 else data[at:]
    return Packet(ssrc, second & 0x7F, sequence, timestamp, bool(second & 0x80), payload, extensions)


class EnginePeer:
    """One peer with a microphone, two camera layers, a slot of sound and one of pictures."""

    def __init__(self, engine: Engine, number: int, chance: random.Random) -> None:
        self._chance = chance
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self._to = ("127.0.0.1", engine.port)
        self.number = number
        server, client = Credentials(f"serv{number}", "p" * 22), Credentials(f"clie{number}", "q" * 22)
        self._username, self._password = f"{server.ufrag}:{client.ufrag}".encode(), server.pwd.encode()
        self.sound_ssrc, self.slot_ssrc, self.slot_rtx = (1000 * number + i for i in range(3))
        self._sounds = 0
        payloads = [Payload(OPUS, "opus")]
        payloads += [Payload(number, codec) for codec, number in TYPES.items()]
        payloads += [Payload(number + 1, catalogue.RTX, number) for number in TYPES.values()]
        offer = PeerOffer(
            ufrag=client.ufrag,
            pwd=client.pwd,
            fingerprints=(),
            payloads=tuple(payloads),
            extensions={
                catalogue.EXTENSION_MID: MID,
                catalogue.EXTENSION_RID: RID,
                catalogue.EXTENSION_REPAIRED_RID: REPAIRED_RID,
                catalogue.EXTENSION_DEPENDENCY_DESCRIPTOR: DEPENDENCY,
            },
            microphone=OfferedTrack("0"),
            camera=OfferedTrack("1", LAYERS),
            screen=OfferedTrack("2", LAYERS),
            audio_slots=("3",),
            video_slots=("4",),
        )
        engine.add_peer(
            number,
            server,
            offer,
            [Slot(False, "3", self.sound_ssrc, None), Slot(True, "4", self.slot_ssrc, self.slot_rtx)],
        )
        out, back = (bytes((side, number)) * 8 for side in (1, 2))
        engine.set_keys(number, Keys(GCM_128, out, out[:12], back, back[:12]))
        self._out, self._in = Srtp(GCM_128, out, out[:12]), Srtp(GCM_128, back, back[:12])
        self.connected = False
        self.media: list[Packet] = []
        self.nacked: list[tuple[int, int]] = []  # SSRC and sequence number that the engine asks for
        self._connect()

    def close(self) -> None:
        self.socket.close()

    def _connect(self) -> None:
        self.socket.sendto(self._check(self._chance.randbytes(12)), self._to)
        while not self.connected:
            self.wait()

    def wait(self) -> None:
        """Takes what comes next."""
        ready, _, _ = select.select([self.socket], [], [], DEADLINE)
        assert ready, f"something comes to {self.number} within {DEADLINE} s"
        self.receive()

    def say(self) -> bytes:
        """Sends a packet of sound, and returns its payload, which is like no other."""
        self._sounds += 1
        payload = b"\xf8" + struct.pack(">I", self._sounds)
        packet = Packet(100_000 * self.number + 99, OPUS, self._sounds, 960 * self._sounds, False, payload, {MID: b"0"})
        self.send(packet, 0)
        return payload

    def hear(self, payload: bytes) -> None:
        """Returns when this sound has come: the engine has then seen all that anyone sent before it."""
        while not any(one.ssrc == self.sound_ssrc and one.payload == payload for one in self.media):
            self.wait()

    def _check(self, transaction: bytes) -> bytes:
        attributes = b""
        for kind, value in ((6, self._username), (0x24, b"\x6e\0\0\xff"), (0x802A, bytes(8)), (0x25, b"")):
            attributes += struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)
        head = struct.pack(">HH", 1, len(attributes) + 24) + _COOKIE + transaction + attributes
        return head + struct.pack(">HH", 8, 20) + hmac.new(self._password, head, hashlib.sha1).digest()

    def receive(self) -> None:
        """Takes what has come: packets to `media`, requests to `nacked`."""
        while True:
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return
            if data[0] < 4:
                self.connected |= data[:2] == b"\x01\x01"
            elif 192 <= data[1] <= 223:
                opened = self._in.open(data)
                assert opened is not None, "the engine's SRTCP opens"
                self.nacked += _nacks(opened)
            elif (opened := self._in.open(data)) is not None:
                self.media.append(parse(opened))

    def send(self, packet: Packet, roll_over: int) -> None:
        self.socket.sendto(self._out.seal(packet.written(), roll_over), self._to)

    def nack(self, ssrc: int, sequences: list[int]) -> None:
        """Asks for packets of a slot again (RFC 4585, section 6.2.1), one field each."""
        fields = b"".join(struct.pack(">HH", one, 0) for one in sequences)
        report = struct.pack(">BBHI", 0x80, 201, 1, 1)
        request = struct.pack(">BBHII", 0x81, 205, 2 + len(sequences), 1, ssrc) + fields
        self.socket.sendto(self._out.seal(report + request), self._to)


def _nacks(compound: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(compound):
        first, kind, words = struct.unpack_from(">BBH", compound, at)
        if kind == 205 and first & 31 == 1:
            (ssrc,) = struct.unpack_from(">I", compound, at + 8)
            for place in range(at + 12, at + 4 + 4 * words, 4):
                lost, more = struct.unpack_from(">HH", compound, place)
                yield from ((ssrc, (lost + i) & 0xFFFF) for i in range(17) if i == 0 or more >> (i - 1) & 1)
        at += 4 + 4 * words


class Source:
    """One layer that a peer sends: packets numbered, kept and sent again when asked for."""

    def __init__(self, peer: EnginePeer, codec: str, layer: int, chance: random.Random) -> None:
        self.peer, self.codec, self.layer = peer, codec, layer
        self.ssrc = 100_000 * peer.number + layer
        # Near the end, so that numbers wrap.
        self._next = 65_536 - chance.randrange(1, 200)
        self._next_rtx = 1
        self._kept: dict[int, Packet] = {}

    def packet(self, timestamp: int, marker: bool, payload: bytes, descriptor: bytes | None) -> tuple[Packet, int]:
        """The next packet, with its roll-over counter (RFC 3711, section 3.3.1)."""
        extensions = {MID: b"1", RID: LAYERS[self.layer].encode()}
        if descriptor is not None:
            extensions[DEPENDENCY] = descriptor
        number = self._next
        self._next += 1
        packet = Packet(
            self.ssrc, TYPES[self.codec], number & 0xFFFF, timestamp & 0xFFFFFFFF, marker, payload, extensions
        )
        self._kept[packet.sequence] = packet
        self._kept.pop((packet.sequence - 2000) & 0xFFFF, None)
        return packet, number >> 16

    def repair(self, sequence: int) -> Packet | None:
        """The packet again, as RTX (RFC 4588)."""
        packet = self._kept.get(sequence)
        if packet is None:
            return None
        number, self._next_rtx = self._next_rtx, self._next_rtx + 1
        extensions = {key: value for key, value in packet.extensions.items() if key != RID}
        extensions[REPAIRED_RID] = LAYERS[self.layer].encode()
        return Packet(
            self.ssrc + 50,
            packet.payload_type + 1,
            number & 0xFFFF,
            packet.timestamp,
            packet.marker,
            struct.pack(">H", sequence) + packet.payload,
            extensions,
        )
