"""How many three-party visits at once a machine carries: found by doubling and then halving what is left between.

A number of visits fits when 95 % of those who come have a picture within a second, the server loses nothing, and less
than 0.5 % of the sound would be concealed: packets that are missing after repair, or so late that no playout buffer
waits for them. The machinery is `bench/crowd.py`'s; server and bots share the machine, so what is full first is said.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from ..bots import Crowd, Sends
from ..crowd import BOTS_PREFIX, PEOPLE, Measuring, Step
from ..portal import Portal
from ..serving import Serving
from .sample import Sample

JOIN_P95 = 1.0
CONCEALED = 0.005
# Microseconds. A browser's buffer that has seen no jitter plays a packet about so long after it should have come.
TOO_LATE = 60_000
FIRST, MOST, TRIES = 8, 1024, 14
# As phones send: a newcomer has the small picture at once, and the large one when the network has shown to carry it.
LAYERS = 2
# The search ends when what is left between is a tenth of what fits.
FINE = 0.1
# Shares of a core, and of the machine, that count as full.
FULL, ALL_FULL = 0.9, 0.95
# Microseconds that bots send late when their own core is full.
LATE = 10_000


async def highest(fits: Callable[[int], Awaitable[bool]], *, first: int, most: int, tries: int) -> int:
    """The highest number that fits, as far as `tries` questions tell; 0 where none was found.

    What fits is asked at `first`, twice that, and so on up to `most`, then halfway between what fits and what doesn't.
    """
    low, high, number = 0, 0, first
    for _ in range(tries):
        if await fits(number):
            low = number
        else:
            high = number
        if not high:
            if number >= most:
                break
            number = min(2 * number, most)
        else:
            if high - low <= max(1, round(low * FINE)):
                break
            number = (low + high) // 2
    return low


def concealed(step: Step) -> float:
    """Share (0 to 1) of the sound that a browser would have had to make up."""
    late = step.sound_delay.above(TOO_LATE)
    return (step.sound_missing + late) / max(1, step.sound_missing + step.sound_heard)


def judge(step: Step, wanted: int, join: float = JOIN_P95) -> list[str]:
    """Why so many visits don't fit; nothing, where they do.

    Args:
        join: seconds within which 95 % of those who come must have a picture.
    """
    found = list(step.problems)
    if step.visits < wanted:
        found.append(f"only {step.visits} of {wanted} visits began")
    if step.lost:
        found.append(f"{step.lost} packets lost")
    if step.counts["duplicates"]:
        found.append(f"{step.counts['duplicates']} packets came twice")
    if step.join_s(0.95) >= join:
        found.append(f"95 % had a picture within {step.join_s(0.95):.2f} s only")
    if concealed(step) >= CONCEALED:
        found.append(f"{concealed(step):.2%} of the sound concealed")
    return found


def saturated(step: Step, processes: int, cores: int, join: float = JOIN_P95) -> list[str]:
    """What is full, what people notice first ahead."""
    found = []
    for name, share in sorted(step.threads.items(), key=lambda one: -one[1]):
        if share >= FULL:
            found.append(f"server: thread {name.partition('/')[0]} ({share:.0%} of a core)")
    if step.bots / step.seconds >= FULL * processes or step.late.percentile(0.99) > LATE:
        late = f"{step.late.percentile(0.99) / 1000:.0f} ms late"
        found.append(f"bots: {step.bots / step.seconds:.2f} cores in {processes} processes, 1 % of packets {late}")
    used = (step.server + step.bots + step.others) / step.seconds
    if used >= ALL_FULL * cores:
        others = f"{step.others / step.seconds:.2f} of them by others"
        found.append(f"machine: {used:.2f} of {cores} cores, {others}")
    if step.drops["socket overflow"] or step.counts["overflow"]:
        overflow = f"server {step.drops['socket overflow']}, bots {step.counts['overflow']} datagrams"
        found.append(f"UDP buffers overflowed: {overflow}")
    if step.join_s(0.95) >= join:
        found.append(f"join time: p95 {step.join_s(0.95):.2f} s at {step.arriving:.1f} people a second")
    return found or ["nothing that is measured here"]


class Lab(Protocol):
    """A server and native bots, with as many visits as are asked for."""

    async def measure(self, visits: int, *, anew: bool) -> Step:
        """So many visits; `anew` where the former ones are not to go on."""

    async def close(self) -> None:
        """Everybody leaves and all processes end; may be called twice."""


class OwnLab:
    """Our own server; begun anew where there are more visits than are asked for."""

    def __init__(self, program: Path, seconds: float, processes: int, *, sends: Sends | None = None) -> None:
        """
        Args:
            program: the native bots'.
            seconds: how long each number of visits is measured.
            processes: native processes that the bots are spread over.
            sends: what everybody sends instead of sound and what the server asks for.
        """
        self._program, self._seconds, self._processes, self._sends = program, seconds, processes, sends
        self._stack: AsyncExitStack | None = None
        self._measuring: Measuring | None = None
        self._sample: Sample | None = None
        self._visits = 0

    async def measure(self, visits: int, *, anew: bool) -> Step:
        """So many visits; `anew` where the former ones are not to go on."""
        if anew or self._measuring is None or visits <= self._visits:
            await self.close()
            self._measuring = await self._begin()
        if self._sample is not None:
            self._sample.take()
        step = await self._measuring.step(visits, self._seconds)
        if self._sample is not None:
            looks = self._sample.take()
            step.sample = looks.figures()
            step.problems += looks.judge()
        self._visits = step.visits
        return step

    async def close(self) -> None:
        """Everybody leaves and all processes end; may be called twice."""
        measuring, self._measuring, stack, self._stack = self._measuring, None, self._stack, None
        self._visits, self._sample = 0, None
        if measuring is not None:
            await measuring.end()
        if stack is not None:
            await stack.aclose()

    async def _begin(self) -> Measuring:
        stack = self._stack = AsyncExitStack()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vardrum-load-")))
        crowd = Crowd(self._processes)
        for native in crowd.natives:
            await stack.enter_async_context(await native.start(self._program, prefix=BOTS_PREFIX))
        serving = await stack.enter_async_context(Serving(folder))
        portal = await stack.enter_async_context(Portal(serving.http, serving.key))
        if self._sends is None:
            self._sample = await stack.enter_async_context(Sample(portal))
        return Measuring(serving, crowd, portal, layers=1 if self._sends else LAYERS, sends=self._sends)


async def search(
    lab: Lab,
    say: Callable[[str], None],
    *,
    first: int = FIRST,
    most: int = MOST,
    tries: int = TRIES,
    join: float = JOIN_P95,
) -> tuple[int, list[tuple[int, Step]]]:
    """The highest number of visits that fit, and every number that was tried with what was measured; closes the lab."""
    done: list[tuple[int, Step]] = []
    failed = False

    async def fits(visits: int) -> bool:
        nonlocal failed
        step = await lab.measure(visits, anew=failed)
        done.append((visits, step))
        problems = judge(step, visits, join)
        failed = bool(problems)
        say(line(visits, step))
        for problem in problems[:4]:
            say(f"      does not fit: {problem}")
        return not problems

    try:
        return await highest(fits, first=first, most=most, tries=tries), done
    finally:
        await lab.close()


def line(visits: int, step: Step) -> str:
    """What the terminal shows of one number of visits."""
    return (
        f"{visits:5} visits  join p95 {step.join_s(0.95):5.2f} s  lost {step.lost}  concealed {concealed(step):.2%}"
        f"  server {step.server / step.seconds:.2f} cores  bots {step.bots / step.seconds:.2f} cores"
    )


def each(step: Step) -> dict[str, float]:
    """What one visit costs: milliseconds of CPU in each second, and memory in kB, of the server and of the bots."""
    visits = max(1, step.visits)
    return {
        "server CPU a visit ms": round(1000 * step.server / step.seconds / visits, 2),
        "bots CPU a visit ms": round(1000 * step.bots / step.seconds / visits, 2),
        "server memory a visit kB": round(PEOPLE * step.rss / 1000, 1),
        "bots memory a visit kB": round(PEOPLE * step.bots_rss / 1000, 1),
    }


def figures(
    found: int,
    done: Sequence[tuple[int, Step]],
    processes: int,
    name: str = "highest",
    join: float = JOIN_P95,
) -> tuple[dict[str, float], list[str]]:
    """Figures of the highest number of visits, and what saturated first: at the smallest number that didn't fit."""
    values: dict[str, float] = {f"{name} visits": found}
    fitting = [step for visits, step in done if visits == found and not judge(step, visits, join)]
    if fitting:
        best = fitting[-1]
        values |= {f"{name} {what}": value for what, value in each(best).items()}
        values[f"{name} join p95 s"] = round(best.join_s(0.95), 3)
        values[f"{name} concealed percent"] = round(100 * concealed(best), 4)
        values[f"{name} added delay p99 ms"] = round(best.delay_ms(0.99), 3)
        values |= {f"{name} sample {what}": value for what, value in best.sample.items()}
    failing = [(visits, step) for visits, step in done if judge(step, visits, join)]
    if not failing:
        return values, ["nothing: the largest number that was tried fits"]
    return values, saturated(min(failing, key=lambda one: one[0])[1], processes, len(os.sched_getaffinity(0)), join)
