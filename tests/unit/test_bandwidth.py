"""What the engine's table of downlinks is taken to mean, tick by tick; how that works out on links is in tests/sim."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from vardrum.sfu.bandwidth import BLIND_MOST, BLIND_START, DEAD_RATE, LEAST, MOST, START, Bandwidth, Estimates
from vardrum.sfu.engine import Downlink
from vardrum.sfu.probing import LONGEST_BACKOFF, MISSED_BACKOFF, MOST_ID

PACKET = 1000


@dataclass
class Way:
    """A downlink as the engine shows it: everything arrives, and probes come through at `carries`, if they do at all.

    Attributes:
        rate: bit/s of media; held: packets that wait in the pacer; feedback: whether it comes; carries: bit/s;
        answers: whether probes are told of.
    """

    number: int
    rate: float = 200_000.0
    held: int = 1
    feedback: bool = True
    carries: float = 100e6
    answers: bool = True
    values: dict[Downlink, float] = field(default_factory=dict)
    sent: float = 0.0
    told: float = 0.0
    heard: float = float("nan")
    probe: tuple[int, float, float] | None = None

    def row(self, now: float, passed: float) -> np.ndarray:
        self.sent += self.rate * passed / 8
        if self.feedback and self.sent > self.told:
            self.told, self.heard = self.sent, now
        row = np.zeros(len(Downlink))
        row[[Downlink.SOUND_LOSS, Downlink.PICTURE_LOSS]] = np.nan
        row[Downlink.PEER], row[Downlink.ROUND_TRIP_US] = self.number, 100_000
        row[Downlink.SENT_BYTES], row[Downlink.SENT_PACKETS] = self.sent, self.sent // PACKET
        row[Downlink.ACKED_BYTES], row[Downlink.ACKED_PACKETS] = self.told, self.told // PACKET
        row[Downlink.ACKED_RATE_BPS] = self.rate
        row[Downlink.FEEDBACK_AGE_US] = (now - self.heard) * 1e6
        row[Downlink.IN_FLIGHT_BYTES] = self.sent - self.told
        row[Downlink.HELD_PACKETS] = self.held
        if self.probe is not None:
            id_, asked, until = self.probe
            row[Downlink.PROBE_ID] = id_
            row[Downlink.PROBE_RATE_BPS] = min(asked, self.carries) if self.answers and now > until + 0.2 else 0
        for column, value in self.values.items():
            row[column] = value
        return row


class Net:
    """Ways looked at each 100 ms."""

    def __init__(self, *ways: Way) -> None:
        self.bandwidth = Bandwidth()
        self.ways = list(ways)
        self.wanted: dict[int, float] = {}
        self.blind: set[int] = set()
        self.unseen: set[int] = set()
        self.now = 100.0
        self.probes: list[tuple[float, int, int, int, int]] = []

    def run(self, seconds: float = 0.1) -> Estimates:
        for _ in range(round(seconds * 10)):
            rows = np.array([way.row(self.now, 0.1) for way in self.ways]).reshape(-1, len(Downlink))
            estimates = self.bandwidth.update(self.now, rows, self.wanted, self.blind, self.unseen)
            for number, id_, asked, milliseconds in estimates.probes:
                self.probes.append((self.now, number, id_, asked, milliseconds))
                way = next(way for way in self.ways if way.number == number)
                way.probe = (id_, asked, self.now + milliseconds / 1000)
            self.now += 0.1
        return estimates

    def asked(self) -> list[int]:
        return [asked for _, _, _, asked, _ in self.probes]

    def pauses(self) -> list[float]:
        return [round(after[0] - before[0], 1) for before, after in zip(self.probes, self.probes[1:], strict=False)]


def target_of(net: Net, number: int, estimates: Estimates) -> float:
    return float(estimates.target[list(estimates.number).index(number)])


def test_nobody_is_no_trouble() -> None:
    estimates = Net().run()
    assert len(estimates.number) == len(estimates.target) == 0
    assert not estimates.probes


def test_a_newcomer_is_probed_for_three_and_six_times_the_first_target_and_no_more_if_content() -> None:
    net = Net(Way(7))
    first = net.run()
    assert first.target[0] == START
    assert first.probes == [(7, 1, round(3 * START), 100)]
    estimates = net.run(20)
    assert net.asked() == [round(3 * START), round(6 * START)]
    assert [id_ for _, _, id_, _, _ in net.probes] == [1, 2]
    assert estimates.target[0] == pytest.approx(0.95 * 6 * START)


def test_more_is_wanted_and_probed_for_until_it_has_headroom() -> None:
    net = Net(Way(7))
    net.wanted = {7: 5e6}
    estimates = net.run(20)
    assert estimates.target[0] > 1.15 * 5e6
    assert all(later <= 3 * before for before, later in zip(net.asked(), net.asked()[1:], strict=False))


def test_a_way_that_carries_less_than_a_probe_gives_its_rate_away() -> None:
    net = Net(Way(7, carries=500e3))
    net.wanted = {7: 5e6}
    estimates = net.run(1)
    assert net.asked() == [round(3 * START)]
    assert estimates.target[0] == pytest.approx(0.9 * 500e3)


def test_probes_that_fail_come_less_often() -> None:
    net = Net(Way(7, carries=500e3, rate=400e3))
    net.wanted = {7: 5e6}
    net.run(180)
    pauses = net.pauses()
    assert pauses[0] < pauses[1] < pauses[2] < pauses[3]
    assert LONGEST_BACKOFF < pauses[-1] < LONGEST_BACKOFF + 1
    # So much as they ask for above the target, that long: what they leave in the queue is gone soon.
    for _, _, _, asked, milliseconds in net.probes[1:]:
        assert (asked - 450e3) * milliseconds / 1000 <= 0.16 * 500e3


def test_where_a_picture_is_missing_probes_go_on() -> None:
    net = Net(Way(7, carries=90e3, rate=50e3))
    net.wanted = {7: 300e3}
    net.bandwidth.update(net.now, net.ways[0].row(net.now, 0)[None], {})
    net.bandwidth._state.target[:] = 80e3
    net.run(60)
    assert max(net.pauses()[4:]) < MISSED_BACKOFF + 1
    net.ways[0].carries = 1e6
    since = net.now
    estimates = net.run(8)
    assert estimates.target[0] > 300e3, [one for one in net.probes if one[0] > since]


def test_a_probe_that_nothing_is_told_of_is_repeated_soon_and_seldom_if_always_in_vain() -> None:
    net = Net(Way(7, answers=False))
    net.run(30)
    pauses = net.pauses()
    assert pauses[0] == pauses[1] < 2.5
    assert 5 < pauses[-1] < 9
    net.ways[0].answers = True
    assert net.run(20).target[0] > 5 * START


def test_who_is_sent_nothing_is_probed_too() -> None:
    net = Net(Way(7, rate=0, feedback=False))
    net.ways[0].heard = 90.0
    net.ways[0].values[Downlink.QUEUE_DELAY_US] = 300_000  # whatever it was when feedback last came
    net.wanted = {7: 1e6}
    assert net.run(10).target[0] > 1.15e6


def test_the_first_probe_waits_a_second_for_a_picture_to_carry() -> None:
    alone, seen = Net(Way(7, held=0)), Net(Way(7, held=0))
    for net in (alone, seen):
        net.run(0.5)
        assert net.asked() == []
    seen.ways[0].held = 8
    seen.run(0.1)
    assert seen.asked() == [round(3 * START)]
    alone.run(1)
    assert alone.asked()[0] == round(3 * START)
    # Later ones are for what isn't sent yet, and wait for nothing.
    seen.ways[0].held = 0
    seen.run(1)
    assert seen.asked()[1] == round(6 * START)


def test_the_first_probe_waits_no_longer_where_no_picture_fits_before_it() -> None:
    net = Net(Way(7, held=0))
    net.unseen = {7}
    net.run(0.2)
    assert net.asked() == []
    net.run(0.3)
    assert net.asked() == [round(3 * START)]


def test_numbers_of_probes_begin_anew() -> None:
    net = Net(Way(7))
    net.run()
    net.bandwidth._probing._probes.id[:] = MOST_ID
    net.ways[0].probe = (MOST_ID, 3 * START, net.now)
    net.run(1)
    assert [id_ for _, _, id_, _, _ in net.probes] == [1, 1]


def test_everyone_is_remembered_by_number_whoever_comes_and_goes() -> None:
    net = Net(Way(3), Way(5, carries=400e3), Way(9, carries=800e3))
    net.wanted = {3: 2e6, 5: 2e6, 9: 2e6}
    before = net.run(5)
    net.ways = [net.ways[2], Way(4), net.ways[1]]
    after = net.run()
    assert list(after.number) == [9, 4, 5]
    for number in (5, 9):
        assert target_of(net, number, after) == pytest.approx(target_of(net, number, before), rel=0.05)
    assert target_of(net, 4, after) == START


def test_a_queue_that_grows_takes_the_target_below_what_arrives_once() -> None:
    net = Net(Way(7, rate=900e3, carries=900e3))
    net.wanted = {7: 2e6}
    net.run(5)
    way = net.ways[0]
    way.rate = 400e3
    under_way = 0.3 * way.rate / 8
    way.values = {Downlink.QUEUE_DELAY_US: 200_000, Downlink.TREND: 0.2, Downlink.IN_FLIGHT_BYTES: under_way}
    one = net.run()
    assert one.congested[0]
    assert one.pace[0] < 0.6 * 400e3 < 500e3 < one.target[0]
    estimates = net.run(0.4)
    assert 0.8 * 400e3 < estimates.target[0] < 450e3
    # As soon as hardly anything is under way the queue has drained, whatever the newest feedback tells of it.
    way.values[Downlink.IN_FLIGHT_BYTES] = 0.1 * way.rate / 8
    estimates = net.run()
    assert estimates.pace[0] == estimates.target[0]
    way.values = {}
    estimates = net.run(0.4)
    assert not estimates.congested[0]
    assert estimates.pace[0] == estimates.target[0]


def test_behind_a_fall_late_feedback_takes_nothing_more_and_a_queue_that_must_have_drained_has() -> None:
    way = Way(7, rate=900e3, carries=900e3)
    net = Net(way)
    net.wanted = {7: 2e6}
    net.run(5)
    way.rate = 400e3
    way.values = {Downlink.QUEUE_DELAY_US: 300_000, Downlink.TREND: 0.2, Downlink.IN_FLIGHT_BYTES: 100_000}
    fallen = net.run(0.4)
    target = target_of(net, 7, fallen)
    assert 0.8 * 400e3 < target < 450e3
    assert fallen.pace[0] < 0.5 * target
    # Sound alone goes on; what feedback tells of is as old as the queue, and some of it is lost.
    way.rate = 60e3
    way.values[Downlink.ACKED_RATE_BPS] = 400e3
    after = [net.run() for _ in range(6)]
    assert min(target_of(net, 7, one) for one in after) > 0.99 * target
    assert after[-1].pace[0] == after[-1].target[0]


@pytest.mark.parametrize(("left", "spared"), [(150e3, True), (700e3, False)])
def test_behind_a_deep_fall_sound_alone_goes_on_until_the_queue_has_room(left: float, spared: bool) -> None:
    way = Way(7, rate=900e3, carries=900e3)
    net = Net(way)
    net.wanted = {7: 2e6}
    net.run(5)
    way.rate = left
    way.values = {Downlink.QUEUE_DELAY_US: 200_000, Downlink.TREND: 0.2, Downlink.IN_FLIGHT_BYTES: 100_000}
    fallen = net.run(0.4)
    assert 0.8 * left < fallen.target[0] < 1.1 * left
    assert (fallen.pace[0] == LEAST) == spared
    # Of a short one half a rate takes as much away as is wanted.
    way.values[Downlink.QUEUE_DELAY_US] = 90_000
    short = net.run()
    assert LEAST < short.pace[0] <= short.target[0]


def test_a_fall_that_went_too_deep_is_taken_back() -> None:
    way = Way(7, rate=900e3, carries=900e3)
    net = Net(way)
    net.wanted = {7: 2e6}
    net.run(5)
    way.values = {Downlink.QUEUE_DELAY_US: 300_000, Downlink.TREND: 0.2}

    def told(rate: float, ticks: int) -> float:
        """The target after feedback that tells of so many bit/s."""
        for _ in range(ticks):
            way.values[Downlink.ACKED_RATE_BPS] = rate
            way.values[Downlink.ACKED_BYTES] = way.values.get(Downlink.ACKED_BYTES, way.told) + rate / 80
            way.values[Downlink.ACKED_PACKETS] = way.values[Downlink.ACKED_BYTES] // PACKET
            target = target_of(net, 7, net.run())
        return target

    assert told(50e3, 5) < 60e3
    way.rate = 60e3
    assert told(400e3, 5) == pytest.approx(0.85 * 400e3, rel=0.05)


def test_noise_of_one_feedback_takes_nothing_away() -> None:
    net = Net(Way(7))
    before = net.run(5).target[0]
    for _ in range(10):
        net.ways[0].values = {Downlink.QUEUE_DELAY_US: 150_000, Downlink.TREND: 0.3}
        net.run()
        net.ways[0].values = {}
        net.run(0.4)
    assert net.run().target[0] >= before


def test_a_queue_right_after_a_silence_is_judged_by_what_came_since() -> None:
    way = Way(1)
    net = Net(way)
    net.wanted = {1: 4e6}
    net.run(20)
    way.rate = 0.0
    net.run(60)
    way.rate = 400e3
    way.values[Downlink.QUEUE_DELAY_US] = 200_000
    assert min(target_of(net, 1, net.run()) for _ in range(3)) > 0.3 * way.rate


def test_a_receiver_that_stood_still_for_a_moment_takes_nothing_away() -> None:
    way = Way(1, rate=1_500_000.0)
    net = Net(way)
    net.wanted = {1: 4e6}
    before = target_of(net, 1, net.run(20))
    # What waited for the receiver comes at once: the first feedback tells of a long wait, the second of a short one.
    for queue, after in ((290_000, before), (90_000, before), (90_000, 0.85 * way.rate)):
        way.values[Downlink.QUEUE_DELAY_US] = queue
        assert target_of(net, 1, net.run()) == pytest.approx(after, rel=0.02)


def test_the_queue_that_a_probe_leaves_is_a_fall_only_where_less_comes_than_it_has_shown() -> None:
    way = Way(7, rate=350e3, carries=400e3)
    net = Net(way)
    net.wanted = {7: 2e6}
    net.run(2)
    before, probes = net.run().target[0], len(net.probes)
    while len(net.probes) == probes:
        net.run()

    def queue(seconds: float) -> float:
        """The target after so long with a queue that goes up and down."""
        for tick in range(round(seconds * 10)):
            way.values = {Downlink.QUEUE_DELAY_US: 200_000 + 100_000 * (tick % 2), Downlink.TREND: 0.2}
            target = target_of(net, 7, net.run())
        return target

    assert queue(1.4) == pytest.approx(before, rel=0.05)
    way.rate = 200e3
    assert queue(0.5) == pytest.approx(0.85 * way.rate, rel=0.05)


def test_a_delay_that_stays_whatever_is_sent_is_no_queue() -> None:
    net = Net(Way(7, rate=1e6, carries=2e6))
    before = net.run(5).target[0]
    way = net.ways[0]
    way.values = {Downlink.QUEUE_DELAY_US: 120_000}
    for _ in range(40):
        estimates = net.run()
        way.rate = min(1e6, float(estimates.target[0]))
    net.wanted = {7: 1e6}
    for _ in range(60):
        estimates = net.run()
        way.rate = min(1e6, float(estimates.target[0]))
    assert estimates.target[0] > 0.6 * before
    assert not estimates.congested[0]


def test_loss_that_is_usual_and_makes_no_queue_takes_nothing_away() -> None:
    net = Net(Way(7, rate=1e6))
    before = net.run(5).target[0]
    lost = 0.0
    for _ in range(200):
        lost += 1e6 * 0.1 / 8 / PACKET * 0.09
        net.ways[0].values[Downlink.LOST_PACKETS] = lost
        estimates = net.run()
    assert estimates.target[0] >= before


def test_a_policer_is_obeyed() -> None:
    net = Net(Way(7, rate=1e6))
    net.run(5)
    way = net.ways[0]
    lost = 0.0
    for _ in range(20):
        lost += 1e6 * 0.1 / 8 / PACKET
        way.values = {Downlink.LOST_PACKETS: lost, Downlink.ACKED_RATE_BPS: 0.9e6}
        estimates = net.run()
    assert estimates.target[0] <= START * 6
    way.rate = 1.6e6
    for _ in range(20):
        lost += 0.5e6 * 0.1 / 8 / PACKET
        way.values = {Downlink.LOST_PACKETS: lost, Downlink.ACKED_RATE_BPS: 1.1e6}
        estimates = net.run()
    assert estimates.target[0] < 1.15e6


def test_a_dead_zone_leaves_the_target_and_only_sound_goes_on() -> None:
    net = Net(Way(7, rate=500e3))
    before = net.run(10)
    way = net.ways[0]
    way.feedback = False
    late = net.run(0.6)
    assert late.pace[0] <= 0.5 * 500e3
    dead = net.run(30)
    assert dead.pace[0] == DEAD_RATE
    assert dead.target[0] == before.target[0]
    way.feedback = True
    way.values = {Downlink.QUEUE_DELAY_US: 9e6, Downlink.TREND: 0.5}
    net.run(0.2)
    way.values = {}
    back = net.run(0.5)
    assert back.target[0] == before.target[0] == back.pace[0]


def test_who_gives_no_feedback_is_steered_by_receiver_reports_and_never_probed() -> None:
    net = Net(Way(7, rate=500e3, feedback=False, answers=False))
    net.wanted = {7: 4e6}
    assert net.run(2.5).target[0] == START
    estimates = net.run(1)
    assert estimates.target[0] == pytest.approx(BLIND_START, rel=0.1)
    net.probes.clear()
    way = net.ways[0]
    way.values = {Downlink.PICTURE_LOSS: 0.4}
    less = net.run(1.5).target[0]
    assert less < 0.85 * BLIND_START
    way.values = {Downlink.PICTURE_LOSS: 0.0}
    assert net.run(30).target[0] == BLIND_MOST
    # What the receiver estimates counts where something is lost.
    way.values = {Downlink.REMB_BPS: 700e3}
    assert net.run(1).target[0] == BLIND_MOST
    way.values = {Downlink.REMB_BPS: 700e3, Downlink.PICTURE_LOSS: 0.2}
    assert net.run(1).target[0] == 700e3
    assert not net.probes


def test_who_is_known_to_give_none_is_not_waited_for() -> None:
    net = Net(Way(7, feedback=False))
    net.blind = {7}
    estimates = net.run()
    assert estimates.target[0] == BLIND_START
    assert not net.probes


def test_targets_have_a_floor_and_a_ceiling() -> None:
    net = Net(Way(7), Way(8, rate=300e3, answers=False))
    net.wanted = {7: 1e9}
    for at in range(600):
        # A queue that comes and goes, as one does that is always filled anew.
        net.ways[1].values = {Downlink.QUEUE_DELAY_US: 500_000 + 300_000 * (at // 4 % 2), Downlink.TREND: 0.2}
        estimates = net.run()
        net.ways[1].rate = 0.9 * target_of(net, 8, estimates)
    assert target_of(net, 7, estimates) == MOST
    assert target_of(net, 8, estimates) == LEAST == estimates.pace.min()


def test_the_same_tables_give_the_same_estimates() -> None:
    def told() -> list[tuple[list[float], list[float], object]]:
        net = Net(Way(3, carries=300e3), Way(5), Way(6, feedback=False))
        net.wanted = {3: 1e6, 5: 3e6}
        return [(list(one.target), list(one.pace), one.probes) for one in (net.run() for _ in range(200))]

    assert told() == told()
