"""Troubles with media: what is written down and when somebody is to be phoned, in virtual time."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from vardrum.control.live.troubles import BETWEEN_PAIRS, NO_MEDIA, OVER, SILENT_AFTER_LOST, Happened, Troubles
from vardrum.sfu.types import Level, Reason


def run(troubles: Troubles, begin: float, end: float, *, lost: bool = False, media: bool = True) -> list[Happened]:
    """Somebody inside, looked at four times a second from `begin` to just before `end`."""
    happened = []
    for quarter in range(int(begin * 4), int(end * 4)):
        happened += troubles.look(quarter / 4, inside=True, lost=lost, media=media)
    return happened


def reasons(happened: list[Happened]) -> list[str]:
    return [one.data["reason"] for one in happened if one.type == "fallback.needed"]


def test_who_falls_silent_is_to_be_phoned_once_and_again_after_30_s_of_media() -> None:
    troubles = Troubles()
    assert run(troubles, 0, 60) == []
    assert run(troubles, 60, 60 + SILENT_AFTER_LOST, lost=True, media=False) == []
    assert reasons(run(troubles, 70, 200, lost=True, media=False)) == ["silent"]
    # A network that is there for a moment is the same trouble still.
    assert run(troubles, 200, 200 + OVER - 1) == []
    assert run(troubles, 229, 260, lost=True, media=False) == []
    assert troubles.needed
    assert run(troubles, 260, 260 + OVER + 1) == []
    assert not troubles.needed
    assert reasons(run(troubles, 291, 310, lost=True, media=False)) == ["silent"]


def test_who_never_has_media_is_to_be_phoned_20_s_after_being_let_in() -> None:
    troubles = Troubles()
    assert run(troubles, 0, NO_MEDIA, media=False) == []
    assert reasons(run(troubles, 20, 100, media=False, lost=True)) == ["no_media"], "silence is the same trouble"


def test_silence_and_a_bad_beginning_are_no_trouble_while_somebody_waits() -> None:
    troubles = Troubles()
    for second in range(100):
        assert troubles.look(second, inside=False, lost=True, media=False) == []
    run(troubles, 100, 120)
    assert troubles.look(120.0, inside=False, lost=False, media=True) == []
    # Let in again after a hold, with the peer that was kept.
    assert run(troubles, 150, 200) == []


def test_who_asks_is_heard_whatever_was_noticed_before_and_counts_once() -> None:
    troubles = Troubles()
    assert troubles.ask(0.0) == Happened("fallback.needed", {"reason": "asked"})
    assert troubles.ask(5.0) is None
    assert run(troubles, 5, 34) == []
    assert troubles.ask(34.0) is None
    assert run(troubles, 34, 60) == []
    assert troubles.ask(60.0) is not None, "with media there for half a minute, this is another trouble"
    assert reasons(run(troubles, 60, 100, lost=True, media=False)) == ["silent"]
    run(troubles, 100, 200)
    assert troubles.needed, "they asked, and works it ever so well"


def test_quality_is_written_down_when_it_leaves_good_and_when_it_returns() -> None:
    troubles = Troubles()
    assert troubles.quality("poor", "your_network", "down", 0.0) == [
        Happened("media.degraded", {"level": "poor", "reason": "network", "way": "down"})
    ]
    assert troubles.quality("sound_only", "your_phone", "both", 1.0) == []
    assert troubles.quality("good", "", "", 3.0) == [Happened("media.restored", {"level": "good", "reason": "network"})]
    assert troubles.quality("poor", "your_phone", "both", 5.0) == []
    assert run(troubles, 5, BETWEEN_PAIRS) == []
    assert run(troubles, 10, 11) == [Happened("media.degraded", {"level": "poor", "reason": "device", "way": "both"})]


def test_somebody_on_hold_has_no_quality() -> None:
    troubles = Troubles()
    troubles.quality("poor", "your_network", "up", 0.0)
    assert troubles.look(1.0, inside=False, lost=False, media=False) == []
    assert run(troubles, 20, 30) == []


LEVELS: list[tuple[Level, Reason]] = [("good", ""), ("poor", "your_network"), ("lost", "your_network")]


@given(st.lists(st.tuples(st.sampled_from(LEVELS), st.floats(0, 4)), max_size=100))
def test_however_it_changes_there_is_one_pair_in_10_s_and_the_last_word_is_true(
    changes: list[tuple[tuple[Level, Reason], float]],
) -> None:
    troubles, now = Troubles(), 0.0
    written: list[tuple[float, str]] = []
    level: Level = "good"
    for (level, reason), pause in changes:
        written += [(now, one.type) for one in troubles.quality(level, reason, "", now)]
        now += pause
    written += [
        (one_at, one.type)
        for one_at in (now + 10,)
        for one in troubles.look(one_at, inside=True, lost=False, media=True)
    ]
    kinds = [kind for _, kind in written]
    assert kinds == (["media.degraded", "media.restored"] * len(kinds))[: len(kinds)]
    begun = [at for at, kind in written if kind == "media.degraded"]
    assert all(later - earlier >= BETWEEN_PAIRS - 1e-6 for earlier, later in itertools.pairwise(begun))
    assert (kinds[-1:] == ["media.degraded"]) == (level != "good")
