"""When is sound back? Asked of the browser's own figures, so that silence played as if it were sound doesn't count."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from .page import Page
from .wait import wait_until

EVERY_MS = 100


async def listen(page: Page) -> None:
    """Begin to sample often enough to tell when sound stops and starts."""
    await page.evaluate(f"recorder.start({EVERY_MS})")


async def moment(page: Page) -> float:
    """Now, in ms of the page's own clock."""
    return float(await page.evaluate("performance.now()"))


def back_at(samples: Sequence[Mapping[str, Any]], since: float, voices: int) -> float | None:
    """When, in ms of the page's clock, `voices` slots had been heard again after `since`; None: not yet.

    A slot is heard when packets of it came and what was played has energy, both after `since`.
    """
    heard: set[str] = set()
    for before, after in itertools.pairwise(samples):
        if after["t"] < since:
            continue
        if after["connection"] != before["connection"]:
            heard.clear()
            continue
        for mid, now in after["inbound"].items():
            past = before["inbound"].get(mid)
            if past is None or now["kind"] != "audio":
                continue
            if now["packets"] > past["packets"] and now["energy"] > past["energy"]:
                heard.add(mid)
        if len(heard) >= voices:
            return float(after["t"])
    return None


async def sound_back(page: Page, since: float, *, voices: int, deadline: float) -> float:
    """Until `voices` people are heard again; seconds from `since` (ms of the page's clock)."""

    async def back() -> float | None:
        return back_at(await page.evaluate(f"recorder.samples.filter((s) => s.t > {since - 1000})"), since, voices)

    at = await page.wait(back, f"{voices} voices on the page of {page.name}", deadline=deadline)
    return (float(at) - since) / 1000


async def silent(page: Page, *, for_ms: float, deadline: float) -> None:
    """Until no packet of sound has come for `for_ms`."""

    async def quiet() -> bool:
        samples = await page.evaluate(f"recorder.samples.filter((s) => s.t > performance.now() - {for_ms})")
        assert len(samples) > 1, "no samples"
        first, last = samples[0]["inbound"], samples[-1]["inbound"]
        return all(now["packets"] == first.get(mid, now)["packets"] for mid, now in last.items())

    await wait_until(quiet, deadline=deadline, what=f"silence on the page of {page.name}")


async def longest_gap(page: Page, mid: str, since: float) -> float:
    """The longest time, in seconds, that no packet came in the slot `mid` after `since` (ms of the page's clock)."""
    samples = await page.evaluate(f"recorder.samples.filter((s) => s.t > {since})")
    longest, last = 0.0, samples[0]["t"]
    for before, after in itertools.pairwise(samples):
        if after["inbound"][mid]["packets"] > before["inbound"][mid]["packets"]:
            longest, last = max(longest, after["t"] - last), after["t"]
    return float(max(longest, samples[-1]["t"] - last)) / 1000
