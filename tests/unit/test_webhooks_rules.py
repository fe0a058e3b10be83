"""When webhooks are tried again, when they are given up, and how a receiver that was away is treated."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from vardrum.control.webhooks.rules import (
    GIVE_UP_AFTER,
    LEAST_ATTEMPTS,
    PLACES,
    Reason,
    Receiver,
    given_up,
    reason_of,
    wait,
)

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (301, "redirect"),
        (304, "redirect"),
        (400, "refused"),
        (401, "refused"),
        (410, "gone"),
        (429, "busy"),
        (500, "refused"),
        (502, "busy"),
        (503, "busy"),
        (504, "busy"),
        (101, "refused"),
        (999, "refused"),
    ],
)
def test_a_status_has_one_meaning(status: int, reason: str) -> None:
    assert reason_of(status) == reason


def test_waits_double_up_to_an_hour_and_are_spread_from_zero() -> None:
    longest = [wait(attempts, Reason.REFUSED, 1.0).total_seconds() for attempts in range(1, 13)]
    assert longest == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert wait(10_000, Reason.REFUSED, 1.0) == timedelta(hours=1)
    assert wait(8, Reason.REFUSED, 0.0) == timedelta(0)
    assert wait(8, Reason.REFUSED, 0.5) == wait(8, Reason.REFUSED, 1.0) / 2


def test_who_was_away_for_an_hour_is_tried_again_within_five_minutes() -> None:
    assert wait(10_000, Reason.TIMEOUT, 1.0) == timedelta(minutes=5)


def test_what_fails_for_three_days_is_given_up_but_never_after_a_few_tries() -> None:
    assert not given_up(NOW, 100, None, NOW + GIVE_UP_AFTER - timedelta(seconds=1))
    assert given_up(NOW, 100, None, NOW + GIVE_UP_AFTER)
    # It waited for an earlier event of its room all the time.
    assert not given_up(NOW, LEAST_ATTEMPTS - 1, None, NOW + GIVE_UP_AFTER)
    assert given_up(NOW, LEAST_ATTEMPTS, None, NOW + GIVE_UP_AFTER)


def test_with_the_receiver_away_for_three_days_one_try_is_enough() -> None:
    assert given_up(NOW, 1, NOW, NOW + GIVE_UP_AFTER)
    assert not given_up(NOW, 1, NOW + DAY, NOW + GIVE_UP_AFTER)
    assert not given_up(NOW + DAY, 1, NOW, NOW + GIVE_UP_AFTER)


def test_a_receiver_is_given_more_at_once_as_it_answers() -> None:
    receiver = Receiver()
    assert receiver.places(0, NOW) == 1
    assert receiver.places(1, NOW) == 0
    for answers in range(1, 20):
        receiver.answered()
        assert receiver.places(0, NOW) == min(PLACES, 1 + answers)


def test_those_that_fail_together_count_once() -> None:
    receiver = Receiver()
    for _ in range(8):
        receiver.answered()
    for _ in range(8):
        receiver.away(NOW, 1.0)
    assert receiver.places(0, NOW + timedelta(seconds=0.9)) == 0
    assert receiver.places(0, NOW + timedelta(seconds=1)) == 1


def test_retry_after_is_heeded_up_to_an_hour() -> None:
    receiver = Receiver()
    receiver.away(NOW, 0.0, 120)
    assert receiver.places(0, NOW + timedelta(seconds=119)) == 0
    assert receiver.places(0, NOW + timedelta(seconds=120)) == 1
    receiver.away(NOW + timedelta(seconds=120), 0.0, 1e9)
    assert receiver.places(0, NOW + timedelta(seconds=120 + 3600)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_an_hour_away_is_no_thundering_herd(seed: int) -> None:
    chance = random.Random(seed)
    receiver = Receiver()
    for _ in range(8):
        receiver.answered()
    tries = 0
    for second in range(3600):
        now = NOW + timedelta(seconds=second)
        began = receiver.places(0, now)
        # However many rooms wait, only the first moment sees more than one.
        assert began <= (PLACES if second == 0 else 1)
        for _ in range(began):
            tries += 1
            receiver.away(now, chance.random())
    assert PLACES <= tries < 90
    # Back: one, and with each answer one more.
    receiver.hurry()
    assert receiver.places(0, NOW + timedelta(hours=1)) == 1
