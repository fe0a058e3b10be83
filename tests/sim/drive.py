"""Runs links under a policy, tick by tick, and keeps what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from vardrum.sfu.bandwidth import Bandwidth, Estimates

from .link import TICK, Floats, Links, Network, Traffic

Series = NDArray[np.float32]
ALWAYS = slice(None)


class Policy(Protocol):
    """Decides on the next tick from the engine's table: what is sent, and the estimates that it comes from."""

    def __call__(self, now: float, rows: Floats) -> tuple[Traffic, Estimates]: ...


@dataclass
class History:
    """What happened; each has shape (ticks, links).

    Attributes:
        capacity, target, pace, sent, picture: bit/s; picture: as it was asked for.
        queue: seconds; offered, dropped: packets that came to the link's queue, and found it full.
        probed: 1 where a probe began.
    """

    capacity: Series
    target: Series
    pace: Series
    sent: Series
    picture: Series
    queue: Series
    offered: Series
    dropped: Series
    probed: Series

    def part(self, links: slice, seconds: slice = ALWAYS) -> History:
        """That of some links in some time."""
        first, last = (None if end is None else round(end / TICK) for end in (seconds.start, seconds.stop))
        return History(*(getattr(self, one.name)[first:last, links] for one in fields(self)))

    @property
    def drops(self) -> float:
        """Share of packets that found the queue full."""
        return float(self.dropped.sum() / max(self.offered.sum(), 1.0))

    @property
    def share(self) -> Series:
        """The target as a share of the capacity."""
        return np.asarray(self.target / np.maximum(self.capacity, np.float32(1.0)), dtype=np.float32)


def drive(links: Links, policy: Policy) -> History:
    """Until the network's capacity ends."""
    network = links.network
    history = History(network.capacity, *(np.zeros_like(network.capacity) for _ in fields(History)[1:]))
    for tick in range(network.ticks):
        traffic, estimates = policy(links.now, links.rows())
        sent, offered, dropped = links.sent.copy(), links.offered.copy(), links.queue_dropped.copy()
        links.run(traffic)
        history.target[tick], history.pace[tick] = estimates.target, estimates.pace
        history.sent[tick] = (links.sent - sent) * 8 / TICK
        history.offered[tick], history.dropped[tick] = links.offered - offered, links.queue_dropped - dropped
        history.picture[tick] = traffic.picture
        history.queue[tick] = links.queue
        history.probed[tick, [number - 1 for number, *_ in traffic.probes]] = 1
    return history


class Elastic:
    """Pictures that take whatever rate they are given, up to what is wanted; paused where it is hardly any."""

    def __init__(self, network: Network, wanted: float, sound: float = 50_000.0) -> None:
        self.bandwidth = Bandwidth()
        self.wanted: Mapping[int, float] = {number + 1: wanted for number in range(network.count)}
        self.most = wanted
        self.sound = np.full(network.count, sound)
        self.shown = np.zeros(network.count, dtype=bool)

    def __call__(self, now: float, rows: Floats) -> tuple[Traffic, Estimates]:
        estimates = self.bandwidth.update(now, rows, self.wanted)
        room = estimates.target - self.sound
        shown = room > np.where(self.shown, 60_000, 75_000)
        picture = np.where(shown, np.minimum(room, self.most - self.sound), 0.0)
        key = shown & ~self.shown
        self.shown = shown
        return Traffic(self.sound, picture, key, estimates.pace, estimates.probes), estimates


LAYERS = np.array([0.0, 150_000.0, 500_000.0])


class Ladder:
    """Pictures in layers of fixed rates, by the holds of `sfu/allocation.py`: a stand-in for it."""

    def __init__(self, network: Network, sound: float = 50_000.0, layers: Floats = LAYERS) -> None:
        n = network.count
        self.bandwidth = Bandwidth()
        self.layers = layers
        self.level = np.zeros(n, dtype=np.int64)
        self.lowered = np.full(n, -100.0)
        self.roomy_since, self.tight_since = np.full(n, np.nan), np.full(n, np.nan)
        self.sound = np.full(n, sound)
        self.fresh = True

    def __call__(self, now: float, rows: Floats) -> tuple[Traffic, Estimates]:
        top = len(self.layers) - 1
        following = np.minimum(self.level + 1, top)
        want = np.where(self.level < top, self.layers[following] + self.sound, 0.0)
        numbers = rows[:, 0].astype(np.int64).tolist()
        estimates = self.bandwidth.update(now, rows, dict(zip(numbers, want.tolist(), strict=True)))
        room = estimates.target - self.sound
        before = self.level.copy()
        fits = np.searchsorted(self.layers, room, side="right") - 1
        over = fits < self.level
        floor = np.where(self.level > 0, 1, 0)
        self.level = np.where(over, np.maximum(fits, floor), self.level)
        tight = over & (fits < floor)
        self.tight_since[~tight] = np.nan
        self.tight_since[tight & np.isnan(self.tight_since)] = now
        self.level[now - self.tight_since >= 2.0] = 0
        self.lowered[self.level < before] = now

        resumes = self.level == 0
        headroom = np.where(resumes, 1.05, 1.15)
        roomy = (self.level < top) & (self.layers[np.minimum(self.level + 1, top)] * headroom <= room)
        self.roomy_since[~roomy] = np.nan
        self.roomy_since[roomy & np.isnan(self.roomy_since)] = now
        ready = (now - self.roomy_since >= np.where(resumes, 0.5, 2.0)) | (self.fresh & roomy)
        up = ready & (now - self.lowered >= np.where(resumes, 3.0, 10.0))
        self.level = np.where(up, self.level + 1, self.level)
        self.roomy_since[up] = np.nan
        self.fresh = False
        key = self.level != before
        return Traffic(self.sound, self.layers[self.level], key, estimates.pace, estimates.probes), estimates
