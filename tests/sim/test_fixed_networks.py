"""What the estimate makes of networks that are known: one after the other in a table, all simulated side by side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from vardrum.sfu.bandwidth import LEAST
from vardrum.tests.sim.drive import Elastic, History, Ladder, Policy, Series, drive
from vardrum.tests.sim.link import TICK, Links, Network
from vardrum.tests.sim.networks import Case, fixed, like_3g
from vardrum.tests.sim.settings import AGAIN, SEED

K, M = 1e3, 1e6
COPIES = 6
CASES = {
    "300": Case([(300 * K, 75)]),
    "150": Case([(150 * K, 75)]),
    "80": Case([(80 * K, 75)]),
    "80, then 1000": Case([(3 * M, 15), (80 * K, 40), (1 * M, 20)]),
    "the step": Case([(2 * M, 20), (250 * K, 20), (2 * M, 35)]),
    "2 % lost": Case([(2 * M, 75)], loss=0.02),
    "8 % lost": Case([(2 * M, 75)], loss=0.08),
    "bursts lost": Case([(2 * M, 75)], loss=0.03, burst=5),
    "8 % lost far away": Case([(2 * M, 75)], loss=0.08, round_trip=0.3),
    "500": Case([(500 * K, 75)]),
    "3000": Case([(3 * M, 75)]),
    "a dead zone": Case([(1 * M, 15), (0, 40), (1 * M, 20)]),
    "policed": Case([(400 * K, 75)], policed=True),
    "jitter": Case([(1 * M, 75)], jitter=0.010),
    "stalls": Case([(1 * M, 75)], stalls=0.5),
    "a longer way": Case([(1 * M, 75)], detour=0.1),
    "a longer and narrower way": Case([(3 * M, 37.5), (600 * K, 37.5)], detour=0.25),
}
LOSSY = ("2 % lost", "8 % lost", "bursts lost", "8 % lost far away")


def simulated(policy: Callable[[Network], Policy]) -> Callable[..., History]:
    network = fixed(list(CASES.values()), COPIES)
    history = drive(Links(network, SEED), policy(network))

    def part(name: str, first: float = 0.0, last: float = 75.0) -> History:
        at = list(CASES).index(name) * COPIES
        return history.part(slice(at, at + COPIES), slice(first, last))

    return part


@pytest.fixture(scope="module")
def fed() -> Callable[..., History]:
    """Pictures that take all they get, up to 1.5 Mbit/s."""
    return simulated(lambda network: Elastic(network, 1.5 * M))


@pytest.fixture(scope="module")
def layers() -> Callable[..., History]:
    """Pictures in layers of 150 and 500 kbit/s."""
    return simulated(Ladder)


def until(reached: np.ndarray) -> float:
    """Seconds until `reached`, of shape (ticks, links), is true on all links; infinite where it never is."""
    first = np.where(reached.any(axis=0), reached.argmax(axis=0) * TICK, np.inf)
    return float(first.max())


def since(passing: np.ndarray) -> float:
    """Seconds after which `passing`, of shape (ticks, links), is never true again."""
    return float((passing * np.arange(1, len(passing) + 1)[:, None]).max()) * TICK


def told(what: Series | float) -> str:
    return f"{np.round(what, 3)} ({AGAIN})"


@pytest.mark.parametrize(
    ("name", "queue", "drops"),
    [("300", 0.040, 0.01), ("150", 0.060, 0.03), ("80", 0.060, 0.03), ("500", 0.030, 0.01), ("policed", 0.030, 0.02)],
)
def test_a_narrow_way_is_used_and_not_filled(
    fed: Callable[..., History], name: str, queue: float, drops: float
) -> None:
    history = fed(name, 10)
    assert history.queue.mean() < queue, told(history.queue.mean())
    assert history.drops < drops, told(history.drops)
    share = history.share
    assert ((share > 0.75) & (share <= 1.05)).mean() > 0.9, told(np.percentile(share, [5, 25, 50, 75, 95]))


@pytest.mark.parametrize("name", ["300", "150", "500"])
def test_layers_that_fit_leave_the_queue_empty(layers: Callable[..., History], name: str) -> None:
    history = layers(name, 10)
    assert history.queue.mean() < 0.010, told(history.queue.mean())
    assert history.drops < 0.005, told(history.drops)
    assert (history.picture == (0 if name == "150" else 150 * K)).mean() > 0.98


def test_a_fall_is_followed_in_half_a_second_and_the_queue_is_empty_in_one(fed: Callable[..., History]) -> None:
    history = fed("the step", 20, 22)
    assert until(history.pace < 0.5 * history.target[0]) <= 0.5
    assert until(history.target < 300 * K) < 0.7, told(history.target.mean(axis=1))
    assert since(history.queue > 0.1) <= 1.0
    rest = fed("the step", 21, 40)
    assert rest.queue.mean() < 0.060, told(rest.queue.mean())
    assert rest.drops < 0.03, told(rest.drops)


def test_the_former_layer_is_there_again_10_s_after_the_link(
    fed: Callable[..., History], layers: Callable[..., History]
) -> None:
    assert until(fed("the step", 40).target >= 600 * K) < 8
    assert until(layers("the step", 40).picture == 500 * K) < 10


def test_a_paused_picture_is_there_again_10_s_after_the_link(layers: Callable[..., History]) -> None:
    assert (layers("80, then 1000", 25, 55).picture == 0).mean() > 0.9
    assert until(layers("80, then 1000", 55).picture > 0) < 9


@pytest.mark.parametrize("name", LOSSY)
def test_loss_that_makes_no_queue_takes_nothing_away(fed: Callable[..., History], name: str) -> None:
    history = fed(name, 15)
    assert history.target.min() > 1.2 * M, told(history.target.min(axis=0))


def test_a_newcomer_has_what_fits_in_a_second(fed: Callable[..., History]) -> None:
    assert until(fed("3000").target > 700 * K) < 0.6
    assert until(fed("3000").target > 1.4 * M) < 1.2
    narrow = fed("500", 0, 5)
    assert until(narrow.target > 400 * K) < 1.0
    assert narrow.target.max() < 550 * K, told(narrow.target.max(axis=0))
    assert narrow.queue.max() < 0.2, told(narrow.queue.max(axis=0))


def test_a_dead_zone_is_waited_out(fed: Callable[..., History]) -> None:
    before, dead, after = fed("a dead zone", 10, 15), fed("a dead zone", 17, 55), fed("a dead zone", 55)
    assert dead.pace.max() <= 50 * K
    assert (dead.target == dead.target[0]).all()
    assert dead.target.min() > 0.9 * before.target.min()
    assert until(after.sent > 600 * K) < 2.0
    assert after.target[:30].min() > 0.75 * M, told(after.target.min(axis=0))


@pytest.mark.parametrize("name", ["jitter", "stalls"])
def test_noise_takes_no_layer_away(layers: Callable[..., History], name: str) -> None:
    history = layers(name, 15)
    assert (history.picture == 500 * K).mean() > 0.9, told((history.picture == 500 * K).mean(axis=0))


def test_a_way_that_has_become_longer_is_no_queue(fed: Callable[..., History]) -> None:
    history = fed("a longer way", 42)
    assert history.target.min() > 0.6 * M, told(history.target.min(axis=0))


@pytest.mark.parametrize("pictures", ["fed", "layers"])
def test_a_longer_way_behind_a_deep_fall_costs_pictures_a_moment(pictures: str, request: pytest.FixtureRequest) -> None:
    simulated: Callable[..., History] = request.getfixturevalue(pictures)
    # Of the first five seconds the pace is at its floor for half of one; the target is what the way carries.
    assert (simulated("a longer and narrower way", 37.5, 42.5).pace <= LEAST).mean() < 0.1
    assert np.median(simulated("a longer and narrower way", 40).target) > 0.8 * 600 * K


def test_a_phone_on_its_way_keeps_a_short_queue_and_few_changes() -> None:
    network = like_3g(SEED, 60, 20)
    history = drive(Links(network, SEED), Ladder(network)).part(slice(None), slice(5, 60))
    assert history.queue.mean() < 0.020, told(history.queue.mean())
    assert history.drops < 0.01, told(history.drops)
    changes = (np.diff(history.picture, axis=0) != 0).sum(axis=0)
    assert changes.mean() < 9, told(changes)
