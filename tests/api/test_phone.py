"""Numbers and addresses at rest, the number that a host reveals, and what became of the visit without video."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from vardrum.control.store import queries
from vardrum.tests.api.installation import Installation, Visit

NUMBER, ADDRESS = "+46701740605", "pia.patient@mail.example"
PEOPLE = [
    {"role": "caregiver", "display_name": "Doctor", "host": True},
    {"role": "patient", "display_name": "Patient", "phone": NUMBER, "email": ADDRESS},
    {"role": "relative", "display_name": "Relative"},
]


def plain(folder: Path) -> list[str]:
    """Which files of the database have a number or an address in them."""
    return [
        f"{file.name}: {word}"
        for file in folder.glob("vardrum.db*")
        for word in (NUMBER, ADDRESS)
        if word.encode() in file.read_bytes()
    ]


async def last_event(here: Installation) -> tuple[str, dict[str, object]]:
    async with here.app.store.read() as db:
        last = list(await queries.events(db, "north", 0, 1000))[-1]
        return last.type, last.data


async def booked(here: Installation) -> Visit:
    return await here.book(participants=PEOPLE)


async def test_numbers_and_addresses_are_shown_to_the_portal_and_are_not_in_the_database(tmp_path: Path) -> None:
    async with Installation(tmp_path) as here:
        visit = await booked(here)
        room = await visit.room()
        assert (room["participants"][1]["phone"], room["participants"][1]["email"]) == (NUMBER, ADDRESS)
        patch = {"phone": "+46701740699", "email": None}
        changed = await here.ask("PATCH", visit.of("Patient"), patch, If_Match="*")
        assert (changed.body["phone"], changed.body.get("email")) == ("+46701740699", None)
        etag = changed.headers["ETag"]
        again = await here.ask("PATCH", visit.of("Patient"), {"phone": "+46701740699"}, If_Match=etag)
        assert again.headers["ETag"] == etag, "nothing has changed"
        assert (await here.ask("PATCH", visit.of("Patient"), {"phone": NUMBER}, If_Match="*")).status == 200
        assert plain(tmp_path) == []
    assert plain(tmp_path) == []


async def test_what_an_earlier_version_kept_plain_is_sealed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vardrum.control.visits.contacts.BATCH", 2)
    async with Installation(tmp_path) as here:
        visit = await booked(here)
    database = sqlite3.connect(tmp_path / "vardrum.db")
    with database:
        database.execute("update participants set phone = ?, email = ?", (NUMBER, ADDRESS))
        database.execute("update participants set phone_sealed = null, email_sealed = null")
    database.close()
    assert plain(tmp_path) != []
    async with Installation(tmp_path) as here:
        assert plain(tmp_path) == []
        read = await here.ask("GET", visit.of("Relative"))
        assert (read.body["phone"], read.body["email"]) == (NUMBER, ADDRESS)


async def test_a_subject_that_an_earlier_version_kept_plain_is_in_no_file_after_the_next_start(tmp_path: Path) -> None:
    async with Installation(tmp_path) as here:
        await here.book(participants=[{"role": "patient", "display_name": "Patient", "expected_subject": "x"}])
    with contextlib.closing(sqlite3.connect(tmp_path / "vardrum.db")) as database, database:
        database.execute("update participants set expected_subject = '191212121212'")
    async with Installation(tmp_path) as here:
        assert b"191212121212" not in await here.everything_kept()


async def test_a_host_sees_a_number_only_by_asking_for_it(here: Installation) -> None:
    visit = await booked(here)
    doctor = await visit.host()
    for path in (visit.of("Patient"), f"{visit.path}/participants"):
        assert NUMBER not in str((await here.ask("GET", path, key=doctor.token)).body)
    before = await here.events()
    reply = await here.ask("GET", visit.of("Patient") + "/phone", key=doctor.token, actor=None)
    assert (reply.status, reply.body) == (200, {"phone": NUMBER})
    assert reply.headers["Cache-Control"] == "no-store"
    assert await here.events() == before
    by_key = await here.ask("GET", visit.of("Patient") + "/phone")
    assert by_key.body == {"phone": NUMBER}


async def test_a_number_is_refused_to_whoever_may_not_know_it(here: Installation) -> None:
    visit, other = await booked(here), await booked(here)
    doctor, patient = await other.host(), await visit.admitted("Patient")
    path = visit.of("Patient") + "/phone"
    refused = {
        "a host of another room": (await here.ask("GET", path, key=doctor.token), 404, "not-found"),
        "the patient": (await here.ask("GET", path, key=patient.token), 403, "not-allowed"),
        "another tenant": (await here.ask("GET", path, key=await here.new_key("south")), 404, "not-found"),
        "another scope": (
            await here.ask("GET", path, key=await here.new_key("north", ["rooms:read"])),
            403,
            "not-allowed",
        ),
        "nobody named": (await here.ask("GET", path, actor=None), 422, "invalid-header"),
        "there is none": (await here.ask("GET", visit.of("Relative") + "/phone"), 404, "no-phone"),
    }
    for who, (reply, status, problem) in refused.items():
        assert (reply.status, reply.problem) == (status, problem), who


async def test_a_number_whose_key_is_gone_is_no_number_and_no_error(tmp_path: Path) -> None:
    async with Installation(tmp_path) as here:
        visit = await booked(here)
    (tmp_path / "keyring.json").unlink()
    async with Installation(tmp_path) as here:
        reply = await here.ask("GET", visit.of("Patient") + "/phone")
        assert (reply.status, reply.problem) == (404, "no-phone")
        assert "phone" not in (await here.ask("GET", visit.of("Patient"))).body
        assert (await here.ask("PATCH", visit.of("Patient"), {"phone": NUMBER}, If_Match="*")).body["phone"] == NUMBER


async def test_how_it_went_on_without_video_is_an_event_with_who_said_so(here: Installation) -> None:
    visit = await booked(here)
    doctor = await visit.host()
    said = {"mode": "phone", "outcome": "completed"}
    reply = await here.ask("POST", visit.of("Patient") + "/fallback", said, key=doctor.token, actor=None)
    assert reply.status == 200
    by = {"id": visit.ids["Doctor"]}
    assert await last_event(here) == ("fallback.used", {**said, "by": by})
    # After the end too: that is when it is written down.
    await here.ask("POST", f"{visit.path}/end")
    said = {"mode": "chat", "outcome": "rebooked"}
    assert (await here.ask("POST", visit.of("Patient") + "/fallback", said)).status == 200
    kind, data = await last_event(here)
    assert (kind, data["outcome"], data["by"]["id"]) == ("fallback.used", "rebooked", "nurse-1")  # type: ignore[index]
    wrong = await here.ask("POST", visit.of("Patient") + "/fallback", {"mode": "fax", "outcome": "completed"})
    assert (wrong.status, wrong.pointers) == (422, {"#/mode"})


async def test_no_visit_went_on_by_phone_that_has_not_begun_or_never_will(here: Installation) -> None:
    visit = await booked(here)
    await here.ask("DELETE", visit.path)
    reply = await here.ask("POST", visit.of("Patient") + "/fallback", {"mode": "phone", "outcome": "no_answer"})
    assert (reply.status, reply.problem) == (409, "state-conflict")
