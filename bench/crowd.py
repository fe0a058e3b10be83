"""How many three-party visits this machine carries, the bots that make them included: no loss, and how much delay.

`python -m vardrum.bench.crowd` (or `make bench-crowd`) starts `vardrum serve` and native bots, each in processes of
their own, lets more and more visits begin (real HTTP, websocket, ICE, DTLS, SRTP; sound 50 packets/s, pictures
500 kbit/s from everybody to the two others), and measures at each size. What counts as lost by us: numbers missing from
a slot's sequence after repair, unless the bot's own socket overflowed. Delay is from just before a bot's system call
that sends to the kernel's time of arrival at the other bot's socket, so a bot that reads late delays nothing; how late
bots sent is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .bots import Bot, Crowd, Sends, Visit
from .native_bots import Histogram, build
from .portal import Portal, Refused
from .report import REPORTS, Report
from .serving import Serving, Usage, allow_files, busy_time, socket_drops, usage

PEOPLE = 3
# Bounds: ms of added delay that 99 % of packets stay below.
DELAY_P99 = 5.0
STEPS = (25, 50, 100, 150, 200)
# How many visits come in at a time: what is asked is how many are carried, not how many come in the same second.
ARRIVING = 4
SETTLE = 5.0
# Packets of one stream: half a second of pictures, should the bots' process be held up while it answers.
ON_ITS_WAY = 60
# Bots run behind the server where both want a core: in life they would be on machines of their own.
BOTS_PREFIX = ("nice", "-n", "5")


@dataclass
class Step:
    """What was measured with one number of visits.

    Attributes:
        delay: microseconds of all packets, sound and pictures.
        late: microseconds that bots sent later than planned.
        joins: seconds to the first picture, of those who came in this step: from the offer, or from when somebody was
            to be seen.
        arriving: how many of them came in each second.
        seconds: how long it was measured.
        server, engine, bots: CPU seconds used in that time: by the server's process, its shards' threads, the bots.
        others: CPU seconds used by all else on the machine.
        rss: bytes for each participant, what the server held without any subtracted.
        drops: what the server says that it dropped since its start, by reason.
        sound_missing, sound_heard: packets of sound that were not heard, and were.
        threads: the share of a core that each of the server's threads used, by its name and number.
        bots_rss: bytes that the bots hold, of each participant.
        sample: figures of people who decode what they get, by name.
    """

    visits: int
    seconds: float
    delay: Histogram
    sound_delay: Histogram
    late: Histogram
    joins: list[float]
    arriving: float
    counts: Counter[str]
    server: float
    engine: float
    bots: float
    others: float
    rss: float
    drops: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    sound_missing: int = 0
    sound_heard: int = 0
    threads: Mapping[str, float] = field(default_factory=dict)
    bots_rss: float = 0.0
    sample: Mapping[str, float] = field(default_factory=dict)

    def judge(self) -> list[str]:
        """What is wrong with it; nothing, where it fits."""
        found = list(self.problems)
        if self.lost:
            found.append(f"{self.lost} packets lost")
        if self.counts["duplicates"]:
            found.append(f"{self.counts['duplicates']} packets came twice")
        if self.delay_ms(0.99) > DELAY_P99:
            found.append(f"p99 of added delay {self.delay_ms(0.99):.1f} ms")
        return found

    @property
    def lost(self) -> int:
        """By us: a bot's own overflow is its own."""
        return max(0, self.counts["lost"] - self.counts["overflow"])

    def delay_ms(self, share: float) -> float:
        return self.delay.percentile(share) / 1000

    def join_s(self, share: float) -> float:
        """Seconds in which so many (0 to 1) of those who came in this step had a picture; NaN where nobody came."""
        joins = sorted(self.joins)
        return joins[min(int(len(joins) * share), len(joins) - 1)] if joins else float("nan")


class Measuring:
    """A server, native processes, and visits that come to them."""

    def __init__(
        self, serving: Serving, crowd: Crowd, portal: Portal, *, layers: int = 1, sends: Sends | None = None
    ) -> None:
        """
        Args:
            layers: of each camera.
            sends: what everybody sends instead of sound and what the server asks for.
        """
        self._serving, self._crowd, self._portal = serving, crowd, portal
        self._layers, self._sends = layers, sends
        self._visits: list[Visit] = []
        self._idle = serving.usage()

    async def grow(self, visits: int) -> list[str]:
        """Lets visits begin until there are so many; returns why some could not."""
        arriving = asyncio.Semaphore(ARRIVING)
        problems: list[str] = []

        async def begin() -> None:
            async with arriving:
                if len(problems) > ARRIVING:
                    return
                try:
                    self._visits.append(
                        await Visit.begin(
                            self._crowd, self._portal, people=PEOPLE, layers=self._layers, sends=self._sends
                        )
                    )
                except (TimeoutError, OSError, Refused) as problem:
                    problems.append(str(problem))

        await asyncio.gather(*(begin() for _ in range(visits - len(self._visits))))
        return problems

    async def step(self, visits: int, seconds: float) -> Step:
        """Grows to so many visits and measures them."""
        before, began = len(self._visits), time.monotonic()
        problems = await self.grow(visits)
        came = time.monotonic() - began
        await asyncio.sleep(SETTLE)
        for native in self._crowd.natives:
            await native.next_figures()
            native.figures.clear()
        said = await self._said()
        start, skipped, (missing, heard) = await self._state(), self._skipped(said), _sounds(said)
        await asyncio.sleep(seconds)
        for native in self._crowd.natives:
            await native.next_figures()
        end = await self._state()
        delay, sound, late = Histogram(), Histogram(), Histogram()
        for native in self._crowd.natives:
            of = native.figures.histograms
            delay.add(of["sound_delay"].counts.items())
            delay.add(of["picture_delay"].counts.items())
            sound.add(of["sound_delay"].counts.items())
            late.add(of["late"].counts.items())
        counts = end.counts.copy()
        counts.subtract(start.counts)
        # What was lost while people came in counts as well.
        counts["lost"], counts["overflow"] = end.counts["lost"], end.counts["overflow"]
        server = end.server.cpu - start.server.cpu
        bots = end.bots - start.bots
        said = await self._said()
        missed, came_in = _sounds(said)
        newcomers = [bot for visit in self._visits[before:] for bot in visit.bots]
        return Step(
            visits=len(self._visits),
            seconds=end.server.at - start.server.at,
            delay=delay,
            sound_delay=sound,
            late=late,
            joins=[_join(bot) for bot in newcomers],
            arriving=len(newcomers) / max(came, 1e-3),
            counts=counts,
            server=server,
            engine=_engine(end.server) - _engine(start.server),
            bots=bots,
            others=max(0.0, end.busy - start.busy - server - bots),
            rss=(end.server.rss - self._idle.rss) / max(1, PEOPLE * len(self._visits)),
            drops=+end.drops,
            problems=problems
            + self._unheard(said, skipped)
            + self._crowd.lost[:3]
            + [text for one in self._crowd.natives for text in one.problems],
            sound_missing=missed - missing,
            sound_heard=came_in - heard,
            threads={
                name: (spent - start.server.threads.get(name, 0.0)) / (end.server.at - start.server.at)
                for name, spent in end.server.threads.items()
            },
            bots_rss=sum(usage(native.pid).rss for native in self._crowd.natives) / max(1, PEOPLE * len(self._visits)),
        )

    async def _said(self) -> dict[int, dict[str, Any]]:
        """What each bot says that it sent and heard."""
        said: dict[int, dict[str, Any]] = {}
        for native in self._crowd.natives:
            said |= await native.ask()
        return said

    @staticmethod
    def _skipped(said: dict[int, dict[str, Any]]) -> Counter[int]:
        """Packets that each bot was not sent of what it hears, since it came."""
        return Counter(
            {number: sum(one["skipped"] for one in bot["ears"] if one["received"]) for number, bot in said.items()}
        )

    def _unheard(self, said: dict[int, dict[str, Any]], before: Counter[int]) -> list[str]:
        """Where somebody does not hear what somebody else sends, by the numbers that sources give their packets.

        What was skipped `before` is no loss: pictures are held back, and dropped, while a newcomer's link is unknown.
        """
        skipped = self._skipped(said)
        sent = {stream["ssrc"]: stream["packets"] for bot in said.values() for stream in bot["streams"]}
        expected, problems = (1 if self._sends else 2) * (PEOPLE - 1), []
        for visit in self._visits:
            for bot in visit.bots:
                # What was sent in the last moments may be on its way.
                heard = [one for one in said[bot.number]["ears"] if one["received"]]
                current = [one for one in heard if sent.get(one["source"], 0) - one["counter"] < ON_ITS_WAY]
                if len(current) < expected:
                    problems.append(f"bot {bot.number} hears {len(current)} of {expected} streams")
                if more := skipped[bot.number] - before[bot.number]:
                    problems.append(f"bot {bot.number} was not sent {more} packets of what it hears")
        return problems

    async def end(self) -> None:
        """Everybody leaves."""
        for first in range(0, len(self._visits), ARRIVING):
            await asyncio.gather(*(visit.close() for visit in self._visits[first : first + ARRIVING]))

    async def _state(self) -> _State:
        counts: Counter[str] = Counter()
        for native in self._crowd.natives:
            counts.update(native.figures.counts)
        metrics = await self._serving.metrics()
        drops = Counter({name: int(value) for name, value in metrics.items() if "dropped" in name and value})
        drops["socket overflow"] = socket_drops(self._serving.media_ports)
        bots = sum(usage(native.pid).cpu for native in self._crowd.natives)
        return _State(self._serving.usage(), bots, busy_time(), counts, drops)


@dataclass(frozen=True)
class _State:
    server: Usage
    bots: float
    busy: float
    counts: Counter[str]
    drops: Counter[str]


def _sounds(said: Mapping[int, dict[str, Any]]) -> tuple[int, int]:
    """Packets of sound that were not heard, and that were."""
    ears = [one for bot in said.values() for one in bot["ears"] if one["sound"]]
    return sum(one["skipped"] for one in ears), sum(one["received"] for one in ears)


def _join(bot: Bot) -> float:
    """Seconds until the first picture, from the offer, or from when somebody was to be seen: a host comes first."""
    since = max(bot.times["offer"], bot.times.get("slots", 0.0))
    return min(bot.pictures.values(), default=float("inf")) - since


def _engine(of: Usage) -> float:
    return sum(seconds for name, seconds in of.threads.items() if name.startswith("shard"))


async def search(steps: Sequence[int], seconds: float, processes: int, *, anyway: bool = False) -> list[Step]:
    """Measures one number of visits after the other, until one does not fit, or `anyway` all."""
    print(*COLUMNS, sep="  ", flush=True)
    program = build()
    done: list[Step] = []
    with tempfile.TemporaryDirectory(prefix="vardrum-crowd-") as folder:
        crowd = Crowd(processes)
        try:
            for native in crowd.natives:
                await native.start(program, prefix=BOTS_PREFIX)
            async with Serving(Path(folder)) as serving, Portal(serving.http, serving.key) as portal:
                measuring = Measuring(serving, crowd, portal)
                for visits in steps:
                    step = await measuring.step(visits, seconds)
                    done.append(step)
                    print(*row(step), sep="\n", flush=True)
                    if step.judge() and not anyway:
                        break
                await measuring.end()
        finally:
            for native in crowd.natives:
                await native.stop()
    return done


COLUMNS = (
    "visits",
    "bots",
    "delay p50 ms",
    "p99",
    "p99.9",
    "bots late p99",
    "join p50 s",
    "p95",
    "joins/s",
    "lost",
    "twice",
    "server cores",
    "engine",
    "bots",
    "others",
    "kB a head",
    "engine ns/packet",
)


def row(step: Step) -> Iterator[str]:
    """What the terminal shows of one step, below `COLUMNS`."""
    joins = sorted(step.joins) or [float("nan")]
    forwarded = max(1, step.counts["received"])
    values = (
        f"{step.visits}",
        f"{step.visits * PEOPLE}",
        f"{step.delay_ms(0.5):.2f}",
        f"{step.delay_ms(0.99):.2f}",
        f"{step.delay_ms(0.999):.1f}",
        f"{step.late.percentile(0.99) / 1000:.1f}",
        f"{joins[len(joins) // 2]:.2f}",
        f"{joins[int(len(joins) * 0.95)]:.2f}",
        f"{step.arriving:.1f}",
        f"{step.lost}",
        f"{step.counts['duplicates']}",
        f"{step.server / step.seconds:.2f}",
        f"{step.engine / step.seconds:.2f}",
        f"{step.bots / step.seconds:.2f}",
        f"{step.others / step.seconds:.2f}",
        f"{step.rss / 1000:.0f}",
        f"{step.engine / forwarded * 1e9:.0f}",
    )
    yield "  ".join(f"{value:>{len(name)}}" for name, value in zip(COLUMNS, values, strict=True))
    if step.drops:
        yield "        dropped: " + ", ".join(f"{name} {count}" for name, count in step.drops.items())
    if problems := step.judge():
        yield "        does not fit: " + "; ".join(problems[:5])


def report(steps: Sequence[Step]) -> Report:
    """Of each size delay (ms), CPU (cores, and ns per forwarded packet), memory (kB per participant), joins (s)."""
    figures: dict[str, float] = {}
    for step in steps:
        joins = sorted(step.joins)
        forwarded = max(1, step.counts["received"])
        figures |= {
            f"{what} visits={step.visits}": round(value, 3)
            for what, value in {
                "delay-p50-ms": step.delay_ms(0.5),
                "delay-p99-ms": step.delay_ms(0.99),
                "sound-delay-p99-ms": step.sound_delay.percentile(0.99) / 1000,
                "late-p99-ms": step.late.percentile(0.99) / 1000,
                "lost": step.lost,
                "forwarded-per-s": forwarded / step.seconds,
                "server-cores": step.server / step.seconds,
                "engine-cores": step.engine / step.seconds,
                "bots-cores": step.bots / step.seconds,
                "others-cores": step.others / step.seconds,
                "engine-ns-per-packet": step.engine / forwarded * 1e9,
                "rss-kb-per-participant": step.rss / 1000,
                "joins-per-s": step.arriving,
                "join-p95-s": joins[int(len(joins) * 0.95)] if joins else 0.0,
            }.items()
        }
    fitting = [step.visits for step in steps if not step.judge()]
    figures["visits that fit"] = max(fitting, default=0)
    missed = [] if fitting else [f"visits={steps[0].visits}" if steps else "no visit"]
    return Report(figures=figures, ratios={}, missed=missed)


def plot(steps: Sequence[Step], path: Path) -> None:
    """Delay and CPU over the number of visits."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    visits = [step.visits for step in steps]
    for share, colour in ((0.5, "#7fb3d5"), (0.99, "#1b6ca8"), (0.999, "#b9c4cc")):
        label = f"{share * 100:g} % of packets below"
        above.plot(visits, [step.delay_ms(share) for step in steps], "o-", color=colour, label=label)
    above.axhline(DELAY_P99, color="#a33", linestyle=":", label="bound for 99 %")
    above.set_ylabel("added delay, ms")
    above.set_yscale("log")
    above.legend()
    for label, values, colour in (
        ("server", [step.server / step.seconds for step in steps], "#1b6ca8"),
        ("its engine", [step.engine / step.seconds for step in steps], "#7fb3d5"),
        ("bots", [step.bots / step.seconds for step in steps], "#b9c4cc"),
    ):
        below.plot(visits, values, "o-", color=colour, label=label)
    below.set_ylabel("CPU, cores")
    below.set_xlabel("three-party visits")
    below.legend()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes `crowd.json` and `crowd.png`, prints the figures; 1 where not even the first step fits."""
    parser = argparse.ArgumentParser(prog="python -m vardrum.bench.crowd", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--visits", type=int, nargs="*", default=STEPS, help="numbers of visits, one after the other")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each number is measured")
    parser.add_argument("--processes", type=int, default=1, help="native processes that the bots are spread over")
    parser.add_argument("--anyway", action="store_true", help="go on when a number of visits does not fit")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report")
    said = parser.parse_args(arguments)
    allow_files()
    steps = asyncio.run(search(said.visits, said.seconds, said.processes, anyway=said.anyway))
    if not steps:
        print("nothing was measured", file=sys.stderr)
        return 1
    summary = report(steps)
    summary.write(said.out / "crowd.json")
    plot(steps, said.out / "crowd.png")
    print(f"{said.out / 'crowd.json'} and crowd.png; {summary.figures['visits that fit']:.0f} visits fit")
    return 1 if summary.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
