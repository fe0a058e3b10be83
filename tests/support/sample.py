"""The sample portal as its users have it: log in, book, and the visit inside its page."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Frame
from playwright.async_api import Page as PlaywrightPage

from ...bench.process import Process
from .chromium import ChromiumTab
from .page import Page
from .portal import Invited
from .server import free_port
from .visit import meets
from .wait import wait_until

# Puts all that the element tells on the window of the portal's page.
LISTEN = """
window.told ??= [];
for (const name of ["ready", "waiting", "identifying", "held", "admitted", "denied", "removed", "ended", "left",
                    "elsewhere", "replaced", "error"]) {
  document.addEventListener(`vardrum:${name}`, ({ detail }) => window.told.push([name, detail]));
}
"""


class FrameTab:
    """The visit's page in the frame of a portal's page (see `Tab`)."""

    def __init__(self, outer: ChromiumTab) -> None:
        self.outer = outer

    @property
    def frame(self) -> Frame:
        found = [one for one in self.outer.page.frames if one.parent_frame and "/j/" in one.url]
        assert len(found) == 1, f"frames: {[one.url for one in self.outer.page.frames]}"
        return found[0]

    async def goto(self, url: str) -> None:
        await self.outer.goto(url)

    async def reload(self) -> None:
        await self.outer.reload()

    async def evaluate(self, expression: str) -> Any:
        return await self.frame.evaluate(expression)

    async def screenshot(self, path: Path) -> None:
        await self.outer.screenshot(path)

    async def resize(self, width: int, height: int) -> None:
        await self.outer.resize(width, height)

    async def close(self) -> None:
        await self.outer.close()


class Visitor:
    """Somebody with the portal's page open.

    Attributes:
        outside: the portal's own page.
        visit: the page in its frame, with the gestures of `Page`.
    """

    def __init__(self, tab: ChromiumTab, url: str, user: str) -> None:
        self.tab = tab
        self.url = url
        self.user = user
        self.visit = Page(FrameTab(tab), user)

    @property
    def outside(self) -> PlaywrightPage:
        return self.tab.page

    async def log_in(self) -> None:
        await self.tab.context.add_init_script(LISTEN)
        await self.tab.goto(self.url)
        await self.outside.locator(f"button[value={self.user}]").click()

    async def book(self) -> str:
        """The address of the visit's page."""
        await self.outside.locator("#book").click()
        await self.outside.locator("vardrum-visit").wait_for(state="attached")
        return self.outside.url

    async def enter(self, into: str) -> None:
        """The device check, and then wherever the server puts them."""
        await self.framed()
        await self.visit.click("join", deadline=20)
        await self.visit.until(into)

    async def framed(self) -> None:
        """Until the visit's page is there."""

        async def there() -> bool:
            return bool(await self.visit.evaluate("Boolean(window.vardrum)"))

        await wait_until(there, deadline=20, what=f"the frame of {self.user}", every=0.1)

    async def told(self, name: str, *, deadline: float = 15) -> None:
        """Until the element has told `name` on this page."""

        async def heard() -> bool:
            told = await self.outside.evaluate("window.told")
            assert name in [one for one, _ in told], f"told: {told}"
            return True

        await wait_until(heard, deadline=deadline, what=f"vardrum:{name} on the page of {self.user}", every=0.1)


async def meet(one: Visitor, other: Visitor) -> None:
    """Until both see and hear each other, and nobody else."""
    people = [Invited(await who.visit.evaluate("vardrum.participant.id"), "", who.user, "") for who in (one, other)]
    await meets(one.visit, people[1])
    await meets(other.visit, people[0])


@asynccontextmanager
async def sample_portal(
    server: str, key: str, scratch: Path, *, port: int | None = None, env: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """The sample portal as a process; its URL."""
    port = port or free_port()
    listen = f"localhost:{port}"
    process = await Process.start(
        [sys.executable, "-m", "vardrum.control.examples.portal", "--server", server, "--listen", listen],
        log=scratch / f"portal-{port}.log",
        env={"VARDRUM_API_KEY": key, **(env or {})},
    )
    try:
        await answers(f"http://{listen}", process)
        yield f"http://{listen}"
    finally:
        await process.stop()


async def answers(url: str, process: Process, *, deadline: float = 60) -> None:
    """Until something listens at `url`, which `process` is to bring about."""
    async with aiohttp.ClientSession() as http:

        async def there() -> bool:
            try:
                async with http.get(url):
                    return True
            except aiohttp.ClientConnectionError:
                return not process.running

        await wait_until(there, deadline=deadline, what=f"an answer of {url}", every=0.1)
        assert process.running, f"ended:\n{process.output()}"
