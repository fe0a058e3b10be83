"""A page for browsers that meet the server without any of our pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web


@pytest.fixture
async def blank() -> AsyncIterator[str]:
    """A page on localhost, where devices may be used."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>offer</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://localhost:{runner.addresses[0][1]}/"
    await runner.cleanup()
