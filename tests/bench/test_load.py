"""Locust's users on a real server: people meet, over workers too, what they notice is counted, nobody is left over."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from vardrum.bench.load.clinic import FILES, LOCUST
from vardrum.bench.process import Process
from vardrum.bench.serving import Serving, free_port
from vardrum.tests.support.wait import wait_until

MEDIA = {"join", "first picture", "admission to sound", "freeze", "sound missing"}
# A busy machine: the people come, talk for a second, and leave.
DEADLINE = 90.0


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    """One server for all: each test ends with nobody there."""
    async with Serving(tmp_path_factory.mktemp("server")) as serving:
        yield serving


class Locust:
    """Locust without a page, on one server, with short visits."""

    def __init__(self, base: str, key: str, folder: Path) -> None:
        self._base, self._key, self._folder = base, key, folder
        self._process: Process | None = None

    async def start(self, *arguments: str) -> Process:
        command = [LOCUST, "-f", str(FILES[0]), "--headless", "--only-summary", "-H", self._base]
        command += ["--talk", "1", "--patience", "60", "--report", str(self._folder / "report.json")]
        command += ["--csv", str(self._folder / "load"), "--exit-code-on-error", "3", *arguments]
        env = {"VARDRUM_API_KEY": self._key}
        self._process = await Process.start(command, log=self._folder / "locust.log", env=env)
        return self._process

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    def seen(self) -> set[str]:
        """What has been counted so far, as Locust's CSV says."""
        path = self._folder / "load_stats.csv"
        assert self.process.running, self.process.output()
        if not path.exists():
            return set()
        with path.open(encoding="utf-8", newline="") as file:
            return {row["Name"] for row in csv.DictReader(file) if (row["Request Count"] or "0") != "0"}

    async def end(self) -> Mapping[str, Any]:
        """Asks Locust to end, and returns the report that it leaves."""
        os.kill(self.process.pid, signal.SIGTERM)
        await wait_until(lambda: not self.process.running, deadline=DEADLINE, what="Locust's end")
        said: Mapping[str, Any] = json.loads((self._folder / "report.json").read_text(encoding="utf-8"))
        return said


def crews(base: str) -> list[int]:
    """Processes of bots for this server, and native ones of theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"vardrum.bench.load.crew" in words and base.encode() in words:
            found.append(int(path.parent.name))
    return found


def counts(report: Mapping[str, Any], kind: str, names: Sequence[str], what: str = "count") -> list[float]:
    return [report["figures"][f"{kind} {name} {what}"] for name in names]


@pytest.mark.timeout(240)
async def test_all_kinds_of_people_are_counted_and_none_fails(serving: Serving, tmp_path: Path) -> None:
    locust = Locust(serving.http, serving.key, tmp_path)
    await locust.start("-u", "10", "-r", "10")
    booked = {"/v1/rooms", "/v1/events", "/v1/sessions", "welcome"}
    await wait_until(lambda: locust.seen() >= MEDIA | booked, deadline=DEADLINE, what="figures of visits")
    report = await locust.end()
    assert report["missed"] == [], locust.process.output()
    assert all(count > 0 for count in counts(report, "media", sorted(MEDIA)))
    assert counts(report, "POST", ["/v1/sessions", "/v1/rooms"], "failed") == [0, 0]
    assert not crews(serving.http), "bots are left over"


@pytest.mark.timeout(240)
async def test_people_of_different_workers_meet(serving: Serving, tmp_path: Path) -> None:
    locust = Locust(serving.http, serving.key, tmp_path)
    port = str(free_port())
    workers = ["--processes", "2", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]
    await locust.start("-u", "3", "-r", "3", *workers, "Patient", "Relative", "Caregiver")
    await wait_until(lambda: locust.seen() >= MEDIA, deadline=DEADLINE, what="figures of visits")
    assert len(crews(serving.http)) == 2, "each worker has bots of its own"
    report = await locust.end()
    assert report["missed"] == [], locust.process.output()
    # All three were there, and each noticed what there was to notice.
    assert counts(report, "media", ["join"])[0] >= 3
    await wait_until(lambda: not crews(serving.http), deadline=20, what="the end of all bots")


async def test_bots_end_with_whoever_started_them(serving: Serving) -> None:
    program = f"from vardrum.bench.load.pipe import Crew; Crew({serving.http!r}); input()"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE)
    try:
        await wait_until(lambda: crews(serving.http), deadline=DEADLINE, what="a crew")
    finally:
        child.kill()
        await child.wait()
    await wait_until(lambda: not crews(serving.http), deadline=30, what="the crew's end")


async def test_a_key_is_asked_for(tmp_path: Path) -> None:
    process = await Locust("http://127.0.0.1:9", "", tmp_path).start("-u", "1")
    await wait_until(lambda: not process.running, deadline=DEADLINE, what="Locust's end")
    assert "VARDRUM_API_KEY is not set" in process.output()
