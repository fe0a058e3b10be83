"""The audit trail over HTTP: every act is in it with who did it, reading it is too, and it is FHIR where asked for."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from vardrum.control.app import CannotStart
from vardrum.control.audit.cli import public_keys
from vardrum.control.audit.verify import verify
from vardrum.control.store import audit
from vardrum.tests.api.installation import ACTOR, START, Installation, Visit
from vardrum.tests.api.test_cli import vardrum
from vardrum.tests.support.server import Server
from vardrum.tests.support.wait import wait_until


async def entries(here: Installation, **query: Any) -> list[Any]:
    """All entries of the trail that fit, but for readings of it."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        text = "&".join(f"{name}={value}" for name, value in {"limit": 200, **query, **more}.items())
        reply = await here.ask("GET", f"/v1/audit?{text}")
        assert reply.status == 200, reply
        found += reply.body["items"]
        cursor = reply.body["next"]
        if cursor is None:
            return [one for one in found if one["action"] != "audit.read"]


async def actions(here: Installation, visit: Visit) -> list[str]:
    return [one["action"] for one in await entries(here, room=visit.id)]


async def test_whoever_sees_a_number_a_report_or_the_waiting_list_is_written_down(here: Installation) -> None:
    people = [
        {"role": "caregiver", "display_name": "Doctor", "host": True},
        {"role": "patient", "display_name": "Patient", "phone": "+46701234567"},
    ]
    visit = await here.book(participants=people, patient_ref="patient-1")
    await visit.comes("Patient")
    opened = await here.ask(
        "POST", "/v1/staff/sessions", {"user": {"id": "n-2", "name": "Nora"}, "care_unit": "Ward 7"}
    )
    for _ in range(3):  # a console asks every few seconds
        assert (await here.ask("GET", "/v1/waiting", key=opened.body["token"])).body["items"] != []
    assert (await here.ask("GET", visit.of("Patient") + "/phone")).body == {"phone": "+46701234567"}
    assert (await here.ask("GET", visit.path + "/report")).status == 200
    assert (await here.ask("PUT", "/v1/care-units/Ward%207", {"functions": ["chat"]})).status == 200
    hook = (await here.ask("POST", "/v1/webhooks", {"url": "https://portal.invalid/"})).body["id"]
    assert (await here.ask("DELETE", f"/v1/webhooks/{hook}")).status == 204
    found = [(one["action"], one["actor"].get("id"), one["actor"]["known"]) for one in await entries(here)]
    for expected in (
        ("staff.logged_in", "nurse-1", "key"),
        ("room.read", "n-2", "staff"),
        ("participant.phone_revealed", "nurse-1", "key"),
        ("room.read", "nurse-1", "key"),
        ("care_unit.changed", "nurse-1", "key"),
        ("webhook.created", "nurse-1", "key"),
        ("webhook.deleted", "nurse-1", "key"),
    ):
        assert found.count(expected) == 1, (expected, found)
    seen = [one for one in await entries(here, patient_ref="patient-1") if one["action"] == "room.read"]
    assert {one["detail"]["how"] for one in seen} >= {"waiting", "report"}


async def test_every_act_on_a_visit_is_there_once_and_in_order(here: Installation) -> None:
    visit = await here.book(patient_ref="patient-1")
    host = await visit.host()
    await visit.admitted("Patient")
    await visit.act("Patient", "admit")  # so already: no act
    await here.ask("PUT", visit.of("Patient") + "/identity", {"method": "document", "document_type": "passport 123"})
    await visit.act("Patient", "mute")
    await visit.act("Patient", "hold")
    await visit.act("Patient", "identify", host=host.participant)
    await visit.act("Patient", "deny", reason="not expected")
    await visit.act("Patient", "remove")
    for name in ("lock", "unlock"):
        await here.ask("POST", f"{visit.path}/{name}", {})
    await here.ask("PATCH", visit.path, {"title": "x"}, If_Match="*")
    await here.ask("PATCH", visit.of("Relative"), {"language": "fi"}, If_Match="*")
    await here.ask("POST", visit.of("Relative") + "/link", {})
    await here.ask("DELETE", visit.of("Relative"))
    await here.visits.leave(host.id)
    for name in ("end", "reopen"):
        await here.ask("POST", f"{visit.path}/{name}", {}, key=None)
    assert await actions(here, visit) == [
        "room.created",
        *["participant.invited"] * 3,
        "room.read",  # the portal looks up whether it vouches for a host
        "participant.vouched",
        "participant.admitted",
        "participant.waiting",
        "participant.admitted",
        "participant.identified",
        "participant.muted",
        "participant.held",
        "participant.identifying",
        "participant.denied",
        "participant.removed",
        "room.locked",
        "room.unlocked",
        "room.updated",
        "participant.updated",
        "participant.link_renewed",
        "participant.withdrawn",
        "participant.left",
        "room.ended",
        "room.reopened",
    ]
    cancelled = await here.book()
    await here.ask("DELETE", cancelled.path)
    assert (await actions(here, cancelled))[-1] == "room.cancelled"
    assert "passport" not in json.dumps(await entries(here))


async def test_an_entry_says_who_when_where_about_whom_and_why(here: Installation) -> None:
    people = [{"role": "patient", "display_name": "Anna Berg", "external_ref": "anna"}]
    visit = await here.book(
        patient_ref="patient-1", care_unit={"name": "Ward 7", "hsa_id": "SE1-W7"}, participants=people
    )
    await visit.comes("Anna Berg")
    await visit.act("Anna Berg", "deny", reason="another day")
    (one,) = await entries(here, action="participant.denied")
    key = one["actor"].pop("key")
    assert key.startswith("key_")
    assert one == {
        "number": one["number"],
        "at": "2026-03-02T09:00:00Z",
        "action": "participant.denied",
        "outcome": "done",
        "actor": {"known": "key", "id": "nurse-1", "name": "Nils Nurse", "care_unit": "Ward 7"},
        "care_unit": "SE1-W7",
        "room": visit.id,
        "patient_ref": "patient-1",
        "person": {"participant": visit.ids["Anna Berg"], "name": "Anna Berg", "external_ref": "anna"},
        "reason": "another day",
        "detail": {"session": one["detail"]["session"]},
        "erased": [],
        "hash": one["hash"],
    }
    (came,) = await entries(here, action="participant.waiting")
    assert came["actor"] == {"known": "participant", "id": visit.ids["Anna Berg"], "name": "Anna Berg"}


async def test_hosts_keys_and_the_clock_are_told_apart(here: Installation) -> None:
    visit = await here.book()
    host = await visit.host()
    await visit.comes("Patient")
    await here.ask("POST", visit.of("Patient") + "/admit", {}, key=host.token, actor=None)
    await here.ask("PATCH", visit.path, {"title": "x"}, If_Match="*", actor=None)
    for session in (host.id, (await visit.comes("Patient")).id):
        await here.visits.leave(session)
    await here.ask("POST", visit.of("Patient") + "/remove", {})
    by = {one["action"]: one["actor"] for one in await entries(here, room=visit.id)}
    assert by["participant.admitted"]["known"] == "host"
    assert by["participant.admitted"]["name"] == "Doctor"
    key = by["room.updated"]
    assert key == {"known": "key", "id": key["key"], "key": key["key"]}
    other = await here.book()
    await here.pass_time(hours=2)
    (ended,) = await entries(here, room=other.id, action="room.ended")
    assert ended["actor"] == {"known": "system"}


async def test_reading_a_visit_is_an_access_once_an_hour_for_each_reader(here: Installation) -> None:
    visit = await here.book(patient_ref="patient-1")
    other = await here.book(patient_ref="patient-2")
    for path in (visit.path, f"{visit.path}/participants", visit.of("Patient"), "/v1/rooms", "/v1/rooms"):
        assert (await here.ask("GET", path)).status == 200
    read = await entries(here, action="room.read")
    assert [(one["room"], one["detail"]) for one in read] == [
        (visit.id, {"how": "room"}),
        (other.id, {"how": "list"}),
    ]
    assert read[0]["actor"]["id"] == "nurse-1"
    assert [one["room"] for one in await entries(here, action="room.read", patient_ref="patient-2")] == [other.id]
    await here.ask("GET", visit.path, actor={"id": "nurse-2", "name": "Nora"})
    await here.ask("GET", visit.path, key=await here.new_key("north"))
    assert len(await entries(here, action="room.read", room=visit.id)) == 3
    here.now = START.replace(hour=10)
    await here.ask("GET", visit.path)
    assert len(await entries(here, action="room.read", room=visit.id)) == 4


async def test_what_is_refused_is_no_act(here: Installation) -> None:
    visit = await here.book()
    before = await actions(here, visit)
    for verb in ("admit", "deny", "hold"):
        assert (await visit.act("Patient", verb)).status == 409
    assert (await visit.act("Patient", "admit", key=await here.new_key("north", ["rooms:read"]))).status == 403
    reply = await here.ask("POST", visit.of("Patient") + "/admit", {}, Idempotency_Key="again")
    assert reply.status == 409
    assert await actions(here, visit) == before


async def test_a_repeated_request_is_one_act(here: Installation) -> None:
    visit = await here.book()
    await visit.comes("Patient")
    for _ in range(2):
        assert (await here.ask("POST", visit.of("Patient") + "/admit", {}, Idempotency_Key="k")).status == 200
    assert (await actions(here, visit)).count("participant.admitted") == 1


async def test_it_is_filtered_and_paged(here: Installation) -> None:
    first = await here.book(patient_ref="patient-1", care_unit={"name": "Ward 7"})
    here.now = START.replace(minute=10)
    second = await here.book(patient_ref="patient-2", care_unit={"name": "Ward 8"})
    await here.ask("POST", f"{second.path}/lock", {}, actor={"id": "nurse-2", "name": "Nora"})
    assert {one["room"] for one in await entries(here, room=first.id)} == {first.id}
    assert {one["room"] for one in await entries(here, patient_ref="patient-2")} == {second.id}
    assert [one["action"] for one in await entries(here, actor="nurse-2")] == ["room.locked"]
    assert {one["room"] for one in await entries(here, care_unit="Ward%208")} == {second.id}
    assert {one["room"] for one in await entries(here, **{"from": "2026-03-02T09:10:00Z"})} == {second.id}
    assert second.id not in {one.get("room") for one in await entries(here, to="2026-03-02T09:10:00Z")}
    assert await entries(here, action="room.created", actor="nobody") == []
    whole = await entries(here)
    assert [one["number"] for one in whole] == sorted(one["number"] for one in whole)
    # Page by page the same is found, and what is written meanwhile doesn't make it endless.
    assert [one["number"] for one in await entries(here, limit=1)][: len(whole)] == [one["number"] for one in whole]
    for query in ("cursor=x", "cursor=MS4w", "limit=0", "who=x", "from=now"):
        reply = await here.ask("GET", f"/v1/audit?{query}")
        assert (reply.status, reply.problem) == (422, "invalid-query"), query


async def test_reading_the_trail_is_in_the_trail(here: Installation) -> None:
    await here.book(patient_ref="patient-1")
    await here.ask("GET", "/v1/audit?patient_ref=patient-1&action=room.created")
    (one,) = [
        one
        for one in (await here.ask("GET", "/v1/audit?action=audit.read")).body["items"]
        if one.get("patient_ref") == "patient-1"
    ]
    assert one["actor"]["id"] == ACTOR["id"]
    assert one["detail"]["entries"] == 1
    assert one["detail"]["action"] == "room.created"


@pytest.mark.both_databases
async def test_a_filter_is_bounded_by_what_it_looks_for(here: Installation) -> None:
    longest = {"room": 48, "patient_ref": 200, "actor": 200, "care_unit": 200, "action": 200}
    for name, length in longest.items():
        reply = await here.ask("GET", f"/v1/audit?{name}={'å' * length}")
        assert (reply.status, reply.body["items"]) == (200, [])
        reply = await here.ask("GET", f"/v1/audit?{name}={'å' * (length + 1)}")
        assert (reply.status, reply.problem) == (422, "invalid-query")
    assert len(await entries(here)) == 2


async def test_nobody_waits_while_somebody_reads_a_long_trail(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = audit.page
    booked: list[Visit] = []

    async def long(*asked: Any) -> Any:
        found = await page(*asked)
        async with asyncio.timeout(20):
            booked.append(await here.book())
        return found

    monkeypatch.setattr(audit, "page", long)
    assert (await here.ask("GET", "/v1/audit")).status == 200
    assert len(booked) == 1


async def test_what_is_about_somebody_is_not_looked_for_in_the_whole_trail(here: Installation) -> None:
    asked: list[str] = []
    async with here.app.store.read() as db:
        driver: Any = (await (await db.connection()).get_raw_connection()).driver_connection
        await driver.set_trace_callback(asked.append)
        for chosen in (
            audit.Chosen(room="x"),
            audit.Chosen(patient_ref="x", action="room.read"),
            audit.Chosen(actor="x", care_unit="y", upto=7),
        ):
            await audit.page(db, "north", chosen, 51)
        await audit.about_person(db, "north", "x", {"part_x": "room_x"})
        await audit.known_by_trail(db, "north", "x")
        await driver.set_trace_callback(None)
    assert isinstance(here.app.settings.database, Path)
    with sqlite3.connect(here.app.settings.database) as database:
        plans = [database.execute(f"EXPLAIN QUERY PLAN {one}").fetchall() for one in asked if one.startswith("SELECT")]
    steps = [row[3] for plan in plans for row in plan if "audit_entries USING" in row[3]]
    assert len(steps) >= 6
    wide = ("(tenant=?)", "(tenant=? AND number>?)", "(tenant=? AND action=?)", "(tenant=? AND person_ref>?)")
    assert [step for step in steps if step.endswith(wide)] == []


async def test_the_trail_is_for_its_scope_and_its_tenant(here: Installation) -> None:
    visit = await here.book(patient_ref="patient-1")
    others = ["rooms:read", "rooms:write", "admission", "vouch", "reports", "admin"]
    reply = await here.ask("GET", "/v1/audit", key=await here.new_key("north", others))
    assert (reply.status, reply.problem) == (403, "not-allowed")
    south = await here.new_key("south", ["audit"])
    assert (await here.ask("GET", f"/v1/audit?room={visit.id}", key=south)).body["items"] == []
    found = (await here.ask("GET", "/v1/audit", key=south)).body["items"]
    assert {one["action"] for one in found} == {"tenant.created", "key.created", "audit.read"}
    host = await visit.host()
    assert (await here.ask("GET", "/v1/audit", key=host.token)).status == 403


async def test_it_is_fhir_where_that_is_asked_for(here: Installation) -> None:
    people = [
        {"role": "patient", "display_name": "Anna Berg", "external_ref": "anna"},
        {"role": "caregiver", "display_name": "Doctor", "host": True},
    ]
    visit = await here.book(patient_ref="patient-1", participants=people)
    await visit.host()
    await visit.comes("Anna Berg")
    await visit.act("Anna Berg", "deny", reason="another day")
    await here.pass_time(hours=2)
    await here.ask("DELETE", "/v1/people/anna")
    reply = await here.ask("GET", "/v1/audit?limit=200", Accept="application/fhir+json")
    assert reply.headers["Content-Type"].startswith("application/fhir+json")
    bundle = Bundle.model_validate(reply.body)
    assert bundle.type == "searchset"
    events = [one["resource"] for one in reply.body["entry"]]
    assert len(events) > 10
    denied = next(one for one in events if one["subtype"][0]["code"] == "participant.denied")
    assert denied["agent"][0]["who"] == {"identifier": {"value": "nurse-1"}, "display": "Nils Nurse"}
    assert denied["entity"][0]["what"]["identifier"]["value"] == "patient-1"
    assert denied["source"]["site"] == "Ward 7"
    page = await here.ask("GET", "/v1/audit?limit=1", Accept="application/fhir+json")
    Bundle.model_validate(page.body)
    following = next(one["url"] for one in page.body["link"] if one["relation"] == "next")
    assert following.startswith("https://video.example.org/v1/audit?")
    path = following.removeprefix("https://video.example.org")
    second = await here.ask("GET", path, Accept="application/fhir+json")
    assert second.body["entry"][0]["resource"]["id"] == "north-2"
    empty = await here.ask("GET", "/v1/audit?room=room_x", Accept="application/fhir+json")
    Bundle.model_validate(empty.body)
    assert "entry" not in empty.body


async def test_a_stopped_server_has_signed_all_that_it_wrote(tmp_path: Path) -> None:
    async with Installation(tmp_path) as here:
        visit = await here.book()
        await visit.comes("Patient")
    async with Installation(tmp_path) as again:
        report = await verify(again.app.store, tmp_path / "audit", public_keys(again.app.keyring), now=again.now)
        assert list(report.problems) == []
        assert report.heads >= 2


async def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match=r"audit\.export: can't use"):
        await Installation(tmp_path / "data", {"audit": {"export": str(tmp_path / "file")}}).__aenter__()


async def test_an_operator_verifies_prints_heads_and_finds_what_was_cut(tmp_path: Path) -> None:
    async with Server(tmp_path / "data", env={"VARDRUM_AUDIT__EXPORT_SECONDS": "1"}) as server:
        data = ("--data", str(server.data))
        await vardrum("tenants", "create", "north", *data)
        await vardrum("keys", "create", "--tenant", "north", "--name", "x", "--scope", "audit", *data)
        exported = server.data / "audit" / "north.jsonl"

        def two() -> bool:
            return exported.exists() and json.loads(exported.read_text().splitlines()[-1])["number"] == 2

        await wait_until(two, deadline=20, what="the head of what the command line did")
        # While the server runs.
        status, output, _ = await vardrum("audit", "verify", *data)
        assert (status, output.split(" ")[0]) == (0, "2")
    keys = tmp_path / "keys.json"
    keys.write_text((await vardrum("audit", "keys", *data))[1])
    kept = tmp_path / "kept.jsonl"
    kept.write_text((await vardrum("audit", "head", *data))[1])
    assert json.loads(kept.read_text())["number"] == 2
    checks = ("audit", "verify", "--keys", str(keys), "--heads", str(kept), *data)
    assert (await vardrum(*checks))[0] == 0
    with sqlite3.connect(server.data / "vardrum.db") as database:
        database.execute("DELETE FROM audit_entries WHERE number = 2")
    status, output, errors = await vardrum(*checks)
    assert status == 1
    assert "north 2: cut: north.jsonl: entries up to 2 were signed" in output
    assert "north 2: cut: kept.jsonl: entries up to 2 were signed" in output
    assert errors == "3 things don't fit, in 1 entries\n"
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    assert (await vardrum("audit", "verify", "--keys", str(bad), *data))[0] == 1


async def test_verifying_a_folder_without_a_trail_is_no_success_and_makes_none(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": {"k1": base64.b64encode(bytes(32)).decode()}}))
    nowhere = tmp_path / "mistyped"
    for command in (("audit", "verify", "--keys", str(keys)), ("audit", "head")):
        status, output, errors = await vardrum(*command, "--data", str(nowhere))
        assert (status, output) == (1, "")
        assert "there is no database" in errors
        assert not nowhere.exists()
    data = tmp_path / "data"
    await vardrum("tenants", "list", "--data", str(data))
    status, _, errors = await vardrum("audit", "verify", "--keys", str(keys), "--data", str(data))
    assert (status, errors) == (1, "there is no audit trail here to verify\n")
