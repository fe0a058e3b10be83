"""Which repair a viewer's sound gets: by loss, round trip and what they offered, up at once and down slowly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from vardrum.sfu.sound import PLAIN, SoundMode, SoundPolicy, mode, needed

ONE, TWO, TWICE = SoundMode(redundancy=1), SoundMode(redundancy=2), SoundMode(copies=1)
THRICE = SoundMode(copies=2)
FIREFOX, CHROMIUM = False, True


@pytest.mark.parametrize(
    ("loss", "round_trip", "red", "roomy", "expected"),
    [
        (0.02, 0.30, CHROMIUM, False, PLAIN),
        (0.05, 0.30, CHROMIUM, False, ONE),
        (0.12, 0.30, CHROMIUM, False, TWO),
        (0.05, 0.05, CHROMIUM, False, PLAIN),  # NACK is in time
        (0.12, 0.05, CHROMIUM, False, ONE),
        (0.02, 0.05, FIREFOX, False, PLAIN),
        (0.05, 0.05, FIREFOX, False, TWICE),
        (0.10, 0.30, FIREFOX, False, THRICE),
        # Where there is room, in time is not soon enough.
        (0.02, 0.05, CHROMIUM, True, ONE),
        (0.08, 0.05, CHROMIUM, True, TWO),
        (0.02, 0.05, FIREFOX, True, TWICE),
        (0.005, 0.05, CHROMIUM, True, PLAIN),
        (np.nan, 0.30, CHROMIUM, True, PLAIN),
        (np.nan, 0.30, FIREFOX, False, PLAIN),
    ],
)
def test_the_repair_fits_loss_round_trip_and_room(
    loss: float, round_trip: float, red: bool, roomy: bool, expected: SoundMode
) -> None:
    (repair,) = needed(np.array([loss]), np.array([round_trip]), np.array([red]), np.array([roomy]))
    assert mode(int(repair), red=red, starved=False) == expected


def test_a_starved_viewer_gets_few_packets_and_the_repair_beside_it() -> None:
    assert mode(0, red=True, starved=True) == SoundMode(joined=True, pauses_dropped=True)
    assert mode(1, red=True, starved=True) == SoundMode(redundancy=1, joined=True, pauses_dropped=True)


class Net:
    """Viewers who are sent 100 packets a second, looked at each 100 ms."""

    def __init__(self, *, red: set[int], round_trip: float = 0.3, patience: float = 0.0) -> None:
        self.policy = SoundPolicy(patience=patience)
        self.red = red
        self.round_trip = round_trip
        self.queue = 0.0
        self.now = 0.0
        self.lost: dict[int, float] = {}
        self.acked: dict[int, float] = {}
        self.modes: dict[int, SoundMode] = {}

    def run(self, seconds: float, loss: dict[int, float]) -> list[tuple[float, int, SoundMode]]:
        """What changed, and when."""
        said = []
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            for one, share in loss.items():
                self.lost[one] = self.lost.get(one, 0.0) + 10 * share
                self.acked[one] = self.acked.get(one, 0.0) + 10 * (1 - share)
            rows = list(loss)
            for one, new in self.policy.update(
                self.now,
                np.array(rows, dtype=np.int64),
                np.array([self.lost[one] for one in rows]),
                np.array([self.acked[one] for one in rows]),
                np.full(len(rows), np.nan),
                np.full(len(rows), self.round_trip),
                np.full(len(rows), self.queue),
                self.red,
            ):
                self.modes[one] = new
                said.append((self.now, one, new))
        return said


def test_a_repair_begins_within_seconds_and_ends_after_ten_calm_ones() -> None:
    net = Net(red={1})
    net.run(10, {1: 0.0, 2: 0.0})
    assert net.modes == {}
    net.run(3, {1: 0.06, 2: 0.06})
    assert net.modes == {1: ONE, 2: TWICE}
    net.run(5, {1: 0.2, 2: 0.0})
    assert net.modes == {1: TWO, 2: TWICE}
    said = net.run(30, {1: 0.02, 2: 0.0})
    assert net.modes == {1: TWO, 2: PLAIN}, "between the bounds nothing changes"
    assert all(9 < at - 13 < 22 for at, _, _ in said)


def test_a_loss_that_its_repair_hides_is_not_tried_again_each_time() -> None:
    net = Net(red=set())
    calm = []
    for _ in range(4):
        net.run(5, {1: 0.05})
        assert net.modes[1] == TWICE
        began = net.now
        while net.modes[1] == TWICE:
            net.run(0.1, {1: 0.0})
        calm.append(net.now - began)
    assert all(after > 1.5 * before for before, after in itertools.pairwise(calm)), calm


def test_what_is_lost_behind_a_queue_is_not_sent_twice() -> None:
    net = Net(red={1})
    net.queue = 0.5
    assert net.run(10, {1: 0.15, 2: 0.15}) == [], "copies would make the queue longer"
    net.queue = 0.0
    net.run(2, {1: 0.0, 2: 0.0})
    assert net.modes == {}
    net.run(3, {1: 0.15, 2: 0.15})
    assert net.modes == {1: TWO, 2: THRICE}


def test_what_was_lost_before_its_queue_was_noticed_counts_as_little() -> None:
    net = Net(red={1}, patience=2.0)
    net.run(5, {1: 0.0, 2: 0.0})
    assert net.run(1.5, {1: 0.3, 2: 0.3}) == [], "it may be a moment"
    net.queue = 0.5
    net.run(0.1, {1: 0.3, 2: 0.3})
    net.queue = 0.0
    assert net.run(5, {1: 0.0, 2: 0.0}) == []
    began = net.now
    assert all(at - began > 1.9 for at, _, _ in net.run(4, {1: 0.2, 2: 0.2}))
    assert net.modes == {1: TWO, 2: THRICE}


def test_who_comes_and_goes_leaves_the_others_as_they_are() -> None:
    net = Net(red=set())
    net.run(5, {1: 0.05, 2: 0.0})
    net.run(1, {2: 0.0, 3: 0.0, 1: 0.05})
    assert net.modes == {1: TWICE}
    net.run(5, {3: 0.0})
    assert net.run(1, {3: 0.0, 1: 0.0}) == [], "somebody new under a number that was used before begins anew"


def test_without_transport_feedback_reports_count() -> None:
    policy = SoundPolicy()
    zero = np.zeros(1)
    said = policy.update(1.0, np.array([7]), zero, zero, np.array([0.05]), np.array([0.05]), zero, set())
    assert said == [(7, TWICE)]
    assert policy.update(1.1, np.array([7]), zero, zero, np.array([0.02]), np.array([0.05]), zero, set()) == []


def test_starved_is_said_once_and_taken_back() -> None:
    policy = SoundPolicy()
    zero = np.zeros(1)

    def update(now: float) -> list[tuple[int, SoundMode]]:
        return policy.update(now, np.array([7]), zero, zero, zero, zero, zero, {7})

    assert update(1.0) == []
    policy.starved.add(7)
    assert update(1.1) == [(7, SoundMode(joined=True, pauses_dropped=True))]
    assert update(1.2) == []
    policy.starved.discard(7)
    assert update(1.3) == [(7, PLAIN)]
