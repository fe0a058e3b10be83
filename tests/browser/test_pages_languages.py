"""The pages in every language: the same texts, from the right side, on small phones; and what care units say."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Route
from vardrum.control.notify.words import WORDS
from vardrum.control.pages import WEB
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal
from vardrum.tests.support.shape import fits
from vardrum.tests.support.tabs import Window, becomes, raw, says, speak
from vardrum.tests.support.visit import DOCTOR, INTERPRETER, NO_DOCUMENTS, PATIENT, admit, arrive, meets, until

LANGUAGES = sorted(WORDS)
SMALL = ((320, 640), (390, 844))
ALL = ["chat", "screen", "sms", "eid", "feedback", "link_join"]
TEXTS = {
    "fee": {"sv": "Avgift: 250 kr.", "en": "The fee is 250 kr.", "fi": "Maksu on 250 kr.", "ar": "الرسوم 250 كرونة."},
    "preparation": {"sv": "Ha <b>legitimation</b> framme.\nSitt ostört."},
    "physical_visit": {"ar": "اتصل بنا على 021-12 34 56.", "fi": "Soita 021-12 34 56." + " Tervetuloa." * 60},
}
HERE = "document.documentElement"


async def unit_says(portal: Portal) -> None:
    choice = {"functions": ALL, "phone": "+4621123456", "texts": TEXTS}
    await portal.call("PUT", "/v1/care-units/Test%20Unit", choice)


async def test_every_language_has_every_text_with_the_same_places_in_it(modules: Page) -> None:
    files = sorted(path.stem for path in (WEB / "static" / "js" / "strings").glob("*.js"))
    offered = await modules.evaluate("import('/static/js/languages.js').then((m) => Object.keys(m.LANGUAGES))")
    assert files == sorted(offered) == LANGUAGES, "and messages are in the same ones"
    texts: dict[str, dict[str, Any]] = {}
    categories: dict[str, set[str]] = {}
    for tag in files:
        texts[tag] = await modules.evaluate(f"import('/static/js/strings/{tag}.js').then((m) => m.default)")
        plurals = f"new Intl.PluralRules('{tag}').resolvedOptions().pluralCategories"
        categories[tag] = set(await modules.evaluate(plurals))
    for tag, found in texts.items():
        assert set(found) == set(texts["sv"]), tag
        for key, text in found.items():
            wanted = places(counted(texts["sv"][key]))
            assert places(counted(text)) == wanted, f"{tag}: {key}"
            assert key == "nothing" or counted(text).strip(), f"{tag}: {key} is empty"
            if isinstance(text, dict):
                assert {*text} == {"by", *categories[tag]}, f"{tag}: {key}"
                assert text["by"] in wanted, f"{tag}: {key}"
                for form in categories[tag]:
                    assert wanted - {text["by"]} <= places(text[form]) <= wanted, f"{tag}: {key}, {form}"


def counted(text: Any) -> str:
    """A text, or the one for most numbers."""
    found = text["other"] if isinstance(text, dict) else text
    assert isinstance(found, str)
    return found


def places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


async def test_times_and_counts_are_said_as_each_language_says_them(modules: Page) -> None:
    said = await modules.evaluate("""(async () => {
      const { choose, clock, dayAndClock, t, waited } = await import('/static/js/i18n.js');
      const at = '2026-03-02T13:05:00Z';
      const said = {};
      for (const tag of ['sv', 'en', 'fi', 'ar']) {
        await choose(tag);
        const after = (minutes) => waited(at, Date.parse(at) + minutes * 60000);
        said[tag] = [clock(at, 'Europe/Stockholm'), [0, 1, 2, 3, 11, 65].map(after), dayAndClock(at, 'Asia/Tokyo'),
          t('console.count', { count: 2 })];
      }
      return said;
    })()""")
    assert said["sv"][:2] == ["14:05", ["nyss", "1 min", "2 min", "3 min", "11 min", "1 tim 5 min"]]
    assert said["en"][1] == ["just now", "1 min", "2 min", "3 min", "11 min", "1 h 5 min"]
    assert said["fi"][:2] == ["14.05", ["hetki sitten", "1 min", "2 min", "3 min", "11 min", "1 t 5 min"]]
    time, passed, day, count = said["ar"]
    assert time == "14:05"
    plain = [text.replace("\u2068", "").replace("\u2069", "") for text in passed]
    assert plain == ["الآن", "دقيقة واحدة", "دقيقتان", "3 دقائق", "11 دقيقة", "1 س 5 د"]
    assert passed[3] == "\u20683\u2069 دقائق", "a number keeps its own direction"
    assert count == "شخصان ينتظران"
    assert "مارس" in day
    assert "22:05" in day
    assert "GMT" in said["sv"][2], "where the device is in another zone than the visit, the zone is said"


@pytest.mark.timeout(150)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_participants_language_is_on_every_screen_and_fits_small_phones(
    portal: Portal, window: Window, language: str
) -> None:
    await unit_says(portal)
    people = [DOCTOR, {**PATIENT, "language": language}]
    doctor, patient = await portal.book(people, language="sv" if language != "sv" else "en", **NO_DOCUMENTS)
    host, page = await window.open(doctor.name), await window.open(patient.name, width=390, height=844)
    fetched: list[str] = []
    raw(page).on("request", lambda request: fetched.append(urlsplit(request.url).path))

    async def in_it(page: Page = page) -> None:
        direction = "rtl" if language == "ar" else "ltr"
        assert await page.evaluate(f"[{HERE}.lang, {HERE}.dir]") == [language, direction]
        await fits(page, SMALL)

    await page.tab.goto(patient.join_url)
    await page.wait_for("join")
    await in_it()
    strings = {path for path in fetched if "/strings/" in path}
    assert strings == {f"/static/js/strings/{tag}.js" for tag in ("en", language)}, "the browser's, and the person's"
    await page.click("join")
    await until(page, "waiting")
    await in_it()
    await raw(page).locator("summary").click()
    await in_it()
    assert await page.evaluate("document.querySelector('.unit-texts-body').clientHeight <= 0.45 * innerHeight + 1")
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await admit(host, patient)
    await meets(page, doctor)
    await in_it()
    await page.click("panel-chat")
    await in_it()
    await page.click("close-panel")
    await page.click("leave")
    await page.wait_for("dialog-leave")
    await in_it()
    await page.click("confirm-leave")
    await until(page, "left")
    await in_it()
    lost = await window.open("lost", width=390, height=844, language=f"{language}-SE")
    await lost.tab.goto(f"{portal.base}/j/test")
    await lost.wait_for("problem-no-link")
    await in_it(lost)


async def test_what_the_unit_wants_known_stands_in_the_waiting_room_as_text(portal: Portal, window: Window) -> None:
    await unit_says(portal)
    patient, interpreter = await portal.book([PATIENT, INTERPRETER], language="ar", **NO_DOCUMENTS)
    page = await window.open(patient.name, width=320, height=640)
    await arrive(page, patient.join_url)
    await page.wait_for("unit-texts")
    assert await page.evaluate("document.querySelector('.unit-texts').open") is False, "folded up on a phone"
    assert await page.evaluate("document.querySelector('.unit-texts').getBoundingClientRect().height") < 80
    await raw(page).locator("summary").click()
    await says(page, "unit-fee", "الرسوم 250 كرونة.")
    number = "[...document.querySelectorAll('[data-testid=unit-physical_visit] bdi')].map((e) => [e.dir, e.innerText])"
    assert await page.evaluate(number) == [["ltr", "021-12 34 56"]], "a number to phone isn't turned about"
    # What the unit hasn't in this language is in Swedish, and said to be.
    await says(page, "unit-preparation", "Ha <b>legitimation</b> framme.\nSitt ostört.")
    swedish = "[...document.querySelectorAll('[data-testid=unit-preparation]')].map((e) => [e.lang, e.dir])"
    assert await page.evaluate(swedish) == [["sv", "ltr"]]

    await speak(page, "fi")
    await says(page, "unit-fee", "Maksu on 250 kr.")
    await says(page, "unit-physical_visit", "Soita 021-12 34 56.")
    assert await page.evaluate("document.querySelector('.unit-texts').open") is True, "it stays as the person left it"

    other = await window.open(interpreter.name)
    await arrive(other, interpreter.join_url)
    assert not await other.shows("unit-texts"), "who works here pays no fee"


async def test_from_the_right_places_change_over_and_pictures_do_not(portal: Portal, window: Window) -> None:
    doctor, patient = await portal.book([DOCTOR, PATIENT], language="en", **NO_DOCUMENTS)
    host, page = await window.open(doctor.name), await window.open(patient.name)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await arrive(page, patient.join_url)
    await admit(host, patient)
    await meets(page, doctor)
    middle = "((b) => b.left + b.width / 2 < innerWidth / 2)(document.querySelector('.self').getBoundingClientRect())"
    turned = "['.tile.camera video', '.self video'].map((e) => getComputedStyle(document.querySelector(e)).transform)"
    await becomes(page, f"!{middle}", "one's own picture is at the right")
    before = await page.evaluate(turned)
    assert before[0] == "none"
    await speak(page, "ar")
    await becomes(page, middle, "one's own picture is at the left")
    assert await page.evaluate(turned) == before

    await raw(host).locator('[data-testid="panel-chat"]').click()
    await raw(host).locator('[data-testid="chat-input"]').fill("اتصل على 021-12 34 56 الآن")
    await host.click("chat-send")
    await page.click("panel-chat")
    await says(page, "chat-lines", "021-12 34 56")
    assert await page.evaluate("document.querySelector('.line bdi').dir") == "ltr"
    pointing = "getComputedStyle(document.querySelector('[data-testid=chat-send] svg')).transform"
    assert await page.evaluate(pointing) == "matrix(-1, 0, 0, 1, 0, 0)"


async def test_times_are_the_visits_wherever_the_device_is(portal: Portal, window: Window) -> None:
    soon = datetime.now(UTC) + timedelta(hours=3)
    later = {"starts_at": soon.isoformat(), "ends_at": (soon + timedelta(hours=1)).isoformat()}
    [early] = await portal.book([PATIENT], language="sv", **later, **NO_DOCUMENTS)
    away = Page(await window.chromium.tab(language="sv", timezone_id="Asia/Tokyo"), "away")
    await away.tab.goto(early.join_url)
    opens = (soon - timedelta(minutes=15)).astimezone(ZoneInfo("Europe/Stockholm"))
    await says(away, "problem-not-open", f"{opens:%H:%M}")

    [patient] = await portal.book([PATIENT], language="sv", **NO_DOCUMENTS)
    away = Page(await window.chromium.tab(language="sv", timezone_id="Asia/Tokyo"), "away still")
    before = datetime.now(ZoneInfo("Europe/Stockholm"))
    await arrive(away, patient.join_url)
    after = datetime.now(ZoneInfo("Europe/Stockholm"))
    text = await away.evaluate("document.querySelector('.since').innerText")
    assert f"{before:%H:%M}" in text or f"{after:%H:%M}" in text

    made = await portal.call(
        "POST", "/v1/staff/sessions", {"user": {"id": "s1", "name": "Sara Lind"}, "care_unit": "Test Unit"}
    )
    portal.told |= {made["token"], made["console_url"].partition("=")[2], "Sara Lind"}
    console = Page(await window.chromium.tab(language="sv", timezone_id="Asia/Tokyo"), "console")
    await console.tab.goto(made["console_url"])
    await console.wait_for("waiting-entry")
    text = await console.evaluate("document.querySelector('[data-testid=waiting-entry] .since').innerText")
    assert f"{before:%H:%M}" in text or f"{after:%H:%M}" in text


async def test_the_word_on_a_weak_network_covers_no_picture_in_any_language(modules: Page) -> None:
    await modules.tab.resize(320, 640)
    found = await modules.evaluate("""(async () => {
      const { choose } = await import('/static/js/i18n.js');
      const { LANGUAGES } = await import('/static/js/languages.js');
      const { el } = await import('/static/js/dom.js');
      const { icon } = await import('/static/js/icons.js');
      const { button } = await import('/static/js/shell.js');
      const made = ['weak-network', 'weak-phone'].map((of) => el('div', { class: `banner ${of}`, 'data-banner': of },
        icon('network'), el('p', { t: `banner.${of}` }), button('banner.phone-instead', {})));
      const stage = el('section', { class: 'stage' });
      const main = el('main', { class: 'room-main' }, stage, el('div', { class: 'banners' }, made));
      document.getElementById('page').replaceChildren(main);
      const found = [];
      for (const tag of Object.keys(LANGUAGES)) {
        await choose(tag);
        for (const one of made) {
          for (const other of made) other.hidden = other !== one;
          const { bottom } = one.getBoundingClientRect();
          if (bottom > stage.getBoundingClientRect().top) found.push([tag, one.innerText, bottom]);
        }
      }
      return found;
    })()""")
    assert found == []


async def test_a_language_that_a_lost_network_kept_away_comes_when_it_is_back(portal: Portal, window: Window) -> None:
    [patient] = await portal.book([{**PATIENT, "language": "fi"}], language="sv", **NO_DOCUMENTS)
    page = await window.open(patient.name)
    gone: list[str] = []

    async def lose(route: Route) -> None:
        gone.append(route.request.url)
        await route.abort()

    await raw(page).route("**/strings/fi.js", lose)  # another try has another address
    await arrive(page, patient.join_url)
    await says(page, "waiting", "Olet odotushuoneessa", deadline=15)
    assert len(gone) == 1
