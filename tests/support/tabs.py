"""Several people in one browser process, each in a profile of their own: light enough for tests of pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from playwright.async_api import Page as PlaywrightPage

from .chromium import Chromium, ChromiumTab
from .page import Page
from .wait import wait_until


@dataclass
class Window:
    """One Chromium; `open` gives each person a page."""

    chromium: Chromium

    async def open(self, name: str, *, width: int = 1000, height: int = 700, language: str = "en") -> Page:
        """A page in a fresh profile."""
        return Page(await self.chromium.tab(width=width, height=height, language=language), name)


def raw(page: Page) -> PlaywrightPage:
    """Playwright's own page, for what people do with a keyboard."""
    return cast(ChromiumTab, page.tab).page


def tab(page: Page) -> ChromiumTab:
    """The Chromium tab behind a page."""
    return cast(ChromiumTab, page.tab)


async def speak(page: Page, language: str) -> None:
    """Choose a language, as people do."""
    await raw(page).locator('[data-testid="language"]').select_option(language)


async def says(page: Page, testid: str, words: str, *, deadline: float = 10.0) -> None:
    """Until the element with this test id shows `words`."""

    async def said() -> bool:
        texts = await page.evaluate(
            f"[...document.querySelectorAll('[data-testid=\"{testid}\"]')].map((e) => e.innerText)"
        )
        assert any(words in text for text in texts), f"{testid}: {texts}"
        return True

    await page.wait(said, f"{words!r} in {testid}", deadline=deadline)


async def becomes(page: Page, expression: str, what: str, *, deadline: float = 10.0) -> Any:
    """Until the JavaScript expression is true on the page."""
    return await page.wait(lambda: page.evaluate(expression), what, deadline=deadline)


async def eventually(condition: Callable[[], Any], what: str, *, deadline: float = 10.0) -> Any:
    """`wait_until`, asked less often than a browser can bear."""
    return await wait_until(condition, deadline=deadline, what=what, every=0.1)
