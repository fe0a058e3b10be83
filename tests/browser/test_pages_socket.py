"""How a page comes back and what it says of its device, with the browser's own parts replaced and the clock in hand."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Playwright
from vardrum.tests.support.chromium import Chromium
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.speech import speech
from vardrum.tests.support.tabs import Window, raw

# `network`: "tunnel" (nothing ends by itself), "refused", "there".
FAKES = """import('/static/js/socket.js?faked').then(({ Socket }) => {
  Object.assign(window, { network: 'there', opened: [], asked: [], renewed: 0, ups: [] });
  window.fetch = (path, { signal }) => {
    asked.push(performance.now());
    return new Promise((resolve, reject) => {
      if (network === 'refused') reject(new TypeError());
      if (network === 'there') resolve({ status: 200 });
      signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
    });
  };
  window.WebSocket = class {
    static OPEN = 1;
    readyState = 0;
    constructor() {
      opened.push(performance.now());
      window.newest = this;
      if (network === 'refused') setTimeout(() => this.onclose?.({ code: 1006 }), 5);
      if (network === 'there') setTimeout(() => ((this.readyState = 1), this.onopen?.()), 5);
    }
    send(text) {
      if (JSON.parse(text).type === 'hello') setTimeout(() => this.onmessage?.({ data: '{"type":"welcome"}' }), 5);
    }
    close() {}
  };
  window.socket = new Socket({
    url: () => 'ws://house/', hello: async () => ({ type: 'hello' }), renew: async () => void (renewed += 1),
  });
  socket.addEventListener('up', () => ups.push(performance.now()));
  socket.start();
})"""


@pytest.fixture
async def page(portal: Portal, playwright: Playwright, made: Path) -> AsyncIterator[Page]:
    """A page without a visit, whose time stands still."""
    chromium = await Chromium.start(playwright, sound=speech(made, "en"))
    opened = await Window(chromium).open("modules")
    await opened.tab.goto(f"{portal.base}/j/test")
    await raw(opened).clock.install()
    await raw(opened).clock.pause_at("2030-01-01")
    yield opened
    await chromium.stop()


async def passes(page: Page, seconds: float) -> None:
    await raw(page).clock.run_for(int(seconds * 1000))


async def test_in_a_tunnel_few_websockets_are_tried_each_afresh_and_nothing_else(page: Page) -> None:
    await page.evaluate(FAKES)
    await passes(page, 1)
    assert await page.evaluate("socket.up")
    await page.evaluate("network = 'tunnel', opened.length = 0, socket.probe()")
    await passes(page, 120)
    tries: list[float] = await page.evaluate("opened")
    waits = [round((later - earlier) / 1000) for earlier, later in itertools.pairwise(tries)]
    assert waits[:6] == [4, 4, 4, 4, 8, 8]
    # Chromium begins to keep them waiting after some 14.
    assert len(tries) <= 18
    assert await page.evaluate("[asked.length, renewed]") == [0, 0]
    await page.evaluate("network = 'there', ups.length = 0")
    await passes(page, 8.5)
    assert await page.evaluate("[ups.length, socket.up]") == [1, True]


async def test_firefox_is_given_no_websocket_that_could_hang(page: Page) -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    await page.evaluate(f"Object.defineProperty(navigator, 'userAgent', {{ value: '{agent}' }}), 1")
    await page.evaluate(FAKES)
    await passes(page, 1)
    await page.evaluate("network = 'tunnel', opened.length = 0, socket.probe()")
    await passes(page, 1.5)
    assert await page.evaluate("asked.length") == 6  # one for each connection that may be dead
    await passes(page, 120)
    assert await page.evaluate("opened.length") == 0
    assert await page.evaluate("asked.length") >= 40
    await page.evaluate("network = 'there'")
    await passes(page, 6.5)
    assert await page.evaluate("[opened.length, socket.up]") == [1, True]


async def test_a_server_that_refuses_is_asked_for_each_2_s_and_gets_one_websocket_when_it_is_there(page: Page) -> None:
    await page.evaluate(FAKES)
    await passes(page, 1)
    await page.evaluate("network = 'refused', opened.length = 0, newest.onclose({ code: 1006 })")
    await passes(page, 60)
    opened, asked = await page.evaluate("[opened.length, asked.length]")
    assert opened == 1
    assert 26 <= asked <= 30
    await page.evaluate("network = 'there'")
    await passes(page, 2.5)
    assert await page.evaluate("[opened.length, socket.up]") == [2, True]

    # And only a token that isn't accepted asks for a session.
    assert await page.evaluate("renewed") == 0
    await page.evaluate("newest.onclose({ code: 4003 })")
    await passes(page, 3)
    assert await page.evaluate("[renewed, socket.up]") == [1, True]


CODECS = """(async () => {
  const found = [];
  for (const answer of [
    async (video) => ({ supported: true, powerEfficient: video.contentType === 'video/H264' }),
    async () => ({ supported: false, powerEfficient: true }),
    async () => { throw new TypeError(); },
    () => new Promise(() => undefined),
  ]) {
    const value = { decodingInfo: ({ video }) => answer(video) };
    Object.defineProperty(navigator, 'mediaCapabilities', { value, configurable: true });
    const module = await import(`/static/js/device.js?${found.length}`);
    await module.deviceKnown;
    found.push(module.describeDevice().efficient ?? null);
  }
  window.found = found;
})(), 1"""


async def test_a_hello_says_what_is_decoded_efficiently_and_never_waits_long_for_it(page: Page) -> None:
    await page.evaluate(CODECS)

    async def found() -> bool:
        await passes(page, 0.1)
        return bool(await page.evaluate("window.found !== undefined"))

    await page.wait(found, "what all four browsers say")
    assert await page.evaluate("found") == [["video/H264"], None, None, None]
