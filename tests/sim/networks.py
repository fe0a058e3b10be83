"""Networks to be simulated: fixed ones side by side, and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .link import TICK, Floats, Network

# A capacity over time: (bit/s, seconds), one after the other; 0 bit/s is a dead zone.
Course = Sequence[tuple[float, float]]

# Random networks: bit/s, seconds that a rate stays, share of times that are dead zones, and their longest.
SLOWEST, FASTEST, SHORTEST, LONGEST = 60_000.0, 5_000_000.0, 5.0, 60.0
DEAD, LONGEST_DEAD = 0.05, 30.0
# Share and mean length of losses.
LOSSES = ((0.0, 1.0), (0.02, 1.0), (0.08, 1.0), (0.03, 5.0))


@dataclass(frozen=True)
class Case:
    """One fixed link."""

    course: Course
    round_trip: float = 0.1
    loss: float = 0.0
    burst: float = 1.0
    jitter: float = 0.002
    stalls: float = 0.0
    detour: float = 0.0
    policed: bool = False


def fixed(cases: Sequence[Case], copies: int) -> Network:
    """Each case `copies` times, side by side; the last rate of a course stays until the longest one ends."""
    rates = [np.concatenate([np.full(round(seconds / TICK), rate) for rate, seconds in case.course]) for case in cases]
    ticks = max(len(rate) for rate in rates)
    capacity = np.stack([np.pad(rate, (0, ticks - len(rate)), mode="edge") for rate in rates], axis=1)

    def each(values: Sequence[float]) -> Floats:
        return np.repeat(np.array(values, dtype=np.float64), copies)

    return Network(
        capacity=np.repeat(capacity.astype(np.float32), copies, axis=1),
        round_trip=each([case.round_trip for case in cases]),
        loss=each([case.loss for case in cases]),
        burst=each([case.burst for case in cases]),
        loss_back=each([case.loss for case in cases]),
        jitter=each([case.jitter for case in cases]),
        stalls=each([case.stalls for case in cases]),
        detour=each([case.detour for case in cases]),
        policed=each([case.policed for case in cases]) > 0,
    )


def like_3g(seed: int, seconds: int, count: int, mean: float = 1_200_000.0, least: float = 200_000.0) -> Network:
    """Rates that walk at random from second to second, log-normal about `mean`, as a phone's on the way do."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.0, 0.35, (seconds, count))
    walk = np.zeros((seconds, count))
    for second in range(1, seconds):
        walk[second] = 0.9 * walk[second - 1] + steps[second]
    rate = np.maximum(mean * np.exp(walk - 0.3), least)
    network = fixed([Case([(mean, float(seconds))])], count)
    return replace(network, capacity=np.repeat(rate, round(1 / TICK), axis=0).astype(np.float32))


def anything(seed: int, seconds: int, count: int) -> Network:
    """Links of all kinds: each keeps a rate for a while, then has another or none."""
    rng = np.random.default_rng(seed)
    ticks = round(seconds / TICK)
    capacity = np.zeros((ticks, count))
    for link in range(count):
        at = 0
        while at < ticks:
            dead = at > 0 and rng.random() < DEAD
            long = rng.uniform(SHORTEST, LONGEST_DEAD if dead else LONGEST)
            rate = 0.0 if dead else float(np.exp(rng.uniform(np.log(SLOWEST), np.log(FASTEST))))
            capacity[at : at + round(long / TICK), link] = rate
            at += round(long / TICK)
    kinds = np.array(LOSSES)[rng.integers(0, len(LOSSES), count)]
    return Network(
        capacity=capacity.astype(np.float32),
        round_trip=rng.uniform(0.02, 0.3, count),
        loss=kinds[:, 0],
        burst=kinds[:, 1],
        loss_back=kinds[:, 0],
        jitter=rng.uniform(0.0, 0.008, count),
        stalls=rng.uniform(0.0, 0.5, count),
        detour=np.where(rng.random(count) < 0.05, rng.uniform(0.02, 0.2, count), 0.0),
        policed=rng.random(count) < 0.05,
    )
