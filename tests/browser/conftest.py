"""A visit's server and portal, for tests in browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Playwright
from vardrum.bench.network.namespaces import Network
from vardrum.tests.support.chromium import Chromium
from vardrum.tests.support.logs import leaks
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal, create_key
from vardrum.tests.support.server import Server
from vardrum.tests.support.speech import speech
from vardrum.tests.support.tabs import Window


@pytest.fixture
async def portal(server: Server) -> AsyncIterator[Portal]:
    """A booking portal with a key of the running server; at the end the server's log must say nothing of anybody."""
    async with Portal(server.http, await create_key(server)) as made:
        yield made
        assert leaks(server.process.output(10_000_000), made.told) == []


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """A clinic and a phone in namespaces of their own, with a router between them."""
    made = await Network.make(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def window(playwright: Playwright, made: Path) -> AsyncIterator[Window]:
    """One browser for all pages of a test."""
    chromium = await Chromium.start(playwright, sound=speech(made, "en"))
    yield Window(chromium)
    await chromium.stop()


@pytest.fixture
async def modules(portal: Portal, window: Window) -> Page:
    """A page that can import our modules."""
    page = await window.open("modules")
    await page.tab.goto(f"{portal.base}/j/test")
    return page
