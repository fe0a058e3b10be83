"""How pages show a weak network or phone: calmly, truly, no longer than it lasts; and what they report of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.tabs import Window, becomes, says
from vardrum.tests.support.visit import DOCTOR, PATIENT, admit, come, until

TILE = "document.querySelector('[data-testid=tile]')"
# Whether what stands there has been drawn: not one colour all over.
DRAWN = f"""(() => {{
  const canvas = {TILE}.querySelector('canvas');
  const {{ data }} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size > 10;
}})()"""


async def hears(page: Page, type: str, **fields: Any) -> None:
    """The page is told something by its websocket that the server didn't say."""
    said = json.dumps(json.dumps({"type": type, **fields}))
    await page.evaluate(f"recorder.socket.onmessage(new MessageEvent('message', {{ data: {said} }}))")


async def pause(page: Page, paused: bool) -> None:
    """The page is told that its picture of the other is paused, or not any more."""
    slots = await page.evaluate("vardrum.slots")
    for slot in slots:
        slot["paused"] = paused and slot["source"] == "camera"
    await hears(page, "slots", slots=slots)


@pytest.mark.timeout(120)
async def test_a_weak_network_is_shown_as_what_it_is_and_for_as_long_as_it_is(portal: Portal, window: Window) -> None:
    host = await window.open(DOCTOR["display_name"], width=1000)
    page = await window.open(PATIENT["display_name"], width=360, height=740)
    doctor, patient = await come(portal, host, page)
    await becomes(page, "recorder.connections.length === 1", "a connection is made ready while one waits")
    assert await page.evaluate("vardrum.peerConnection") is None
    await admit(host, patient)
    await until(page, "admitted")
    await becomes(page, f"{TILE}?.dataset.picture === 'live'", "the patient sees the doctor", deadline=20)
    assert await page.evaluate("recorder.connections.length") == 1, "it is the one that was made ready"

    # Poor: a sign with words, and nothing over the picture.
    assert not await page.shows("weak")
    await hears(page, "quality", participant=doctor.id, level="poor", reason="their_network")
    await page.wait_for("weak")
    assert await page.evaluate("document.querySelector('[data-testid=weak]').title") == "Their network is weak"
    assert not await page.shows("rest")

    # Sound only: the last picture stands, dimmed, and says so.
    await hears(page, "quality", participant=doctor.id, level="sound_only", reason="your_network")
    await hears(page, "quality", participant=patient.id, level="sound_only", reason="your_network")
    await pause(page, True)
    await becomes(page, f"{TILE}.dataset.picture === 'still'", "a still picture")
    await says(page, "rest", "Sound only: the network is weak")
    assert await page.evaluate(DRAWN)
    assert await page.evaluate("vardrum.slots.find((one) => one.source === 'camera').picture") == "still"
    assert not await page.shows("banner-weak-network"), "not for a moment's weakness"

    # One's own weakness is told once it lasts, with another way.
    await says(page, "banner-weak-network", "Your network is weak. Sound goes first.", deadline=10)
    await page.click("phone-instead")
    await says(page, "by-phone", "The staff have been told")
    await says(host, f"banner-call-{patient.id}", f"{patient.name} needs to be phoned")
    await page.click("back-to-video")

    await hears(page, "quality", participant=patient.id, level="good", reason="")
    await becomes(page, "!document.querySelector('[data-banner^=weak]')", "the words go with the weakness")
    await hears(page, "quality", participant=doctor.id, level="good", reason="")
    await pause(page, False)
    await becomes(page, f"{TILE}.dataset.picture === 'live'", "the picture comes back by itself")
    assert not await page.shows("rest")
    assert not await page.shows("weak")

    # A camera that is turned off leaves no picture standing, paused or not.
    await pause(page, True)
    await becomes(page, f"{TILE}.dataset.picture === 'still'", "a still picture again")
    await host.click("camera")
    await becomes(page, f"{TILE}.dataset.picture === 'blank'", "and no more once the doctor has turned it off")

    # What the page reported of itself meanwhile was taken.
    await becomes(page, "recorder.last['> stats']?.decoded > 0 && recorder.last['> stats'].pictures === 1", "a report")
    stats = await page.evaluate("recorder.received.filter((one) => one.type === 'error').length")
    assert stats == 0
    for one in (host, page):
        assert await one.evaluate("recorder.errors") == []


async def test_a_report_is_the_sum_of_what_changed(portal: Portal, window: Window) -> None:
    page = await window.open("modules")
    await page.tab.goto(f"{portal.base}/j/test")
    first, second = await page.evaluate("""import('/static/js/report.js').then(({ measure }) => {
      const at = (frames, drops, time, sent) => new Map([
        ['a', { id: 'a', type: 'inbound-rtp', kind: 'video', framesDecoded: frames, framesDropped: drops,
          totalDecodeTime: time, frameWidth: 640, frameHeight: 360, codecId: 'c' }],
        ['b', { id: 'b', type: 'inbound-rtp', kind: 'video', framesDecoded: 7, framesDropped: 0, totalDecodeTime: 1 }],
        ['c', { id: 'c', type: 'codec', mimeType: 'video/VP8' }],
        ['l', { id: 'l', type: 'outbound-rtp', kind: 'video', mid: '1', framesEncoded: sent, frameHeight: 180,
          qualityLimitationReason: 'none' }],
        ['h', { id: 'h', type: 'outbound-rtp', kind: 'video', mid: '1', framesEncoded: sent, frameHeight: 360,
          qualityLimitationReason: 'cpu', active: true }],
        ['s', { id: 's', type: 'outbound-rtp', kind: 'video', mid: '2', framesEncoded: sent, frameHeight: 720,
          qualityLimitationReason: 'bandwidth' }],
      ]);
      const begin = measure(at(100, 2, 1, 50), undefined, '1');
      const next = measure(at(140, 5, 1.6, 90), begin.streams, '1');
      const idle = measure(at(140, 5, 1.6, 90), next.streams, '1');
      return [next.figures, idle.figures];
    })""")
    assert first == {
        "decoded": 40, "dropped": 3, "decode_ms": 15, "limitation": "cpu", "pictures": 1, "height": 360,
        "codecs": ["video/VP8"],
    }  # fmt: skip
    assert second == {
        "decoded": 0, "dropped": 0, "decode_ms": None, "limitation": None, "pictures": 0, "height": 0, "codecs": []
    }  # fmt: skip
