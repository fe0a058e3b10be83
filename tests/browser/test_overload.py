"""A server without room for more says so on the page, and lets people in once there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Playwright
from vardrum.control import demo, settings
from vardrum.control.app import App
from vardrum.sfu import shards
from vardrum.sfu.node import Node
from vardrum.tests.support.chromium import Chromium
from vardrum.tests.support.speech import speech
from vardrum.tests.support.tabs import Window, becomes, says
from vardrum.tests.support.visit import arrive, until

CONNECTED = "window.vardrum.peerConnection?.connectionState === 'connected'"


@pytest.mark.timeout(120)
async def test_the_page_says_that_the_server_is_full_and_comes_in_by_itself(
    tmp_path: Path, playwright: Playwright, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = demo.overrides({"data": str(tmp_path), "http": {"port": 0}})
    chromium = await Chromium.start(playwright, sound=speech(made, "en"))
    try:
        async with App(settings.load(environment={}, overrides=chosen), make_node=Node) as app:
            links = await demo.prepare(app)
            page = await Window(chromium).open("the host")
            monkeypatch.setattr(shards, "OVERLOADED", -1.0)
            monkeypatch.setattr(shards, "RELIEVED", -1.0)
            await arrive(page, links["staff_url"], into="admitted")
            await says(page, "banner-full", "så snart det finns plats")
            assert not await page.evaluate(CONNECTED)
            monkeypatch.undo()
            await becomes(page, CONNECTED, "the host is connected", deadline=30)
            await becomes(page, "!document.querySelector('[data-testid=banner-full]')", "the banner has gone")
            await until(page, "admitted")
    finally:
        await chromium.stop()
