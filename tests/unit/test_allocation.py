"""What a viewer is sent: sound first, everyone's lowest layer next, upgrades one at a time, pauses last."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from vardrum.sfu.allocation import (
    FRAMES_AFTER,
    LEAST_USEFUL,
    NOTHING,
    RESUME_HOLD,
    SHARED,
    Allocation,
    Option,
    Priority,
    Sound,
    Want,
    allocate,
    sound_rate,
)

TICK = 0.1
LOW, HIGH = 160_000.0, 540_000.0
TWO_VOICES = 100_000


def want(slot: int, priority: Priority = Priority.OTHER, *, low: float = LOW, high: float | None = HIGH) -> Want:
    options = [Option(0, 0, 0.6 * low), Option(0, 255, low)]
    if high is not None:
        options.append(Option(1, 255, high))
    return Want(slot, (slot, 1), priority, tuple(options), lowest=LOW)


class Viewer:
    """A viewer over time."""

    def __init__(self, *wants: Want, others: int = 2, pictures: int = 64) -> None:
        self.now = 100.0
        self.wants = list(wants)
        self.others = others
        self.pictures = pictures
        self.allocation: Allocation = NOTHING

    def at(self, target: float, seconds: float = TICK, *, queue: float = 0.0) -> Viewer:
        for _ in range(max(round(seconds / TICK), 1)):
            self.now += TICK
            self.allocation = allocate(
                self.now,
                target,
                self.others,
                self.wants,
                self.allocation,
                pictures=self.pictures,
                queue=queue,
            )
        return self

    @property
    def levels(self) -> list[int]:
        return [self.allocation.slots[want.slot].level for want in self.wants]

    @property
    def paused(self) -> list[bool]:
        return [self.allocation.slots[want.slot].paused for want in self.wants]


def test_everyone_begins_with_the_lowest_layer_at_once() -> None:
    viewer = Viewer(want(0), want(1)).at(TWO_VOICES + 2 * LOW)
    assert viewer.levels == [1, 1]
    assert viewer.allocation.shares == {}


def test_upgrades_come_one_at_a_time_after_two_seconds_of_headroom_the_speaker_first() -> None:
    viewer = Viewer(want(0), want(1, Priority.ACTIVE)).at(3_000_000, 1.9)
    assert viewer.levels == [1, 1]
    assert viewer.at(3_000_000, 0.4).levels == [1, 2]
    assert viewer.at(3_000_000, 2.5).levels == [2, 2]
    assert viewer.allocation.content


def test_the_next_upgrade_waits_until_the_first_has_been_carried_for_a_while() -> None:
    viewer = Viewer(want(0), want(1, Priority.ACTIVE)).at(3_000_000, 2.3)
    assert viewer.levels == [1, 2]
    assert viewer.at(3_000_000, 1.2).levels == [1, 2]
    assert viewer.at(3_000_000, 0.5).levels == [2, 2]


def test_an_upgrade_that_held_for_twenty_seconds_has_not_failed() -> None:
    for held, again in ((18, False), (21, True)):
        viewer = Viewer(want(0), others=1).at(2_000_000, 2.3)
        assert viewer.at(2_000_000, held).levels == [2]
        assert viewer.at(300_000, 0.2).levels == [1]
        # After any other downgrade ten seconds are enough.
        assert (viewer.at(2_000_000, 12).levels == [2]) == again


def test_there_is_no_upgrade_without_headroom() -> None:
    target = TWO_VOICES + HIGH + 5_000
    assert Viewer(want(0)).at(target, 30).levels == [1]
    assert Viewer(want(0)).at(TWO_VOICES + HIGH * 1.16, 3).levels == [2]


def test_a_downgrade_takes_one_tick_and_the_next_upgrade_ten_seconds() -> None:
    viewer = Viewer(want(0)).at(3_000_000, 30)
    assert viewer.levels == [2]
    assert viewer.at(300_000).levels == [1]
    assert viewer.at(3_000_000, 9.8).levels == [1]
    assert viewer.at(3_000_000, 0.4).levels == [2]


def test_each_upgrade_that_failed_makes_the_next_wait_twice_as_long_up_to_a_minute() -> None:
    viewer = Viewer(want(0)).at(3_000_000, 3)
    waits = []
    for _ in range(5):
        assert viewer.at(300_000).levels == [1]
        began = viewer.now
        while viewer.levels == [1]:
            viewer.at(3_000_000)
        waits.append(round(viewer.now - began))
    assert waits == [20, 40, 60, 60, 60]


def test_an_upgrade_that_failed_holds_back_those_of_others() -> None:
    viewer = Viewer(want(0, Priority.ACTIVE), want(1))
    viewer.at(TWO_VOICES + 1.2 * (HIGH + LOW), 15)
    assert viewer.levels == [2, 1]
    # The second is tried, and is too much for the way.
    viewer.at(3_000_000, 2.3)
    assert viewer.levels == [2, 2]
    viewer.at(TWO_VOICES + HIGH + LOW)
    assert viewer.levels == [2, 1]
    viewer.wants[0] = want(0, Priority.ACTIVE, high=None)
    viewer.at(3_000_000, 1)
    viewer.wants[0] = want(0, Priority.ACTIVE)
    assert viewer.at(3_000_000, 15).levels == [1, 1]
    assert viewer.at(3_000_000, 10).levels == [2, 2]


def test_resolution_goes_before_frames_and_frames_before_the_picture() -> None:
    viewer = Viewer(want(0, Priority.ACTIVE), want(1)).at(3_000_000, 30)
    assert viewer.at(TWO_VOICES + LOW + HIGH).levels == [2, 1]
    assert viewer.at(TWO_VOICES + 2 * LOW).levels == [1, 1]
    # For a moment the pacer does without frames by itself.
    assert viewer.at(TWO_VOICES + LOW + 0.6 * LOW, FRAMES_AFTER - 0.1).levels == [1, 1]
    assert viewer.at(TWO_VOICES + LOW + 0.6 * LOW, 0.3).levels == [1, 0]
    assert viewer.at(TWO_VOICES + 1.2 * LOW, 0.2).levels == [0, 0]


def test_a_picture_is_paused_only_when_it_has_not_fitted_for_a_while() -> None:
    # Fewer bits can be asked of who sends it, which takes a while; not so few that both fit where hardly one does.
    for room, patience in ((2.2 * LEAST_USEFUL, 5), (1.8 * LEAST_USEFUL, 2)):
        viewer = Viewer(want(0, Priority.ACTIVE), want(1)).at(3_000_000, 30)
        viewer.at(TWO_VOICES + room, patience - 0.1)
        assert viewer.levels == [0, 0]
        viewer.at(TWO_VOICES + room, 0.4)
        assert viewer.levels == [0, -1]
        assert viewer.paused == [False, True]


def test_a_larger_picture_that_failed_does_not_keep_the_smallest_away() -> None:
    viewer = Viewer(want(0)).at(3_000_000, 30)
    assert viewer.at(TWO_VOICES + LOW * 1.2, 1).at(3_000_000, 12).levels == [2], "it is larger again since a moment ago"
    while viewer.levels != [-1]:
        viewer.at(30_000)
    paused = viewer.now
    while viewer.levels == [-1]:
        viewer.at(TWO_VOICES + LOW * 1.3)
    assert viewer.now - paused <= RESUME_HOLD + 0.5


def test_an_allocation_tells_who_has_just_gone_down_from_who_has_just_come() -> None:
    viewer = Viewer(want(0), want(1)).at(300_000, 1)
    assert not viewer.allocation.had_more(viewer.now)
    assert viewer.at(3_000_000, 30).allocation.had_more(viewer.now)
    assert viewer.at(300_000).levels == [1, 1]
    assert viewer.allocation.had_more(viewer.now)
    assert not viewer.at(300_000, 5).allocation.had_more(viewer.now)


def test_what_can_not_be_made_to_fit_is_paused_after_two_seconds() -> None:
    viewer = Viewer(want(0)).at(3_000_000, 30)
    assert viewer.at(80_000, 1.9).paused == [False]
    assert viewer.at(80_000, 0.3).paused == [True]
    assert viewer.levels == [-1]


def test_what_was_late_when_it_arrived_says_since_when_the_way_is_full() -> None:
    # Of a deep queue no more than half a second counts, and nothing of what makes it longer afterwards.
    for queue, patience in ((0.3, 1.7), (3.0, 1.5)):
        viewer = Viewer(want(0)).at(3_000_000, 30).at(80_000, queue=queue)
        assert viewer.at(80_000, patience - 0.2, queue=1.0).paused == [False]
        assert viewer.at(80_000, 0.3, queue=1.0).paused == [True]


def test_a_paused_picture_comes_back_soon_after_there_is_room() -> None:
    viewer = Viewer(want(0)).at(80_000, 60)
    assert viewer.paused == [True]
    viewer.at(1_000_000, 1)
    assert viewer.levels[0] >= 0
    assert viewer.paused == [False]


def test_an_interpreter_is_not_paused_before_everybody_else_is() -> None:
    viewer = Viewer(want(0, Priority.ACTIVE), want(1, Priority.CHOSEN), want(2)).at(3_000_000, 30)
    viewer.at(TWO_VOICES + 0.7 * LOW, 10)
    assert viewer.levels == [-1, 0, -1]


def test_who_begins_to_speak_takes_the_place_of_who_does_not() -> None:
    a, b = want(0, Priority.ACTIVE), want(1)
    viewer = Viewer(a, b).at(TWO_VOICES + LOW * 1.1, 10)
    assert viewer.levels == [1, -1]
    viewer.wants = [replace(a, priority=Priority.OTHER), replace(b, priority=Priority.ACTIVE)]
    assert viewer.at(TWO_VOICES + LOW * 1.1).levels == [-1, 1]
    # Not in turn with each word.
    viewer.wants = [a, b]
    assert viewer.at(TWO_VOICES + LOW * 1.1, 2).levels == [-1, 1]
    assert viewer.at(TWO_VOICES + LOW * 1.1, 2).levels == [1, -1]


def test_shares_say_how_large_pictures_may_be_that_do_not_fit_as_declared() -> None:
    viewer = Viewer(want(0), want(1)).at(300_000)
    share = SHARED * 200_000 / 2
    assert viewer.allocation.shares == {0: share, 1: share}
    # What is sent by that doesn't end it.
    viewer.wants = [want(0, low=85_000), want(1, low=85_000)]
    assert viewer.at(300_000, 1).allocation.shares == {0: share, 1: share}
    assert viewer.levels == [1, 1]
    # With room for one alone, and with none, all become small: whoever is shown next, it's soon.
    viewer.wants = [want(0), want(1, Priority.ACTIVE)]
    room = LEAST_USEFUL * 1.4
    assert viewer.at(TWO_VOICES + room).allocation.shares == {0: SHARED * room, 1: SHARED * room}
    assert viewer.at(80_000).allocation.shares == {0: LEAST_USEFUL, 1: LEAST_USEFUL}


def test_sound_is_joined_where_no_picture_fits_beside_it_and_plain_again_after_five_roomy_seconds() -> None:
    viewer = Viewer(want(0)).at(1_000_000, 1)
    assert viewer.allocation.sound == Sound.PLAIN
    assert viewer.at(150_000).allocation.sound == Sound.JOINED
    assert viewer.at(170_000, 20).allocation.sound == Sound.JOINED
    assert viewer.at(300_000, 4.8).allocation.sound == Sound.JOINED
    assert viewer.at(300_000, 0.5).allocation.sound == Sound.PLAIN


def test_of_those_who_speak_at_once_as_many_are_heard_as_fit() -> None:
    viewer = Viewer(others=4).at(50_000)
    assert (viewer.allocation.sound, viewer.allocation.voices) == (Sound.SPEAKERS, 1)
    assert viewer.at(10_000).allocation.voices == 1, "somebody is always heard"


def test_a_camera_that_is_off_takes_no_room_and_pauses_nobody() -> None:
    off = replace(want(0, Priority.CHOSEN), off=True)
    viewer = Viewer(off, want(1)).at(TWO_VOICES + LOW, 5)
    assert viewer.levels == [1, 1], "where it comes on, it begins at once"
    assert viewer.paused == [False, False]
    assert viewer.allocation.used == TWO_VOICES + LOW


def test_a_device_shows_no_more_pictures_than_it_bears() -> None:
    viewer = Viewer(want(0), want(1, Priority.ACTIVE), want(2), pictures=2).at(3_000_000, 20)
    assert viewer.levels == [2, 2, -1]
    assert viewer.paused == [False, False, True]
    assert viewer.allocation.beyond == {2}


def test_a_layer_that_is_not_sent_yet_is_wished_for_and_not_shown() -> None:
    asleep = want(0)
    asleep = replace(asleep, options=(*asleep.options[:2], replace(asleep.options[2], alive=False)))
    viewer = Viewer(asleep).at(3_000_000, 10)
    assert viewer.levels == [1]
    assert not viewer.allocation.content
    viewer.wants = [want(0)]
    assert viewer.at(3_000_000).levels == [2], "it has waited long enough"


def test_another_picture_in_the_same_slot_begins_anew() -> None:
    viewer = Viewer(want(0)).at(3_000_000, 20)
    viewer.wants = [replace(want(0), who=(9, 1))]
    assert viewer.at(3_000_000).levels == [1]


@st.composite
def wants_of(draw: st.DrawFn) -> list[Want]:
    rates = st.floats(20_000, 400_000)
    return [
        replace(
            want(
                slot,
                draw(st.sampled_from(list(Priority))),
                low=draw(rates),
                high=draw(st.none() | rates.map(lambda r: 2 * r + 4e5)),
            ),
            off=draw(st.integers(0, 9)) == 0,
        )
        for slot in range(draw(st.integers(0, 5)))
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(10_000, 3_000_000), st.floats(0.1, 8)), min_size=1, max_size=8), wants_of())
def test_whatever_happens_sound_is_reserved_and_pictures_fit_or_wait_for_their_pause(
    targets: list[tuple[float, float]], wants: list[Want]
) -> None:
    viewer = Viewer(*wants)
    over_since: float | None = None
    for target, seconds in targets:
        for _ in range(round(seconds / TICK)):
            viewer.at(target)
            allocation = viewer.allocation
            sound = sound_rate(viewer.others, allocation.sound, allocation.voices)
            pictures = sum(
                one.options[level].rate
                for one, level in zip(wants, viewer.levels, strict=True)
                if level >= 0 and not one.off
            )
            assert abs(allocation.used - sound - pictures) < 1
            assert sound <= max(target, 33_000)
            if allocation.used > max(target, sound) + 1:
                over_since = viewer.now if over_since is None else over_since
                assert viewer.now - over_since < 5.2
                assert all(level <= 1 for one, level in zip(wants, viewer.levels, strict=True) if not one.off)
            else:
                over_since = None


def test_pictures_that_would_fit_are_not_shown_where_each_has_less_than_it_is_worth_its_place_for() -> None:
    small = [want(0, Priority.ACTIVE, low=55_000), want(1, low=55_000)]
    viewer = Viewer(*small).at(3_000_000, 30)
    viewer.wants = [replace(one, lowest=LOW) for one in small]
    room = 1.75 * LEAST_USEFUL
    assert viewer.at(TWO_VOICES + room, 1.9).levels == [1, 1], "they may be made smaller, or the room grow"
    assert viewer.at(TWO_VOICES + room, 0.3).levels == [1, -1]
    assert viewer.at(TWO_VOICES + 1.95 * LEAST_USEFUL, 60).levels == [1, -1]
    assert viewer.at(TWO_VOICES + 2.05 * LEAST_USEFUL, 10).levels == [1, 1]
