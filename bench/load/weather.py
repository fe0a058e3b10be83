"""A clinic's day in a few minutes: how many people there are at each moment, and what happens to their networks.

Pure functions of the time of day; `bench/clinic_day.py` makes a Locust shape of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# The message by which Locust's master tells its workers of weather.
MESSAGE = "vardrum-weather"


@dataclass(frozen=True)
class Hour:
    """A part of the day: from `begin` (0 to 1 of the whole day) on, there are `share` (0 to 1) of all people."""

    name: str
    begin: float
    share: float


DAY: Sequence[Hour] = (
    Hour("opening", 0.0, 0.3),
    Hour("morning rush", 0.1, 1.0),
    Hour("late morning", 0.32, 0.75),
    Hour("lunch", 0.45, 0.3),
    Hour("afternoon", 0.58, 0.8),
    Hour("closing", 0.92, 0.2),
)


@dataclass(frozen=True)
class Weather:
    """At `at` (0 to 1 of the day) something happens to the networks of `share` of the people, for `seconds`."""

    at: float
    kind: str
    share: float
    seconds: float = 0.0

    def message(self) -> dict[str, Any]:
        """As crews take it."""
        return {"kind": self.kind, "share": self.share, "seconds": self.seconds}


WEATHER: Sequence[Weather] = (
    Weather(0.64, "dead zone", 0.3, 20.0),
    Weather(0.80, "reconnect", 1.0),
)


def hour(at: float) -> Hour:
    """The part of the day at `at` (0 to 1)."""
    return [one for one in DAY if one.begin <= at][-1] if at >= 0 else DAY[0]


def people(at: float, most: int) -> int:
    """How many people there are at `at` (0 to 1), of `most` at the rush; at least one of each role."""
    return max(4, round(most * hour(at).share))


def between(before: float, now: float) -> list[Weather]:
    """What has begun after `before` and until `now`."""
    return [one for one in WEATHER if before < one.at <= now]
