"""What tests ask of a page in any browser; Chromium and Firefox each answer in their own way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from .wait import wait_until

RECORDER = Path(__file__).with_name("recorder.js").read_text(encoding="utf-8")


class Tab(Protocol):
    """One page in a browser with fake devices and the recorder in place."""

    async def goto(self, url: str) -> None:
        """Open `url`; returns when its document has loaded."""

    async def reload(self) -> None:
        """Load the page again, as a person would; returns when its document has loaded."""

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; a promise is awaited."""

    async def screenshot(self, path: Path) -> None:
        """A PNG of what is on screen."""

    async def resize(self, width: int, height: int) -> None:
        """Make the page's viewport this many CSS pixels."""

    async def close(self) -> None:
        """Close the page, as a person would."""


# What the page knows of its connection, for the text of a failure.
MEDIA = """JSON.stringify({
  now: performance.now(),
  connection: window.vardrum?.peerConnection?.connectionState,
  ice: window.vardrum?.peerConnection?.iceConnectionState,
  online: window.vardrum?.online,
  silent: window.vardrum?.silent,
  offers: window.vardrum?.offers,
  slots: window.vardrum?.slots?.map((s) => [s.mid, s.display_name, s.source, s.picture]),
  inbound: window.recorder?.samples?.at?.(-1)?.inbound,
})"""


class Page:
    """A `Tab` with the gestures that our pages are made for: everything is found by `data-testid`."""

    def __init__(self, tab: Tab, name: str) -> None:
        self.tab = tab
        self.name = name

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; a promise is awaited."""
        return await self.tab.evaluate(expression)

    async def shows(self, testid: str, within: str = "") -> bool:
        """Whether something with this test id is on screen, `within` a CSS selector when given."""
        found = json.dumps(self._selector(testid, within))
        return bool(
            await self.evaluate(f"[...document.querySelectorAll({found})].some((e) => e.getClientRects().length > 0)")
        )

    async def wait_for(self, testid: str, *, within: str = "", deadline: float = 10.0) -> None:
        """Until something with this test id is on screen.

        Raises:
            TimeoutError: with what the page shows instead.
        """
        what = f"{self._selector(testid, within)} on the page of {self.name}"
        await self.wait(lambda: self.shows(testid, within), what, deadline=deadline)

    async def wait(self, condition: Callable[[], Any], what: str, *, deadline: float = 10.0) -> Any:
        """`wait_until`, with what the page shows in the failure's text."""
        try:
            return await wait_until(condition, deadline=deadline, what=what, every=0.1)
        except TimeoutError as error:
            text = await self.evaluate("document.body.innerText.slice(0, 600)")
            errors = await self.evaluate("window.recorder?.errors ?? []")
            messages = await self.evaluate("(window.recorder?.received ?? []).slice(-12).map((m) => m.type)")
            media = await self.evaluate(MEDIA)
            raise TimeoutError(
                f"{error}\npage: {text}\nerrors: {errors}\nlast messages: {messages}\nmedia: {media}"
            ) from None

    async def click(self, testid: str, *, within: str = "", deadline: float = 10.0) -> None:
        """Click it as soon as it is on screen and enabled."""
        selector = json.dumps(self._selector(testid, within))
        script = (
            f"(() => {{ const e = [...document.querySelectorAll({selector})]"
            ".find((e) => e.getClientRects().length > 0 && !e.disabled);"
            " if (!e) return false; e.click(); return true; })()"
        )
        await self.wait(lambda: self.evaluate(script), f"{selector} enabled on {self.name}", deadline=deadline)

    @staticmethod
    def _selector(testid: str, within: str) -> str:
        return f'{within} [data-testid="{testid}"]'.strip()
