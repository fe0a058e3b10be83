"""Presence: one rule, a table of cases; and limits, which take time as an argument too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vardrum.control.live.limits import ALL, OFFENCES, RATES, Bucket, Limits, Rate
from vardrum.control.live.presence import LOST_AFTER, Connection, Presence
from vardrum.control.live.sharing import Sharing


@pytest.mark.parametrize(
    ("presence", "now", "expected"),
    [
        (Presence(), 100.0, "none"),
        (Presence(answered=99.0), 100.0, "connected"),
        (Presence(answered=95.0), 100.0, "lost"),
        (Presence(state="lost"), 100.0, "lost"),
        # With a peer only media counts, however well the websocket answers.
        (Presence(peer=True, media=True, answered=0.0, began=0.0), 100.0, "connected"),
        (Presence(peer=True, media=False, answered=100.0, began=0.0), 100.0, "lost"),
        # A peer that has just been offered has 5 s; who was connected stays so meanwhile.
        (Presence(peer=True, began=97.0), 100.0, "connecting"),
        (Presence(peer=True, began=97.0, state="lost"), 100.0, "connecting"),
        (Presence(peer=True, began=97.0, state="connected"), 100.0, "connected"),
        (Presence(peer=True, began=95.0, state="connecting"), 100.0, "lost"),
    ],
)
def test_is_somebody_there(presence: Presence, now: float, expected: Connection) -> None:
    assert presence.at(now) == expected


def test_the_way_of_somebody_who_joins_loses_the_network_and_returns() -> None:
    presence = Presence()
    presence.hello(0.0, kept=False)
    assert presence.at(0.0) == "connected"
    presence.joined(2.0)
    assert presence.at(3.0) == "connected"
    presence.media = True
    assert presence.at(60.0) == "connected"
    presence.media = False  # the node says so after 5 s of silence
    assert presence.at(66.0) == "lost"
    presence.hello(80.0, kept=True)
    assert presence.at(80.0) == "connecting"
    presence.media = True
    assert presence.at(81.0) == "connected"
    presence.dropped()
    assert presence.at(82.0) == "connected"
    assert presence.at(80.0 + LOST_AFTER + 0.1) == "lost"


@given(st.lists(st.floats(0, 10), max_size=200))
def test_a_bucket_never_gives_more_than_its_rate(pauses: list[float]) -> None:
    rate = Rate(burst=5, per_second=2)
    bucket, now, given = Bucket(rate, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        given += bucket.take(now)
    assert given <= rate.burst + rate.per_second * now + 1e-6


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    bucket = Bucket(Rate(burst=1, per_second=1000), 10.0)
    assert bucket.take(10.0)
    assert not bucket.take(10.0)
    assert not bucket.take(5.0)


def test_too_much_of_one_kind_is_refused_and_too_much_of_all_is_a_flood() -> None:
    limits = Limits(0.0)
    chats = [limits.allow("chat", 0.0) for _ in range(RATES["chat"].burst + 5)]
    assert chats.count(True) == RATES["chat"].burst
    assert limits.allow("typing", 0.0)
    assert limits.allow("admit", 0.0)  # has no rate of its own
    floods = [limits.flooded(0.0) for _ in range(ALL.burst + 5)]
    assert floods.count(True) == 5


def test_a_page_may_report_what_it_measures_each_1_5_s() -> None:
    limits = Limits(0.0)
    assert all(limits.allow("stats", 1.5 * report) for report in range(100))


def test_offences_are_forgiven_until_there_are_too_many_and_again_after_a_while() -> None:
    limits = Limits(0.0)
    assert all(limits.forgive(0.0) for _ in range(OFFENCES.burst))
    assert not limits.forgive(0.0)
    assert limits.forgive(10.0)


def test_one_screen_at_a_time() -> None:
    sharing = Sharing()
    assert sharing.take("a", host=False, holder_there=False)
    assert sharing.take("a", host=False, holder_there=True)
    assert not sharing.take("b", host=False, holder_there=True)
    assert sharing.take("host", host=True, holder_there=True)
    assert not sharing.release("a")
    assert not sharing.take("b", host=False, holder_there=True)
    # Somebody whose network is lost holds the screen for nobody.
    assert sharing.take("b", host=False, holder_there=False)
    assert sharing.release("b")
    assert sharing.holder is None
