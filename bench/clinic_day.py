"""A clinic's day in five minutes, as Locust's shape: `locust -f bench/locustfile.py -f bench/clinic_day.py`.

Morning rush, lunch, afternoon; in the afternoon a third of the people hears nothing for 20 s, and later everyone
reconnects at once. A shape has Locust ignore `-u` and `-r`: `--people` come at the rush, a day lasts `--day` seconds.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser
from vardrum.bench.load import weather

if "locustfile" not in sys.modules:
    # To Locust a second `-f` replaces the first, so that this file brings users; in `-f A,B` A has loaded them.
    from vardrum.bench.locustfile import Caregiver, Patient, Portal, Relative  # noqa: F401

log = logging.getLogger("vardrum")


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser, **_: Any) -> None:
    parser.add_argument("--people", type=int, default=30, help="Locust users at the morning rush")
    parser.add_argument("--day", type=float, default=300.0, help="Seconds that the clinic's day lasts")


class ClinicDay(LoadTestShape):
    """Follows `weather.DAY`, and tells all crews of `weather.WEATHER`."""

    def __init__(self) -> None:
        super().__init__()
        self._told = -1.0

    def reset_time(self) -> None:
        """A new day."""
        super().reset_time()
        self._told = -1.0

    def tick(self) -> tuple[int, float] | None:
        """How many users there are now, and how many come in a second; None in the evening."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        at = self.get_run_time() / options.day
        if at >= 1:
            return None
        for one in weather.between(self._told, at):
            log.info("%s for %.0f %% of the people", one.kind, 100 * one.share)
            self.runner.send_message(weather.MESSAGE, one.message())
        self._told = at
        # Whoever comes at the rush has come within a fifteenth of the day.
        return weather.people(at, options.people), max(1.0, options.people / (options.day / 15))
