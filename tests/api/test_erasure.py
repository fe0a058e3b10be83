"""Erasing a person: what may go is gone from every table, what the law wants stays, and the trail still verifies."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from typing import Any

import pytest
from vardrum.control.audit.cli import public_keys
from vardrum.control.audit.verify import verify
from vardrum.control.store import models
from vardrum.tests.api.installation import Installation, Visit
from vardrum.tests.api.test_audit import entries

ANNA = {
    "role": "patient",
    "display_name": "Anna Berg",
    "external_ref": "anna",
    "phone": "+46701234567",
    "email": "anna@example.org",
    "language": "fi",
}
DOCTOR = {"role": "caregiver", "display_name": "Doctor", "host": True, "external_ref": "doctor"}


async def visit_of(here: Installation, **fields: Any) -> Visit:
    return await here.book(patient_ref="anna", participants=[ANNA, DOCTOR], **fields)


async def gone_by(here: Installation) -> Visit:
    """A visit that Anna was in, and that is over."""
    visit = await visit_of(here)
    host = await visit.host()
    identity = {"method": "bankid", "level": "loa3", "subject": "191212121212", "name": "Anna B Berg"}
    made = await here.ask("POST", visit.of("Anna Berg") + "/sessions", {"identity": identity})
    opened = await here.ask("POST", "/v1/sessions", {"embed_token": made.body["embed_token"]}, key="")
    await here.visits.arrive(opened.body["id"])
    await visit.act("Anna Berg", "admit")
    await visit.act("Anna Berg", "remove", reason="Anna Berg was loud")
    await here.ask("POST", visit.of("Doctor") + "/hold", {}, key=host.token, actor=None)
    await here.ask("POST", f"{visit.path}/end", {})
    return visit


def left_of(here: Installation, *words: str) -> list[str]:
    """Cells of the database in which one of these words still stands."""
    found = []
    with sqlite3.connect(here.app.settings.database) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            cursor = database.execute(f"SELECT * FROM {table}")
            names = [one[0] for one in cursor.description]
            for row in cursor:
                found += [
                    f"{table}.{name}"
                    for name, value in zip(names, row, strict=True)
                    if any(word in str(value) for word in words)
                ]
    return sorted(set(found))


async def problems(here: Installation) -> list[Any]:
    keys = public_keys(here.app.keyring)
    report = await verify(here.app.store, here.app.settings.audit_folder(), keys, now=here.now)
    return list(report.problems)


async def test_what_is_known_of_a_person_is_gone_and_the_trail_verifies(here: Installation) -> None:
    visit = await gone_by(here)
    assert left_of(here, "Anna", "+4670", "anna@")
    reply = await here.ask("DELETE", "/v1/people/anna")
    assert reply.status == 200, reply
    body = reply.body
    assert body["erased"]["participants"] == body["erased"]["rooms"] == 1
    assert body["erased"]["audit_entries"] > 3
    assert left_of(here, "Anna", "+4670", "anna@", "1912") == []
    # The portal's own reference of a patient is what the law wants kept.
    assert left_of(here, "anna") == ["audit_entries.patient_ref"]
    (kept,) = body["kept"]
    assert kept["count"] == len(await entries(here, patient_ref="anna"))
    assert (kept["until"][:4], "HSLF-FS 2016:40" in kept["reason"]) == ("2031", True)
    room = await visit.room()
    assert "patient_ref" not in room
    anna = next(one for one in room["participants"] if one["role"] == "patient")
    assert (anna["display_name"], "phone" in anna, "external_ref" in anna) == ("", False, False)
    assert anna["identity"]["level"] == "loa3"
    assert anna["identity"]["by"]["name"] == "Nils Nurse"
    removed = (await entries(here, action="participant.removed"))[0]
    assert removed["erased"] == ["person_name", "person_ref", "reason"]
    assert removed["actor"]["name"] == "Nils Nurse"
    came = (await entries(here, action="participant.waiting"))[0]
    assert came["erased"] == ["actor_id", "actor_name", "person_name", "person_ref"]
    assert await problems(here) == []


async def test_staff_who_acted_stay_named_in_the_trail(here: Installation) -> None:
    await gone_by(here)
    reply = await here.ask("DELETE", "/v1/people/doctor")
    assert reply.body["kept"][0]["count"] > 0
    assert left_of(here, "Doctor", "doctor") == ["audit_entries.actor_name"]
    assert await problems(here) == []


async def test_what_a_portal_says_its_staff_did_stays_named_too(here: Installation) -> None:
    visit = await here.book()
    await here.ask("POST", f"{visit.path}/lock", {})
    reply = await here.ask("DELETE", "/v1/people/nurse-1", actor=None)
    acted = await entries(here, actor="nurse-1")
    assert acted[-1]["actor"]["name"] == "Nils Nurse"
    assert reply.body["kept"][0]["count"] == len(acted)


async def test_erasing_again_changes_nothing(here: Installation) -> None:
    await gone_by(here)
    first = (await here.ask("DELETE", "/v1/people/anna")).body
    again = (await here.ask("DELETE", "/v1/people/anna")).body
    assert again["erased"] == {"participants": 0, "rooms": 0, "audit_entries": 0, "withdrawn": 0}
    assert again["kept"][0]["until"] == first["kept"][0]["until"]
    nobody = await here.ask("DELETE", "/v1/people/nobody")
    assert (nobody.status, nobody.body["kept"]) == (200, [])
    assert len(await entries(here, action="person.erased")) == 3
    assert await problems(here) == []


async def test_nobody_is_erased_from_a_visit_they_are_in(here: Installation) -> None:
    visit = await visit_of(here)
    session = await visit.comes("Anna Berg")
    for _ in range(2):
        reply = await here.ask("DELETE", "/v1/people/anna")
        assert (reply.status, reply.problem, reply.body["room"]) == (409, "state-conflict", visit.id)
        if (await visit.room())["state"] == "open":
            await visit.host()
            await visit.act("Anna Berg", "admit")
    assert (await visit.room())["state"] == "in_progress"
    await here.visits.leave(session.id)
    assert (await here.ask("DELETE", "/v1/people/anna")).status == 409
    assert left_of(here, "Anna Berg")
    await here.ask("POST", f"{visit.path}/end", {})
    assert (await here.ask("DELETE", "/v1/people/anna")).status == 200
    assert await problems(here) == []


async def test_an_invitation_to_a_visit_still_to_come_is_taken_back(here: Installation) -> None:
    visit = await visit_of(here)
    reply = await here.ask("DELETE", "/v1/people/anna")
    assert reply.body["erased"]["withdrawn"] == 1
    assert [one["display_name"] for one in (await visit.room())["participants"]] == ["Doctor"]
    session = await here.ask("POST", "/v1/sessions", {"invite": visit.links["Anna Berg"]}, key="")
    assert (session.status, session.problem) == (401, "token-not-accepted")
    assert left_of(here, "Anna") == []
    assert await problems(here) == []


async def test_the_patient_of_a_room_is_erased_without_a_reference_of_their_own(here: Installation) -> None:
    people = [{"role": "patient", "display_name": "Anna Berg"}, {"role": "relative", "display_name": "Erik Berg"}]
    visit = await here.book(patient_ref="anna", participants=people)
    await here.ask("POST", f"{visit.path}/end", {})
    assert (await here.ask("DELETE", "/v1/people/anna")).body["erased"]["participants"] == 1
    assert left_of(here, "Anna") == []
    assert left_of(here, "Erik Berg")


async def test_another_tenants_people_stay(here: Installation) -> None:
    await gone_by(here)
    south = await here.new_key("south")
    reply = await here.ask("DELETE", "/v1/people/anna", key=south)
    assert reply.body["erased"] == {"participants": 0, "rooms": 0, "audit_entries": 0, "withdrawn": 0}
    assert reply.body["kept"] == []
    assert left_of(here, "Anna Berg")


async def test_references_of_any_kind_are_found(here: Installation) -> None:
    for reference, path in (("a/b c", "a%2Fb%20c"), ("ä{x}%", "%C3%A4%7Bx%7D%25")):
        one = {"role": "relative", "display_name": "Erik Berg", "external_ref": reference}
        visit = await here.book(participants=[one])
        await here.ask("POST", f"{visit.path}/end", {})
        reply = await here.ask("DELETE", f"/v1/people/{path}")
        assert (reply.body["external_ref"], reply.body["erased"]["participants"]) == (reference, 1)
    assert (await here.ask("DELETE", "/v1/people/%00")).status == 404
    assert (await here.ask("DELETE", "/v1/people/" + "x" * 300)).status == 404
    limited = await here.new_key("north", ["audit", "rooms:write"])
    assert (await here.ask("DELETE", "/v1/people/anna", key=limited)).status == 403


async def test_an_erasure_says_who_erased_and_not_whom(here: Installation) -> None:
    await here.book(participants=[{"role": "relative", "display_name": "Erik Berg", "external_ref": "erik"}])
    await here.ask("DELETE", "/v1/people/erik")
    (one,) = await entries(here, action="person.erased")
    assert one["actor"]["id"] == "nurse-1"
    assert "erik" not in json.dumps(one)


@pytest.mark.both_databases
@pytest.mark.parametrize("days", [91, 900], ids=["without people", "removed"])
@pytest.mark.parametrize("referred", [True, False], ids=["by their reference", "as the room's patient"])
async def test_a_person_of_visits_long_over_is_erased_from_the_trail(
    here: Installation, referred: bool, days: int
) -> None:
    anna = {**ANNA} if referred else {key: value for key, value in ANNA.items() if key != "external_ref"}
    erik = {"role": "relative", "display_name": "Erik Berg"}
    visit = await here.book(patient_ref="anna", participants=[anna, erik, DOCTOR])
    for name in ("Anna Berg", "Erik Berg"):
        await visit.comes(name)
        await visit.act(name, "deny", reason=f"{name} was loud")
    await here.ask("POST", f"{visit.path}/end", {})
    other = await here.book(patient_ref="anna", participants=[{**ANNA, "external_ref": "anna-2"}])
    await here.ask("POST", f"{other.path}/end", {})
    here.now += timedelta(days=days)
    for _ in range(10):
        await here.app.retention.tick()
    assert len(await entries(here, action="room.expired")) == 2
    reply = await here.ask("DELETE", "/v1/people/anna")
    assert reply.body["erased"]["audit_entries"] > 2
    mine = await entries(here, room=visit.id)
    assert {one["person"].get("name") for one in mine if "person" in one} == {None, "Erik Berg", "Doctor"}
    assert {one["actor"].get("name") for one in mine} == {None, "Nils Nurse", "Erik Berg"}
    assert [one.get("reason") for one in mine if one["action"] == "participant.denied"] == [None, "Erik Berg was loud"]
    # Whoever else is a patient of this reference has one of their own.
    assert {one["person"].get("name") for one in await entries(here, room=other.id) if "person" in one} == {"Anna Berg"}
    again = await here.ask("DELETE", "/v1/people/anna")
    assert again.body["erased"]["audit_entries"] == 0
    assert await problems(here) == []


async def test_somebody_whose_reference_was_another_persons_at_first_stays(here: Installation) -> None:
    visit = await here.book(participants=[{**ANNA, "external_ref": "berit"}, DOCTOR])
    assert (await here.ask("PATCH", visit.of("Anna Berg"), {"external_ref": "anna"}, If_Match="*")).status == 200
    session = await visit.comes("Anna Berg")
    await here.visits.leave(session.id)
    await here.ask("POST", f"{visit.path}/end", {})
    assert (await here.ask("DELETE", "/v1/people/berit")).body["erased"]["participants"] == 0
    assert (await visit.room())["participants"][0]["display_name"] == "Anna Berg"
    left = await entries(here, action="participant.left")
    assert (left[0]["actor"]["name"], left[0]["person"]["name"]) == ("Anna Berg", "Anna Berg")
    assert left_of(here, "berit") == []
    assert await problems(here) == []


async def test_a_host_who_is_erased_is_named_no_more_by_whom_they_identified(here: Installation) -> None:
    visit = await visit_of(here)
    host = await visit.host()
    await visit.comes("Anna Berg")
    path = visit.of("Anna Berg") + "/identity"
    assert (await here.ask("PUT", path, {"method": "known_in_person"}, key=host.token, actor=None)).status == 200
    await here.ask("POST", f"{visit.path}/end", {})
    assert (await here.ask("DELETE", "/v1/people/doctor")).status == 200
    assert left_of(here, "Doctor", "doctor") == ["audit_entries.actor_name"]
    anna = (await visit.room())["participants"][0]
    assert (anna["identity"]["method"], anna["identity"]["by"]["name"]) == ("known_in_person", "")
    report = (await here.ask("GET", f"{visit.path}/report")).body
    assert report["timeline"]


async def test_a_login_that_is_not_finished_goes_with_its_person(here: Installation) -> None:
    visit = await here.book(participants=[ANNA])
    session = await visit.open("Anna Berg")
    async with here.app.store.write() as transaction:
        transaction.db.add(
            models.Login(
                state=b"s",
                browser=b"b",
                tenant="north",
                provider="region",
                session=session.id,
                expires_at=here.now + timedelta(minutes=5),
                code=b"c",
                identity={"name": "Anna B Berg"},
            )
        )
    assert (await here.ask("DELETE", "/v1/people/anna")).status == 200
    assert left_of(here, "Anna") == []
