"""When video fails: a host phones, by a number that is on the page only once asked for, and one tap brings back."""

from __future__ import annotations

import pytest
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.tabs import Window, becomes, says
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT, RELATIVE, admit, arrive, until

NUMBER, CLINIC = "+46701740605", "+4611123456"
SENDS = "vardrum.peerConnection.getSenders().slice(0, 2).every((one) => one.track?.readyState === 'live')"
SILENT = "[...document.querySelectorAll('audio')].every((one) => one.muted)"


def picture(of: str, wanted: str) -> str:
    return f"document.querySelector(\"[data-testid=tile][data-participant='{of}']\")?.dataset.picture === '{wanted}'"


@pytest.mark.timeout(180)
async def test_who_asks_is_phoned_and_comes_back_to_the_video_with_one_tap(portal: Portal, window: Window) -> None:
    portal.told |= {NUMBER}
    people = [DOCTOR, {**PATIENT, "phone": NUMBER}, RELATIVE]
    unit = {"name": "Test Unit", "phone": CLINIC}
    doctor, patient, relative = await portal.book(people, care_unit=unit, **NO_DOCUMENTS)
    host = await window.open(doctor.name, width=1200)
    page = await window.open(patient.name, width=390, height=844)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await arrive(page, patient.join_url)
    await admit(host, patient)
    await until(page, "admitted")
    await becomes(host, picture(patient.id, "live"), "the doctor sees the patient", deadline=30)

    await page.click("more")
    await page.click("ask-phone")
    await says(page, "by-phone", "The staff have been told")
    link = "document.querySelector('.by-phone [data-testid=unit-phone]')"
    assert await page.evaluate(f"[{link}.href, {link}.innerText]") == [f"tel:{CLINIC}", CLINIC]
    await becomes(
        page, f"{SILENT} && !({SENDS})", "neither camera nor microphone nor sound gets in the way of the call"
    )
    await becomes(host, picture(patient.id, "blank"), "the doctor sees the patient no more")

    # The doctor has the number once they ask for it, and not before.
    await says(host, f"banner-call-{patient.id}", f"{patient.name} needs to be phoned")
    on_page = f"document.documentElement.outerHTML.includes('{NUMBER}')"
    assert await host.evaluate(on_page) is False
    await host.click("show-number")
    await says(host, "number", NUMBER)
    assert await host.evaluate("document.querySelector('[data-testid=number]').href") == f"tel:{NUMBER}"
    await host.click("outcome-resumed")
    await becomes(host, f"!document.querySelector('dialog') && !({on_page})", "it is gone again")
    assert not await host.shows(f"banner-call-{patient.id}")

    await page.click("back-to-video")
    await becomes(page, f"{SENDS} && !({SILENT})", "everything is as before the call")
    await becomes(host, picture(patient.id, "live"), "the doctor sees the patient again", deadline=30)
    assert not await page.shows("by-phone")

    # Whoever waits can be phoned too; for somebody without a number the page says so.
    other = await window.open(relative.name)
    await arrive(other, relative.join_url)
    await other.click("ask-phone")
    await says(other, "unit-phone", CLINIC)
    await says(host, f"banner-call-{relative.id}", "Their number isn't known")
    await host.click("phone", within=f'[data-testid="queue-entry"][data-participant="{relative.id}"]')
    await says(host, "dialog-number", "No phone number is known for this person")
    for one in (host, page, other):
        assert await one.evaluate("recorder.errors") == []
