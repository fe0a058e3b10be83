"""What a Locust run has measured, as a report in the contract's format: comparable between runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..report import Report

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Entry(Protocol):
    """What is read of Locust's `StatsEntry`."""

    @property
    def method(self) -> str | None: ...
    @property
    def name(self) -> str: ...
    @property
    def num_requests(self) -> int: ...
    @property
    def num_failures(self) -> int: ...
    @property
    def max_response_time(self) -> float: ...

    def get_response_time_percentile(self, percent: float) -> float:
        """In milliseconds."""


class Stats(Protocol):
    """What is read of Locust's `RequestStats`."""

    @property
    def entries(self) -> Mapping[Any, Entry]: ...
    @property
    def errors(self) -> Mapping[Any, Any]: ...


def of_locust(stats: Stats) -> Report:
    """Of each kind of request how many there were, how many failed, and times in ms; every failure is a missed case."""
    figures: dict[str, float] = {}
    for entry in sorted(stats.entries.values(), key=lambda one: (str(one.method), one.name)):
        what = f"{entry.method} {entry.name}"
        figures[f"{what} count"] = entry.num_requests
        figures[f"{what} failed"] = entry.num_failures
        for name, share in PERCENTILES.items():
            figures[f"{what} {name} ms"] = round(float(entry.get_response_time_percentile(share)), 1)
        figures[f"{what} longest ms"] = round(float(entry.max_response_time), 1)
    missed = [
        f"{one.method} {one.name}: {one.occurrences} times {one.to_name() if hasattr(one, 'to_name') else one.error}"
        for one in stats.errors.values()
    ]
    return Report(figures, {}, missed)
