"""What publishers are asked to send: what is needed, as far as their own network bears it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vardrum.sfu.publishing import Needs, Publishing
from vardrum.sfu.relief import UplinkState
from vardrum.sfu.send import CAMERA, CAMERA_LOW, Profile, welcome_send

Need = Mapping[int, int | None]

LOW: Need = {0: None}
BOTH: Need = {0: None, 1: None}
NOBODY: Need = {}
GOOD = {0: 150_000.0, 1: 500_000.0}
TICK = 0.5


class Phone:
    """A publisher who does what it is told, as far as its network lets it, and is looked at twice a second."""

    def __init__(self, profile: Profile = CAMERA, capacity: float = math.inf) -> None:
        self.asked = Publishing(profile, 0.0)
        self.now = 0.0
        self.send = self.asked.send
        self.capacity = capacity
        self.brings = GOOD
        self.off = False
        self.changes: list[tuple[float, frozenset[int]]] = []

    @property
    def on(self) -> frozenset[int]:
        return self.asked.encodings_on

    @property
    def largest(self) -> list[int]:
        return [one["maxBitrate"] for one in self.send["camera"]["encodings"]]

    @property
    def sound(self) -> int:
        rate: int = self.send["microphone"]["max_bitrate"]
        return rate

    def uplink(self, loss: float, limitation: str | None) -> UplinkState:
        room, rates = self.capacity, {}
        for layer in sorted(self.on):
            wanted = min(self.brings.get(layer, 0.0), self.largest[layer])
            rate = min(wanted, room)
            # A browser sends nothing of a layer that hasn't a third of its bits.
            if rate > 0 and (rate >= wanted / 3 or layer == 0):
                rates[layer] = rate
                room -= rate
                if rate < wanted:
                    limitation = "bandwidth"
            elif wanted > 0:
                limitation = "bandwidth"
        return UplinkState(loss, None if self.off else limitation, {} if self.off else rates, 0.1)

    def run(
        self,
        seconds: float,
        camera: Need = BOTH,
        *,
        screen: Need = NOBODY,
        loss: float = math.nan,
        limitation: str | None = "none",
    ) -> list[dict[str, Any]]:
        """What was said, all of which the phone does."""
        said = []
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            before = self.on
            change = self.asked.update(self.now, Needs(camera, screen), self.uplink(loss, limitation))
            for source, what in change.items():
                self.send[source] = {**self.send[source], **what}
                said.append(change)
            if self.on != before:
                self.changes.append((self.now, self.on))
        return said

    def until(self, condition: Callable[[], bool], limit: float, camera: Need = BOTH) -> float:
        began = self.now
        while not condition() and self.now - began < limit:
            self.run(TICK, camera)
        assert condition(), f"not within {limit} s"
        return self.now - began


def test_at_first_everything_is_on_and_nothing_is_said_while_it_is_needed() -> None:
    phone = Phone()
    assert phone.send == welcome_send(CAMERA)
    assert phone.run(60) == []


def test_a_layer_that_nobody_needs_goes_off_after_ten_seconds_and_comes_on_when_needed() -> None:
    phone = Phone()
    assert phone.run(9.5, LOW) == []
    (change,) = phone.run(1, LOW)
    assert change.keys() == {"camera"}
    assert [(one["rid"], one["active"]) for one in change["camera"]["encodings"]] == [("l", True), ("h", False)]
    phone.run(20, LOW)
    (change,) = phone.run(TICK, BOTH)
    assert [one["active"] for one in change["camera"]["encodings"]] == [True, True]


def test_a_change_waits_for_ten_seconds_after_the_former() -> None:
    phone = Phone()
    phone.run(10, LOW)
    assert phone.on == {0}
    assert phone.run(9.5, BOTH) == []
    phone.run(1, BOTH)
    assert phone.on == {0, 1}


def test_a_camera_that_nobody_needs_keeps_its_lowest_layer() -> None:
    phone = Phone()
    phone.run(30, NOBODY)
    assert phone.on == {0}
    phone.run(TICK, {1: None})
    phone.run(11, {1: None})
    assert phone.on == {1}, "whoever needs only the large one gets only that"
    phone.run(30, NOBODY)
    assert phone.on == {0}


def test_a_camera_that_nobody_needs_any_more_changes_once() -> None:
    phone = Phone()
    phone.run(9.5, {1: None})
    phone.run(30, NOBODY)
    assert [on for _, on in phone.changes] == [{0}]


def test_a_camera_that_is_off_changes_nothing() -> None:
    phone = Phone()
    phone.off = True
    assert phone.run(60, NOBODY) == []
    phone.off = False
    phone.run(9, NOBODY)
    assert phone.on == {0, 1}
    for _ in range(100):
        phone.now += TICK
        phone.asked.rest(phone.now)
    phone.run(9, NOBODY)
    assert phone.on == {0, 1}, "time at rest doesn't count"


def test_a_screen_follows_the_same_rules() -> None:
    phone = Phone()
    assert phone.run(9.5, screen=LOW) == []
    (change,) = phone.run(1, screen=LOW)
    assert [one["active"] for one in change["screen"]["encodings"]] == [True, False]
    (change,) = phone.run(11, screen=BOTH)
    assert change.keys() == {"screen"}


def test_what_only_starved_viewers_watch_is_asked_to_be_smaller_soon_and_larger_later() -> None:
    phone = Phone()
    phone.run(1, {0: 63_000})
    phone.run(TICK, {0: 63_000})
    assert phone.largest == [60_000, 500_000]
    assert phone.run(8, {0: 64_000}) == [], "so little is no difference"
    assert phone.run(4, LOW) != [], "only its layer that nobody needs"
    assert phone.largest[0] == 60_000
    phone.run(2, LOW)
    assert phone.largest[0] == 120_000, "as much as leaves it small"
    phone.run(25, LOW)
    assert phone.largest[0] == 150_000
    phone.run(5, {0: 20_000})
    assert phone.largest[0] == 50_000, "less isn't worth its packets"
    phone.run(31, {0: 10_000_000})
    assert phone.largest[0] == 150_000


def test_who_has_just_gone_down_to_a_layer_that_is_too_large_need_not_wait_for_it_to_be_asked_for() -> None:
    # As small as leaves its size costs no key frame, and need not wait either.
    for urgent, largest in ((False, 90_000), (True, 60_000)):
        asked = Publishing(CAMERA, 0.0)
        asked.update(1.0, Needs({0: 60_000}), UplinkState(rates=GOOD), urgent=urgent)
        assert asked.send["camera"]["encodings"][0]["maxBitrate"] == largest


def test_with_few_bits_the_lowest_layer_gets_smaller_and_keeps_its_frames() -> None:
    phone = Phone()

    def scale_after(useful: int | None) -> float:
        phone.run(31, {0: useful, 1: None})
        lowest = phone.send["camera"]["encodings"][0]
        assert lowest["maxFramerate"] == 20
        scale: float = lowest["scaleResolutionDownBy"]
        return scale

    assert [scale_after(useful) for useful in (None, 100_000, 80_000, 120_000, 140_000)] == [1.5, 1.5, 2.0, 2.0, 1.5]


def test_where_the_room_swings_a_picture_stays_small_until_there_is_enough_for_a_while() -> None:
    phone = Phone()

    def scales(*useful: int) -> list[float]:
        """After twenty seconds of each."""
        found: list[float] = []
        for rate in useful:
            phone.run(20, {0: rate})
            found.append(phone.send["camera"]["encodings"][0]["scaleResolutionDownBy"])
        return found

    assert scales(140_000, 80_000, 140_000, 80_000, 140_000, 140_000) == [1.5, 2.0, 2.0, 2.0, 2.0, 1.5]


def test_need_that_swings_is_asked_for_once() -> None:
    phone = Phone()
    phone.run(10, {0: 90_000})
    said = [change for _ in range(20) for rate in (90_000, 104_000) for change in phone.run(1, {0: rate})]
    assert said == []


def test_an_uplink_of_200_kbit_gets_the_lowest_layer_at_its_full_rate() -> None:
    phone = Phone(capacity=175_000)
    phone.until(lambda: phone.on == {0}, 12)
    assert phone.asked.in_trouble
    phone.run(9)
    assert phone.largest[0] == 150_000
    assert phone.sound == 24_000


def test_what_is_stuck_in_the_senders_queue_goes_off_at_once_even_right_after_a_change() -> None:
    asked = Publishing(CAMERA, 0.0)
    stuck = UplinkState(rates=GOOD, stuck=True)
    for now in (0.5, 1.0):
        change = asked.update(now, Needs(BOTH), stuck if now == 1.0 else UplinkState(rates=GOOD))
    assert [one["active"] for one in change["camera"]["encodings"]] == [True, False]
    assert asked.in_trouble
    # The way is tried again after ten calm seconds, and turns out to be as narrow.
    now = 1.0
    while asked.encodings_on == {0}:
        now += TICK
        asked.update(now, Needs(BOTH), UplinkState(rates={0: 150_000.0}))
    assert now == pytest.approx(11.5, abs=0.5)
    asked.update(now + 1, Needs(BOTH), stuck)
    assert asked.encodings_on == {0}


def test_what_comes_well_enough_is_left_on_though_called_limited() -> None:
    phone = Phone(capacity=450_000)
    phone.run(60)
    assert phone.on == {0, 1}
    assert not phone.asked.in_trouble


def test_a_coder_that_finds_its_small_layer_too_small_is_no_trouble() -> None:
    phone = Phone()
    phone.run(60, LOW, limitation="bandwidth")
    assert phone.largest[0] == 150_000


def test_the_first_seconds_of_an_estimate_are_no_trouble() -> None:
    phone = Phone(capacity=200_000)
    phone.run(6)
    phone.capacity = math.inf
    phone.run(20)
    assert phone.changes == []


def test_sound_is_the_last_to_get_less_and_the_first_to_get_more() -> None:
    phone = Phone()
    phone.run(5)
    seen = []
    for _ in range(60):
        phone.run(TICK, loss=0.3)
        seen.append((max(phone.on), phone.largest[0], phone.sound))
    assert [state for state, _ in itertools.groupby(seen)] == [
        (1, 150_000, 24_000),
        (0, 150_000, 24_000),
        (0, 100_000, 24_000),
        (0, 60_000, 24_000),
        (0, 60_000, 16_000),
    ]
    assert seen.index((0, 60_000, 16_000)) * TICK < 25
    phone.until(lambda: phone.sound == 24_000, 11)
    assert phone.largest[0] == 60_000
    phone.until(lambda: phone.on == {0, 1}, 45)
    assert not phone.asked.in_trouble


@pytest.mark.parametrize("loss", [0.08, 0.11])
def test_losses_that_are_repaired_change_nothing(loss: float) -> None:
    phone = Phone()
    assert phone.run(60, loss=loss) == []


def test_an_encoder_that_cannot_keep_up_is_spared_the_large_layer_only() -> None:
    phone = Phone()
    phone.run(5.5, limitation="cpu")
    assert phone.on == {0, 1}
    phone.run(60, limitation="cpu")
    assert phone.on == {0}
    assert (phone.largest[0], phone.sound) == (150_000, 24_000)
    assert not phone.asked.in_trouble, "it isn't its network"
    phone.until(lambda: phone.on == {0, 1}, 11)


def test_each_return_that_fails_waits_twice_as_long_up_to_two_minutes() -> None:
    phone = Phone(capacity=175_000)
    phone.run(700)
    waits = [
        back - fell for (fell, _), (back, on) in itertools.pairwise(phone.changes) if on == {0, 1}
    ]  # between going down and trying again
    assert waits[0] <= 11
    assert all(later >= min(1.8 * sooner, 115) for sooner, later in itertools.pairwise(waits)), waits
    assert max(waits) <= 125
    phone.capacity = math.inf
    phone.until(lambda: phone.on == {0, 1}, 125)
    phone.run(60)
    assert phone.on == {0, 1}


def test_a_return_that_held_makes_the_next_as_short_as_the_first() -> None:
    phone = Phone(capacity=175_000)
    phone.run(300)
    phone.capacity = math.inf
    phone.until(lambda: phone.on == {0, 1}, 125)
    phone.run(25)
    phone.run(5, loss=0.2)
    assert phone.on == {0}
    phone.until(lambda: phone.on == {0, 1}, 11)


def test_no_further_step_is_taken_before_the_last_one_could_be() -> None:
    phone = Phone()
    phone.run(11, LOW)
    phone.run(10, BOTH)
    assert phone.on == {0, 1}
    phone.run(8, loss=0.3)
    assert phone.on == {0, 1}, "it was switched on a moment ago"
    phone.run(4, loss=0.3)
    assert phone.on == {0}
    assert phone.largest[0] == 150_000


def test_a_layer_that_never_comes_is_not_asked_for_over_and_over_and_is_no_trouble() -> None:
    phone = Phone()
    phone.uplink = lambda loss, limitation: UplinkState(loss, "none", {0: 150_000.0})  # type: ignore[method-assign]
    assert phone.asked.may_come("camera", 1, 3.0, within=5)
    assert not phone.asked.may_come("camera", 1, 6.0, within=5)
    phone.run(11)
    assert phone.on == {0}
    assert not phone.asked.may_come("camera", 1, phone.now, within=5), "barred"
    phone.run(590)
    assert len(phone.changes) <= 9
    assert not phone.asked.in_trouble


def test_a_layer_may_come_when_it_is_off_or_was_just_switched_on() -> None:
    phone = Phone()
    phone.run(11, LOW)
    assert phone.asked.may_come("camera", 1, phone.now, within=5)
    assert not phone.asked.may_come("camera", 2, phone.now, within=5)
    assert not phone.asked.may_come("microphone", 0, phone.now, within=5)
    phone.run(10, loss=0.2)
    assert not phone.asked.may_come("camera", 1, phone.now, within=5), "its network doesn't bear it"


def test_a_lone_encoding_has_no_rid_and_shrinks_instead_of_going_off() -> None:
    phone = Phone()
    phone.asked.offered(0.0, (), ("l", "h"))
    phone.brings = {0: 500_000.0}
    (change,) = phone.run(TICK, LOW)
    (lone,) = change["camera"]["encodings"]
    assert "rid" not in lone
    assert (lone["maxBitrate"], lone["scaleResolutionDownBy"], lone["active"]) == (500_000, 1, True)
    phone.send["camera"]["encodings"] = [lone]
    phone.run(10, NOBODY)
    assert phone.on == {0}
    (change,) = phone.run(4, LOW, loss=0.2)
    (lone,) = change["camera"]["encodings"]
    assert (lone["maxBitrate"], lone["scaleResolutionDownBy"], lone["active"]) == (150_000, 1.5, True)


def test_a_new_connection_goes_on_with_what_was_asked_for() -> None:
    phone = Phone(CAMERA_LOW)
    phone.run(11, LOW)
    said = phone.asked.send
    phone.asked.offered(phone.now, ("l", "h"), ("l", "h"))
    assert phone.asked.send == said
    assert said["camera"]["width"] == 640
    assert phone.asked.declared("camera", "h") == (480, 450_000)
    assert phone.asked.declared("screen", "l") == (360, 250_000)
    phone.run(TICK, BOTH)
    assert phone.on == {0}, "less than ten seconds since the last change"
    phone.run(10, BOTH)
    assert phone.on == {0, 1}


NEEDS = st.sampled_from([NOBODY, LOW, {1: None}, BOTH, {0: 60_000}, {0: 90_000, 1: None}])
WAYS = st.sampled_from([math.inf, 600_000.0, 175_000.0, 60_000.0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), NEEDS, WAYS, st.sampled_from([0.0, 0.3])), max_size=12))
def test_layers_change_at_most_once_in_ten_seconds_and_never_go_all_off(
    life: list[tuple[int, Need, float, float]],
) -> None:
    phone = Phone()
    for seconds, needs, capacity, loss in life:
        phone.capacity = capacity
        phone.run(seconds, needs, loss=loss)
        assert phone.on
    assert all(later[0] - sooner[0] >= 10 for sooner, later in itertools.pairwise(phone.changes))
    assert all(50_000 <= rate <= 500_000 for rate in phone.largest)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), NEEDS), max_size=12))
def test_what_is_needed_is_on_within_ten_seconds_of_the_last_change(
    life: list[tuple[int, Need]],
) -> None:
    phone = Phone()
    for seconds, needs in life:
        for _ in range(2 * seconds):
            phone.run(TICK, needs)
            changed = phone.changes[-1][0] if phone.changes else -math.inf
            assert needs.keys() <= phone.on or phone.now - changed < 10
