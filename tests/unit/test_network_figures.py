"""What the lab makes of a recording: pauses that are said aren't freezes, silence isn't loss, and bounds are judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from vardrum.bench.network import cases, measures
from vardrum.bench.network.__main__ import COMPARED, RIVAL_CASES, beside, medians, missed
from vardrum.bench.network.cases import Bound, Case
from vardrum.bench.network.visit import TURN, Recording, seed_of

BEGIN = 1200.0  # the host's turn begins here
HOST, PHONE, THIRD = "host", "phone", "third"
AUDIO = {"packets": 25, "samples": 24_000, "concealed": 0, "silent": 0, "energy": 1, "bytes": 1500, "nacks": 0}
VIDEO = {"packets": 40, "frames": 10, "received": 10, "bytes": 4_000, "nacks": 0}
LINE = {"packets": 10, "bytes": 10_000, "sent_packets": 9, "sent_bytes": 9000, "lost_queue": 1, "lost_air": 0}


def recorded(ticks: int = 41, **changes: dict[int, dict[str, Any]]) -> Recording:
    """A phone that sees and hears both others; a sample each 0.5 s.

    Args:
        changes: by participant and tick what differs in how their counters grow up to it, or `paused` and `height`.
    """
    samples = []
    total: dict[str, dict[str, float]] = {mid: {} for mid in "0123"}
    state = {one: {"paused": False, "height": 180} for one in (HOST, THIRD)}
    for tick in range(ticks):
        slots = []
        for place, one in enumerate((HOST, THIRD)):
            change = dict(changes.get(one, {}).get(tick, {}))
            for name in ("paused", "height"):
                state[one][name] = change.pop(name, state[one][name])
            for mid, source, usual in ((str(place), "microphone", AUDIO), (str(place + 2), "camera", VIDEO)):
                counters = total[mid]
                for name, grows in usual.items():
                    counters[name] = counters.get(name, 0) + change.get(name, grows)
                paused = source == "camera" and state[one]["paused"]
                slots.append({"mid": mid, "participant": one, "source": source, "paused": paused})
            total[str(place + 2)]["height"] = state[one]["height"]
        counted = {mid: dict(counters) for mid, counters in total.items()}
        samples.append(
            {"at": BEGIN + tick / 2, "connection": 0, "slots": slots, "in": counted, "out": {}, "taken": 10 * tick}
        )
    end = BEGIN + (ticks - 1) / 2
    way = {**LINE, "waited": 0.09, "capacity": 100_000.0, "queued": 0}
    return Recording(
        people=[HOST, PHONE, THIRD],
        pages={PHONE: {"samples": samples, "messages": [], "firstPicture": None}},
        link=[{"at": BEGIN + tick / 10, "up": way, "down": way} for tick in range(5 * (ticks - 1))],
        marks={"begin": BEGIN, "end": end, "admitting": BEGIN - 10},
    )


CASE = Case("a case", (), seconds=20, counted=20)


def test_a_visit_without_trouble() -> None:
    found = measures.figures(CASE, recorded())
    assert found["concealed %"] == found["frozen %"] == found["paused %"] == found["layer changes/min"] == 0
    assert found["fps"] == found["fps of who speaks"] == 20
    assert found["queue ms"] == pytest.approx(10)
    assert found["lost in queue %"] == pytest.approx(10)
    assert found["used %"] == pytest.approx(72)


def test_what_the_cameras_gave_is_told_beside_what_was_seen() -> None:
    recording = recorded()
    assert "cameras' fps" not in measures.figures(CASE, recording)
    empty: dict[str, Any] = {"slots": [], "in": {}, "out": {}}
    recording.pages[HOST] = {
        "samples": [
            {**empty, "at": BEGIN + tick / 2, "connection": tick // 21, "taken": 8 * (tick % 21)} for tick in range(41)
        ]
    }
    assert measures.figures(CASE, recording)["cameras' fps"] == 16
    for sample in recording.pages[HOST]["samples"]:
        sample["taken"] = 0
    assert measures.figures(CASE, recording)["cameras' fps"] == 0, "a camera that stands still is no missing figure"


def test_a_picture_that_stands_still_is_frozen_unless_its_pause_was_announced() -> None:
    still = {tick: {"frames": 0} for tick in range(11, 21)}
    assert measures.figures(CASE, recorded(host=still))["frozen %"] == pytest.approx(12.5)
    said = still | {10: {"paused": True}, 21: {"paused": False}}
    found = measures.figures(CASE, recorded(host=said))
    assert found["frozen %"] == 0
    assert found["paused %"] == pytest.approx(100 * 12 / 80), "paused at either end"


def test_who_speaks_and_is_paused_is_not_seen() -> None:
    assert recorded().speaker(BEGIN) == HOST
    assert recorded().speaker(BEGIN + TURN) == THIRD
    paused = {tick: {"paused": True, "frames": 0} for tick in range(41)}
    found = measures.figures(CASE, recorded(host=paused))
    assert found["fps"] == 20
    assert 5 < found["fps of who speaks"] < 15


def test_silence_that_is_made_up_is_not_concealed_sound() -> None:
    trouble = {5: {"concealed": 4800, "silent": 2400}}
    assert measures.figures(CASE, recorded(third=trouble))["concealed %"] == pytest.approx(100 * 2400 / (80 * 24_000))


def test_what_the_machine_makes_of_sound_is_told_apart_from_what_the_link_does() -> None:
    calm, trouble = recorded(), recorded(third={5: {"concealed": 4800, "silent": 2400}})
    calm.pages[HOST] = trouble.pages[PHONE]
    found = measures.figures(CASE, calm)
    assert found["concealed %"] == 0
    assert found["concealed near %"] == pytest.approx(100 * 2400 / (80 * 24_000))


def test_the_step_is_timed_from_its_moments() -> None:
    fall, back = BEGIN + 5, BEGIN + 12
    trouble = {
        11: {"frames": 0},
        12: {"frames": 0},
        13: {"height": 90},
        30: {"height": 180},
    }
    recording = recorded(host=trouble)
    recording.marks |= {"fall": fall, "back": back}
    found = measures.figures(CASE, recording)
    assert found["standstill s"] == 1
    assert found["former layer s"] == 3
    assert found["picture back s"] == 0.5
    assert found["layer changes/min"] == pytest.approx(2 * 60 / 40)


def test_a_new_connection_counts_from_nothing() -> None:
    recording = recorded()
    for sample in recording.pages[PHONE]["samples"][20:]:
        sample["connection"] = 1
        for counters in sample["in"].values():
            usual = VIDEO if "frames" in counters else AUDIO
            counters |= {name: counters[name] - 20 * grows for name, grows in usual.items()}
    recording.marks["mended"] = BEGIN + 9
    found = measures.figures(CASE, recording)
    assert found["frozen %"] == 0
    assert 0 < found["sound back s"] <= 1


def test_what_never_comes_back_took_all_the_time_there_was() -> None:
    gone = {tick: {"frames": 0, "packets": 0, "energy": 0} for tick in range(20, 41)}
    recording = recorded(host=gone, third=gone)
    recording.marks |= {"cut": BEGIN + 9.5, "back": BEGIN + 10, "mended": BEGIN + 10}
    found = measures.figures(CASE, recording)
    assert found["gap s"] == found["standstill s"] == 10.5
    assert found["picture back s"] == found["sound back s"] == 10


def test_bounds_hold_or_are_named_and_a_missing_figure_holds_none() -> None:
    case = replace(CASE, bounds=(Bound("a", 1), Bound("b", 2, least=True), Bound("c", 3)))
    assert missed(case, {"a": 1, "b": 2}) == ["a 1 (bound < 1)", "c nan (bound < 3)"]
    assert medians([{"a": 1.0}, {"a": 5.0, "b": 1.0}, {"a": 2.0}]) == {"a": 2.0, "b": 1.0}


def test_two_servers_are_shown_side_by_side_in_what_both_have() -> None:
    text = "\n".join(beside({"fps": 19.8, "queue ms": 21.0, "next step kbit/s": 81.0}, {"fps": 0.1026}, "janus"))
    assert "janus" in text
    assert "19.8     0.103" in text
    assert "queue" not in text
    assert set(RIVAL_CASES) <= {case.name for case in cases.THREE}
    bounded = {bound.figure for case in cases.THREE if case.name in RIVAL_CASES for bound in case.bounds}
    assert {"concealed %", "frozen %", "standstill s", "former layer s"} <= bounded & set(COMPARED)


def test_every_case_has_bounds_and_moments_within_its_time(tmp_path: Path) -> None:
    (tmp_path / "tram_1.txt").write_text("0.0\t1.0\n1.0\t0.5\n130.0\t2.0\n", encoding="utf-8")
    every = cases.chosen(["three", "two"], tmp_path)
    assert len({case.name for case in every}) == len(every)
    assert {"trace-tram", "two-trace-tram", "join-500", "two-loss8"} <= {case.name for case in every}
    for case in every:
        assert case.bounds, case.name
        assert all(moment.at <= case.seconds for moment in case.moments), case.name
        assert case.counted <= case.seconds or not case.seconds
    assert not [case for case in cases.chosen(["three"], tmp_path / "nowhere") if "trace" in case.name]
    with pytest.raises(KeyError, match="there are 300, 150"):
        cases.chosen(["301"], tmp_path)


def test_a_runs_link_begins_alike_each_time_and_no_two_runs_do() -> None:
    assert seed_of("300", 0, 1) == seed_of("300", 0, 1)
    assert len({seed_of(name, run, seed) for name in ("300", "150") for run in (0, 1) for seed in (1, 2)}) == 8


def test_the_cheapest_further_step_is_said_and_what_the_link_has_left_of_it() -> None:
    found = measures.figures(CASE, recorded())
    # 64 kbit/s of payload in 180 lines, where 240 lines of 150 kbit/s are declared.
    assert found["next step kbit/s"] == pytest.approx(1.09 * (150 - 64), rel=0.1)
    assert found["free of next step"] == pytest.approx(found["free kbit/s"] / found["next step kbit/s"])
    larger = recorded(host={1: {"height": 240}}, third={1: {"height": 360}})
    assert measures.figures(CASE, larger)["next step kbit/s"] == pytest.approx(1.09 * (500 - 64), rel=0.1)
    assert measures.figures(CASE, recorded(host={1: {"paused": True}}))["next step kbit/s"] == 65
    greedy = recorded(host={tick: {"bytes": 20_000} for tick in range(1, 41)})
    found = measures.figures(CASE, greedy)
    assert found["next step kbit/s"] == 1, "small, and of more than the declared rate: to be larger costs nothing"
    assert found["free of next step"] > 1
    whole = recorded(host={1: {"height": 360}}, third={1: {"height": 360}})
    assert "next step kbit/s" not in measures.figures(CASE, whole)
