"""The browsers of the tests themselves: devices, codecs and statistics work before anything of ours is judged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from vardrum.bench import unhurried
from vardrum.tests.conftest import Browsers
from vardrum.tests.support.page import Page
from vardrum.tests.support.speech import coloured_person
from vardrum.tests.support.stats import measured, start_measuring
from vardrum.tests.support.wait import wait_until


@pytest.fixture
async def loop_page() -> AsyncIterator[str]:
    """The address of a page that calls itself, on localhost."""
    app = web.Application()

    async def page(_: web.Request) -> web.FileResponse:
        return web.FileResponse(Path(__file__).with_name("loop.html"))

    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def loops(page: Page, address: str) -> None:
    """Sound and picture pass through the browser's own encoder and decoder, and the recorder sees it."""
    await page.tab.goto(address)
    await page.click("start")
    await wait_until(
        lambda: page.evaluate(
            "recorder.sample().then((s) => !!s && Object.values(s.inbound).filter((i) => i.packets).length === 2)"
        ),
        deadline=20,
        what=f"sound and picture in {page.name}",
    )
    await start_measuring(page)
    result = await measured(page, 3)
    kinds = {mid: figures["kind"] for mid, figures in result.samples[-1]["inbound"].items()}
    audio = [mid for mid, kind in kinds.items() if kind == "audio"]
    video = [mid for mid, kind in kinds.items() if kind == "video"]
    assert result.rate(video[0]) >= 10, page.name
    assert result.longest_stall(video[0]) < 1, page.name
    assert result.concealed(audio) < 0.05, page.name
    assert result.rate(audio[0], "energy") > 0, result.samples[-1]
    assert await page.evaluate("recorder.errors") == []
    assert not (unhurried.prefix() and hurried()), "threads that can stand a machine still"


def hurried() -> list[str]:
    """The real-time threads of everything that these tests have started: proc(5), `stat`, fields ppid and policy."""
    stats = []
    for path in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, fields = path.read_text().rpartition(")")
            stats.append((int(path.parts[2]), head, fields.split()))
    ours = {os.getpid()}
    while found := {pid for pid, _, fields in stats if int(fields[1]) in ours} - ours:
        ours |= found
    return [head for pid, head, fields in stats if pid in ours and int(fields[38]) in (os.SCHED_FIFO, os.SCHED_RR)]


async def test_chromium_sees_and_hears_through_a_connection(browsers: Browsers, loop_page: str, made: Path) -> None:
    page = await browsers.chromium("Chromium", picture=coloured_person(made, (80, 90, 200)))
    await loops(page, loop_page)


async def test_firefox_sees_and_hears_through_a_connection(browsers: Browsers, loop_page: str) -> None:
    page = await browsers.firefox("Firefox")
    await loops(page, loop_page)
