"""A clinic's day with Locust, headless, on a server of its own: what Locust measured, and what the server used."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..crowd import BOTS_PREFIX
from ..process import Process
from ..report import ROOT
from ..serving import Serving, allow_files, descendants, used_by
from ..waiting import wait_until

LOCUST = str(Path(sys.executable).with_name("locust"))
FILES = (ROOT / "bench" / "locustfile.py", ROOT / "bench" / "clinic_day.py")
# What the people of a visit notice.
MEDIA = ("join", "first picture", "admission to sound", "freeze", "sound missing")
# Share of what was measured in visits that may have failed.
FAILED = 0.01
# Seconds after the day in which Locust has to have ended.
CLOSING = 90.0


@dataclass
class Day:
    """What was measured.

    Attributes:
        figures: of Locust's report.
        failures: why, and how often, in words.
        at: seconds since the start, of each sample of the server's: `server` and `load` cores, `rss` MB.
        users: Locust's users by seconds since the start, and so `times`: of each kind the p95 of the last 10 s, in ms.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    users: list[tuple[float, float]] = field(default_factory=list)
    times: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def judge(self) -> list[str]:
        """What is wrong with it."""
        unseen = [name for name in MEDIA if not self.figures.get(f"media {name} count")]
        found = [f"clinic day: nobody noticed a {name}" for name in unseen]
        of_media = [name for name in self.figures if name.startswith(("media ", "visit ", "websocket "))]
        failed = sum(self.figures[name] for name in of_media if name.endswith(" failed"))
        count = sum(self.figures[name] for name in of_media if name.endswith(" count"))
        if failed > FAILED * count:
            found.append(f"clinic day: {failed:.0f} of {count:.0f} failed")
        return found


async def clinic_day(people: int, seconds: float, talk: float, html: Path) -> Day:
    """Lives through one, with so many Locust users at the rush.

    Raises:
        RuntimeError: Locust did not get through; with what it printed.
    """
    allow_files()
    html.parent.mkdir(parents=True, exist_ok=True)
    day = Day()
    with tempfile.TemporaryDirectory(prefix="vardrum-day-") as name:
        folder = Path(name)
        async with Serving(folder / "server") as serving:
            command = [*BOTS_PREFIX, LOCUST, "--headless", "--only-summary"]
            command += ["--locustfile", ",".join(str(file) for file in FILES)]
            command += ["--host", serving.http, "--people", str(people), "--day", str(seconds), "--talk", str(talk)]
            command += ["--html", str(html), "--report", str(folder / "day.json"), "--exit-code-on-error", "0"]
            command += ["--csv", str(folder / "day"), "--csv-full-history"]
            env = {"VARDRUM_API_KEY": serving.key}
            began, wall = time.monotonic(), time.time()
            locust = await Process.start(command, log=folder / "locust.log", env=env)
            try:
                while locust.running and time.monotonic() - began < seconds + CLOSING:
                    await _sample(day, serving, locust, began)
            finally:
                await locust.stop()
            report = folder / "day.json"
            if not report.exists():
                raise RuntimeError(f"Locust did not get through its day:\n{locust.output()}")
            said = json.loads(report.read_text(encoding="utf-8"))
            day.figures, day.failures = said["figures"], said["missed"]
            _history(day, folder / "day_stats_history.csv", wall)
    return day


async def _sample(day: Day, serving: Serving, locust: Process, began: float) -> None:
    """What server and load use within a second."""

    def now() -> tuple[float, float, float]:
        return time.monotonic(), used_by([serving.pid]), used_by(descendants(locust.pid))

    start, server, load = now()
    with contextlib.suppress(TimeoutError):
        await wait_until(lambda: not locust.running, deadline=1.0, what="Locust's end", every=0.1)
    end, server_now, load_now = now()
    day.at.append(end - began)
    day.server.append((server_now - server) / (end - start))
    day.load.append(max(0.0, load_now - load) / (end - start))
    day.rss.append(serving.usage().rss / 1e6)


def _history(day: Day, path: Path, wall: float) -> None:
    """Locust's own history: one row a second, in all and of each kind of request."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            at = float(row["Timestamp"]) - wall
            if row["Name"] == "Aggregated":
                day.users.append((at, _number(row["User Count"])))
            elif row["95%"] not in ("", "N/A"):
                day.times[f"{row['Type']} {row['Name']}"].append((at, _number(row["95%"])))


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")
