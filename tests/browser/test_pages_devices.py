"""Joining without a camera, without a microphone, and against a browser that gives neither."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Playwright
from vardrum.tests.support.chromium import FLAGS, ChromiumTab, executable
from vardrum.tests.support.page import RECORDER, Page
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.tabs import becomes, says
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT, arrive, until

ASKING = "--use-fake-ui-for-media-stream"
FAKE = "--use-fake-device-for-media-stream"


@pytest.fixture
async def browser(playwright: Playwright, request: pytest.FixtureRequest) -> AsyncIterator[Browser]:
    """A Chromium with the flags of the test's parameter only."""
    flags = [flag for flag in FLAGS if flag != ASKING] + list(request.param)
    opened = await playwright.chromium.launch(executable_path=executable(playwright), headless=True, args=flags)
    yield opened
    await opened.close()


async def tab(browser: Browser, name: str) -> Page:
    context = await browser.new_context(viewport={"width": 390, "height": 844}, locale="en")
    await context.add_init_script(RECORDER)
    return Page(ChromiumTab(context, await context.new_page()), name)


@pytest.mark.parametrize(
    ("browser", "words"),
    [
        pytest.param([FAKE], "The browser doesn't let us use the camera and the microphone", id="denied"),
        pytest.param([ASKING], "We find neither a camera nor a microphone", id="missing"),
    ],
    indirect=["browser"],
)
async def test_who_has_neither_camera_nor_microphone_can_join_and_write(
    portal: Portal, browser: Browser, words: str
) -> None:
    doctor, patient = await portal.book([DOCTOR, PATIENT], **NO_DOCUMENTS)
    host, page = await tab(browser, doctor.name), await tab(browser, patient.name)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await page.tab.goto(patient.join_url)
    await says(page, "preview", words)
    await page.click("join")
    await until(page, "waiting")
    await portal.act(patient, "admit")
    await until(page, "admitted")
    await becomes(page, "vardrum.peerConnection?.connectionState === 'connected'", "a connection without any track")
    await becomes(
        host,
        f"vardrum.participants.some((p) => p.id === '{patient.id}' && p.muted.microphone && p.muted.camera)",
        "others are told that neither is on",
    )
    await page.click("panel-chat")
    await page.evaluate("document.querySelector('[data-testid=chat-input]').focus()")
    await page.evaluate("document.execCommand('insertText', false, 'I have no camera')")
    await page.click("chat-send")
    await host.click("panel-chat")
    await says(host, "chat-lines", "I have no camera")
    assert await page.evaluate("recorder.errors") == []
