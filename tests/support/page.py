"""What tests ask of a page in any browser; Chromium and Firefox each answer in their own way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from .wait import wait_until

RECORDER = Path(__file__).with_name("recorder.js").read_text(encoding="utf-8")


class Tab(Protocol):
    """One page in a browser with fake devices and the recorder in place."""

    async def goto(self, url: str) -> None:
        """Open `url`; returns when its document has loaded."""

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; a promise is awaited."""

    async def screenshot(self, path: Path) -> None:
        """A PNG of what is on screen."""

    async def resize(self, width: int, height: int) -> None:
        """Make the page's viewport this many CSS pixels."""

    async def close(self) -> None:
        """Close the page, as a person would."""


class Page:
    """A `Tab` with the gestures that our pages are made for: everything is found by `data-testid`."""

    def __init__(self, tab: Tab, name: str) -> None:
        self.tab = tab
        self.name = name

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; a promise is awaited."""
        return await self.tab.evaluate(expression)

    async def shows(self, testid: str) -> bool:
        """Whether something with this test id is on screen."""
        found = json.dumps(f'[data-testid="{testid}"]')
        return bool(
            await self.evaluate(f"[...document.querySelectorAll({found})].some((e) => e.getClientRects().length > 0)")
        )

    async def wait_for(self, testid: str, *, deadline: float = 10.0) -> None:
        """Until something with this test id is on screen.

        Raises:
            TimeoutError: with what the page shows instead.
        """
        try:
            await wait_until(
                lambda: self.shows(testid), deadline=deadline, what=f"{testid} on the page of {self.name}", every=0.1
            )
        except TimeoutError as error:
            text = await self.evaluate("document.body.innerText.slice(0, 600)")
            errors = await self.evaluate("window.recorder?.errors ?? []")
            raise TimeoutError(f"{error}\npage: {text}\nerrors: {errors}") from None

    async def click(self, testid: str, *, deadline: float = 10.0) -> None:
        """Click it as soon as it is on screen and enabled."""
        await self.wait_for(testid, deadline=deadline)
        selector = json.dumps(f'[data-testid="{testid}"]')
        script = (
            f"(() => {{ const e = [...document.querySelectorAll({selector})]"
            ".find((e) => e.getClientRects().length > 0 && !e.disabled);"
            " if (!e) return false; e.click(); return true; })()"
        )
        await wait_until(lambda: self.evaluate(script), deadline=deadline, what=f"{testid} enabled on {self.name}")

    async def fill(self, testid: str, text: str, *, deadline: float = 10.0) -> None:
        """Put `text` into a field as if typed."""
        await self.wait_for(testid, deadline=deadline)
        selector = json.dumps(f'[data-testid="{testid}"]')
        await self.evaluate(
            f"(() => {{ const e = document.querySelector({selector}); e.focus(); e.value = {json.dumps(text)};"
            " e.dispatchEvent(new Event('input', {bubbles: true}));"
            " e.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )
