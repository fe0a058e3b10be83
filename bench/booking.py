"""How many visits a second can be booked and joined, and how long one waits: a morning on which a region books.

`python -m vardrum.bench.booking` (or `make bench-booking`) starts `vardrum serve` on a database of its own, asks for
100 rooms a second with three participants and their links each, one call a room, and then lets people come: each
exchanges their link and says `hello` on a websocket. Calls begin when they are due, however many are still under way,
and are timed from then, so a server that stands still is seen to. Server and load share the machine; what each used is
printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from matplotlib.figure import Figure

from .portal import Portal, call, invitation
from .report import REPORTS, Report
from .serving import Serving, allow_files, used_by

PEOPLE = 3
# What isn't answered so many seconds after it was due counts as failed.
PATIENCE = 30.0
# The last call may be answered so many seconds after it was due, or the rate wasn't kept.
BEHIND = 2.0
DEVICE = {"memory": 4, "cores": 8, "mobile": True, "network": "4g"}


@dataclass
class Timed:
    """Calls of one kind that were due at a steady rate.

    Attributes:
        seconds: of each call that succeeded, from when it was due.
        due: when, in seconds since the first.
        failed: what was said instead, by how often.
        late: seconds that the load itself was late at worst.
        server, load: CPU seconds used meanwhile.
        took: seconds until all were answered.
    """

    seconds: list[float] = field(default_factory=list)
    due: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    late: float = 0.0
    server: float = 0.0
    load: float = 0.0
    took: float = 0.0

    def ms(self, share: float) -> float:
        """What `share` of the calls took at most, in ms; NaN where none succeeded."""
        return float(np.quantile(self.seconds, share)) * 1000 if self.seconds else float("nan")

    def judge(self, name: str, rate: float, count: int) -> list[str]:
        """What is wrong with it."""
        found = [f"{name}: {many} failed: {why}" for why, many in self.failed.items()]
        if self.took > count / rate + BEHIND:
            found.append(f"{name}: {count / self.took:.1f} a second were answered, not {rate:g}")
        return found


async def at_rate(
    rate: float, count: int, one: Callable[[int], Awaitable[Any]], pid: int, say: Callable[[str], None]
) -> Timed:
    """`one(number)` for `count` numbers, `rate` a second, however long each takes.

    Args:
        pid: the server's, whose CPU is taken note of.
    """
    timed = Timed()
    own = os.getpid()
    server, load, begin = used_by([pid]), used_by([own]), time.monotonic()

    async def run(number: int) -> None:
        due = begin + number / rate
        await asyncio.sleep(due - time.monotonic())
        timed.late = max(timed.late, time.monotonic() - due)
        try:
            async with asyncio.timeout(PATIENCE):
                await one(number)
        except Exception as error:
            why = f"{type(error).__name__} {error}"[:200]
            timed.failed[why] = timed.failed.get(why, 0) + 1
        else:
            timed.seconds.append(time.monotonic() - due)
            timed.due.append(due - begin)

    async def show() -> None:
        while True:
            await asyncio.sleep(5)
            done = f"{len(timed.seconds)} of {count}, {timed.failed or 'none failed'}"
            say(f"    {time.monotonic() - begin:4.0f} s  {done}")

    showing = asyncio.create_task(show())
    try:
        await asyncio.gather(*(run(number) for number in range(count)))
    finally:
        showing.cancel()
    timed.took = time.monotonic() - begin
    timed.server, timed.load = used_by([pid]) - server, used_by([own]) - load
    return timed


class Morning:
    """A server, and all that a portal and its patients do to it at the same time."""

    def __init__(self, serving: Serving, portal: Portal, http: aiohttp.ClientSession) -> None:
        self._serving, self._portal, self._http = serving, portal, http
        self._invited: list[dict[str, Any]] = []
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []

    async def book(self, _: int) -> None:
        """One room with three participants and their links."""
        people = (await self._portal.book(PEOPLE))[1]
        self._invited += people

    async def join(self, number: int) -> None:
        """One of those comes, and is in the waiting room."""
        session = await call(
            self._http,
            "POST",
            f"{self._serving.http}/v1/sessions",
            invitation(self._invited[number % len(self._invited)]),
        )
        socket = await self._http.ws_connect(session["websocket_url"], max_msg_size=1 << 20)
        self._sockets.append(socket)
        await socket.send_json({"type": "hello", "token": session["token"], "device": DEVICE})
        async for message in socket:
            told = json.loads(message.data)
            if told["type"] == "waiting":
                return
        raise ConnectionError(f"closed with {socket.close_code} before one was waiting")

    async def leave(self) -> None:
        """Everybody closes their page."""
        await asyncio.gather(*(socket.close() for socket in self._sockets))


async def measure(database: str, rate: float, seconds: float, say: Callable[[str], None]) -> dict[str, Timed]:
    """Rooms, then joins, `rate` a second each for so many seconds; `database` is a URL, or empty for SQLite."""
    allow_files()
    env = {"VARDRUM_DATABASE_URL": database} if database else {}
    count = round(rate * seconds)
    with tempfile.TemporaryDirectory(prefix="vardrum-booking-") as folder:
        async with (
            Serving(Path(folder), env=env) as serving,
            Portal(serving.http, serving.key) as portal,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        ):
            morning = Morning(serving, portal, http)
            found = {}
            for name, one in (("rooms", morning.book), ("joins", morning.join)):
                say(f"  {count} {name}, {rate:g} a second")
                found[name] = await at_rate(rate, count, one, serving.pid, say)
            await morning.leave()
            return found


def plot(found: dict[str, dict[str, Timed]], path: Path) -> None:
    """How long each call took, over when it was due."""
    figure = Figure(figsize=(10, 3.2 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), 2, sharex=True, squeeze=False)
    for row, (database, kinds) in zip(axes, found.items(), strict=True):
        for one, (name, timed) in zip(row, kinds.items(), strict=True):
            one.scatter(timed.due, [1000 * each for each in timed.seconds], s=2, color="#1b6ca8")
            one.axhline(timed.ms(0.99), color="#a33", linestyle=":")
            one.set_title(f"{name} on {database}: p99 {timed.ms(0.99):.0f} ms", fontsize="medium")
            one.set_xlabel("due, seconds")
            one.set_ylabel("answered after, ms")
            one.set_ylim(bottom=0)
    figure.savefig(path, dpi=100)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes `booking.json` and a plot, prints the figures; 1 where the rate wasn't kept or a call failed."""
    parser = argparse.ArgumentParser(prog="python -m vardrum.bench.booking", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rate", type=float, default=100, help="rooms, and then joins, a second")
    parser.add_argument("--seconds", type=float, default=30, help="for how long each")
    parser.add_argument("--database-url", default="", help="an empty PostgreSQL database to measure beside SQLite")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report")
    said = parser.parse_args(arguments)
    count = round(said.rate * said.seconds)
    found: dict[str, dict[str, Timed]] = {}
    figures: dict[str, float] = {}
    missed: list[str] = []
    for database, url in (("sqlite", ""), *([("postgresql", said.database_url)] if said.database_url else [])):
        print(database, flush=True)
        found[database] = asyncio.run(measure(url, said.rate, said.seconds, lambda text: print(text, flush=True)))
        for kind, timed in found[database].items():
            values = {
                "p50 ms": timed.ms(0.5),
                "p99 ms": timed.ms(0.99),
                "longest ms": timed.ms(1),
                "a second": len(timed.seconds) / timed.took,
                "server's cores": timed.server / timed.took,
                "load's cores": timed.load / timed.took,
                "load late ms": 1000 * timed.late,
            }
            figures |= {f"database={database} {kind} {key}": round(value, 3) for key, value in values.items()}
            missed += timed.judge(f"database={database} {kind}", said.rate, count)
    Report(figures, {}, missed).write(said.out / "booking.json")
    plot(found, said.out / "booking.png")
    for name, value in figures.items():
        print(f"{name:50} {value:10.1f}")
    print(f"{said.out / 'booking.json'} and booking.png; missed: {len(missed) or 'nothing'}")
    for why in missed:
        print(f"  {why}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
