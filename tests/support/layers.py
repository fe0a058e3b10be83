"""Two publishers with two sizes each and a viewer with one slot, at the real engine; and what the viewer saw."""

from __future__ import annotations

import functools
import heapq
import itertools
import random
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from vardrum.sfu.engine import Engine

from . import payloads, streams
from .engine_peer import DEPENDENCY, EnginePeer, Packet, Source

MICROPHONE, CAMERA = 0, 1
SOUND_SLOT, SLOT = 0, 1
ALL = 255
SIZES = ((160, 96), (240, 144))  # by layer
VIEWER = 3


@functools.cache
def stream(codec: str, person: int) -> streams.Stream:
    """The film of a publisher's layer; the person says whose and which."""
    return streams.encode(codec, person, *SIZES[person % 2])


@dataclass
class Sender:
    """One layer on its way."""

    film: streams.Stream
    source: Source
    numbers: payloads.Numbers
    clock: int  # of the RTP timestamp
    place: int
    newest: list[bytes] = field(default_factory=list)  # parts of its newest picture, without descriptors

    def parts_of(self, number: int) -> list[bytes]:
        """A picture's payloads without descriptors, which are the same whatever its numbers."""
        codec, picture = self.source.codec, self.film.pictures[number % len(self.film.pictures)]
        parts = payloads.packetize(codec, picture, payloads.Numbers(0, 0))
        return [payloads.read(codec, part.payload, part.descriptor).data for part in parts]


@dataclass(frozen=True)
class Shown:
    """A picture that came: all packets of one timestamp, in order."""

    packets: list[Packet]
    parts: list[payloads.Got]
    codec: str
    before: bool  # padding, or nobody knows what, came right before it
    inside: bool  # padding came within it

    @property
    def whole(self) -> bool:
        """Whether a receiver would take it for a picture: padding is in place of what it never got."""
        begun = self.parts[0].starts or (self.codec.startswith("h264") and not self.before)
        return begun and not self.inside and self.packets[-1].marker

    @property
    def data(self) -> bytes:
        return payloads.join(self.codec, [part.data for part in self.parts])


class House:
    """Everybody at one engine. `loss`: share of packets that each way loses; some then also come late."""

    def __init__(self, engine: Engine, codec: str, seed: int, loss: float = 0.0) -> None:
        self.engine, self.codec, self.loss = engine, codec, loss
        self.chance = random.Random(seed)
        self.publishers = [EnginePeer(engine, number, self.chance) for number in (1, 2)]
        self.viewer = EnginePeer(engine, VIEWER, self.chance)
        # Sound says when the engine has seen what was sent before it.
        engine.show(VIEWER, SOUND_SLOT, 1, MICROPHONE, 0)
        self.senders = [self._sender(person) for person in range(4)]
        self.by_ssrc = {sender.source.ssrc: sender for sender in self.senders}
        self.time = 0.0
        self.late: list[tuple[int, int, Packet, int]] = []  # instant, tie, packet, roll-over counter
        self.instants = 0
        self.received: dict[int, Packet] = {}  # by extended sequence number; padding is kept too
        self.padding = 0
        self.newest: int | None = None
        self.asked: dict[int, float] = {}
        self.repaired = 0

    def close(self) -> None:
        for peer in (*self.publishers, self.viewer):
            peer.close()

    def _sender(self, person: int) -> Sender:
        film = stream(self.codec, person)
        # All near their ends, so that they wrap; the second publisher's ids are narrow.
        numbers = payloads.Numbers(32_700 + self.chance.randrange(60), self.chance.randrange(256), wide=person < 2)
        source = Source(self.publishers[person // 2], self.codec, person % 2, self.chance)
        return Sender(film, source, numbers, self.chance.randrange(1 << 32), person // 2 * 7)

    def show(self, person: int, temporal: int) -> None:
        self.engine.show(VIEWER, SLOT, person // 2 + 1, CAMERA, person % 2, temporal)

    def instant(self) -> None:
        """Everybody sends a picture in every size; the packets of all come through each other."""
        self.instants += 1
        now = time.monotonic()
        queues = []
        for sender in self.senders:
            picture = sender.film.pictures[sender.place % len(sender.film.pictures)]
            sender.place += 1
            timestamp = sender.clock + int(now * 90_000)
            parts = payloads.packetize(self.codec, picture, sender.numbers)
            sender.newest = [payloads.read(self.codec, p.payload, p.descriptor).data for p in parts]
            queue = [sender.source.packet(timestamp, p.marker, p.payload, p.descriptor) for p in parts]
            queues.append((sender.source.peer, queue))
        while left := [one for one in queues if one[1]]:
            peer, queue = self.chance.choice(left)
            self._send(peer, *queue.pop(0))
        while self.late and self.late[0][0] <= self.instants:
            _, _, packet, roll_over = heapq.heappop(self.late)
            self.by_ssrc[packet.ssrc].source.peer.send(packet, roll_over)

    def _send(self, peer: EnginePeer, packet: Packet, roll_over: int) -> None:
        if self.chance.random() < self.loss:
            return
        if self.chance.random() < self.loss:
            late = self.instants + self.chance.randrange(3)
            heapq.heappush(self.late, (late, self.chance.getrandbits(30), packet, roll_over))
            return
        peer.send(packet, roll_over)

    def settle(self) -> None:
        """Returns when the engine has seen all that was sent, and the viewer has taken what came of it."""
        self.viewer.hear(self.publishers[0].say())
        self.answer()
        self.watch()

    def live(self, seconds: float) -> None:
        """Takes and answers what comes for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            select.select([peer.socket for peer in (*self.publishers, self.viewer)], [], [], min(left, 0.005))
            self.answer()
            self.watch()

    def until_whole(self, deadline: float) -> None:
        """Returns when nothing is missing any more."""
        end = time.monotonic() + deadline
        while self.missing and time.monotonic() < end:
            self.live(0.02)

    def answer(self) -> None:
        """Publishers send again what the engine asks them for."""
        for peer in self.publishers:
            peer.receive()
            for ssrc, sequence in peer.nacked:
                sender = self.by_ssrc.get(ssrc)
                packet = None if sender is None else sender.source.repair(sequence)
                if packet is not None and self.chance.random() >= self.loss:
                    peer.send(packet, 0)
            peer.nacked.clear()

    def watch(self) -> list[Packet]:
        """Takes what has come to the viewer, loses some of it, and asks for what is missing."""
        self.viewer.receive()
        fresh = []
        for packet in self.viewer.media:
            if self.chance.random() < self.loss:
                continue
            if packet.ssrc == self.viewer.slot_rtx:
                original = Packet(
                    self.viewer.slot_ssrc,
                    packet.payload_type - 1,
                    int.from_bytes(packet.payload[:2], "big"),
                    packet.timestamp,
                    packet.marker,
                    packet.payload[2:],
                    packet.extensions,
                )
                fresh += self._take(original, repair=True)
            elif packet.ssrc == self.viewer.slot_ssrc:
                fresh += self._take(packet, repair=False)
        self.viewer.media.clear()
        self._ask()
        return fresh

    def _take(self, packet: Packet, *, repair: bool) -> list[Packet]:
        if self.newest is None:
            self.newest = packet.sequence | 1 << 16
        ahead = (packet.sequence - self.newest + 0x8000) % 0x10000 - 0x8000
        number = self.newest + ahead
        self.newest = max(self.newest, number)
        if number in self.received:
            assert repair, f"number {number} came twice"
            return []
        self.repaired += repair
        self.received[number] = packet
        self.asked.pop(number, None)
        self.padding += not packet.payload
        return [packet]

    @property
    def missing(self) -> list[int]:
        numbers = sorted(self.received)
        return [n for n in range(numbers[0], numbers[-1]) if n not in self.received] if numbers else []

    def _ask(self) -> None:
        if self.newest is None or not self.loss:
            return
        now = time.monotonic()
        recent = range(max(min(self.received), self.newest - 1000), self.newest)
        due = [n for n in recent if n not in self.received and now >= self.asked.get(n, 0.0)]
        if due:
            for number in due:
                self.asked[number] = now + 0.05
            self.viewer.nack(self.viewer.slot_ssrc, [number & 0xFFFF for number in due])

    def is_of(self, packet: Packet, sender: Sender) -> bool:
        """Whether a received packet is one that `sender` sent last: payloads tell, whatever their numbers."""
        if not packet.payload:
            return False
        data = payloads.read(self.codec, packet.payload, packet.extensions.get(DEPENDENCY)).data
        return data in sender.newest

    def pictures(self) -> Iterator[Shown]:
        """Everything received, picture by picture."""
        packets: list[Packet] = []
        before = inside = False
        padding = True  # or nobody knows what, in front of the first
        for number in sorted(self.received):
            packet = self.received[number]
            if not packet.payload:
                padding = True
                continue
            if packets and packets[-1].timestamp != packet.timestamp:
                yield self._shown(packets, before, inside)
                packets = []
            if packets:
                inside |= padding
            else:
                before, inside = padding, False
            padding = False
            packets.append(packet)
        yield self._shown(packets, before, inside)

    def _shown(self, packets: list[Packet], before: bool, inside: bool) -> Shown:
        parts = [payloads.read(self.codec, one.payload, one.extensions.get(DEPENDENCY)) for one in packets]
        return Shown(packets, parts, self.codec, before, inside)


@dataclass
class Verdict:
    """What the viewer decoded."""

    pictures: int = 0
    cut: int = 0  # left by a switch before they were whole
    waited: int = 0  # whole, but behind one that was cut
    switches: int = 0
    dropped: int = 0  # of temporal layers, between two that were shown
    problems: list[str] = field(default_factory=list)


def judge(house: House) -> Verdict:
    """Decodes everything that came; each picture must look exactly as at its publisher."""
    verdict = Verdict()
    decoder = streams.Decoder(house.codec)
    known = {look: (one.film.person, number) for one in house.senders for look, number in one.film.looks.items()}
    keys = {one.parts_of(number)[0] for one in house.senders for number in range(0, len(known), streams.GROUP)}
    waits = True  # who has lost the first picture lacks it as well
    former: tuple[int, int] | None = None  # person, place
    numbers: list[int] = []
    layers = streams.KINDS[house.codec].layers
    clock = None
    for shown in house.pictures():
        stamp = shown.packets[0].timestamp
        if clock is not None and not 0 < (stamp - clock) % (1 << 32) < 1 << 31:
            verdict.problems.append(f"time went from {clock} to {stamp}")
        clock = stamp
        if shown.parts[0].picture is not None:
            numbers.append(shown.parts[0].picture)
        if not shown.whole:
            verdict.cut += 1
            former, waits = None, True
            continue
        # A receiver doesn't decode what needs a picture that it lacks.
        waits = waits and shown.parts[0].data not in keys
        if waits:
            verdict.waited += 1
            continue
        try:
            looks = decoder.decode(shown.data)
        except Exception as error:
            verdict.problems.append(f"picture {verdict.pictures} after {former}: {error}")
            former = None
            continue
        for look in looks:
            verdict.pictures += 1
            now = known.get(look.hash)
            if now is None or (look.seen is not None and (look.seen.person, look.seen.frame) != now):
                verdict.problems.append(f"picture {verdict.pictures} after {former}: not as sent, {look.seen}")
                continue
            if former is None or former[0] != now[0]:
                verdict.switches += 1
                if now[1] % streams.GROUP:
                    verdict.problems.append(f"switched to {now}, which is no key frame")
            else:
                step = (now[1] - former[1]) % (streams.GROUP * streams.GROUPS)
                left = [layers[(former[1] + i) % len(layers)] for i in range(1, step)]
                verdict.dropped += len(left)
                if 0 in left or step == 0:
                    verdict.problems.append(f"from {former} to {now}: a picture of layer 0 is missing")
            former = now
    bits = 16 if house.codec == "av1" else 15
    for before, after in itertools.pairwise(numbers):
        step = (after - before) % (1 << bits)
        # VP8's ids close ranks; the others' tell what was dropped.
        if not 0 < step < 1 << (bits - 1) or (house.codec == "vp8" and step != 1 and not house.loss):
            verdict.problems.append(f"picture id went from {before} to {after}")
    return verdict
