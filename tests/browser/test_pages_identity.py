"""Logging in from the waiting page, and staff's console, in a browser, with a real provider."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.async_api import Route
from vardrum.tests.support.chromium import ChromiumTab
from vardrum.tests.support.identity_provider import ANNA, BO, IdentityProvider
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Invited, Portal
from vardrum.tests.support.server import Server
from vardrum.tests.support.tabs import Window, becomes, raw, says
from vardrum.tests.support.visit import DOCTOR, PATIENT, admit, arrive, until

KNOWN = {**PATIENT, "expected_subject": ANNA["number"]}
NEEDS_EID = {"identity_policy": {"patient": "loa3"}}


def toml(tenant: str, providers: dict[str, dict[str, Any]]) -> str:
    """A config file with a tenant's providers."""

    def value(one: Any) -> str:
        if isinstance(one, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {json.dumps(level)}" for key, level in one.items()) + "}"
        return json.dumps(one)

    tables = (
        f"[tenants.{tenant}.oidc.{name}]\n" + "\n".join(f"{key} = {value(one)}" for key, one in settings.items())
        for name, settings in providers.items()
    )
    return "\n".join(tables)


async def appears(page: Page, testid: str, words: str) -> None:
    """As `says`, across other documents: the provider's, and this one again."""
    await raw(page).get_by_test_id(testid).filter(has_text=words).wait_for(timeout=30_000)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server whose patients and staff can log in; the provider is `server.idp`."""
    config = tmp_path / "vardrum.toml"
    made = Server(tmp_path / "server", arguments=["--config", str(config)], env={"VARDRUM_LOG__LEVEL": "debug"})
    here = f"http://127.0.0.1:{made.http_port}/v1/oidc"
    async with IdentityProvider(tmp_path / "idp", [f"{here}/eid/callback", f"{here}/card/callback"]) as idp:
        config.write_text(toml("test", {"eid": idp.settings(), "card": idp.staff_settings()}))
        made.idp = idp  # type: ignore[attr-defined]
        async with made:
            yield made


@pytest.fixture
def idp(server: Server) -> IdentityProvider:
    return cast(IdentityProvider, server.idp)  # type: ignore[attr-defined]


async def at_the_door(portal: Portal, window: Window) -> tuple[Invited, Page, Page]:
    """The doctor is in, and the patient waits, who must show an eID; with their pages."""
    doctor, patient = await portal.book([DOCTOR, KNOWN], **NEEDS_EID)
    portal.told |= {ANNA["name"], BO["name"], ANNA["number"], BO["number"]}
    host, page = await window.open(doctor.name, width=1200), await window.open(patient.name, width=390, height=844)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await arrive(page, patient.join_url)
    return patient, host, page


@pytest.mark.timeout(180)
async def test_a_patient_logs_in_while_waiting_and_is_let_in(
    portal: Portal, window: Window, idp: IdentityProvider
) -> None:
    patient, host, page = await at_the_door(portal, window)
    for person, acr, words, shown in (
        ({**ANNA, "cancelled": True}, "urn:test:loa3", "You cancelled", "Not identified"),
        (ANNA, "urn:test:loa1", "isn't safe enough", "Not identified"),
        (BO, "urn:test:loa3", "somebody else than the clinic expects", "somebody else than expected"),
        (ANNA, "urn:test:loa3", "The clinic sees that it is you", f"Identified: {ANNA['name']}, Test eID loa3"),
    ):
        await idp.next(person, acr)
        await page.click("log-in-eid")
        await appears(page, "eid-state", words)
        await until(page, "waiting")
        await says(host, "queue-entry", shown)
        await raw(page).context.clear_cookies(name="_session")
    assert not await page.shows("log-in-eid")
    assert "code" not in raw(page).url
    await admit(host, patient)
    await until(page, "admitted")


@pytest.mark.timeout(120)
async def test_a_provider_that_is_down_is_said_calmly(portal: Portal, window: Window, idp: IdentityProvider) -> None:
    await idp.stop()
    _, _, page = await at_the_door(portal, window)
    await page.click("log-in-eid")
    await says(page, "eid-state", "you can show an ID document")
    await until(page, "waiting")
    assert await page.shows("log-in-eid")


async def _framed(route: Route) -> None:
    """As the tenant's own list would have it: this portal may embed the page."""
    answer = await route.fetch()
    headers = {name: value for name, value in answer.headers.items() if name != "x-frame-options"}
    policy = headers.get("content-security-policy", "").replace("frame-ancestors 'none'", "frame-ancestors *")
    await route.fulfill(response=answer, headers={**headers, "content-security-policy": policy})


@pytest.mark.timeout(120)
async def test_inside_a_portals_page_the_login_is_a_window_of_its_own(portal: Portal, window: Window) -> None:
    _, patient = await portal.book([DOCTOR, KNOWN], **NEEDS_EID)
    portal.told |= {ANNA["name"], ANNA["number"]}
    page = await window.open(patient.name)
    outer = raw(page)
    outside = "http://localhost:9/portal"
    inner = f'<iframe src="{patient.join_url}" allow="camera; microphone" width="900" height="800"></iframe>'
    await outer.route("**/j/**", _framed)
    await outer.route(outside, lambda route: route.fulfill(content_type="text/html", body=inner))
    await outer.goto(outside)
    inside = outer.frame_locator("iframe")
    await inside.get_by_test_id("join").click()
    async with outer.expect_popup() as opened:
        await inside.get_by_test_id("log-in-eid").click()
    popup = await opened.value
    if not popup.is_closed():
        await popup.wait_for_event("close")
    await inside.get_by_text("The clinic sees that it is you").wait_for()
    assert (await portal.participant(patient))["identity"]["level"] == "loa3"


@pytest.mark.timeout(180)
async def test_staff_see_who_waits_in_all_rooms_and_come_in_by_one_press(portal: Portal, window: Window) -> None:
    (first,) = await portal.book([PATIENT], title="First visit", identity_policy={"patient": "none"})
    (other,) = await portal.book([{"display_name": "Olle Other", "role": "patient"}], title="Second visit")
    sara = {"id": "s-1", "name": "Sara Lind"}
    made = await portal.call("POST", "/v1/staff/sessions", {"user": sara, "care_unit": "Test Unit"})
    portal.told |= {made["token"], made["console_url"].partition("=")[2], "Sara Lind"}
    page = await window.open(first.name, width=390, height=844)
    await arrive(page, first.join_url)
    # A knock of before the console was opened.
    console = await window.open("Sara Lind", width=1200)
    await console.tab.goto(made["console_url"])
    await says(console, "waiting-entry", first.name)
    await becomes(console, "document.title.startsWith('(1)')", "the title counts")
    assert "code" not in raw(console).url
    second = await window.open(other.name, width=390, height=844)
    await arrive(second, other.join_url)
    await becomes(console, "document.title.startsWith('(2)')", "the title counts both")
    await says(console, "room-entry", "Second visit", deadline=30)
    # A phone that falls asleep keeps its place, and is said not to be reachable.
    await second.tab.close()
    await says(console, "waiting-entry", "Not reachable", deadline=20)
    await console.click("mute-console")
    await says(console, "mute-console", "Sound off")
    await console.tab.reload()
    await says(console, "mute-console", "Sound off")

    entry = raw(console).locator(f'[data-testid="waiting-entry"][data-participant="{first.id}"]')
    async with raw(console).expect_popup() as opened:
        await entry.get_by_test_id("open-visit").click()
    popup = await opened.value
    await popup.get_by_test_id("join").wait_for()  # it was blank at first
    visit = Page(ChromiumTab(raw(console).context, popup), "Sara Lind in the visit")
    await visit.click("join", deadline=20)
    await until(visit, "admitted")
    await admit(visit, first)
    await until(page, "admitted")
    await becomes(console, "document.title.startsWith('(1)')", "one waits still")
    await console.click("log-out")
    await console.wait_for("staff-log-in")
    left = await console.evaluate("document.title + document.body.innerText")
    assert "Sara Lind" not in left, "the next one at this computer doesn't read whose it was"
    assert "(1)" not in left


@pytest.mark.timeout(120)
async def test_staff_log_in_by_their_card_and_choose_a_unit(
    portal: Portal, window: Window, idp: IdentityProvider
) -> None:
    await idp.next({"sub": "hsa-sara", "name": "Sara Lind", "units": ["Ward 7", "Test Unit"]})
    console = await window.open("Sara Lind")
    await console.tab.goto(f"{portal.base}/staff/test")
    await console.click("log-in-card")
    await appears(console, "choose-unit", "Ward 7")
    await raw(console).get_by_role("button", name="Test Unit").click()
    await console.wait_for("console")
    await says(console, "care-unit", "Test Unit")
