"""A link between a phone and the rest of the world, as arithmetic: `now` and seeds are arguments.

Each way has a queue that drops what doesn't fit, a rate that may follow a trace, losses (independent or in bursts), a
delay and its jitter, in that order: what is lost in the air has used the link's time.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

# Packets of Ethernet's size must fit even into the queue of a link that hardly moves.
LEAST_QUEUE = 3000


@dataclass(frozen=True)
class Conditions:
    """What one way of a link is like.

    Attributes:
        rate: bit/s; None is without a limit. With `trace`, what counts before its first second.
        trace: (seconds since these conditions began, bit/s) in rising order; each rate holds until the next one.
        queue: seconds that the queue holds at the present rate.
        queue_least: bytes that it holds at least, however slow the link is.
        delay, jitter: seconds one way; each packet takes up to `jitter` longer.
        reorder: whether jitter may let a packet overtake another.
        loss: share of packets lost, 0 to 1.
        burst: mean number of packets lost in a row; 1 is independent losses (Bernoulli), more is the Gilbert-Elliott
            model with a good state that loses nothing and a bad one that loses all (E. N. Gilbert, "Capacity of a
            burst-noise channel", 1960; E. O. Elliott, "Estimates of error rates for codes on burst-noise channels",
            1963).
    """

    rate: float | None = None
    trace: tuple[tuple[float, float], ...] = ()
    queue: float = 0.2
    queue_least: int = 8000
    delay: float = 0.0
    jitter: float = 0.0
    reorder: bool = False
    loss: float = 0.0
    burst: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Conditions from what `as_json` made.

        Raises:
            TypeError: a field that there isn't.
        """
        unknown = set(said) - {one.name for one in fields(cls)}
        if unknown:
            raise TypeError(f"conditions have no {', '.join(sorted(unknown))}")
        return cls(**{**said, "trace": tuple((at, rate) for at, rate in said.get("trace", ()))})


@dataclass
class Counts:
    """What a way has done since the counts were last taken.

    Attributes:
        packets, bytes: that came to it.
        sent_packets, sent_bytes: that went through its queue (some are lost in the air afterwards).
        lost_queue, lost_air: packets that found the queue full; that were lost at random.
        waited: seconds that the sent packets stood in the queue before the link began to send them, all together.
        capacity: bits that the link could have sent; infinite where it has no limit.
    """

    packets: int = 0
    bytes: int = 0
    sent_packets: int = 0
    sent_bytes: int = 0
    lost_queue: int = 0
    lost_air: int = 0
    waited: float = 0.0
    capacity: float = 0.0


class Way:
    """One way of a link."""

    def __init__(self, conditions: Conditions, now: float, seed: int) -> None:
        self._chance = random.Random(seed)
        self._waiting: deque[tuple[float, bytes]] = deque()  # (when it came, packet); the first is being sent
        self._bytes = 0
        self._left: float | None = None  # bits of the first packet that are still to be sent; None: not begun
        self._air: list[tuple[float, int, bytes]] = []
        self._number = 0
        self._latest = 0.0
        self._rate = 0.0
        self._changes: deque[tuple[float, float]] = deque()  # (when, rate) that are still to come
        self._at = now
        self._bad = False
        self._counts = Counts()
        self._set(conditions, now)

    @property
    def queued(self) -> int:
        """Bytes in the queue."""
        return self._bytes

    def change(self, conditions: Conditions, now: float) -> None:
        """From here on the link is like this; what is queued or in the air stays on its way."""
        self.advance(now)
        self._set(conditions, now)

    def take(self, packet: bytes, now: float) -> None:
        """Queue a packet, or drop it where the queue is full."""
        self.advance(now)
        self._counts.packets += 1
        self._counts.bytes += len(packet)
        if self._waiting and self._bytes + len(packet) > self.room():
            self._counts.lost_queue += 1
            return
        self._waiting.append((now, packet))
        self._bytes += len(packet)
        self.advance(now)

    def room(self) -> float:
        """Bytes that the queue holds at the present rate."""
        if self._rate == float("inf"):
            return self._rate
        return max(self._rate * self._conditions.queue / 8, self._conditions.queue_least, LEAST_QUEUE)

    def advance(self, now: float) -> None:
        """Send until `now`."""
        while self._at < now or (self._waiting and self._rate == float("inf")):
            while self._changes and self._changes[0][0] <= self._at:
                self._rate = self._changes.popleft()[1]
            until = min(now, self._changes[0][0]) if self._changes else now
            if not self._waiting:
                self._pass(until)
                continue
            came, packet = self._waiting[0]
            if self._left is None:
                self._left = len(packet) * 8.0
                self._counts.waited += self._at - came
            ends = self._at + (self._left / self._rate if self._rate > 0 else float("inf"))
            if ends > until:
                self._left -= self._rate * (until - self._at)
                self._pass(until)
                continue
            self._pass(ends)
            self._waiting.popleft()
            self._bytes -= len(packet)
            self._left = None
            self._fly(packet, ends)

    def due(self, now: float) -> list[bytes]:
        """What has come through by now, in the order in which it does."""
        self.advance(now)
        through = []
        while self._air and self._air[0][0] <= now:
            through.append(heapq.heappop(self._air)[2])
        return through

    def wait(self, now: float) -> float | None:
        """Seconds until it is worth asking again; None while nothing is on its way."""
        self.advance(now)
        times = [self._air[0][0]] if self._air else []
        if self._waiting:
            left = len(self._waiting[0][1]) * 8.0 if self._left is None else self._left
            sent = now + left / self._rate if self._rate > 0 else float("inf")
            changes = self._changes[0][0] if self._changes else float("inf")
            times.append(min(sent, changes) + self._conditions.delay)
        first = min(times, default=float("inf"))
        return None if first == float("inf") else max(first - now, 0.0)

    def counts(self, now: float) -> Counts:
        """What it has done since this was last asked."""
        self.advance(now)
        taken, self._counts = self._counts, Counts()
        return taken

    def _set(self, conditions: Conditions, now: float) -> None:
        self._conditions = conditions
        self._rate = float("inf") if conditions.rate is None else conditions.rate
        self._changes = deque((now + at, rate) for at, rate in conditions.trace)
        if conditions.burst <= 1:
            self._enter, self._leave = conditions.loss, 1.0
        else:
            # The share of time in the bad state is enter / (enter + leave), and one stays 1 / leave packets in it.
            self._leave = 1 / conditions.burst
            self._enter = self._leave * conditions.loss / (1 - conditions.loss)

    def _pass(self, until: float) -> None:
        if until > self._at:
            self._counts.capacity += self._rate * (until - self._at)
            self._at = until

    def _fly(self, packet: bytes, at: float) -> None:
        self._counts.sent_packets += 1
        self._counts.sent_bytes += len(packet)
        if self._lost():
            self._counts.lost_air += 1
            return
        conditions = self._conditions
        arrives = at + conditions.delay + (conditions.jitter * self._chance.random() if conditions.jitter else 0.0)
        if not conditions.reorder:
            arrives = max(arrives, self._latest)
        self._latest = max(arrives, self._latest)
        self._number += 1
        heapq.heappush(self._air, (arrives, self._number, packet))

    def _lost(self) -> bool:
        if self._conditions.burst <= 1:
            return self._chance.random() < self._enter
        self._bad = self._chance.random() >= self._leave if self._bad else self._chance.random() < self._enter
        return self._bad


class Link:
    """Both ways; each has its own chances, so that what comes down doesn't decide what is lost on the way up."""

    def __init__(self, up: Conditions, down: Conditions, now: float, seed: int) -> None:
        self.up = Way(up, now, seed)
        self.down = Way(down, now, seed + 1)

    def due(self, now: float) -> list[bytes]:
        """What has come through either way by now."""
        return self.up.due(now) + self.down.due(now)

    def wait(self, now: float) -> float | None:
        """Seconds until it is worth asking again; None while nothing is on its way."""
        times = [wait for wait in (self.up.wait(now), self.down.wait(now)) if wait is not None]
        return min(times, default=None)


def read_trace(text: str, seconds: float, scale: float = 1.0) -> tuple[tuple[float, float], ...]:
    """The first `seconds` of a trace, times `scale`, as `Conditions.trace` has it.

    Args:
        text: a line a sample, seconds since the start and Mbit/s in that second, with white space between them.
    """
    samples = [(float(at), float(rate) * 1e6 * scale) for at, rate in (line.split() for line in text.splitlines())]
    return tuple(sample for sample in samples if sample[0] < seconds)


def mean_rate(trace: Sequence[tuple[float, float]], seconds: float) -> float:
    """The mean of a trace over `seconds` from its start, bit/s."""
    ends = [at for at, _ in trace[1:]] + [seconds]
    return sum(rate * (end - at) for (at, rate), end in zip(trace, ends, strict=True)) / seconds
