"""What visits survive: faults done to a server under load, one after the other, each on a server of its own.

`python -m vardrum.bench.load.faults` (or `make bench-faults`; as root, with the packages `e2fsprogs` and `faketime`)
has native bots meet in three-party visits, breaks something, and looks who is still there, how much sound was missing,
what newcomers were told, and whether visits begin again afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
from aiohttp import web
from matplotlib.figure import Figure

from ..bots import Crowd
from ..native_bots import build
from ..portal import Portal
from ..report import REPORTS, Report
from ..serving import Serving, allow_files
from ..waiting import wait_until
from .people import People

# Seconds that a fault lasts, where it doesn't say otherwise, and in which everybody must be back after one that throws
# everybody out.
LASTS, BACK = 15.0, 10.0
# Share of the sound that may be missing while something is broken that sound doesn't need: a lost packet is found out.
MISSING = 0.001
# Of the packets that are lost on a bad network, each way, and for how long; and what share of the sound may be missing:
# a packet comes again when it is asked for, also more than once.
LOSS, LOSS_LASTS, LOSS_MISSING = 0.3, 20.0, 0.15
# Bytes of a disk that will be full.
DISK = 64 << 20
BOTS_PREFIX = ("nice", "-n", "5")


@dataclass
class Outcome:
    """What one fault did.

    Attributes:
        people: who were in a visit.
        there: of them, who are still, without having waited again.
        back: seconds from the fault to when the last was heard again; None where nobody was thrown out.
        missing: share of the sound that was missing; None where everybody was thrown out.
        meanwhile: what people were told who came while it lasted; "" when they came in, None where nobody tried.
        after: the same, when it was over.
        problems: what else is wrong.
    """

    people: int = 0
    there: int = 0
    back: float | None = None
    missing: float | None = None
    meanwhile: str | None = None
    after: str = ""
    problems: list[str] = field(default_factory=list)

    def judge(self, *, missing: float, newcomers: bool) -> list[str]:
        """What is wrong with it.

        Args:
            missing: the share of the sound that may be.
            newcomers: whether somebody may come in while it lasts.
        """
        found = list(self.problems)
        if self.there < self.people:
            found.append(f"{self.people - self.there} of {self.people} are gone")
        if self.back is not None and self.back > BACK:
            found.append(f"the last was back after {self.back:.1f} s")
        if self.missing is not None and self.missing > missing:
            found.append(f"{self.missing:.2%} of the sound was missing")
        if newcomers and self.meanwhile:
            found.append(f"meanwhile: {self.meanwhile}")
        if self.after:
            found.append(f"afterwards: {self.after}")
        return found


@dataclass(frozen=True)
class Fault:
    """One thing that breaks.

    Attributes:
        breaks: does it, and mends it again.
        newcomers: whether visits begin as ever while it lasts.
        missing: the share of the sound that may be missing.
        env: the server's environment variables, given its data folder.
    """

    breaks: Callable[[People, Outcome], Awaitable[None]]
    newcomers: bool = True
    missing: float = MISSING
    env: Callable[[Path], Mapping[str, str]] = lambda data: {}


async def _restart(people: People, outcome: Outcome, *, kill: bool) -> None:
    begun = time.monotonic()
    await (people.serving.kill() if kill else people.serving.stop())
    await people.serving.start()
    outcome.back = await _all_back(people, begun)


async def _all_back(people: People, begun: float) -> float:
    await wait_until(
        lambda: len({one.who for one in people.since(begun, "reconnect")}) == people.count,
        deadline=60,
        what="everybody's return",
        every=0.05,
    )
    return max(one.at for one in people.since(begun, "reconnect")) - begun


@contextlib.asynccontextmanager
async def _listening(people: People, outcome: Outcome) -> AsyncIterator[None]:
    """Counts what sound is missing in this block, and whether anybody lost the server."""
    begun, before = time.monotonic(), await people.sound()
    yield
    after = await people.sound()
    missing = after.missing - before.missing
    outcome.missing = missing / max(1, missing + after.received - before.received)
    if again := {one.who for one in people.since(begun, "reconnect", "welcome again")}:
        outcome.problems.append(f"{len(again)} lost the server")


async def _lasts(people: People, outcome: Outcome) -> None:
    """Lets newcomers try while it lasts."""
    begun = time.monotonic()
    outcome.meanwhile = await people.newcomers()
    await asyncio.sleep(max(0.0, LASTS - (time.monotonic() - begun)))


async def _read_only(people: People, outcome: Outcome) -> None:
    files = [str(path) for path in people.serving.data.glob("vardrum.db*")]
    async with _listening(people, outcome):
        # Who has a file open may go on writing to it when only its mode says otherwise; here the file system refuses.
        _run("chattr", "+i", *files)
        try:
            await _lasts(people, outcome)
        finally:
            _run("chattr", "-i", *files)


async def _disk_full(people: People, outcome: Outcome) -> None:
    filler = people.serving.data / "filler"
    async with _listening(people, outcome):
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
        try:
            await _lasts(people, outcome)
        finally:
            filler.unlink()


async def _hook_hangs(people: People, outcome: Outcome) -> None:
    came = 0
    hanging = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        nonlocal came
        await request.read()
        await hanging.wait()
        came += 1
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        await people.portal.call("POST", "/v1/webhooks", {"url": f"http://{host}:{port}/"})
        async with _listening(people, outcome):
            await _lasts(people, outcome)
        if came:
            outcome.problems.append("the receiver did not hang")
        hanging.set()
        await wait_until(lambda: came > 0, deadline=60, what="a delivery after all", every=0.1)
    finally:
        await runner.cleanup()


async def _clock_steps(people: People, outcome: Outcome) -> None:
    async with _listening(people, outcome):
        await _clock(people, 1)
        outcome.meanwhile = await people.newcomers()
        await asyncio.sleep(LASTS / 2)
        # Whoever books by the right time isn't let in yet now; who is in a visit must not notice.
        await _clock(people, -1)
        await asyncio.sleep(LASTS / 2)
        await _clock(people, 0)


async def _clock(people: People, hours: int) -> None:
    """Steps the server's clock to so many hours from ours, and waits until its answers are dated so."""
    (people.serving.data / "clock").write_text(f"{hours * 3600:+d}\n")

    async def stepped() -> bool:
        async with aiohttp.ClientSession() as http, http.get(f"{people.serving.http}/healthz") as answer:
            dated = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        return abs(dated - time.time() - hours * 3600) < 60

    await wait_until(stepped, deadline=20, what="the step of the server's clock", every=0.2)


async def _loss(people: People, outcome: Outcome) -> None:
    async with _listening(people, outcome):
        for native in people.crowd.natives:
            native.say("lossy", share=LOSS)
        await asyncio.sleep(LOSS_LASTS)
        for native in people.crowd.natives:
            native.say("lossy", share=0)
        # What was lost last is still being asked for.
        await asyncio.sleep(2)


FAULTS: Mapping[str, Fault] = {
    "restart (SIGTERM)": Fault(lambda people, outcome: _restart(people, outcome, kill=False)),
    "kill -9": Fault(lambda people, outcome: _restart(people, outcome, kill=True)),
    "database read-only": Fault(_read_only, newcomers=False),
    "disk full": Fault(_disk_full, newcomers=False),
    "webhook receiver hangs": Fault(_hook_hangs, env=lambda data: {"VARDRUM_WEBHOOKS__ALLOW_PRIVATE": "true"}),
    "clock steps an hour": Fault(
        _clock_steps,
        env=lambda data: {
            # Not by its wrapper, which stays between us and the server.
            "LD_PRELOAD": _faketime(),
            "FAKETIME_TIMESTAMP_FILE": str(data / "clock"),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    ),
    "30 % of packets lost": Fault(_loss, missing=LOSS_MISSING),
}


async def suffer(fault: Fault, visits: int, program: Path) -> Outcome:
    """A server with so many visits, and the fault; never raises what the fault has caused."""
    outcome = Outcome()
    crowd = Crowd()
    async with contextlib.AsyncExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vardrum-faults-"))) / "data"
        stack.enter_context(_disk(data))
        (data / "clock").write_text("+0\n")
        native = crowd.natives[0]
        await native.start(program, prefix=BOTS_PREFIX)
        stack.push_async_callback(native.stop)
        serving = Serving(data, env=fault.env(data))
        await stack.enter_async_context(serving)
        portal = await stack.enter_async_context(Portal(serving.http, serving.key))
        people = People(serving, crowd, portal)
        stack.push_async_callback(people.go)
        await people.come(visits)
        outcome.people = people.count
        begun = time.monotonic()
        try:
            await fault.breaks(people, outcome)
            outcome.after = await people.newcomers()
        except TimeoutError as error:
            outcome.problems.append(str(error))
        outcome.there = people.there
        wrong = [f"{one.figure.name}: {one.figure.problem}" for one in people.since(begun) if one.figure.problem]
        outcome.problems += sorted(set(wrong))[:5]
    return outcome


def _faketime() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise RuntimeError("the clock can't be stepped without the package faketime")
    return str(found[0])


@contextlib.contextmanager
def _disk(at: Path) -> Iterator[None]:
    """A small file system of its own, so that it can be full, and of a kind that can refuse to be written to."""
    image = at.with_suffix(".ext4")
    with image.open("wb") as file:
        file.truncate(DISK)
    _run("mkfs.ext4", "-q", "-m", "0", str(image))
    at.mkdir()
    _run("mount", "-o", "loop", str(image), str(at))
    try:
        yield
    finally:
        # Lazily: whatever still has a file open there mustn't hide why.
        _run("umount", "--lazy", str(at))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


COLUMNS = ("fault", "people", "still there", "last back s", "sound missing %", "who came meanwhile", "who came after")
WIDTHS = (24, 6, 11, 11, 15, 26, 14)


def header() -> str:
    """Above the rows of the table."""
    return "  ".join(f"{name:<{width}}" for name, width in zip(COLUMNS, WIDTHS, strict=True))


def row(name: str, outcome: Outcome, problems: Sequence[str]) -> str:
    """A line of the table."""
    values = (
        name,
        str(outcome.people),
        str(outcome.there),
        "" if outcome.back is None else f"{outcome.back:.1f}",
        "" if outcome.missing is None else f"{outcome.missing * 100:.3f}",
        "" if outcome.meanwhile is None else outcome.meanwhile or "came in",
        outcome.after or "came in",
    )
    cells = [f"{value:<{width}}" for value, width in zip(values, WIDTHS, strict=True)]
    return "  ".join([*cells, "MISSED: " + "; ".join(problems) if problems else "survived"])


def report(outcomes: Mapping[str, Outcome]) -> Report:
    """Of each fault how many were still there, how long the last was away, and the share of sound that was missing."""
    figures: dict[str, float] = {}
    missed = []
    for name, outcome in outcomes.items():
        figures[f"still there, {name}"] = outcome.there / max(1, outcome.people)
        if outcome.back is not None:
            figures[f"last back s, {name}"] = round(outcome.back, 2)
        if outcome.missing is not None:
            figures[f"sound missing %, {name}"] = round(outcome.missing * 100, 3)
        if judge(name, outcome):
            missed.append(name)
    return Report(figures=figures, ratios={}, missed=missed)


def judge(name: str, outcome: Outcome) -> list[str]:
    """What is wrong with it, by the bounds of its fault."""
    return outcome.judge(missing=FAULTS[name].missing, newcomers=FAULTS[name].newcomers)


def plot(outcomes: Mapping[str, Outcome], path: Path) -> None:
    """Who was still there, how much sound was missing, and how long the last was away."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    names = list(outcomes)[::-1]
    parts = (
        ("still there, %", [100 * outcomes[name].there / max(1, outcomes[name].people) for name in names]),
        ("sound missing, %", [100 * (outcomes[name].missing or 0.0) for name in names]),
        ("last back, s", [outcomes[name].back or 0.0 for name in names]),
    )
    for place, (axes, (label, values)) in enumerate(zip(figure.subplots(1, 3), parts, strict=True)):
        colours = ["#a33" if judge(name, outcomes[name]) else "#1b6ca8" for name in names]
        bars = axes.barh(names, values, color=colours)
        axes.bar_label(bars, fmt="%.3g", padding=2)
        axes.set_xlabel(label)
        axes.margins(x=0.2)
        if place:
            axes.set_yticklabels([])
    figure.savefig(path, dpi=120)


async def run(names: Sequence[str], visits: int) -> dict[str, Outcome]:
    """One fault after the other, the table line by line."""
    program = build()
    outcomes: dict[str, Outcome] = {}
    print(header(), flush=True)
    for name in names:
        outcomes[name] = await suffer(FAULTS[name], visits, program)
        print(row(name, outcomes[name], judge(name, outcomes[name])), flush=True)
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Breaks things, writes `faults.json` and `faults.png`, prints the table; 1 where a visit did not survive."""
    parser = argparse.ArgumentParser(
        prog="python -m vardrum.bench.load.faults", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--visits", type=int, default=20, help="three-party visits that are going on")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only this one; may be given again")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report")
    said = parser.parse_args(arguments)
    names = said.fault or list(FAULTS)
    try:
        # What one of them lacks is said before the first, and not minutes later in the place of all figures.
        for name in names:
            FAULTS[name].env(Path())
    except RuntimeError as error:
        parser.error(str(error))
    allow_files()
    outcomes = asyncio.run(run(names, said.visits))
    summary = report(outcomes)
    summary.write(said.out / "faults.json")
    plot(outcomes, said.out / "faults.png")
    print(f"{said.out / 'faults.json'} and faults.png")
    for name in summary.missed:
        print(f"missed: {name}", file=sys.stderr)
    return 1 if summary.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
