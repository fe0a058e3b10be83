"""CPU per forwarded packet: this server and Janus, in turns, with the same bots.

`python -m vardrum.bench.peers` (or `make bench-peers`): three-party rooms of native bots that send pictures alone, in
packets of 1018 to 1100 bytes, 25,000 forwarded packets a second in total, AEAD_AES_128_GCM. All servers run throughout;
the bots of all but one are silent. Measured is what a whole process uses, user and system, all threads of it (of ours
Python too, with signalling and policies; of Janus its websocket too), over the packets that reached the bots. Janus is
measured as packaged (libsrtp on NSS), and with libsrtp from Debian's source package built on OpenSSL, where that can
be built here.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from ..bots import Crowd, Sends, Visit
from ..native_bots import NativeBots, build
from ..portal import Portal
from ..report import REPORTS, ROOT, Report
from ..serving import Serving, Usage
from .island import Island, NoIsland
from .janus import Janus, Unavailable

OURS = "vardrum"
# How many times less than theirs ours has to be.
BOUNDS = {"janus nss": 8.0, "janus openssl": 7.0}
PEOPLE, ROOMS = 3, 33
PACKETS = 6  # of a picture
PROFILE = "SRTP_AEAD_AES_128_GCM"
SCRIPT = Path(__file__).with_name("libsrtp-openssl")
SETTLE = 2.0
COLOURS = ("#1b6ca8", "#b9c4cc", "#8896a0")


def sends(forwarded: float, rooms: int) -> Sends:
    """What each sends so that so many packets a second are forwarded in all; an SRTP packet has about 1090 bytes."""
    each = forwarded / (rooms * PEOPLE * (PEOPLE - 1))
    payload = 1050
    return Sends(bitrate=PACKETS * payload * 8 * each / PACKETS + 100, rate=each / PACKETS, packet=payload + 5)


@dataclass
class Contender:
    """A server with bots of its own.

    Attributes:
        bots: numbers of those that send.
        costs: nanoseconds of CPU per forwarded packet, of each measurement: the process, and the engine's threads.
    """

    name: str
    server: Serving | Janus
    native: NativeBots
    bots: Sequence[int]
    costs: list[float] = field(default_factory=list)
    engine: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    lost: int = 0

    def speak(self, on: bool) -> None:
        """Lets the bots send, or be silent."""
        for bot in self.bots:
            self.native.say("send", bot=bot, rids=[""] if on else [])

    async def measure(self, seconds: float) -> None:
        """One measurement, with everybody else silent."""
        self.speak(True)
        await asyncio.sleep(SETTLE)
        before, start = (await self.native.next_figures()).counts.copy(), self.server.usage()
        await asyncio.sleep(seconds)
        after, end = (await self.native.next_figures()).counts, self.server.usage()
        self.speak(False)
        forwarded = after["received"] - before["received"]
        self.lost += after["lost"] - before["lost"]
        self.costs.append(_cpu(start, end, "") / max(1, forwarded) * 1e9)
        self.engine.append(_cpu(start, end, "shard") / max(1, forwarded) * 1e9)
        self.rates.append(forwarded / (end.at - start.at))
        await asyncio.sleep(0.5)


def _cpu(start: Usage, end: Usage, prefix: str) -> float:
    """CPU seconds between the two, of the threads whose name begins with `prefix`."""
    return sum(
        seconds - start.threads.get(name, 0.0) for name, seconds in end.threads.items() if name.startswith(prefix)
    )


async def _ours(stack: AsyncExitStack, program: Path, folder: Path, rooms: int, what: Sends) -> Contender:
    crowd = Crowd()
    native = await stack.enter_async_context(await crowd.natives[0].start(program, profiles=PROFILE))
    serving = await stack.enter_async_context(Serving(folder / OURS))
    portal = await stack.enter_async_context(Portal(serving.http, serving.key))
    bots = []
    for _ in range(rooms):
        visit = await Visit.begin(crowd, portal, people=PEOPLE, sends=what)
        stack.push_async_callback(visit.close)
        for bot in visit.bots:
            bots.append(bot.number)
            bot.send(rids=[])
    return Contender(OURS, serving, native, bots)


async def _janus(stack: AsyncExitStack, program: Path, janus: Janus, name: str, rooms: int, what: Sends) -> Contender:
    prefix = janus.prefix
    native = await stack.enter_async_context(await NativeBots().start(program, profiles=PROFILE, prefix=prefix))
    await stack.enter_async_context(janus)
    print(f"{name}: {janus.libsrtp}", flush=True)
    bots: list[int] = []
    for _ in range(rooms):
        here = await janus.visit(native, PEOPLE, what)
        bots += here
        for bot in here:
            native.say("send", bot=bot, rids=[])
    return Contender(name, janus, native, bots)


async def compare(rounds: int, seconds: float, rooms: int, forwarded: float) -> tuple[list[Contender], list[str]]:
    """Measures all in turns; also says who could not be measured, and why."""
    program, what, problems = build(), sends(forwarded, rooms), []
    library = ROOT / "build" / "libsrtp-openssl"
    built = await asyncio.to_thread(subprocess.run, [SCRIPT, library], capture_output=True, text=True, check=False)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vardrum-peers-")))
        contenders = [await _ours(stack, program, folder, rooms, what)]
        try:
            island = await stack.enter_async_context(Island())
            janus = Janus(folder / "nss", island.prefix)
            contenders.append(await _janus(stack, program, janus, "janus nss", rooms, what))
            if built.returncode == 0:
                janus = Janus(folder / "openssl", island.prefix, library_path=library)
                contenders.append(await _janus(stack, program, janus, "janus openssl", rooms, what))
            else:
                problems.append(f"janus openssl: libsrtp was not built: {built.stderr.strip()[-300:]}")
        except (Unavailable, NoIsland) as problem:
            problems.append(f"janus: {problem}")
        for _ in range(rounds):
            for contender in contenders:
                await contender.measure(seconds)
        problems += [f"{one.name}: {text}" for one in contenders for text in one.native.problems]
    return contenders, problems


def ratios(contenders: Sequence[Contender]) -> dict[str, float]:
    """How many times ours each other process uses: the median of what was measured in the same round."""
    ours = contenders[0]
    return {
        one.name: statistics.median(theirs / own for theirs, own in zip(one.costs, ours.costs, strict=True))
        for one in contenders[1:]
    }


def report(contenders: Sequence[Contender], problems: Sequence[str]) -> Report:
    """Figures in µs of CPU per forwarded packet, ratios of theirs to ours."""
    measured = ratios(contenders)
    figures = {f"server={one.name} us": round(statistics.median(one.costs) / 1000, 3) for one in contenders}
    figures |= {f"server={one.name} packets/s": round(statistics.median(one.rates)) for one in contenders}
    figures[f"server={OURS} engine-only us"] = round(statistics.median(contenders[0].engine) / 1000, 3)
    missed = [f"{name} / {OURS}" for name, bound in BOUNDS.items() if measured.get(name, bound) < bound]
    missed += [f"server={OURS} lost {contenders[0].lost}"] if contenders[0].lost else []
    # A server that isn't there misses nothing, but what can't be set against anything proves nothing.
    missed += list(problems) if len(contenders) == 1 else []
    return Report(figures, {f"{name} / {OURS}": round(value, 2) for name, value in measured.items()}, missed)


def table(contenders: Sequence[Contender], measured: Mapping[str, float]) -> Iterator[str]:
    """What the terminal shows, line by line."""
    yield "µs of CPU per forwarded packet, whole process, median (least-most)"
    for one in contenders:
        middle, least, most = (f(one.costs) / 1000 for f in (statistics.median, min, max))
        line = f"{one.name:14} {middle:6.2f}  ({least:.2f}-{most:.2f})"
        line += f"  {statistics.median(one.rates):6.0f} packets/s, {one.lost} lost  "
        if one.name in measured:
            line += f"{measured[one.name]:.1f} times ours (bound {BOUNDS[one.name]:g})"
        else:
            line += f"engine's threads alone {statistics.median(one.engine) / 1000:.2f}"
        yield line


def plot(contenders: Sequence[Contender], path: Path) -> None:
    """A bar for each server, with lines from the least to the most measured."""
    figure = Figure(figsize=(8, 1.5 + 0.6 * len(contenders)), layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(contenders):
        middle, least, most = statistics.median(one.costs), min(one.costs), max(one.costs)
        spread = [[(middle - least) / 1000], [(most - middle) / 1000]]
        axes.barh([place], [middle / 1000], xerr=spread, color=COLOURS[place], ecolor="#555555")
    axes.set_yticks(range(len(contenders)), [one.name for one in contenders])
    axes.invert_yaxis()
    axes.set_xlabel("µs of CPU per forwarded packet, whole process (median; lines: least and most)")
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes `peers.json` and `peers.png`, prints the figures; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m vardrum.bench.peers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=6, help="measurements of each server, in turns")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument("--rooms", type=int, default=ROOMS, help="three-party rooms")
    parser.add_argument("--forwarded", type=float, default=25_000, help="forwarded packets a second in all")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report")
    said = parser.parse_args(arguments)
    contenders, problems = asyncio.run(compare(said.rounds, said.seconds, said.rooms, said.forwarded))
    summary = report(contenders, problems)
    summary.write(said.out / "peers.json")
    plot(contenders, said.out / "peers.png")
    print(*table(contenders, ratios(contenders)), sep="\n")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{said.out / 'peers.json'} and peers.png; missed: {', '.join(summary.missed) or 'nothing'}")
    return 1 if summary.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
