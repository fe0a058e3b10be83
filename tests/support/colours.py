"""People told apart by colour: each one's camera shows another, and every name is watched at every frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from .page import Page

_WATCH = Path(__file__).with_name("colours.js").read_text(encoding="utf-8")

# (Y, U, V) as a film has them, full range; far from each other also after an encoder has had its way.
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (85, 100, 220),
    "green": (120, 60, 60),
    "blue": (60, 220, 110),
    "yellow": (200, 40, 150),
    "violet": (110, 190, 200),
}


def rgb(colour: tuple[int, int, int]) -> list[int]:
    """What a screen shows of a (Y, U, V) colour (BT.601, as browsers take pictures of this size to be)."""
    y, u, v = 1.164 * (colour[0] - 16), colour[1] - 128, colour[2] - 128
    return [round(min(255, max(0, part))) for part in (y + 1.596 * v, y - 0.392 * u - 0.813 * v, y + 2.017 * u)]


async def watch(page: Page) -> None:
    """Begin to note which colour stands under which name."""
    await page.evaluate(f"({_WATCH})({json.dumps({name: rgb(colour) for name, colour in COLOURS.items()})})")


async def seen(page: Page) -> dict[tuple[str, str], int]:
    """(name, colour) to how many screen frames showed it, since `watch`."""
    found = await page.evaluate("window.colours.seen")
    return {(name, colour): count for (name, colour), count in ((key.split("|"), n) for key, n in found.items())}


def wrong(found: Iterable[tuple[str, str]], whose: Mapping[str, str]) -> list[tuple[str, str]]:
    """Those of `found` where the colour isn't that of `whose[name]`."""
    return [(name, colour) for name, colour in found if whose.get(name) != colour]
