"""The visit inside a portal's page: the sample portal, in browsers, on an origin and a site of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Playwright
from vardrum.tests.support.chromium import Chromium
from vardrum.tests.support.logs import leaks
from vardrum.tests.support.portal import Portal, create_key
from vardrum.tests.support.sample import Visitor, meet, sample_portal
from vardrum.tests.support.server import Server, free_port
from vardrum.tests.support.speech import speech
from vardrum.tests.support.tabs import Window, eventually
from vardrum.tests.support.visit import state


@pytest.fixture
async def window(playwright: Playwright, made: Path) -> AsyncIterator[Window]:
    """One browser for all pages of a test."""
    chromium = await Chromium.start(playwright, sound=speech(made, "sv"))
    yield Window(chromium)
    await chromium.stop()


class Region:
    """A server at 127.0.0.1 and a portal at localhost, which browsers take for another site."""

    def __init__(self, server: Server, key: str, portal: Portal, url: str, window: Window) -> None:
        self.server = server
        self.key = key
        self.portal = portal
        self.url = url
        self._window = window

    async def visitor(self, user: str) -> Visitor:
        page = await self._window.open(user, width=1100, height=900, language="sv")
        visitor = Visitor(page.tab, self.url, user)  # type: ignore[arg-type]
        await visitor.log_in()
        return visitor

    async def both(self) -> tuple[Visitor, Visitor]:
        """Caregiver and patient, in one visit that the caregiver has booked, seeing and hearing each other."""
        sara, anna = await asyncio.gather(self.visitor("sara"), self.visitor("anna"))
        visit = await sara.book()
        await sara.enter("admitted")
        await anna.outside.goto(visit)
        await anna.enter("waiting")
        await sara.visit.click("admit", within='[data-testid="queue-entry"]')
        await anna.visit.until("admitted")
        await meet(sara, anna)
        return sara, anna


@pytest.fixture
async def region(tmp_path: Path, window: Window) -> AsyncIterator[Region]:
    """A server that knows the sample portal; at the end no log may say anything of anybody."""
    port = free_port()
    config = tmp_path / "vardrum.toml"
    config.write_text(f'[tenants.test]\norigins = ["http://localhost:{port}"]\n')
    server = Server(tmp_path / "server", arguments=("--config", str(config)), env={"VARDRUM_LOG__LEVEL": "debug"})
    async with server:
        key = await create_key(server)
        async with sample_portal(server.http, key, tmp_path, port=port) as url, Portal(server.http, key) as portal:
            yield Region(server, key, portal, url, window)
        assert leaks(server.process.output(10_000_000), {*portal.told, "Anna Berg", "Sara Lind", "vre_"}) == []


@pytest.mark.timeout(240)
async def test_caregiver_and_patient_meet_in_the_portals_page_and_come_back_to_it(region: Region) -> None:
    sara, anna = await region.both()
    for name in ("ready", "waiting", "admitted"):
        await anna.told(name)
    told = await anna.outside.evaluate("window.told")
    assert all(detail == {} for _, detail in told), f"no word of who anybody is: {told}"
    assert [name for name, _ in told] == ["ready", "waiting", "admitted"], "each of them once"
    for one in (sara, anna):
        assert await one.visit.evaluate("recorder.errors") == await one.outside.evaluate("recorder.errors") == []
        assert "embed_token" not in await one.visit.evaluate("location.href")
    token = str(await anna.outside.locator("vardrum-visit").get_attribute("token"))
    region.portal.told.add(token)
    assert token not in json.dumps(await anna.visit.evaluate("[{...localStorage}, {...sessionStorage}, history.state]"))
    # What the frame keeps belongs to this portal's site: opened by itself, the same address knows nobody.
    page = await anna.tab.context.new_page()
    await page.goto(f"{region.server.http}/j/test")
    assert await page.evaluate("Object.keys(localStorage).filter((one) => one.includes('part_'))") == []
    await page.close()

    # The portal's page is loaded again: it vouches anew, and the browser has kept what it was let in by.
    await anna.tab.reload()
    await anna.visit.until("admitted")
    assert "waiting" not in await anna.visit.evaluate("recorder.received.map((one) => one.type)")
    await meet(sara, anna)

    # A page that is put together in the browser takes the element out and puts it in again, with a token that was used.
    await anna.outside.evaluate("""(() => {
      const visit = document.querySelector("vardrum-visit");
      visit.remove();
      const host = document.body.appendChild(document.createElement("section"));
      host.attachShadow({ mode: "closed" }).append(visit);
      window.visit = visit;
      window.told.length = 0;
    })()""")
    await anna.told("admitted")
    await meet(sara, anna)

    # Another language, and goodbye, by the portal's own buttons.
    await anna.outside.evaluate("visit.lang = 'en'")
    await eventually(lambda: anna.visit.evaluate("document.documentElement.lang === 'en'"), "English")
    assert await anna.outside.evaluate("visit.leave()") is True
    await anna.told("left")
    assert await state(anna.visit) == "left"
    room = (await region.portal.call("GET", "/v1/rooms"))["items"][-1]
    assert [one["state"] for one in room["participants"] if one["role"] == "patient"] == ["left"]


@pytest.mark.timeout(240)
async def test_what_a_page_pretends_is_not_heard_on_either_side(region: Region) -> None:
    sara = await region.visitor("sara")
    await sara.book()
    await sara.enter("admitted")
    await sara.told("admitted")
    # The portal's own page, and a frame of somebody else in it, say what only the visit's frame may say.
    forged = '{ vardrum: { type: "ended" } }'
    await sara.outside.evaluate(f"""(() => {{
      window.told.length = 0;
      window.postMessage({forged}, "*");
      document.body.appendChild(document.createElement("iframe"));
    }})()""")
    [other] = [one for one in sara.outside.frames if one.url == "about:blank"]
    await other.evaluate(f"parent.postMessage({forged}, '*')")
    # And to the visit's frame somebody beside the page around it says what only that page may.
    inner = "parent.document.querySelector('vardrum-visit').shadowRoot.querySelector('iframe').contentWindow"
    await other.evaluate(f"{inner}.postMessage({{ vardrum: {{ type: 'leave' }} }}, '*')")
    # A command that is heard, after all of them: so they have been passed over.
    await sara.outside.evaluate("document.querySelector('vardrum-visit').lang = 'en'")
    await eventually(lambda: sara.visit.evaluate("document.documentElement.lang === 'en'"), "English")
    assert await state(sara.visit) == "admitted"
    assert await sara.outside.evaluate("window.told") == []


@pytest.mark.timeout(240)
async def test_a_portal_that_the_tenant_does_not_list_shows_nothing(region: Region, tmp_path: Path) -> None:
    async with sample_portal(region.server.http, region.key, tmp_path) as url:
        region.url = url
        sara = await region.visitor("sara")
        said: list[str] = []
        sara.outside.on("console", lambda one: said.append(one.text))
        await sara.book()
        await eventually(lambda: [one for one in said if "CORS policy" in one], f"the module is refused: {said}")
        assert not await sara.outside.evaluate("Boolean(customElements.get('vardrum-visit'))")
        # Without the element it can't be framed either.
        token = str(await sara.outside.locator("vardrum-visit").get_attribute("token"))
        await sara.outside.evaluate(f"""(() => {{
          const frame = document.createElement("iframe");
          frame.src = "{region.server.http}/j/test#embed_token={token}";
          document.body.append(frame);
        }})()""")
        await eventually(lambda: [one for one in said if "frame-ancestors" in one], f"the frame is refused: {said}")
    # The token wasn't used: nobody's page has opened it.
    opened = await region.portal.call("POST", "/v1/sessions", {"embed_token": token}, key="")
    assert opened["participant"].startswith("part_")


@pytest.mark.timeout(240)
async def test_a_token_that_is_too_old_is_told_and_the_portal_vouches_again(region: Region) -> None:
    sara = await region.visitor("sara")
    visit = await sara.book()
    await sara.enter("admitted")
    used = str(await sara.outside.locator("vardrum-visit").get_attribute("token"))
    page = await region.visitor("anna")
    loads: list[str] = []
    page.outside.on("load", lambda one: loads.append(one.url))
    await page.outside.goto(visit)
    await page.framed()
    loads.clear()
    # In this browser nothing is kept of the person that it is for. The sample portal loads its page again.
    await page.outside.evaluate(f"document.querySelector('vardrum-visit').token = '{used}'")
    await eventually(lambda: len(loads) > 0, "the page was loaded again", deadline=20)
    await page.enter("waiting")
    # What isn't a token at all never gets as far as a frame.
    await page.outside.evaluate("document.querySelector('vardrum-visit').remove()")
    told = await page.outside.evaluate("""new Promise((resolve) => {
      const visit = document.createElement("vardrum-visit");
      visit.token = "vre_x";
      visit.addEventListener("vardrum:error", (event) => (event.stopPropagation(), resolve(event.detail.code)));
      document.body.append(visit);
    })""")
    assert told == "token-not-accepted"
