"""What people are told of quality gets worse after two seconds and better after five; a lost one is told at once."""

from __future__ import annotations

from vardrum.sfu.quality import GOOD, Quality, Verdict

POOR = Verdict("poor", "your_network")
STILL = Verdict("sound_only", "your_network")
LOST = Verdict("lost", "their_network")


def told(quality: Quality, verdicts: list[tuple[float, Verdict]]) -> list[tuple[float, Verdict]]:
    """When what was said of one person, of verdicts that each last until the next; the last one lasts 10 s."""
    heard = []
    ends = [*(at for at, _ in verdicts[1:]), verdicts[-1][0] + 10]
    for (at, verdict), end in zip(verdicts, ends, strict=True):
        for tick in range(round((end - at) * 2)):
            now = at + tick / 2
            heard += [(now, said) for _, _, said in quality.settle(now, "room", [("anna", "bo", verdict)])]
    return heard


def test_nothing_is_said_while_all_is_well() -> None:
    assert told(Quality(), [(0, GOOD)]) == []


def test_a_hiccup_is_not_told() -> None:
    assert told(Quality(), [(0, GOOD), (10, POOR), (11.5, GOOD)]) == []


def test_worse_is_told_after_two_seconds_and_better_after_five() -> None:
    verdicts = [(0.0, GOOD), (10.0, POOR), (20.0, STILL), (30.0, GOOD)]
    assert told(Quality(), verdicts) == [(12.0, POOR), (22.0, STILL), (35.0, GOOD)]


def test_who_is_lost_is_told_at_once() -> None:
    assert told(Quality(), [(0, GOOD), (10, LOST)]) == [(10, LOST)]


def test_another_reason_is_told_as_patiently_as_an_improvement() -> None:
    assert told(Quality(), [(0, POOR), (10, Verdict("poor", "your_phone"))]) == [
        (2, POOR),
        (15, Verdict("poor", "your_phone")),
    ]


def test_who_left_is_forgotten_with_what_was_said_of_them() -> None:
    quality = Quality()
    assert told(quality, [(0, POOR)])
    assert quality.settle(20, "room", []) == []
    assert told(quality, [(30, POOR)]) == [(32, POOR)]
    quality.keep(())
    assert told(quality, [(60, POOR)]) == [(62, POOR)]
