"""The load test's own rules: a clinic's day, who gets which seat, how the most visits are found, what is noticed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from vardrum.bench.bots import Closed
from vardrum.bench.crowd import Step
from vardrum.bench.load import search, weather
from vardrum.bench.load.crew import on_this_machine
from vardrum.bench.load.figures import of_locust
from vardrum.bench.load.person import TooLate, in_words, summary, unless_over
from vardrum.bench.load.seats import Board, Seat
from vardrum.bench.native_bots import Histogram
from vardrum.bench.portal import Refused


def test_a_day_has_a_rush_a_lunch_and_an_evening() -> None:
    at = {hour.name: weather.people(hour.begin, 100) for hour in weather.DAY}
    assert at["morning rush"] == 100
    assert at["lunch"] < at["late morning"] > at["closing"]
    assert at["lunch"] < at["afternoon"]
    assert [weather.people(step / 1000, 2) for step in range(1000)] == [4] * 1000
    assert sorted(hour.begin for hour in weather.DAY) == [hour.begin for hour in weather.DAY]


def test_each_weather_comes_once_and_while_people_are_there() -> None:
    steps = [step / 97 for step in range(98)]
    told = [one for before, now in zip([-1.0, *steps], steps, strict=False) for one in weather.between(before, now)]
    assert told == list(weather.WEATHER)
    assert all(weather.hour(one.at).name == "afternoon" for one in told)


def test_whoever_waits_longest_gets_the_seat_that_was_free_first() -> None:
    board = Board()
    assert board.offer(Seat("relative", "room_1", "a")) == []
    assert board.want("w1", "u1", "caregiver") == []
    assert board.want("w2", "u2", "caregiver") == []
    [given] = board.offer(Seat("caregiver", "room_1", "b"))
    assert (given.worker, given.user, given.seat.key) == ("w1", "u1", "b")
    [given] = board.want("w3", "u3", "relative")
    assert given.seat == Seat("relative", "room_1", "a")


def test_seats_of_a_room_that_is_over_and_wishes_of_who_has_gone_are_forgotten() -> None:
    board = Board()
    board.obey("w1", {"say": "offer", "role": "relative", "room": "room_1", "key": "a"})
    board.obey("w1", {"say": "withdraw", "room": "room_1"})
    assert board.obey("w1", {"say": "want", "user": "u1", "role": "relative"}) == []
    board.obey("w1", {"say": "want", "user": "u2", "role": "relative"})
    board.obey("w2", {"say": "want", "user": "u1", "role": "relative"})
    board.obey("w1", {"say": "forget", "user": "u1"})
    assert [one.user for one in board.offer(Seat("relative", "room_2", "b"))] == ["u2"]
    board.forget("w2")
    assert board.offer(Seat("relative", "room_3", "c")) == []


@pytest.mark.parametrize(
    ("capacity", "least", "most"), [(0, 0, 0), (5, 5, 5), (37, 34, 37), (64, 58, 64), (100, 90, 100), (1000, 256, 256)]
)
async def test_the_most_visits_are_found_by_doubling_and_halving(capacity: int, least: int, most: int) -> None:
    tried = []

    async def fits(number: int) -> bool:
        tried.append(number)
        return number <= capacity

    assert least <= await search.highest(fits, first=8, most=256, tries=20) <= most
    assert len(tried) <= 10
    assert max(tried) <= 256


async def test_a_search_ends_after_so_many_tries() -> None:
    tried = []

    async def fits(number: int) -> bool:
        tried.append(number)
        return True

    assert await search.highest(fits, first=1, most=1 << 20, tries=3) == 4
    assert tried == [1, 2, 4]


def step_of(**changed: Any) -> Step:
    delay = Histogram()
    delay.add([(50, 1000)])
    values: dict[str, Any] = {
        "visits": 10,
        "seconds": 10.0,
        "delay": delay,
        "sound_delay": delay,
        "late": delay,
        "joins": [0.2] * 30,
        "arriving": 10.0,
        "counts": Counter(),
        "server": 2.0,
        "engine": 1.0,
        "bots": 3.0,
        "others": 0.0,
        "rss": 1e6,
        "drops": Counter(),
        "sound_heard": 1000,
    }
    return Step(**values | changed)


def test_what_the_issue_demands_of_a_visit_is_judged() -> None:
    assert search.judge(step_of(), 10) == []
    assert search.judge(step_of(), 11)
    slow = step_of(joins=[0.2] * 28 + [1.5] * 2)
    assert search.judge(slow, 10)
    assert search.judge(slow, 10, 2.0) == []
    assert search.judge(step_of(counts=Counter(lost=3)), 10)
    assert search.judge(step_of(counts=Counter(lost=3, overflow=3)), 10) == []
    assert search.judge(step_of(sound_missing=6), 10)
    late = Histogram()
    late.add([(63, 990), (450, 10)])
    assert search.judge(step_of(sound_delay=late), 10)


def test_what_is_full_is_named() -> None:
    assert search.saturated(step_of(), 1, 2) == ["nothing that is measured here"]
    found = search.saturated(
        step_of(threads={"vardrum/7": 0.99, "shard-0/8": 0.95}, bots=9.5, drops=Counter({"socket overflow": 4})), 1, 2
    )
    assert [one.partition(":")[0] for one in found] == ["server", "server", "bots", "UDP buffers overflowed"]
    assert "vardrum" in found[0]
    assert "shard-0" in found[1]


def ear(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"ssrc": 1, "sound": False, "received": 10, "skipped": 0, "frozen_ms": 0, "still_ms": 40}
    return values | changed


def test_a_picture_that_still_stands_counts_as_frozen_where_somebody_is_shown() -> None:
    said = {"overflow": 0, "ears": [ear(frozen_ms=600), ear(ssrc=2, still_ms=3000), ear(ssrc=3, still_ms=9000)]}
    freeze, sound = summary(said, {1, 2}, away=False)
    assert (freeze.name, freeze.ms, freeze.problem) == ("freeze", 3600, "")
    assert (sound.name, sound.ms, sound.problem) == ("sound missing", 0, "")


def test_sound_that_is_missing_is_a_failure_unless_a_network_was_away() -> None:
    said = {"overflow": 0, "ears": [ear(sound=True, received=990, skipped=10)]}
    _, sound = summary(said, {1}, away=False)
    assert (sound.ms, sound.problem) == (200, "more than 0.5% of the sound was missing")
    assert [one.name for one in summary(said, {1}, away=True)] == ["freeze, somebody was away"]
    assert summary({}, set(), away=False) == []


def test_who_was_still_coming_when_the_visit_was_ended_has_come_too_late_and_nothing_failed() -> None:
    with pytest.raises(TooLate):
        unless_over(Closed(4002))
    for error in (Closed(1006), Closed(4001), TimeoutError()):
        unless_over(error)


def test_why_something_failed_is_said_in_words_that_can_be_counted() -> None:
    problem = {"type": "http://127.0.0.1/problems/not-open-yet", "detail": "opens at 10:00"}
    assert in_words(Refused("POST /v1/sessions", 409, problem)) == "409 not-open-yet"
    assert in_words(Closed(4004)) == "the websocket was closed with 4004"
    assert in_words(TimeoutError()) == "no answer in time"
    assert in_words(ConnectionRefusedError(111, "refused")) == "no connection to the server: ConnectionRefusedError"


@pytest.mark.parametrize(
    ("base", "own"),
    [("http://127.0.0.1:8080", True), ("http://localhost", True), ("https://video.region.example", False)],
)
def test_bots_have_addresses_of_their_own_on_loopback_only(base: str, own: bool) -> None:
    assert on_this_machine(base) is own


class Entry:
    method, name, num_requests, num_failures, max_response_time = "media", "join", 4, 1, 812.0

    def get_response_time_percentile(self, percent: float) -> float:
        return 100 * percent


class Failure:
    method, name, error, occurrences = "media", "join", "no connection in 20 s", 1


class Stats:
    def __init__(self) -> None:
        self.entries = {("join", "media"): Entry()}
        self.errors = {"x": Failure()}


def test_locusts_statistics_become_a_report() -> None:
    report = of_locust(Stats())
    assert report.figures["media join count"] == 4
    assert report.figures["media join p95 ms"] == 95
    assert report.figures["media join longest ms"] == 812
    assert list(report.missed) == ["media join: 1 times no connection in 20 s"]
