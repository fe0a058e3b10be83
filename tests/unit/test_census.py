"""What is counted of everyone's downlinks: once in five seconds, and nothing that isn't known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from vardrum.sfu.census import EVERY, Census
from vardrum.sfu.engine import Downlink
from vardrum.sfu.types import Distribution


def downlinks(*rows: dict[Downlink, float]) -> NDArray[np.float64]:
    """Of peers with feedback, whose round trip isn't known, unless a row says otherwise."""
    made = np.zeros((len(rows), len(Downlink)))
    made[:, Downlink.ROUND_TRIP_US] = 100_000
    for number, row in enumerate(rows):
        made[number, Downlink.PEER] = number + 1
        for column, value in row.items():
            made[number, column] = value
    return made


def counts(of: Distribution) -> dict[str, int]:
    """By upper end, how many were no larger."""
    return dict(of.cumulative())


def test_each_round_trip_that_is_known_counts_once_a_look() -> None:
    census = Census()
    table = downlinks({Downlink.ROUND_TRIP_US: 20_000}, {Downlink.ROUND_TRIP_US: 400_000}, {})
    census.look(0.0, table, [])
    census.look(EVERY - 0.1, table, [])
    assert counts(census.round_trip)["+Inf"] == 2
    census.look(EVERY, table, [])
    found = counts(census.round_trip)
    assert (found["0.01"], found["0.02"], found["0.3"], found["0.5"], found["+Inf"]) == (0, 2, 2, 4, 4)
    assert census.round_trip.sum == pytest.approx(0.84)


def test_loss_is_that_since_the_former_look() -> None:
    census = Census()
    census.look(0.0, downlinks({Downlink.ACKED_PACKETS: 100}), [])
    census.look(5.0, downlinks({Downlink.ACKED_PACKETS: 190, Downlink.LOST_PACKETS: 10}), [])
    # What was thought lost came late.
    census.look(10.0, downlinks({Downlink.ACKED_PACKETS: 300, Downlink.LOST_PACKETS: 5}), [])
    found = counts(census.downlink_loss)
    assert (found["0.0"], found["0.05"], found["0.1"], found["+Inf"]) == (2, 2, 3, 3)
    assert census.downlink_loss.sum == pytest.approx(0.1)


def test_of_who_gives_no_feedback_or_gets_next_to_nothing_no_loss_is_known() -> None:
    census = Census()
    census.look(
        0.0,
        downlinks(
            {Downlink.LOST_PACKETS: 50, Downlink.FEEDBACK_AGE_US: math.nan},
            {Downlink.ACKED_PACKETS: 5, Downlink.LOST_PACKETS: 5},
        ),
        [math.nan],
    )
    census.look(5.0, downlinks(), [])
    assert counts(census.downlink_loss)["+Inf"] == counts(census.uplink_loss)["+Inf"] == 0


def test_loss_on_the_way_to_us_is_taken_as_it_is_known() -> None:
    census = Census()
    census.look(0.0, downlinks(), [0.0, 0.03, math.nan])
    found = counts(census.uplink_loss)
    assert (found["0.0"], found["0.02"], found["0.05"], found["+Inf"]) == (1, 1, 2, 2)


def test_a_distribution_ends_where_its_bounds_say_and_has_room_for_more() -> None:
    one = Distribution("", (1.0, 2.0))
    one.add([0.5, 1.0, 1.5, 2.0, 99.0])
    one.add([])
    assert counts(one) == {"1.0": 2, "2.0": 4, "+Inf": 5}
    assert one.sum == 104.0
