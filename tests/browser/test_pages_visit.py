"""What people do to each other in a visit, by the buttons of the real pages."""

from __future__ import annotations

import pytest
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Invited, Portal
from vardrum.tests.support.tabs import Window, becomes, eventually, raw, says
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT, admit, arrive, come, leave, until


def entry(who: Invited) -> str:
    return f'[data-testid="queue-entry"][data-participant="{who.id}"]'


def inside(who: Invited) -> str:
    return f'[data-testid="inside-entry"][data-participant="{who.id}"]'


def picture(who: Invited, wanted: str) -> str:
    tile = f"[data-testid=tile][data-participant='{who.id}']"
    return f'document.querySelector("{tile}")?.dataset.picture === "{wanted}"'


async def at_the_door(portal: Portal, window: Window) -> tuple[Invited, Invited, Page, Page]:
    """The doctor is in and the patient waits; with their pages."""
    host = await window.open(DOCTOR["display_name"], width=1200)
    page = await window.open(PATIENT["display_name"], width=390, height=844)
    doctor, patient = await come(portal, host, page)
    return doctor, patient, host, page


async def both(portal: Portal, window: Window) -> tuple[Invited, Invited, Page, Page]:
    """Doctor and patient, admitted, each with a live picture of the other."""
    doctor, patient, host, page = await at_the_door(portal, window)
    await admit(host, patient)
    await until(page, "admitted")
    await becomes(host, picture(patient, "live"), "the doctor sees the patient", deadline=20)
    await becomes(page, picture(doctor, "live"), "the patient sees the doctor", deadline=20)
    return doctor, patient, host, page


# A slow phone's browser has used its offer only when the server has long since said who is in which slot.
SLOW_TO_OFFER = """(() => {
  const { setLocalDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setLocalDescription = async function (description) {
    await new Promise((resolve) => setTimeout(resolve, 3000));
    return setLocalDescription.call(this, description);
  };
})(), 1"""


@pytest.mark.timeout(120)
async def test_a_slot_named_before_the_browser_knows_it_shows_its_picture(portal: Portal, window: Window) -> None:
    doctor, patient, host, page = await at_the_door(portal, window)
    await becomes(page, "vardrum.ready", "the patient is connected ahead")
    # What was connected ahead is lost in just that moment, so that the page makes an offer after all.
    await page.evaluate(f"recorder.connections.at(-1).close(), {SLOW_TO_OFFER}")
    await admit(host, patient)
    answers = "recorder.received.filter((one) => one.type === 'answer').length"
    await becomes(page, f"{answers} === 2", "the server has answered what was offered then too")
    assert await page.evaluate("vardrum.peerConnection.localDescription") is None
    await becomes(page, picture(doctor, "live"), "the patient sees the doctor", deadline=20)


@pytest.mark.timeout(120)
async def test_a_document_is_looked_at_recorded_and_then_the_patient_is_let_in(portal: Portal, window: Window) -> None:
    doctor, patient = await portal.book([DOCTOR, PATIENT])  # patients show a document, unless said otherwise
    host, page = await window.open(doctor.name, width=1200), await window.open(patient.name, width=390, height=844)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await arrive(page, patient.join_url)
    await says(page, "waiting", "The staff see that you are here")

    # To somebody who waits a host can write.
    await host.click("write-to", within=entry(patient))
    await raw(host).get_by_test_id("letter").fill("We are with you in five minutes")
    await host.click("send-letter")
    await says(page, "messages-from-staff", "in five minutes")

    await host.click("identify", within=entry(patient))
    await until(page, "identifying")
    await becomes(page, picture(doctor, "live"), "the patient sees the host", deadline=20)
    await becomes(host, picture(patient, "live"), "the host sees the patient", deadline=20)
    await host.wait_for("banner-identifying-host")
    await page.wait_for("banner-identifying")

    # Too early: the page asks for what is missing, and admits once it is there.
    await host.click("admit", within=entry(patient))
    await host.click("save-identity", within='[data-testid="dialog-identity"]')
    await until(page, "admitted")
    assert (await portal.participant(patient))["identity"]["method"] == "document"
    await says(host, "inside-entry", "ID document shown")
    await becomes(page, picture(doctor, "live"), "the same connection goes on")
    assert await page.evaluate("vardrum.offers.length") == 1, "being admitted needs no second offer"


@pytest.mark.timeout(120)
async def test_who_waits_is_connected_ahead_and_shows_nothing_until_they_are_let_in(
    portal: Portal, window: Window
) -> None:
    doctor, patient = await portal.book([DOCTOR, PATIENT], **NO_DOCUMENTS)
    host, page = await window.open(doctor.name, width=1200), await window.open(patient.name, width=390, height=844)
    await arrive(page, patient.join_url)
    await becomes(page, "vardrum.ready", "connected while nobody is there yet")
    connection = "recorder.connections.at(-1)"
    assert await page.evaluate(f"{connection}.getSenders().every((one) => !one.track)"), "nothing is sent"
    assert await page.evaluate("vardrum.peerConnection === null"), "and nothing shown as a call"
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await page.evaluate(f"void (window.ahead = {connection})")
    await admit(host, patient)
    await until(page, "admitted")
    await becomes(page, picture(doctor, "live"), "the patient sees the doctor")
    await becomes(host, picture(patient, "live"), "the doctor sees the patient")
    assert await page.evaluate("vardrum.peerConnection === window.ahead"), "by the connection that stood already"
    said = "recorder.sent.filter((one) => ['offer', 'prepare'].includes(one.type)).map((one) => one.type)"
    assert await page.evaluate(said) == ["prepare"]
    assert await page.evaluate("recorder.errors") == []


@pytest.mark.timeout(120)
async def test_microphone_and_camera_go_off_and_on_for_everyone_to_see(portal: Portal, window: Window) -> None:
    doctor, patient, host, page = await both(portal, window)
    muted = f"vardrum.participants.find((one) => one.id === '{patient.id}')?.muted"

    await page.click("camera")
    await becomes(host, picture(patient, "blank"), "a camera that is off leaves no picture standing")
    await becomes(host, f"{muted}.camera === true", "and the doctor is told")
    assert await page.evaluate("vardrum.peerConnection.getSenders()[1].track === null")
    await page.click("camera")
    await becomes(host, picture(patient, "live"), "and on again")

    await host.click("mute-participant", within=inside(patient))
    await becomes(page, "vardrum.peerConnection.getSenders()[0].track === null", "the host turned the microphone off")
    await says(page, "notice", "turned your microphone off")
    await page.click("mute")
    await becomes(page, "vardrum.peerConnection.getSenders()[0].track !== null", "the patient turned it on again")
    await becomes(host, f"{muted}.microphone === false", "and the doctor is told")
    assert await page.evaluate("vardrum.offers.length") == 1, "none of it needs an offer"
    assert await host.evaluate("recorder.errors") + await page.evaluate("recorder.errors") == []
    assert doctor.name


@pytest.mark.timeout(120)
async def test_a_line_is_seen_while_it_is_written_and_once_when_it_is_sent(portal: Portal, window: Window) -> None:
    _, patient, host, page = await both(portal, window)
    await page.click("panel-chat")
    await host.click("panel-chat")
    await raw(page).get_by_test_id("chat-input").press_sequentially("It hur", delay=30)
    await says(host, "typing", "It hur")
    await raw(page).get_by_test_id("chat-input").press_sequentially("ts here", delay=30)
    await raw(page).get_by_test_id("chat-input").press("Enter")
    await says(host, "chat-lines", "It hurts here")
    await becomes(host, "document.querySelector('[data-testid=typing]').innerText === ''", "nothing is being written")
    # A line with markup is a line.
    await raw(page).get_by_test_id("chat-input").fill("<img src=x onerror=alert(1)> & <b>bold</b>")
    await page.click("chat-send")
    await says(host, "chat-lines", "<img src=x onerror=alert(1)> & <b>bold</b>")
    assert await host.evaluate("document.querySelectorAll('[data-testid=chat-lines] li').length") == 2
    assert await page.evaluate("document.querySelectorAll('[data-testid=chat-lines] li').length") == 2

    await page.click("more")
    await page.click("more-hand")
    await says(host, "notice", "raises a hand")
    assert patient.name


@pytest.mark.timeout(120)
async def test_hold_return_deny_remove_and_end(portal: Portal, window: Window) -> None:
    doctor, patient, host, page = await both(portal, window)
    offers = await page.evaluate("vardrum.offers.length")

    await host.click("hold", within=inside(patient))
    await until(page, "held")
    await says(page, "waiting", "One more moment")
    await becomes(page, "vardrum.peerConnection.getSenders().every((one) => !one.track)", "nothing is sent on hold")
    await admit(host, patient)
    await until(page, "admitted")
    await becomes(page, picture(doctor, "live"), "the doctor is seen again")
    await becomes(host, picture(patient, "live"), "the patient is seen again")
    assert await page.evaluate("vardrum.offers.length") == offers, "being admitted again needs no offer"

    await host.click("hold", within=inside(patient))
    await host.click("deny", within=entry(patient))
    await host.click("confirm-deny")
    await until(page, "denied")
    await says(page, "state-denied", "You were not let in")
    await portal.act(patient, "admit")
    await until(page, "admitted")

    await host.click("remove", within=inside(patient))
    await host.click("confirm-remove")
    await until(page, "removed")
    await becomes(page, "vardrum.peerConnection === null", "no connection is left")

    await host.click("end")
    await host.click("confirm-end")
    await until(host, "ended")
    assert (await portal.call("GET", f"/v1/rooms/{patient.room}"))["state"] == "ended"


@pytest.mark.timeout(120)
async def test_staff_invite_somebody_in_mid_visit_and_who_leaves_can_return(portal: Portal, window: Window) -> None:
    _, patient, host, page = await both(portal, window)
    await host.click("invite")
    await raw(host).get_by_test_id("invite-name").fill("Amal, interpreter")
    await raw(host).get_by_test_id("invite-role").select_option("interpreter")
    await host.click("make-link")
    await host.wait_for("copy-link")
    link = await raw(host).get_by_test_id("invite-link").input_value()
    assert link.startswith(f"{portal.base}/j/test#")
    await raw(host).keyboard.press("Escape")

    guest = await window.open("Amal")
    await arrive(guest, link)
    await says(host, "queue-entry", "Amal, interpreter")

    await leave(page)
    await page.click("return")
    await page.click("join", deadline=20)
    await until(page, "admitted")

    async def present() -> bool:
        return (await portal.participant(patient))["state"] == "admitted"

    await eventually(present, "the patient is in again")
