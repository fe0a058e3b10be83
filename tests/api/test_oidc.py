"""Identity by a real provider: who logs in, and everything that identifies nobody."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from vardrum.control.store import queries
from vardrum.tests.api.installation import Installation
from vardrum.tests.api.logging_in import CALLBACK, Browser, browser_http, changed, visit_now, waits
from vardrum.tests.support.identity_provider import ANNA, BO, IdentityProvider


@pytest.fixture
async def idp(tmp_path: Path) -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider(tmp_path / "idp", [CALLBACK]) as running:
        yield running


@pytest.fixture
async def here(tmp_path: Path, idp: IdentityProvider) -> AsyncIterator[Installation]:
    overrides = {"tenants": {"north": {"oidc": {"eid": idp.settings()}}}}
    async with Installation(tmp_path / "data", overrides) as installation:
        yield installation


@pytest.fixture
async def browser(here: Installation) -> AsyncIterator[Browser]:
    async with browser_http() as http:
        yield Browser(here, http)


async def test_a_patient_logs_in_and_is_shown_as_identified(
    here: Installation, idp: IdentityProvider, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    visit = await visit_now(here)
    opened = await here.ask("POST", "/v1/sessions", {"invite": visit.links["Patient"]}, key="")
    assert opened.body["logins"] == [{"provider": "eid", "label": "Test eID"}]
    patient = await waits(visit)
    assert (await visit.act("Patient", "admit")).problem == "identity-not-met"
    started = await browser.start(patient.token)
    asked = parse_qs(urlsplit(started.body["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["acr_values"] == ["urn:test:loa3"]
    assert asked["prompt"] == ["login"]
    page, told = await browser.back(await browser.log_in(started.body["location"]))
    assert (page, told["tenant"], told["provider"]) == ("/login", "north", "eid")
    # The callback by itself has identified nobody.
    assert (await visit.act("Patient", "admit")).problem == "identity-not-met"
    done = await browser.finish(patient.token, told["code"])
    assert done.status == 200, done
    assert (done.body["counts"], done.body["expected"]) == (True, True)
    admitted = await visit.act("Patient", "admit")
    assert admitted.status == 200
    identity = admitted.body["identity"]
    assert (identity["method"], identity["level"]) == ("eid", "loa3")
    assert identity["by"] == {"id": "eid", "name": "Test eID"}
    again = await here.ask("POST", "/v1/sessions", {"resume": patient.resume}, key="")
    assert again.body["logins"] == []
    # Neither the number nor a secret is kept or logged anywhere.
    database = b"".join(one.read_bytes() for one in here.app.settings.data.glob("vardrum.db*"))
    for secret in ("19700101", "2384", told["code"], patient.token, *browser.ours.values()):
        assert secret.encode() not in database
        assert secret not in caplog.text


async def test_where_a_unit_has_switched_it_off_nobody_is_offered_a_login(here: Installation, browser: Browser) -> None:
    visit = await visit_now(here)
    unit = (await visit.room())["care_unit"]
    path = f"/v1/care-units/{unit.get('hsa_id') or unit['name']}".replace(" ", "%20")
    assert (await here.ask("PUT", path, {"functions": ["chat"]})).status == 200
    opened = await here.ask("POST", "/v1/sessions", {"invite": visit.links["Patient"]}, key="")
    assert opened.body["logins"] == []
    patient = await waits(visit)
    assert (await browser.start(patient.token)).problem == "function-off"


async def test_hosts_are_told_of_another_persons_eid_which_does_not_count(
    here: Installation, idp: IdentityProvider, browser: Browser
) -> None:
    visit = await visit_now(here)
    patient = await waits(visit)
    await idp.next(BO)
    told = await browser.through(patient.token)
    done = await browser.finish(patient.token, told["code"])
    assert (done.status, done.body["counts"], done.body["expected"]) == (200, False, False)
    reply = await visit.act("Patient", "admit")
    assert reply.problem == "identity-not-met"
    assert "another person" in reply.body["detail"]
    waiting = await here.ask("GET", "/v1/waiting?care_unit=Ward%207")
    assert (waiting.body["items"][0]["expected"], waiting.body["items"][0]["identified_as"]) == (False, "Bo Ek")
    async with here.app.store.read() as db:
        said = [one.data for one in await queries.events(db, "north", 0, 100) if one.type == "participant.identified"]
    assert (said[0]["expected"], said[0]["level"], said[0]["by"]["id"]) == (False, "loa3", "eid")
    # The right person puts it right.
    await idp.next(ANNA)
    told = await browser.through(patient.token)
    assert (await browser.finish(patient.token, told["code"])).body["counts"] is True
    assert (await visit.act("Patient", "admit")).status == 200


async def test_a_level_that_is_too_low_is_shown_and_meets_nothing_and_an_unknown_one_is_refused(
    here: Installation, idp: IdentityProvider, browser: Browser
) -> None:
    visit = await visit_now(here)
    patient = await waits(visit)
    await idp.next(acr="urn:test:loa1")
    assert (await browser.through(patient.token))["error"] == "level"
    await idp.next(acr="urn:test:loa2")
    told = await browser.through(patient.token)
    done = await browser.finish(patient.token, told["code"])
    assert (done.body["identity"]["level"], done.body["counts"]) == ("loa2", False)
    assert (await visit.act("Patient", "admit")).problem == "identity-not-met"


async def test_a_login_that_does_not_count_takes_nothing_away(
    here: Installation, idp: IdentityProvider, browser: Browser
) -> None:
    visit = await visit_now(here, identity_policy={"patient": "document"})
    patient = await waits(visit)
    await here.ask("PUT", visit.of("Patient") + "/identity", {"method": "document"})
    await idp.next(acr="urn:test:loa2")
    told = await browser.through(patient.token)
    done = await browser.finish(patient.token, told["code"])
    assert (done.body["identity"]["method"], done.body["counts"]) == ("document", False)
    assert (await visit.act("Patient", "admit")).status == 200


async def test_only_the_session_that_began_redeems_the_code_and_once(
    here: Installation, idp: IdentityProvider, browser: Browser
) -> None:
    visit = await visit_now(here)
    patient, relative = await waits(visit), await waits(visit, "Relative")
    other = await visit.comes("Patient")  # the same link, in a second browser
    told = await browser.through(patient.token)
    for token in (relative.token, other.token):
        assert (await browser.finish(token, told["code"])).problem == "token-not-accepted"
    assert (await browser.finish(patient.token, told["code"])).status == 200
    assert (await browser.finish(patient.token, told["code"])).problem == "token-not-accepted"
    assert (await browser.finish(patient.token, "vrc_" + "x" * 43)).problem == "token-not-accepted"
    assert (await browser.post("/v1/oidc/eid/finish", {"code": told["code"]})).problem == "not-authenticated"


async def test_a_login_finished_in_another_browser_identifies_nobody(
    here: Installation, idp: IdentityProvider, browser: Browser
) -> None:
    visit = await visit_now(here)
    patient = await waits(visit)
    async with browser_http() as http:
        victim = Browser(here, http)
        started = await browser.start(patient.token)
        # A link to somebody else's login, opened by a victim, with no cookie of ours and then with one of their own.
        location = await victim.log_in(started.body["location"])
        assert (await victim.back(location))[1]["error"] == "browser"
        await victim.start((await waits(visit, "Relative")).token)
        assert (await victim.back(location))[1]["error"] == "browser"
        assert (await here.ask("GET", visit.of("Patient"))).body["identity"] is None
        # It isn't used up by that: the browser that began may still finish.
        assert "code" in (await browser.back(location))[1]


async def test_a_state_and_an_address_are_good_once(
    here: Installation, idp: IdentityProvider, browser: Browser
) -> None:
    visit = await visit_now(here)
    patient = await waits(visit)
    started = await browser.start(patient.token)
    location = await browser.log_in(started.body["location"])
    assert "code" in (await browser.back(location))[1]
    assert (await browser.back(location))[1] == {"error": "expired", "provider": "eid"}
    # The provider's code under a new state is another login's: neither nonce nor verifier fits.
    code = parse_qs(urlsplit(location).query)["code"][0]
    fresh = await browser.log_in((await browser.start(patient.token)).body["location"])
    assert (await browser.back(changed(fresh, code=code)))[1]["error"] == "failed"


async def test_what_takes_too_long_has_expired(here: Installation, idp: IdentityProvider, browser: Browser) -> None:
    visit = await visit_now(here)
    patient = await waits(visit)
    location = await browser.log_in((await browser.start(patient.token)).body["location"])
    began = here.now
    await here.pass_time(minutes=11)
    assert (await browser.back(location))[1]["error"] == "expired"
    here.now = began
    told = await browser.through(patient.token)
    await here.pass_time(minutes=3)
    assert (await browser.finish(patient.token, told["code"])).problem == "token-not-accepted"


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"state": "x" * 43}, "expired"),
        ({"state": None}, "expired"),
        ({"state": "y" * 5000}, "expired"),
        ({"iss": "https://evil.example"}, "failed"),
        ({"iss": None}, "failed"),  # the provider has announced that it sends it
        ({"code": "guessed"}, "failed"),
        ({"code": None}, "failed"),
        ({"code": None, "error": "server_error"}, "failed"),
    ],
)
async def test_a_tampered_return_identifies_nobody(
    here: Installation, idp: IdentityProvider, browser: Browser, query: dict[str, str | None], error: str
) -> None:
    visit = await visit_now(here)
    patient = await waits(visit)
    location = await browser.log_in((await browser.start(patient.token)).body["location"])
    assert (await browser.back(changed(location, **query)))[1]["error"] == error


async def test_a_tampered_id_token_identifies_nobody(
    here: Installation, idp: IdentityProvider, browser: Browser
) -> None:
    visit = await visit_now(here)
    patient = await waits(visit)
    await idp.next(tampered=True)
    assert (await browser.through(patient.token))["error"] == "failed"
    await idp.next()
    assert "code" in await browser.through(patient.token)


async def test_who_cancels_may_try_again(here: Installation, idp: IdentityProvider, browser: Browser) -> None:
    visit = await visit_now(here)
    patient = await waits(visit)
    await idp.next(cancelled=True)
    assert (await browser.through(patient.token))["error"] == "cancelled"
    await idp.next()
    assert "code" in await browser.through(patient.token)


async def test_a_provider_that_is_down_is_said_and_comes_back_with_other_keys(
    here: Installation, idp: IdentityProvider, browser: Browser
) -> None:
    visit = await visit_now(here)
    patient = await waits(visit)
    told = await browser.through(patient.token)
    assert (await browser.finish(patient.token, told["code"])).status == 200
    # Down between the login and the way back.
    location = await browser.log_in((await browser.start(patient.token)).body["location"])
    await idp.stop()
    assert (await browser.back(location))[1]["error"] == "unavailable"
    # It comes back with keys that nobody here has seen.
    await idp.start()
    await idp.next()
    told = await browser.through(patient.token)
    assert (await browser.finish(patient.token, told["code"])).body["counts"] is True


async def test_a_provider_that_never_was_up_is_unavailable(tmp_path: Path) -> None:
    settings = IdentityProvider(tmp_path, [CALLBACK]).settings()
    async with Installation(tmp_path / "data", {"tenants": {"north": {"oidc": {"eid": settings}}}}) as here:
        visit = await visit_now(here)
        patient = await waits(visit)
        async with browser_http() as http:
            reply = await Browser(here, http).start(patient.token)
    assert (reply.status, reply.problem) == (503, "unavailable")
    assert reply.headers["Retry-After"] == "30"


async def test_providers_are_a_tenants_own_and_begin_only_for_who_has_come(
    here: Installation, browser: Browser
) -> None:
    visit = await visit_now(here)
    invited = await visit.open("Patient")
    assert (await browser.start(invited.token)).problem == "state-conflict"
    assert (await browser.start((await waits(visit)).token, "other")).problem == "not-found"
    assert (await browser.post("/v1/staff/oidc/eid/start", {"tenant": "north"})).problem == "not-found"
    here.key = await here.new_key("south")
    southern = await waits(await visit_now(here))
    assert (await browser.start(southern.token)).problem == "not-found"
    assert (await browser.start(here.key)).problem == "not-allowed"
