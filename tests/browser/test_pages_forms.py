"""Visits by phone and by chat, and what a care unit has on or off, on the real pages."""

from __future__ import annotations

import pytest
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.tabs import Window, becomes, raw, says
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT, admit, arrive, leave, until

# What a page without pictures must never ask for.
COUNTS = """
  window.asked = 0;
  const { getUserMedia } = MediaDevices.prototype;
  MediaDevices.prototype.getUserMedia = function (...given) {
    window.asked += 1;
    return getUserMedia.apply(this, given);
  };
"""
UNIT = "/v1/care-units/Test%20Unit"


async def pages(window: Window) -> tuple[Page, Page]:
    host = await window.open(DOCTOR["display_name"], width=1200)
    page = await window.open(PATIENT["display_name"], width=390, height=844)
    for one in (host, page):
        await raw(one).add_init_script(COUNTS)
    return host, page


async def shows(page: Page, testid: str, visible: bool) -> None:
    locator = raw(page).get_by_test_id(testid).first
    await locator.wait_for(state="visible" if visible else "hidden", timeout=10_000)


@pytest.mark.timeout(120)
async def test_a_chat_visit_asks_for_no_camera_and_is_rated_afterwards(portal: Portal, window: Window) -> None:
    host, page = await pages(window)
    doctor, patient = await portal.book([DOCTOR, PATIENT], form="chat", training=True, **NO_DOCUMENTS)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await raw(page).goto(patient.join_url)
    await says(page, "check-lead", "Chat visit with Test Unit")
    await page.click("join")
    await until(page, "waiting")
    await says(page, "waiting", "Nobody reads anything of yours")
    await admit(host, patient)
    await until(page, "admitted")
    await says(page, "banner-chat", "The visit is by chat")
    await says(host, "banner-training", "counts in no statistics")
    await raw(page).get_by_test_id("chat-input").fill("Good morning")
    await raw(page).get_by_test_id("chat-input").press("Enter")
    await host.click("panel-chat")
    await says(host, "chat-lines", "Good morning")
    for one in (host, page):
        for testid in ("mute", "camera", "screen", "devices"):
            await shows(one, testid, False)
        assert await one.evaluate("window.asked") == 0, "nobody is asked for a camera or a microphone"
        assert await one.evaluate("vardrum.offers.length") == 0
    room = await portal.call("GET", f"/v1/rooms/{patient.room}")
    assert (room["state"], [one["connection"] for one in room["participants"]]) == ("in_progress", ["connected"] * 2)

    await leave(page)
    # By keyboard alone: to the first question, along it, to the next, and off.
    keys = raw(page).keyboard
    await raw(page).get_by_test_id("feedback-technical-1").focus()
    for key in ("ArrowRight", "ArrowRight", "Tab", "ArrowRight", "Tab", "Enter"):
        await keys.press(key)
    await says(page, "feedback-said", "Thank you")
    await becomes(page, "document.activeElement?.dataset.testid === 'feedback-said'", "the focus isn't lost")
    await shows(page, "feedback", False)
    report = await portal.call("GET", f"/v1/rooms/{patient.room}/report")
    assert "feedback.given" in [one["type"] for one in report["timeline"]]
    for one in (host, page):
        assert await one.evaluate("recorder.errors") == []


@pytest.mark.timeout(120)
async def test_a_phone_visit_without_chat_says_who_phones_whom(portal: Portal, window: Window) -> None:
    await portal.call("PUT", UNIT, {"functions": ["link_join"], "phone": "+4621123456"})
    host, page = await pages(window)
    doctor, patient = await portal.book([DOCTOR, PATIENT], form="phone", **NO_DOCUMENTS)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await raw(page).goto(patient.join_url)
    await page.click("join")
    await says(page, "waiting", "The staff will phone you")
    await says(host, "banner-phone-host", "phone the patient")
    await shows(host, "identify", False)
    await shows(host, "write-to", False)
    await admit(host, patient)
    await says(page, "banner-phone", "The staff will phone you")
    await shows(page, "panel-chat", False)
    await shows(host, "banner-training", False)
    await host.click("end", within='[data-testid="people"]')
    await host.click("confirm-end")
    await until(page, "ended")
    await shows(page, "state-ended", True)
    await shows(page, "feedback", False)
    for one in (host, page):
        assert await one.evaluate("window.asked") == 0
        assert await one.evaluate("recorder.errors") == []


@pytest.mark.timeout(120)
async def test_a_video_visit_has_the_screen_only_where_the_unit_has_it_on(portal: Portal, window: Window) -> None:
    host, page = await pages(window)
    await portal.call("PUT", UNIT, {"functions": ["chat", "feedback"]})
    doctor, patient = await portal.book([DOCTOR, PATIENT], **NO_DOCUMENTS)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await arrive(page, patient.join_url)
    await admit(host, patient)
    await until(page, "admitted")
    for one in (host, page):
        assert await one.evaluate("window.asked") > 0
        await shows(one, "panel-chat", True)
        await shows(one, "mute", True)
        await shows(one, "screen", False)
        await shows(one, "more-screen", False)
    await host.click("end", within='[data-testid="people"]')
    await host.click("confirm-end")
    await until(page, "ended")
    await shows(page, "feedback", True)
    await page.click("feedback-send")
    await says(page, "feedback-said", "Choose at least one answer")
    await page.click("feedback-visit-4")
    await page.click("feedback-send")
    await says(page, "feedback-said", "Thank you")
    await until(host, "ended")
    await shows(host, "feedback", False)
