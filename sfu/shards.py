"""The shards of this machine: one engine and one UDP port each, rooms spread over them by load."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from .engine import Engine, EngineError, Event
from .types import MediaSettings

log = structlog.get_logger(__name__)

# CPU is measured over the last seconds: a burst of key frames is no load, a minute of it would be noticed too late.
WINDOW = 3.0
# A shard this busy takes nobody new; it does again below the second figure, so that nobody comes in just as it swings.
OVERLOADED, RELIEVED = 0.85, 0.70
# Nor one whose socket overflows, however busy its thread could be: somebody else has the core. Share of what comes.
OVERFLOWING = 0.001
# As many peers as the engine takes (`shard.rs`).
MAX_PEERS = 4096
# What a room that was given out so recently will cost isn't measured yet: about a three-party visit, in shares of a
# core.
SETTLING, EXPECTED = 5.0, 0.01


@dataclass(frozen=True)
class Sample:
    """What a shard has used and lost since its start: nanoseconds of CPU, packets taken, packets the socket dropped."""

    cpu_ns: int
    packets: int = 0
    dropped: int = 0


@dataclass
class Load:
    """How much a shard's thread has to do.

    Attributes:
        busy: the share of a core that it used over the last seconds, 0 to 1.
        overloaded: whether the shard takes nobody new.
    """

    busy: float = 0.0
    overloaded: bool = False
    _samples: deque[tuple[float, Sample]] = field(default_factory=deque)
    _expected: deque[float] = field(default_factory=deque)

    def measure(self, now: float, sample: Sample) -> None:
        """Takes a sample; `now` in seconds. To be called a few times a second."""
        self._samples.append((now, sample))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()
        began, before = self._samples[0]
        # A share of less than a second says more about the moment than about the load.
        if now - began >= 1.0:
            self.busy = min(1.0, (sample.cpu_ns - before.cpu_ns) / 1e9 / (now - began))
        dropped, packets = sample.dropped - before.dropped, sample.packets - before.packets
        limit = RELIEVED if self.overloaded else OVERLOADED
        self.overloaded = self.busy > limit or dropped > OVERFLOWING * (packets + dropped)
        while self._expected and self._expected[0] <= now - SETTLING:
            self._expected.popleft()

    def expect(self, now: float) -> None:
        """A room was given to the shard."""
        self._expected.append(now)

    @property
    def soon(self) -> float:
        """Measured and expected share of a core."""
        return self.busy + EXPECTED * len(self._expected)


@dataclass
class Shard:
    """One engine.

    Attributes:
        number: from 0; the port is the first one's and so many more.
        peers: how many live on it.
        dead: whether its thread has failed. Nothing brings it back but a new process.
    """

    number: int
    engine: Engine
    peers: int = 0
    load: Load = field(default_factory=Load)
    dead: bool = False

    @property
    def full(self) -> bool:
        """Whether it takes nobody new."""
        return self.dead or self.load.overloaded or self.peers >= MAX_PEERS

    def measure(self, now: float) -> None:
        """To be called a few times a second."""
        if not (self.dead or self.engine.alive):
            self.dead = True
            log.error("a shard's thread has failed", shard=self.number, port=self.engine.port)
        # There are none before the thread's first round.
        counters = Counter(self.engine.counters())
        self.load.measure(now, Sample(self.engine.cpu_ns(), counters["packets_in"], counters["drop_socket_receive"]))


class Shards:
    """All shards of a node, first port first."""

    def __init__(self, settings: MediaSettings, on_event: Callable[[Event], None]) -> None:
        """Starts `settings.shards` of them.

        Raises:
            EngineError: an address can't be bound; none is left running.
        """
        self._all: list[Shard] = []
        try:
            for number in range(settings.shards):
                port = settings.port + number if settings.port else 0
                if port > 65535:
                    raise EngineError(f"media.port {settings.port}: there are no {settings.shards} ports from there on")
                engine = Engine(settings.ip, port, on_event, gso=settings.gso, tcp=settings.tcp)
                self._all.append(Shard(number, engine))
        except EngineError:
            self.stop()
            raise

    def __iter__(self) -> Iterator[Shard]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, number: int) -> Shard:
        return self._all[number]

    def stop(self) -> None:
        """Ends all threads; may be called twice."""
        for shard in self._all:
            shard.engine.stop()

    def measure(self, now: float) -> None:
        """To be called a few times a second."""
        for shard in self._all:
            shard.measure(now)

    @property
    def dead(self) -> int:
        """How many have failed, as far as measured."""
        return sum(shard.dead for shard in self._all)

    def least_busy(self) -> Shard:
        """Where a new room should live: of those that aren't full, if any, the least loaded, then the emptiest.

        Loads within a twentieth of a core count as the same: what differs by less is the moment.
        """

        def rank(shard: Shard) -> tuple[bool, int, int, int]:
            return shard.full, int(shard.load.soon * 20), shard.peers, shard.number

        return min(self._all, key=rank)

    def uplinks(self) -> NDArray[np.float64]:
        """All engines' tables of uplinks, shape (layers, len(Uplink))."""
        return np.concatenate([shard.engine.uplinks() for shard in self._all])

    def downlinks(self) -> NDArray[np.float64]:
        """All engines' tables of downlinks, shape (peers, len(Downlink))."""
        return np.concatenate([shard.engine.downlinks() for shard in self._all])

    def counters(self) -> dict[str, int]:
        """The engines' counters, added up."""
        total: Counter[str] = Counter()
        for shard in self._all:
            for name, value in shard.engine.counters().items():
                total[name] += value
        return dict(total)
