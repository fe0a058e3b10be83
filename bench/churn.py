"""Half an hour of people who come, go, mute, switch, restart and vanish: does the server give back what it takes?

`python -m vardrum.bench.churn --minutes 30` keeps a number of three-party visits of native bots going on a real server;
whoever ends is followed by a new visit. Every few seconds the server's memory, file descriptors and threads are read.
After a warm-up they must be flat: a straight line through them (least squares) may rise over the whole rest by no more
than `GROWTH`, and at the end, with nobody there any more, threads and descriptors must be as many as at the start.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .bots import Bot, Crowd, Overloaded, Visit
from .native_bots import build
from .portal import Portal, Refused
from .report import REPORTS, Report
from .serving import Serving

T = TypeVar("T")

# What the fitted line may rise by over the measured time: bytes of RSS, bytes of the engine's own count, descriptors,
# threads. glibc's arenas and SQLite's cache move by some MB; 10 kB leaked for each of 2,000 joins would be 20 MB.
GROWTH = {"rss": 12e6, "engine": 2e6, "fds": 6.0, "threads": 0.5}
# Descriptors and threads that may be there at the end and weren't at the start: database and resolver pools.
LEFT = {"fds": 12.0, "threads": 8.0}
# Share of a run that is warm-up; pools, caches and the peers that are kept for 5 minutes fill up in it.
WARM_UP = 0.2
SAMPLES = 3.0
# A room closes after so many minutes by itself, whoever forgot to end it.
ROOM_MINUTES = 3.0
# Who vanished is somebody who may come back, for 5 minutes (CONTRACT, "A lost network"); their room stays open as long.
KEPT = 300.0
# What may fail: of all that is done, this share.
FAILED = 0.01


@dataclass
class Samples:
    """What the server held: `rows` of seconds since the start, RSS, engine's memory, descriptors, threads, peers."""

    rows: list[tuple[float, float, float, float, float, float]] = field(default_factory=list)

    def column(self, name: str) -> NDArray[np.float64]:
        """Shape (samples,)."""
        place = ("at", "rss", "engine", "fds", "threads", "peers").index(name)
        return np.array([row[place] for row in self.rows])

    def rise(self, name: str, warm_up: float) -> float:
        """By how much a straight line through what was sampled after `warm_up` seconds rises until the end."""
        at, values = self.column("at"), self.column(name)
        late = at >= warm_up
        if late.sum() < 3:
            return 0.0
        slope, _ = np.polyfit(at[late], values[late], 1)
        return float(slope * (at[late][-1] - at[late][0]))


@dataclass
class Churn:
    """People who come and go, by one seed."""

    serving: Serving
    crowd: Crowd
    portal: Portal
    dice: random.Random
    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    async def keep_one_going(self, until: float) -> None:
        """One visit after the other."""
        while time.monotonic() < until:
            visit = await self._try("visit begins", self._begin)
            if visit is None:
                await asyncio.sleep(1)
                continue
            lasts = min(until, time.monotonic() + self.dice.uniform(10, 60))
            while time.monotonic() < lasts:
                await asyncio.sleep(self.dice.uniform(0.2, 2))
                await self._act(visit)
            await self._end(visit)

    async def _begin(self) -> Visit:
        # Mostly in pairs of layers, so that wishes switch.
        layers = self.dice.choice((1, 2, 2))
        people = self.dice.choice((2, 3, 3, 4))
        return await Visit.begin(self.crowd, self.portal, people=people, layers=layers, minutes=ROOM_MINUTES)

    async def _act(self, visit: Visit) -> None:
        bot = self.dice.choice(visit.bots)
        acts: Sequence[tuple[str, Callable[[], Awaitable[object]], int]] = (
            ("mute", lambda: bot.mute(self.dice.choice(("microphone", "camera")), True), 4),
            ("unmute", lambda: bot.mute(self.dice.choice(("microphone", "camera")), False), 4),
            ("wish", lambda: bot.wish(self.dice.choice((90, 180, 360, 720))), 6),
            ("layers", lambda: _layers(bot, self.dice), 2),
            ("ice restart", bot.restart_ice, 2),
            ("new connection", lambda: _new_connection(bot), 1),
            ("another port", lambda: _rebind(bot, self.dice), 2),
            ("another websocket", bot.hello, 1),
            ("comes back", lambda: _come_back(bot), 1),
            ("chat", lambda: bot.say("chat", id=str(self.dice.random()), text="x" * 200), 2),
        )
        weights = [weight for _, _, weight in acts]
        name, act, _ = self.dice.choices(acts, weights)[0]
        await self._try(name, act)

    async def _end(self, visit: Visit) -> None:
        way = self.dice.choices(("ended", "left", "vanished"), (6, 3, 1))[0]
        if way == "ended":
            await self._try("room ends", lambda: visit.bots[0].say("end"))
        if way == "left":
            await self._try("everybody leaves", visit.close)
        self.done["everybody vanishes"] += way == "vanished"
        for bot in visit.bots:
            await bot.close()

    async def _try(self, name: str, act: Callable[[], Awaitable[T]]) -> T | None:
        try:
            result = await act()
        except Overloaded:
            self.refused += 1
            return None
        except (TimeoutError, OSError, Refused) as problem:
            self.failed[f"{name}: {problem}"[:200]] += 1
            return None
        self.done[name] += 1
        return result


async def _layers(bot: Bot, dice: random.Random) -> None:
    bot.send(rids=dice.choice((["l"], ["h"], ["l", "h"], ["l", "h"])))


async def _rebind(bot: Bot, dice: random.Random) -> None:
    bot.rebind(quiet=dice.random() < 0.5)


async def _new_connection(bot: Bot) -> None:
    bot.times.pop("connected", None)
    await bot.join()
    await bot.until(lambda: "connected" in bot.times, "connection")


async def _come_back(bot: Bot) -> None:
    """Says that one leaves, and comes again by the resume secret, as from a page opened anew."""
    await bot.say("leave")
    await bot.arrive()
    await bot.join()


async def sample(serving: Serving, began: float, into: Samples, seen: Callable[[str], None]) -> None:
    """Reads what the server holds now."""
    usage = serving.usage()
    metrics = await serving.metrics()
    engine = sum(value for name, value in metrics.items() if "peer_memory_bytes" in name)
    peers = next((value for name, value in metrics.items() if name == "vardrum_engine_peers"), 0.0)
    into.rows.append((time.monotonic() - began, usage.rss, engine, usage.fds, len(usage.threads), peers))
    if len(into.rows) % 20 == 1:
        at, rss, own, fds, threads, there = into.rows[-1]
        line = f"{at:6.0f} s  RSS {rss / 1e6:6.1f} MB  engine {own / 1e6:5.1f} MB  fds {fds:4.0f}"
        seen(f"{line}  threads {threads:3.0f}  peers {there:3.0f}")


async def run(minutes: float, visits: int, seed: int) -> tuple[Samples, Churn, list[str]]:
    """Churns; returns what was sampled, what was done, and what was left over at the end."""
    program = build()
    samples = Samples()
    env = {"VARDRUM_ROOMS__CLOSE_AFTER_MINUTES": "0"}
    with tempfile.TemporaryDirectory(prefix="vardrum-churn-") as folder:
        crowd = Crowd()
        native = crowd.natives[0]
        await native.start(program, prefix=("nice", "-n", "5"))
        try:
            async with Serving(Path(folder), env=env) as serving, Portal(serving.http, serving.key) as portal:
                churn = Churn(serving, crowd, portal, random.Random(seed))
                began = time.monotonic()
                idle = serving.usage()
                until = began + minutes * 60
                tasks = [asyncio.create_task(churn.keep_one_going(until)) for _ in range(visits)]
                while not all(task.done() for task in tasks):
                    await sample(serving, began, samples, lambda line: print(line, flush=True))
                    await asyncio.sleep(SAMPLES)
                for task in tasks:
                    task.result()
                left = await _left(serving, idle.fds, len(idle.threads))
        finally:
            await native.stop()
    return samples, churn, left


async def _left(serving: Serving, fds: int, threads: int) -> list[str]:
    """What is still there when everybody has gone, and the rooms of the last have closed by themselves."""
    end = time.monotonic() + KEPT + ROOM_MINUTES * 60 + 60
    found = ["nothing was read"]
    while time.monotonic() < end and found:
        await asyncio.sleep(SAMPLES)
        usage, metrics = serving.usage(), await serving.metrics()
        found = [
            f"{metrics[name]:.0f} {what}"
            for name, what in (("vardrum_engine_peers", "peers"), ("vardrum_engine_rooms", "rooms"))
            if metrics.get(name)
        ]
        if usage.fds > fds + LEFT["fds"]:
            found.append(f"{usage.fds} descriptors, {fds} at the start")
        if len(usage.threads) > threads + LEFT["threads"]:
            found.append(f"{len(usage.threads)} threads, {threads} at the start")
    return found


def report(samples: Samples, churn: Churn, left: Sequence[str]) -> Report:
    """Rises of the fitted lines with their bounds, what was done, and what is left."""
    warm_up = samples.rows[-1][0] * WARM_UP
    rises = {name: samples.rise(name, warm_up) for name in GROWTH}
    figures: dict[str, float] = {f"rise of {name}": round(rise, 1) for name, rise in rises.items()}
    figures |= {f"bound of {name}": bound for name, bound in GROWTH.items()}
    figures |= {f"mean of {name}": round(float(samples.column(name).mean()), 1) for name in ("rss", "fds", "threads")}
    figures |= {f"done: {name}": count for name, count in sorted(churn.done.items())}
    figures |= {"failed": churn.failed.total(), "refused for load": churn.refused, "minutes": samples.rows[-1][0] / 60}
    missed = [f"rise of {name}" for name, rise in rises.items() if rise > GROWTH[name]]
    missed += [f"left over: {what}" for what in left]
    if churn.failed.total() > FAILED * max(1, churn.done.total()):
        missed.append("failed")
    return Report(figures=figures, ratios={}, missed=missed)


def plot(samples: Samples, path: Path) -> None:
    """What the server held, over time; the warm-up is shaded."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    at = samples.column("at") / 60
    parts = (("rss", "RSS, MB", 1e6), ("engine", "engine's peers, MB", 1e6), ("fds", "descriptors", 1.0))
    for axes, (name, label, unit) in zip(figure.subplots(len(parts), sharex=True), parts, strict=True):
        axes.plot(at, samples.column(name) / unit, color="#1b6ca8", linewidth=1)
        axes.axvspan(0, at[-1] * WARM_UP, color="#eeeeee")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        if name == "fds":
            axes.plot(at, samples.column("threads"), color="#b9c4cc", label="threads")
            axes.plot(at, samples.column("peers"), color="#7fb3d5", linewidth=1, label="peers")
            axes.legend()
            axes.set_xlabel("minutes")
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Churns, writes `churn.json` and `churn.png`, prints the figures; 1 where something grew or was left over."""
    parser = argparse.ArgumentParser(prog="python -m vardrum.bench.churn", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long people come and go")
    parser.add_argument("--visits", type=int, default=10, help="visits at a time")
    parser.add_argument("--seed", type=int, default=1, help="of what is done when")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report")
    said = parser.parse_args(arguments)
    samples, churn, left = asyncio.run(run(said.minutes, said.visits, said.seed))
    summary = report(samples, churn, left)
    summary.write(said.out / "churn.json")
    plot(samples, said.out / "churn.png")
    print(f"{said.out / 'churn.json'} and churn.png")
    print(*(f"{name:32} {value:12.1f}" for name, value in summary.figures.items()), sep="\n")
    for problem, count in churn.failed.most_common(20):
        print(f"failed {count} times: {problem}", file=sys.stderr)
    for what in summary.missed:
        print(f"missed: {what}", file=sys.stderr)
    return 1 if summary.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
