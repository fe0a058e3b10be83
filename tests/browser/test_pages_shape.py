"""How the pages are built: small screens, tap targets, contrast, and the pure functions behind the layout."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Playwright
from vardrum.tests.support.chromium import Chromium
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.speech import speech
from vardrum.tests.support.tabs import Window
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT, admit, arrive, until

WIDTHS = ((320, 640), (390, 844), (844, 390), (768, 1024), (1280, 800))

SMALL_TARGETS = """[...document.querySelectorAll('button, select, input, textarea, a')]
  .map((e) => [e.dataset.testid ?? e.innerText, e.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.width < 24 || box.height < 24)).map(([name]) => name)"""

# WCAG 2.2, 1.4.3, for text on plain ground; what lies over pictures has a ground of its own or none to measure.
PALE = """(() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(e).backgroundColor);
      if (a === 1) return [r, g, b];
      if (a > 0) return null;
    }
    return [255, 255, 255];
  };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    if (element.closest(':disabled, .unseen, noscript')) continue;
    const behind = ground(element);
    if (!behind) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) pale.push([walker.currentNode.data.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return pale;
})()"""

UNNAMED = """[...document.querySelectorAll('button')].filter((e) => e.getClientRects().length
  && !(e.getAttribute('aria-label') ?? e.innerText).trim()).map((e) => e.outerHTML.slice(0, 120))"""


@pytest.fixture
async def window(playwright: Playwright, made: Path) -> AsyncIterator[Window]:
    """One browser for all pages of a test."""
    chromium = await Chromium.start(playwright, sound=speech(made, "en"))
    yield Window(chromium)
    await chromium.stop()


async def fits(page: Page) -> None:
    """Nothing sticks out at any width, everything can be tapped, read and named."""
    for width, height in WIDTHS:
        await page.tab.resize(width, height)
        wide = await page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= width, f"{page.name} is {wide} px wide on a screen of {width}"
        assert await page.evaluate(SMALL_TARGETS) == [], f"at {width}"
        assert await page.evaluate(PALE) == [], f"at {width}"
        assert await page.evaluate(UNNAMED) == [], f"at {width}"


@pytest.mark.timeout(120)
async def test_every_screen_fits_from_320_px_up_and_can_be_read(portal: Portal, window: Window) -> None:
    doctor, patient = await portal.book([DOCTOR, PATIENT], **NO_DOCUMENTS)
    host, page = await window.open(doctor.name), await window.open(patient.name)
    await page.tab.goto(patient.join_url)
    await page.wait_for("join")
    await fits(page)
    await page.click("join")
    await until(page, "waiting")
    await fits(page)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await host.wait_for("queue-entry")
    await fits(host)
    await admit(host, patient)
    await until(page, "admitted")
    await page.click("panel-chat")
    await fits(page)
    await fits(host)
    await host.click("end")
    await host.click("confirm-end")
    await until(page, "ended")
    await fits(page)


@pytest.fixture
async def modules(portal: Portal, window: Window) -> Page:
    """A page that can import our modules."""
    page = await window.open("modules")
    await page.tab.goto(f"{portal.base}/j/test")
    return page


async def test_tiles_never_overlap_nor_leave_the_stage(modules: Page) -> None:
    found: list[Any] = await modules.evaluate("""import('/static/js/layout.js').then(({ arrange }) => {
      const wrong = [];
      for (const [width, height] of [[300, 420], [374, 640], [888, 648], [1600, 700], [120, 80]]) {
        for (let count = 0; count <= 16; count++) {
          for (const main of [-1, 0, count - 1]) {
            const { tiles, self } = arrange({ width, height }, count, { main, self: 16 / 9 });
            const all = [...tiles, ...(self ? [self] : [])];
            const out = all.some((t) => t.x < -0.5 || t.y < -0.5 || t.x + t.width > width + 0.5
              || t.y + t.height > height + 0.5 || !(t.width > 0) || !(t.height > 0));
            const cross = tiles.some((a, i) => tiles.some((b, j) => i < j && a.x < b.x + b.width - 0.5
              && b.x < a.x + a.width - 0.5 && a.y < b.y + b.height - 0.5 && b.y < a.y + a.height - 0.5));
            if (out || cross || tiles.length !== count) wrong.push([width, height, count, main, out, cross]);
          }
        }
      }
      return wrong;
    })""")
    assert found == []


async def test_a_wish_is_the_shorter_side_as_drawn(modules: Page) -> None:
    found = await modules.evaluate("""import('/static/js/wishes.js').then(({ wishedHeight: w }) => [
      w({ width: 640, height: 360 }, { width: 640, height: 360 }, 1, true),
      w({ width: 640, height: 360 }, { width: 320, height: 180 }, 1, true),
      w({ width: 200, height: 112 }, { width: 640, height: 360 }, 1, true),
      w({ width: 200, height: 112 }, { width: 640, height: 360 }, 3, true),
      w({ width: 374, height: 600 }, { width: 640, height: 360 }, 1, true),
      w({ width: 374, height: 600 }, { width: 640, height: 360 }, 1, false),
      w({ width: 374, height: 600 }, { width: 360, height: 640 }, 1, true),
      w({ width: 640, height: 360 }, { width: 0, height: 0 }, 1, true),
    ])""")
    assert found == [360, 360, 180, 360, 540, 180, 360, 360]


async def test_only_the_microphones_section_of_an_answer_is_edited(modules: Page) -> None:
    sdp = "\\r\\n".join(
        (
            "v=0",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
            "a=rtpmap:111 opus/48000/2",
            "a=rtpmap:63 red/48000/2",
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
            "",
        )
    )
    plain, red, slow = await modules.evaluate(f"""import('/static/js/answer.js').then(({{ editAnswer: e }}) => {{
      const sdp = "{sdp}";
      const twice = e(e(sdp, {{ ptime: 60 }}), {{ ptime: 60 }});
      return [e(sdp, {{ ptime: 20, red: false }}), e(sdp, {{ red: true }}), twice];
    }})""")
    original = sdp.replace("\\r\\n", "\r\n")
    assert plain == original
    assert red == original.replace("SAVPF 111 63", "SAVPF 63 111", 1)
    assert slow == original.replace("red/48000/2\r\n", "red/48000/2\r\na=ptime:60\r\n", 1)


async def test_both_languages_say_the_same_things(modules: Page) -> None:
    swedish, english = await modules.evaluate("""Promise.all(['sv', 'en'].map((tag) =>
      import(`/static/js/strings/${tag}.js`).then((m) => Object.entries(m.default))))""")
    assert {key for key, _ in swedish} == {key for key, _ in english}
    places = {key: sorted(part.partition("}")[0] for part in text.split("{")[1:]) for key, text in swedish}
    assert places == {key: sorted(part.partition("}")[0] for part in text.split("{")[1:]) for key, text in english}
