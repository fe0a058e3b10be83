"""Staff: their sessions, what they may do, and who waits in all rooms of their unit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from vardrum.control.store import queries
from vardrum.tests.api.installation import START, Installation, Reply
from vardrum.tests.api.logging_in import STAFF_CALLBACK, Browser, browser_http
from vardrum.tests.support.identity_provider import IdentityProvider

SARA = {"id": "hsa-sara", "name": "Sara Lind"}


async def staff(here: Installation, care_unit: str = "Ward 7", **more: Any) -> Reply:
    return await here.ask("POST", "/v1/staff/sessions", {"user": SARA, "care_unit": care_unit}, **more)


async def test_staff_act_in_their_own_name_in_their_units_rooms_only(here: Installation) -> None:
    visit = await here.book()
    elsewhere = await here.book(care_unit={"name": "Ward 8"})
    await visit.comes("Patient")
    await elsewhere.comes("Patient")
    made = await staff(here)
    assert (made.status, made.body["care_unit"]) == (201, "Ward 7")
    token = made.body["token"]
    # No header names anybody: the token does.
    admitted = await here.ask("POST", visit.of("Patient") + "/admit", {}, key=token, actor=None)
    assert admitted.status == 200
    async with here.app.store.read() as db:
        said = [one.data for one in await queries.events(db, "north", 0, 100) if one.type == "participant.admitted"]
    assert said[0]["by"] == {"id": SARA["id"], "care_unit": "Ward 7"}
    for method, path in (
        ("POST", elsewhere.of("Patient") + "/admit"),
        ("GET", elsewhere.of("Patient")),
        ("POST", elsewhere.path + "/lock"),
        ("POST", elsewhere.path + "/host"),
        ("POST", "/v1/rooms/room_x/lock"),
    ):
        nothing: Any = None if method == "GET" else {}
        assert (await here.ask(method, path, nothing, key=token)).problem == "not-found", path
    refused: list[tuple[str, str, Any]] = [
        ("POST", "/v1/rooms", here.booking()),
        ("GET", visit.path, None),
        ("POST", visit.of("Patient") + "/sessions", {}),
        ("POST", "/v1/staff/sessions", {"user": SARA, "care_unit": "Ward 8"}),
    ]
    for method, path, body in refused:
        assert (await here.ask(method, path, body, key=token)).problem == "not-allowed", path


async def test_staff_list_their_units_rooms_without_addresses(here: Installation) -> None:
    people = [{"role": "patient", "display_name": "Patient", "phone": "+46701234567", "email": "p@example.org"}]
    visit = await here.book(participants=people)
    await here.book(care_unit={"name": "Ward 8"})
    await here.book(care_unit={"name": "Ward 7", "hsa_id": "SE-7"})
    token = (await staff(here)).body["token"]
    listed = await here.ask("GET", "/v1/rooms", key=token)
    assert [one["id"] for one in listed.body["items"]] == [visit.id]
    assert not {"phone", "email"} & set(listed.body["items"][0]["participants"][0])
    assert (await here.ask("GET", "/v1/rooms?care_unit=Ward%208", key=token)).problem == "not-allowed"
    by_hsa = (await staff(here, "SE-7")).body["token"]
    assert len((await here.ask("GET", "/v1/rooms", key=by_hsa)).body["items"]) == 1


async def test_a_staff_token_ends_after_a_shift_and_by_logging_out(here: Installation) -> None:
    token, other = [(await staff(here)).body["token"] for _ in range(2)]
    assert (await here.ask("DELETE", "/v1/staff/sessions", key=other)).status == 204
    assert (await here.ask("GET", "/v1/waiting", key=other)).problem == "not-authenticated"
    assert (await here.ask("DELETE", "/v1/staff/sessions")).problem == "not-allowed"
    await here.pass_time(hours=11, minutes=59)
    assert (await here.ask("GET", "/v1/waiting", key=token)).status == 200
    await here.pass_time(minutes=1)
    assert (await here.ask("GET", "/v1/waiting", key=token)).problem == "not-authenticated"
    key = await here.new_key("north", ["admission", "rooms:write"])
    assert (await staff(here, key=key)).problem == "not-allowed"


async def test_who_waits_is_listed_across_rooms_also_for_staff_who_come_later(here: Installation) -> None:
    first, second, elsewhere = (
        await here.book(title="Check-up"),
        await here.book(),
        await here.book(care_unit={"name": "Ward 8"}),
    )
    await first.comes("Patient")
    await here.pass_time(minutes=2)
    relative = await second.comes("Relative")
    twice = await first.comes("Patient")
    await elsewhere.comes("Patient")
    await second.open("Patient")  # has the page open, and hasn't come in
    await here.visits.connection(relative.id, False, here.now)
    await here.ask("PUT", second.of("Relative") + "/identity", {"method": "known_in_person"})
    token = (await staff(here)).body["token"]
    found = (await here.ask("GET", "/v1/waiting", key=token)).body["items"]
    assert [(one["room"], one["display_name"], one["reachable"]) for one in found] == [
        (first.id, "Patient", True),
        (second.id, "Relative", False),
        (first.id, "Patient", True),
    ]
    assert (found[0]["since"], found[0]["title"]) == (START.isoformat().replace("+00:00", "Z"), "Check-up")
    assert (found[1]["connection"], found[1]["identity"]["method"]) == ("lost", "known_in_person")
    assert found[2]["session"] == twice.id
    page = await here.ask("GET", "/v1/waiting?limit=2", key=token)
    rest = await here.ask("GET", f"/v1/waiting?limit=2&cursor={page.body['next']}", key=token)
    assert [one["session"] for one in rest.body["items"]] == [twice.id]
    assert rest.body["next"] is None
    # A portal asks for any unit, and says who looks.
    assert len((await here.ask("GET", "/v1/waiting?care_unit=Ward%208")).body["items"]) == 1
    assert (await here.ask("GET", "/v1/waiting")).problem == "invalid-query"
    assert (await here.ask("GET", "/v1/waiting?care_unit=Ward%208", actor=None)).problem == "invalid-header"
    southern = await here.new_key("south")
    assert (await here.ask("GET", "/v1/waiting?care_unit=Ward%207", key=southern)).body["items"] == []
    await first.act("Patient", "admit", session=twice.id)
    assert len((await here.ask("GET", "/v1/waiting", key=token)).body["items"]) == 1


async def test_a_console_opens_once_and_soon(here: Installation) -> None:
    address, _, code = (await staff(here)).body["console_url"].partition("#code=")
    assert address == "https://video.example.org/staff/north"
    opened = await here.ask("POST", "/v1/staff/codes", {"code": code}, key="")
    assert (opened.status, opened.body["user"], opened.body["care_unit"]) == (201, SARA, "Ward 7")
    assert (await here.ask("GET", "/v1/waiting", key=opened.body["token"])).status == 200
    assert (await here.ask("POST", "/v1/staff/codes", {"code": code}, key="")).problem == "token-not-accepted"
    late = (await staff(here)).body["console_url"].partition("#code=")[2]
    other_unit = {"code": late, "care_unit": "Ward 8"}
    assert (await here.ask("POST", "/v1/staff/codes", other_unit, key="")).problem == "care-unit-needed"
    await here.pass_time(seconds=60)
    assert (await here.ask("POST", "/v1/staff/codes", {"code": late}, key="")).problem == "token-not-accepted"


async def test_staff_come_into_a_room_as_one_and_the_same_host(here: Installation) -> None:
    visit = await here.book()
    token = (await staff(here)).body["token"]

    async def enter(path: str) -> dict[str, Any]:
        made = await here.ask("POST", path + "/host", key=token)
        assert made.status == 201, made
        body: dict[str, Any] = (
            await here.ask("POST", "/v1/sessions", {"embed_token": made.body["embed_token"]}, key="")
        ).body
        assert str((await here.visits.arrive(body["id"])).state) == "admitted"
        return body

    first, again = await enter(visit.path), await enter(visit.path)
    assert first["participant"] == again["participant"]
    assert first["about"]["display_name"] == "Sara Lind"
    # The session is a host's, as any.
    await visit.comes("Patient")
    assert (await visit.act("Patient", "admit", key=again["token"])).status == 200
    people = [{"role": "caregiver", "display_name": "Dr Lind", "host": True, "external_ref": SARA["id"]}]
    booked = await here.book(participants=people)
    assert (await enter(booked.path))["participant"] == booked.ids["Dr Lind"]
    assert (await here.ask("POST", visit.path + "/host")).problem == "not-allowed"


@pytest.fixture
async def idp(tmp_path: Path) -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider(tmp_path / "idp", [STAFF_CALLBACK]) as running:
        yield running


async def test_staff_log_in_by_their_own_provider_to_a_care_unit_of_theirs(
    tmp_path: Path, idp: IdentityProvider
) -> None:
    overrides = {"tenants": {"north": {"oidc": {"card": idp.staff_settings()}}}}
    async with Installation(tmp_path / "data", overrides) as here, browser_http() as http, browser_http() as other:
        here.now = datetime.now(UTC)
        listed = await here.ask("GET", "/v1/staff/logins?tenant=north", key="")
        assert listed.body["items"] == [{"provider": "card", "label": "Test card"}]
        assert (await here.ask("GET", "/v1/staff/logins?tenant=nowhere", key="")).body["items"] == []
        browser, stranger = Browser(here, http), Browser(here, other)

        async def through(units: object) -> tuple[str, dict[str, str]]:
            await idp.next({"sub": "hsa-sara", "name": "Sara Lind", "units": units})
            started = await browser.post("/v1/staff/oidc/card/start", {"tenant": "north"})
            assert started.status == 200, started
            return await browser.back(await browser.log_in(started.body["location"]))

        assert (await through(None))[1]["error"] == "unit"
        page, told = await through(["Ward 7", "Ward 8"])
        assert page == "/staff/north"
        # In another browser the code is worth nothing.
        assert (await stranger.post("/v1/staff/codes", {"code": told["code"]})).problem == "token-not-accepted"
        which = await browser.post("/v1/staff/codes", {"code": told["code"]})
        assert (which.problem, which.body["care_units"]) == ("care-unit-needed", ["Ward 7", "Ward 8"])
        opened = await browser.post("/v1/staff/codes", {"code": told["code"], "care_unit": "Ward 8"})
        assert (opened.status, opened.body["user"], opened.body["care_unit"]) == (201, SARA, "Ward 8")
        _, told = await through("Ward 7")
        assert (await browser.post("/v1/staff/codes", {"code": told["code"]})).body["care_unit"] == "Ward 7"
        # Patients' logins are not staff's.
        visit = await here.book(starts_at=here.now.isoformat(), ends_at=(here.now + timedelta(hours=1)).isoformat())
        patient = await visit.comes("Patient")
        assert (await browser.start(patient.token, "card")).problem == "not-found"


async def test_numbers_that_were_kept_as_they_came_are_marked_at_the_next_start(tmp_path: Path) -> None:
    async with Installation(tmp_path / "data") as here:
        people = [{"role": "patient", "display_name": "Patient", "expected_subject": "x"}]
        visit = await here.book(identity_policy={"patient": "loa3"}, participants=people)
        async with here.app.store.write() as transaction:
            row = await queries.participant(transaction.db, visit.ids["Patient"])
            assert row is not None
            row.expected_subject = "197001012384"
    async with Installation(tmp_path / "data") as here:
        async with here.app.store.read() as db:
            kept = (await queries.participant(db, visit.ids["Patient"])).expected_subject  # type: ignore[union-attr]
        assert kept is not None
        assert kept.startswith("k1:")
        visit.here = here
        who = {"method": "bankid", "level": "loa3", "subject": "19700101-2384", "name": "Anna"}
        made = await here.ask("POST", visit.of("Patient") + "/sessions", {"identity": who})
        opened = await here.ask("POST", "/v1/sessions", {"embed_token": made.body["embed_token"]}, key="")
        await here.visits.arrive(opened.body["id"])
        assert (await visit.act("Patient", "admit")).status == 200
    async with Installation(tmp_path / "data") as here, here.app.store.read() as db:
        again = (await queries.participant(db, visit.ids["Patient"])).expected_subject  # type: ignore[union-attr]
        assert again == kept


async def test_a_vouched_identity_of_somebody_else_is_told_in_the_feed(here: Installation) -> None:
    people = [{"role": "patient", "display_name": "Patient", "expected_subject": "197001012384"}]
    visit = await here.book(participants=people)
    for subject in ("198001012384", "197001012384"):
        who = {"method": "bankid", "level": "loa3", "subject": subject, "name": "Anna"}
        made = await here.ask("POST", visit.of("Patient") + "/sessions", {"identity": who})
        await here.ask("POST", "/v1/sessions", {"embed_token": made.body["embed_token"]}, key="")
    async with here.app.store.read() as db:
        said = [one.data for one in await queries.events(db, "north", 0, 100) if one.type == "participant.identified"]
    assert [one["expected"] for one in said] == [False, True]
    database = b"".join(one.read_bytes() for one in here.app.settings.data.glob("vardrum.db*"))
    assert b"2384" not in database
