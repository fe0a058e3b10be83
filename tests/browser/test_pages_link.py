"""A link and what becomes of it: the secret, coming back, and links that don't open anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from vardrum.tests.support.chromium import ChromiumTab
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.tabs import Window, becomes, raw, says, speak, tab
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT, RELATIVE, arrive, state, until


async def test_the_secret_goes_to_our_server_only_and_leaves_the_address_bar(portal: Portal, window: Window) -> None:
    [patient] = await portal.book([PATIENT], **NO_DOCUMENTS)
    secret = urlsplit(patient.join_url).fragment
    page = await window.open(patient.name)
    asked: list[tuple[str, str, str | None]] = []
    raw(page).on("request", lambda request: asked.append((request.method, request.url, request.post_data)))
    await arrive(page, patient.join_url)

    assert await page.evaluate("location.href") == patient.join_url.partition("#")[0]
    host = urlsplit(portal.base).netloc
    assert {urlsplit(url).netloc for _, url, _ in asked if not url.startswith("blob:")} == {host}
    assert [(method, urlsplit(url).path) for method, url, body in asked if secret in url or secret in (body or "")] == [
        ("POST", "/v1/sessions")
    ]
    kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, history.state])")
    assert secret not in kept
    assert await page.evaluate("recorder.errors") == [], "no violation of the Content-Security-Policy either"


async def test_a_reload_comes_back_without_waiting_and_another_link_is_another_person(
    portal: Portal, window: Window
) -> None:
    doctor, patient, relative = await portal.book([DOCTOR, PATIENT, RELATIVE], **NO_DOCUMENTS)
    host, page = await window.open(doctor.name), await window.open(patient.name)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await arrive(page, patient.join_url)
    await portal.act(patient, "admit")
    await until(page, "admitted")
    # Muted before the reload, muted after it.
    await page.click("mute")
    await tab(page).reload()
    await until(page, "admitted")
    told = await page.evaluate("recorder.received.map((m) => m.type)")
    assert "waiting" not in told
    await becomes(
        page,
        "vardrum.participants.find((one) => one.id === vardrum.participant.id)?.muted.microphone === true",
        "the microphone is still off",
    )

    # The same browser, the link of somebody else.
    context = tab(page).context
    other = Page(ChromiumTab(context, await context.new_page()), relative.name)
    await arrive(other, relative.join_url)
    assert await other.evaluate("vardrum.participant.display_name") == relative.name
    assert await state(page) == "admitted"

    # And the first link again: this browser is known, so it takes over from its own first tab.
    again = Page(ChromiumTab(context, await context.new_page()), "the first, again")
    await again.tab.goto(patient.join_url)
    await until(again, "admitted")
    await becomes(page, "['replaced', 'elsewhere'].includes(vardrum.state)", "the first tab has stepped back")


async def test_links_that_open_nothing_say_why_and_what_to_do(portal: Portal, window: Window) -> None:
    page = await window.open("nobody", width=390, height=800)
    await page.tab.goto(f"{portal.base}/j/test#AAAAAAAAAAAAAAAAAAAAAA")
    await says(page, "problem-link", "This link doesn't work")
    await page.wait_for("again")

    # The right link, opened in the same tab, changes only the fragment; the page must not stay where it is.
    [patient] = await portal.book([PATIENT], **NO_DOCUMENTS)
    async with raw(page).expect_event("load"):
        await page.tab.goto(patient.join_url)
    await page.wait_for("join")

    bare = await window.open("without a link")
    await bare.tab.goto(f"{portal.base}/j/test")
    await says(bare, "problem-no-link", "personal link")

    [early] = await portal.book(
        [PATIENT],
        starts_at=(datetime.now(UTC) + timedelta(minutes=15, seconds=6)).isoformat(),
        ends_at=(datetime.now(UTC) + timedelta(hours=2)).isoformat(),
    )
    waiting = await window.open("early")
    await waiting.tab.goto(early.join_url)
    await says(waiting, "problem-not-open", "The waiting room opens")
    await waiting.wait_for("join", deadline=25)  # it goes on by itself

    await portal.call("POST", f"/v1/rooms/{early.room}/end", {})
    late = await window.open("late")
    await late.tab.goto(early.join_url)
    await says(late, "problem-over", "The visit is over")


async def test_the_language_is_the_rooms_until_somebody_chooses_another(portal: Portal, window: Window) -> None:
    [patient] = await portal.book([PATIENT], language="sv", **NO_DOCUMENTS)
    page = await window.open(patient.name, language="en")
    await arrive(page, patient.join_url)
    await says(page, "waiting", "Du är i väntrummet")
    assert await page.evaluate("document.documentElement.lang") == "sv"
    await speak(page, "en")
    await says(page, "waiting", "You are in the waiting room")
    await tab(page).reload()
    await says(page, "waiting", "You are in the waiting room")
