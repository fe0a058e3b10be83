"""What holds of every estimate on whatever network: thousands of minutes of calls on links of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from vardrum.sfu.bandwidth import LEAST, MOST
from vardrum.tests.sim.drive import Elastic, History, Ladder, Policy, drive
from vardrum.tests.sim.link import TICK, Links, Network
from vardrum.tests.sim.networks import FASTEST, anything
from vardrum.tests.sim.settings import AGAIN, MINUTES, SEED

CALL = 300
# What is wanted of a link that would carry anything, and layers of which the highest is more than most links carry.
WANTED = 1.2 * FASTEST
LAYERS = np.array([0.0, 150e3, 500e3, 1.5e6, 4e6])
# Seconds in which a target has to follow a rate that stays, and for what the queue of a dead zone goes on to be one.
STEADY, LONGEST_STEADY, WAKE = 30.0, 45.0, 2.0

POLICIES: dict[str, Callable[[Network], Policy]] = {
    "fed": lambda network: Elastic(network, WANTED),
    "layers": lambda network: Ladder(network, layers=LAYERS),
}


@pytest.fixture(scope="module", params=sorted(POLICIES))
def history(request: pytest.FixtureRequest) -> History:
    seed = 2 * SEED + sorted(POLICIES).index(request.param)
    network = anything(seed, CALL, max(MINUTES * 60 // CALL // len(POLICIES), 1))
    return drive(Links(network, seed), POLICIES[request.param](network))


def alive(history: History) -> np.ndarray:
    """Where there is a link, and has been for a while; shape (ticks, links)."""
    dead = history.capacity == 0
    wake = round(WAKE / TICK)
    passed = np.cumsum(dead, axis=0)
    before = np.pad(passed, ((wake, 0), (0, 0)))[: len(passed)]
    return passed == before


def steady(history: History, seconds: float) -> Iterator[tuple[int, int]]:
    """Link and tick at which a rate has stayed for so long."""
    ticks = round(seconds / TICK)
    for link in range(history.capacity.shape[1]):
        rate = history.capacity[:, link]
        changes = np.concatenate([[0], np.flatnonzero(np.diff(rate)) + 1, [len(rate)]])
        for first, last in pairwise(changes.tolist()):
            if rate[first] > 0 and last - first > ticks:
                yield link, first + ticks


def enough(history: History, link: int, tick: int) -> bool:
    """Whether the target has got to 60 % of the capacity in the last seconds, or the next layer is on its way."""
    target, capacity = history.target[tick - 50 : tick, link].max(), history.capacity[tick, link]
    above = LAYERS[history.picture[tick, link] < LAYERS]
    fits = above[0] * 1.2 if history.picture[tick, link] in LAYERS and len(above) else np.inf
    return bool(target > min(0.6 * capacity, fits))


def test_targets_and_paces_stay_within_bounds(history: History) -> None:
    for what in (history.target, history.pace):
        assert np.isfinite(what).all(), AGAIN
        assert what.min() >= LEAST, AGAIN
        assert what.max() <= MOST, AGAIN
    assert (history.pace <= history.target).all(), AGAIN


def test_a_target_follows_a_rate_that_stays(history: History) -> None:
    for seconds, share in ((STEADY, 0.003), (LONGEST_STEADY, 0.0)):
        seen = list(steady(history, seconds))
        late = [(link, tick * TICK) for link, tick in seen if not enough(history, link, tick)]
        assert len(late) <= share * len(seen), f"{late} of {len(seen)} after {seconds} s ({AGAIN})"


def test_queues_stay_short(history: History) -> None:
    counts = alive(history)
    queue = np.where(counts, history.queue, np.nan)
    assert np.nanmean(queue) < 0.040, AGAIN
    means = np.nanmean(queue, axis=0)
    assert means.max() < 0.3, f"link {means.argmax()}: {means.max()} ({AGAIN})"
    assert np.percentile(means, 95) < 0.060, AGAIN
    drops = history.dropped[counts].sum() / history.offered[counts].sum()
    assert drops < 0.02, f"{drops} ({AGAIN})"


def test_the_way_is_used(history: History) -> None:
    share = history.share[alive(history)]
    assert 0.85 < np.median(share) < 1.0, AGAIN
