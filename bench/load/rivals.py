"""The most visits at once on Janus (Debian's package) and on our own server, with the same bots and the same traffic.

Both get pictures alone, since the adapter for Janus (`bench/peers/janus.py`) sends no sound, and the same bounds: 95 %
of those who come have a picture within two seconds of their offer (Janus: of their wish to subscribe), nothing is lost.
Elsewhere it is one second, which Janus doesn't meet with a single visit: it isn't ready for DTLS when its ICE is, drops
the first ClientHello, and the next one comes a second later (RFC 6347, section 4.2.4.1).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ..bots import Sends
from ..crowd import ARRIVING, BOTS_PREFIX, PEOPLE, SETTLE, Step
from ..native_bots import Histogram, NativeBots
from ..peers.island import Island
from ..peers.janus import Janus
from ..serving import busy_time, usage
from . import search

# 95 % have a picture within so many seconds.
JOIN_P95 = 2.0
TRAFFIC = Sends(bitrate=500_000, rate=20, packet=1050)


@dataclass
class Beside:
    """What was found of both."""

    figures: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


async def beside(
    program: Path, seconds: float, first: int, most: int, tries: int, say: Callable[[str], None]
) -> Beside:
    """Searches on both, one after the other.

    Raises:
        Unavailable, NoIsland: there is no Janus here, or it can't be run.
    """
    both = Beside()
    found: dict[str, int] = {}
    labs: dict[str, search.Lab] = {
        "janus": JanusLab(program, seconds),
        "vardrum": search.OwnLab(program, seconds, 1, sends=TRAFFIC),
    }
    for name, lab in labs.items():
        say(f"  {name}")
        found[name], done = await search.search(lab, say, first=first, most=most, tries=tries, join=JOIN_P95)
        values, full = search.figures(found[name], done, 1, f"pictures alone server={name} highest", JOIN_P95)
        both.figures |= values
        both.notes += [f"{name} saturated first: {one}" for one in full]
    if found["janus"]:
        both.ratios["highest visits vardrum / janus"] = round(found["vardrum"] / found["janus"], 2)
    return both


class JanusLab:
    """Janus in a namespace of its own; begun anew where there are more visits than are asked for."""

    def __init__(self, program: Path, seconds: float) -> None:
        self._program, self._seconds = program, seconds
        self._stack: AsyncExitStack | None = None
        self._visits = 0
        self._seen: dict[int, float] = {}

    async def measure(self, visits: int, *, anew: bool) -> Step:
        """So many visits; `anew` where the former ones are not to go on.

        Raises:
            Unavailable, NoIsland: Janus can't be run.
        """
        if anew or self._stack is None or visits <= self._visits:
            await self.close()
            await self._begin()
        janus, native = self._janus, self._native
        before, began = set(janus.joined), time.monotonic()
        problems = await self._grow(visits)
        came = time.monotonic() - began
        await asyncio.sleep(SETTLE)
        counts = (await native.next_figures()).counts.copy()
        native.figures.clear()
        start, bots, busy = janus.usage(), usage(native.pid).cpu, busy_time()
        await asyncio.sleep(self._seconds)
        figures = await native.next_figures()
        end, spent = janus.usage(), usage(native.pid)
        passed = end.at - start.at
        newcomers = [number for number in janus.joined if number not in before]
        now = figures.counts.copy()
        now.subtract(counts)
        now["lost"], now["overflow"] = figures.counts["lost"], figures.counts["overflow"]
        server, load = end.cpu - start.cpu, spent.cpu - bots
        delay = Histogram()
        delay.add(figures.histograms["picture_delay"].counts.items())
        late = Histogram()
        late.add(figures.histograms["late"].counts.items())
        return Step(
            visits=self._visits,
            seconds=passed,
            delay=delay,
            sound_delay=Histogram(),
            late=late,
            joins=[self._seen.get(number, float("inf")) - janus.joined[number] for number in newcomers],
            arriving=len(newcomers) / max(came, 1e-3),
            counts=now,
            server=server,
            engine=server,
            bots=load,
            others=max(0.0, busy_time() - busy - server - load),
            rss=(end.rss - self._idle) / max(1, PEOPLE * self._visits),
            drops=Counter(),
            problems=problems + native.problems,
            threads={name: (used - start.threads.get(name, 0.0)) / passed for name, used in end.threads.items()},
            bots_rss=spent.rss / max(1, PEOPLE * self._visits),
        )

    async def close(self) -> None:
        """All processes end; may be called twice."""
        stack, self._stack, self._visits = self._stack, None, 0
        self._seen.clear()
        if stack is not None:
            await stack.aclose()

    async def _begin(self) -> None:
        stack = self._stack = AsyncExitStack()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vardrum-janus-")))
        island = await stack.enter_async_context(Island())
        self._native = NativeBots(self._on_event)
        prefix = (*BOTS_PREFIX, *island.prefix)
        await stack.enter_async_context(await self._native.start(self._program, prefix=prefix))
        self._janus = await stack.enter_async_context(Janus(folder, island.prefix))
        self._idle = self._janus.usage().rss

    async def _grow(self, visits: int) -> list[str]:
        arriving, problems = asyncio.Semaphore(ARRIVING), list[str]()

        async def begin() -> None:
            async with arriving:
                if len(problems) > ARRIVING:
                    return
                try:
                    await self._janus.visit(self._native, PEOPLE, TRAFFIC)
                    self._visits += 1
                except (TimeoutError, OSError) as problem:
                    problems.append(str(problem) or type(problem).__name__)

        await asyncio.gather(*(begin() for _ in range(visits - self._visits)))
        return problems

    def _on_event(self, event: str, number: int, at: int, what: str) -> None:
        if event == "picture":
            self._seen.setdefault(number, at / 1e6)
