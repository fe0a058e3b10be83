"""What a browser's own statistics say of a measured time: frames, gaps, concealed sound, picture sizes."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .page import Page
from .wait import wait_until


@dataclass(frozen=True)
class Measured:
    """One browser's samples over a measured time, from `recorder.start`.

    Attributes:
        samples: oldest first; each `{t: ms, inbound: {mid: figures}, outbound: …}`.
    """

    samples: Sequence[dict[str, Any]]

    @property
    def seconds(self) -> float:
        return float(self.samples[-1]["t"] - self.samples[0]["t"]) / 1000

    def series(self, mid: str, figure: str) -> list[tuple[float, float]]:
        """(seconds, figure) for the samples in which the slot `mid` has had packets."""
        return [
            (sample["t"] / 1000, float(sample["inbound"][mid][figure]))
            for sample in self.samples
            if mid in sample["inbound"]
        ]

    def rate(self, mid: str, figure: str = "frames") -> float:
        """How much a counter grew in each second."""
        series = self.series(mid, figure)
        return (series[-1][1] - series[0][1]) / (series[-1][0] - series[0][0])

    def longest_stall(self, mid: str) -> float:
        """The longest time, in seconds, in which no new frame was decoded; one that hasn't ended counts too.

        Browsers' own `freezeCount` misses a stall that has not ended.
        """
        series = self.series(mid, "frames")
        longest, since = 0.0, series[0][0]
        for (_, before), (now, frames) in itertools.pairwise(series):
            if frames > before:
                longest, since = max(longest, now - since), now
        return max(longest, series[-1][0] - since)

    def concealed(self, mids: Sequence[str]) -> float:
        """The share (0 to 1) of sound made up for what didn't arrive, over slots with a live source."""
        concealed = samples = 0.0
        for mid in mids:
            concealed += self._grown(mid, "concealed")
            samples += self._grown(mid, "samples")
        assert samples > 0, f"no sound came at all on {mids}"
        return concealed / samples

    def heights(self, mid: str) -> set[int]:
        """The picture sizes seen (the shorter side, pixels)."""
        return {int(height) for _, height in self.series(mid, "height")}

    def _grown(self, mid: str, figure: str) -> float:
        series = self.series(mid, figure)
        return series[-1][1] - series[0][1] if series else 0.0


async def start_measuring(page: Page, *, every_ms: int = 250) -> None:
    """Begin to sample this page's statistics."""
    await page.evaluate(f"recorder.start({every_ms})")


async def measured(page: Page, seconds: float) -> Measured:
    """The samples since `start_measuring`, as soon as they span `seconds`."""
    spanned = (
        "recorder.samples.length > 1 && recorder.samples.at(-1).t - recorder.samples[0].t >= " + f"{seconds * 1000}"
    )
    await wait_until(
        lambda: page.evaluate(spanned), deadline=seconds + 30, what=f"{seconds} s of samples of {page.name}", every=0.5
    )
    samples = await page.evaluate("(recorder.stop(), recorder.samples)")
    return Measured(samples)


async def slots(page: Page) -> list[dict[str, Any]]:
    """The newest `slots` list that the server told this page."""
    return list(await page.evaluate("recorder.last.slots?.slots ?? []"))


async def at_least_once(look: Callable[[], Awaitable[list[str]]], *, times: int = 5) -> None:
    """Looks until nothing is wrong, so many times at most; raises AssertionError with what was wrong the last time.

    Browsers fill a small machine, and starve where something else runs on it for a second: what they have shown once is
    what the server can do.
    """
    for _ in range(times):
        if not (problems := await look()):
            return
    raise AssertionError("; ".join(problems))
