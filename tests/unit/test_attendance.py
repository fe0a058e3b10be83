"""Attendance read off the record, whatever the record says: times add up, and nobody is in two places at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from vardrum.control.visits.attendance import LEVELS, WAYS, Attendance, Happening, Stretch, attendance

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TYPES = (
    "participant.waiting", "participant.identifying", "participant.admitted", "participant.held", "participant.left",
    "participant.denied", "participant.removed", "participant.connected", "participant.lost", "media.degraded",
    "media.restored", "room.updated",
)  # fmt: skip
Told = tuple[int, str, str | None, dict[str, object]]
ROOM = ("room.started", "room.ended", "room.reopened", "room.cancelled")

data = st.fixed_dictionaries(
    {},
    optional={
        "session": st.sampled_from(["a", "b"]),
        "second": st.just(True),
        "lost": st.just(True),
        "level": st.sampled_from(["poor", "sound_only", "lost", "good", "unheard of"]),
        "fields": st.sampled_from([["participants"], ["title"]]),
    },
)
one = st.tuples(st.integers(0, 300), st.sampled_from(TYPES), st.sampled_from(["p", "q"]), data)
room: st.SearchStrategy[Told] = st.tuples(st.integers(0, 300), st.sampled_from(ROOM), st.none(), st.just({}))


def happened(told: list[Told]) -> list[Happening]:
    now, found = START, []
    for after, type, participant, about in told:
        now += timedelta(seconds=after)
        found.append(Happening(now, type, participant, about))
    return found


@given(st.lists(one | room, max_size=40), st.integers(0, 1000))
def test_times_are_in_order_never_overlap_and_every_second_inside_has_one_level(told, later) -> None:
    record = happened(told)
    now = (record[-1].at if record else START) + timedelta(seconds=later)
    for found in attendance(record, now).values():
        whole = sorted([*found.inside, *found.waited], key=lambda stretch: (stretch.start, stretch.end or now))
        for stretch in whole:
            assert START <= stretch.start <= (stretch.end or now) <= now
        for former, latter in pairwise(whole):
            assert (former.end or now) <= latter.start
        inside = sum((stretch.lasted(now) for stretch in found.inside), timedelta())
        for way in WAYS:
            assert sum(found.levels[way].values(), timedelta()) == inside


def walk(*told: tuple[int, str, dict[str, object]]) -> Attendance:
    record = happened([(after, type, "p", about) for after, type, about in told])
    return attendance(record, record[-1].at)["p"]


def test_a_short_outage_is_lost_time_and_no_gap() -> None:
    found = walk(
        (0, "participant.admitted", {"session": "a"}),
        (60, "participant.lost", {"session": "a"}),
        (30, "participant.connected", {"session": "a"}),
        (10, "participant.left", {"session": "a"}),
    )
    assert found.inside == [Stretch(START, START + timedelta(seconds=100))]
    for way in WAYS:
        assert {level: found.levels[way][level].total_seconds() for level in LEVELS} == {
            "good": 70.0, "poor": 0.0, "sound_only": 0.0, "lost": 30.0,
        }  # fmt: skip


def test_what_goes_from_somebody_can_be_bad_while_what_comes_is_good() -> None:
    found = walk(
        (0, "participant.admitted", {"session": "a"}),
        (10, "media.degraded", {"level": "poor", "reason": "network", "way": "up"}),
        (10, "media.restored", {"level": "good", "reason": "network"}),
        (10, "media.degraded", {"level": "sound_only", "reason": "network"}),  # as before it was said which way
        (10, "participant.left", {"session": "a"}),
    )
    seconds = {way: {level: time.total_seconds() for level, time in found.levels[way].items()} for way in WAYS}
    assert seconds == {
        "down": {"good": 30.0, "poor": 0.0, "sound_only": 10.0, "lost": 0.0},
        "up": {"good": 20.0, "poor": 10.0, "sound_only": 10.0, "lost": 0.0},
    }


def test_what_a_second_browser_does_at_the_door_ends_nothing_inside() -> None:
    found = walk(
        (0, "participant.admitted", {"session": "a"}),
        (10, "participant.waiting", {"session": "b", "second": True}),
        (10, "participant.lost", {"session": "b"}),
        (10, "participant.left", {"session": "b", "second": True}),
        (10, "participant.left", {"session": "a"}),
    )
    assert (found.inside, found.waited) == ([Stretch(START, START + timedelta(seconds=40))], [])
    assert [found.levels[way]["lost"] for way in WAYS] == [timedelta(), timedelta()]
