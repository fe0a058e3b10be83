"""The lab's link does what it is told: rate, queue, losses, delay; the same again with the same seed."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vardrum.bench.network.link import Conditions, Link, Way, mean_rate, read_trace

PACKET = bytes(1000)
PLAIN = Conditions(rate=800_000, delay=0.05)  # 10 ms a packet


def arrivals(way: Way, times: list[float], until: float, packet: bytes = PACKET) -> list[float]:
    """When what was sent at `times` came through, to the millisecond."""
    came: list[float] = []
    left = list(times)
    for tick in range(round(until * 1000) + 1):
        now = tick / 1000
        while left and left[0] <= now:
            way.take(packet, left.pop(0))
        came += [now] * len(way.due(now))
    return came


def lost(conditions: Conditions, seed: int, packets: int = 20_000) -> list[bool]:
    """Which of so many packets, one each millisecond, were lost in the air."""
    way = Way(conditions, 0.0, seed)
    found = []
    for number in range(packets):
        way.take(PACKET, number / 1000)
        found.append(way.counts(number / 1000).lost_air == 1)
    return found


def test_packets_go_at_the_links_rate_and_arrive_after_its_delay() -> None:
    assert arrivals(Way(PLAIN, 0.0, 1), [0.0] * 5, 0.2) == pytest.approx([0.06, 0.07, 0.08, 0.09, 0.1], abs=1.1e-3)


def test_a_link_without_a_limit_only_delays() -> None:
    way = Way(replace(PLAIN, rate=None), 0.0, 1)
    assert arrivals(way, [0.0] * 50, 0.1) == [0.05] * 50
    assert way.counts(0.1).capacity == float("inf")


def test_the_queue_drops_what_does_not_fit_and_holds_its_time_at_the_present_rate() -> None:
    way = Way(replace(PLAIN, queue=0.2, queue_least=0), 0.0, 1)
    assert way.room() == 20_000
    assert len(arrivals(way, [0.0] * 50, 1.0)) == 20
    counts = way.counts(1.0)
    assert (counts.packets, counts.sent_packets, counts.lost_queue) == (50, 20, 30)
    assert counts.waited / counts.sent_packets == pytest.approx(0.095)  # 0, 10, … 190 ms
    way.change(replace(PLAIN, rate=80_000, queue_least=8000), 1.0)
    assert way.room() == 8000, "but never less than this"


def test_an_empty_queue_takes_any_packet() -> None:
    way = Way(replace(PLAIN, rate=1000, queue_least=0), 0.0, 1)
    way.take(bytes(9000), 0.0)
    assert way.counts(0.0).lost_queue == 0


def test_a_rate_follows_its_trace_and_a_second_without_any_sends_nothing() -> None:
    way = Way(replace(PLAIN, trace=((0.0, 800_000), (1.0, 0), (2.0, 80_000)), queue_least=1_000_000), 0.0, 1)
    came = arrivals(way, [n / 100 for n in range(200)], 4.0)
    by_second = [sum(second <= at - 0.05 < second + 1 for at in came) for second in range(4)]
    assert by_second == pytest.approx([100, 0, 10, 10], abs=1)
    assert way.counts(4.0).capacity == pytest.approx(800_000 + 2 * 80_000)


def test_a_change_counts_from_its_moment_for_what_is_half_sent_too() -> None:
    way = Way(PLAIN, 0.0, 1)
    way.take(PACKET, 0.0)
    way.change(replace(PLAIN, rate=80_000, delay=0.0), 0.005)
    assert way.due(0.054) == []
    assert way.due(0.0551) == [PACKET], "4000 bits in 5 ms, the other 4000 in 50"


def test_independent_losses_have_their_share_and_come_again_with_the_same_seed() -> None:
    conditions = replace(PLAIN, rate=None, loss=0.08)
    one = lost(conditions, 3)
    assert sum(one) / len(one) == pytest.approx(0.08, abs=0.01)
    assert one == lost(conditions, 3)
    assert one != lost(conditions, 4)


def test_bursts_have_their_share_and_their_length() -> None:
    found = lost(replace(PLAIN, rate=None, loss=0.03, burst=5), 5, 100_000)
    runs = [len(list(group)) for gone, group in itertools.groupby(found) if gone]
    assert sum(found) / len(found) == pytest.approx(0.03, abs=0.005)
    assert sum(runs) / len(runs) == pytest.approx(5, abs=0.6)


def test_jitter_keeps_the_order_unless_asked_not_to() -> None:
    def order(reorder: bool) -> list[int]:
        way = Way(replace(PLAIN, rate=None, jitter=0.05, reorder=reorder), 0.0, 7)
        for number in range(200):
            way.take(number.to_bytes(2), number / 1000)
        return [int.from_bytes(packet) for packet in way.due(1.0)]

    assert order(False) == list(range(200))
    assert sorted(order(True)) == list(range(200)) != order(True)


def test_what_goes_down_does_not_decide_what_is_lost_on_the_way_up() -> None:
    def lost_up(downs: int) -> list[bytes]:
        lossy = replace(PLAIN, rate=None, loss=0.5)
        link = Link(lossy, lossy, 0.0, 9)
        for number in range(100):
            link.up.take(number.to_bytes(2), number / 100)
            for _ in range(downs):
                link.down.take(PACKET, number / 100)
        return link.up.due(10.0)

    assert lost_up(0) == lost_up(3)


@given(
    st.lists(st.tuples(st.floats(0, 0.05), st.integers(20, 1500)), min_size=1, max_size=60),
    st.sampled_from([None, 10_000.0, 300_000.0]),
    st.lists(st.sampled_from([0.0, 50_000.0, 2e6]), max_size=4),
)
def test_who_asks_again_when_told_to_misses_nothing(
    sends: list[tuple[float, int]], rate: float | None, rates: list[float]
) -> None:
    trace = tuple((0.3 * place, each) for place, each in enumerate([*rates, 1e6]))
    conditions = Conditions(rate=rate, trace=trace if rates else (), delay=0.02, jitter=0.01)
    eager, patient = Way(conditions, 0.0, 1), Way(conditions, 0.0, 1)
    now, came = 0.0, 0
    for pause, size in sends:
        now += pause
        for way in (eager, patient):
            way.take(bytes(size), now)
    came += len(patient.due(now))
    asked = 0
    while (wait := patient.wait(now)) is not None:
        now, asked = now + wait, asked + 1
        came += len(patient.due(now + 1e-9))
        assert asked < 500, "it is worth waiting for"
    counts = patient.counts(now)
    assert came == len(eager.due(now + 100)) == counts.sent_packets
    assert counts.packets == counts.sent_packets + counts.lost_queue


def test_conditions_survive_their_way_to_another_process() -> None:
    conditions = replace(PLAIN, trace=((0.0, 1e6), (1.5, 2e5)), loss=0.1)
    assert Conditions.from_json(json.loads(json.dumps(conditions.as_json()))) == conditions
    with pytest.raises(TypeError, match="lost"):
        Conditions.from_json({"lost": 1})


def test_a_trace_is_read_as_it_stands_in_its_file() -> None:
    trace = read_trace("0.0\t1.0\n1.5 0.5\n3.0 9\n", 3.0, scale=0.5)
    assert trace == ((0.0, 500_000), (1.5, 250_000))
    assert mean_rate(trace, 3.0) == pytest.approx(375_000)
