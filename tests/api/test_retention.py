"""What the server forgets by itself, and when: telemetry after 14 days, people after 90, figures after 800."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from vardrum.control.app import App
from vardrum.control.settings import BadSettings, load
from vardrum.control.store import logins, queries
from vardrum.control.visits.values import Actor
from vardrum.tests.api.installation import Installation, Visit
from vardrum.tests.api.test_audit import entries
from vardrum.tests.api.test_erasure import ANNA, DOCTOR, gone_by, left_of, problems


async def pass_days(here: Installation, days: float) -> None:
    """Moves the clock, and lets the server do all that is due."""
    here.now += timedelta(days=days)
    for _ in range(20):
        await here.app.retention.tick()


async def counts(here: Installation) -> dict[str, int]:
    tables = ("rooms", "participants", "sessions", "events", "embed_tokens", "answers")
    with sqlite3.connect(here.app.settings.database) as database:
        return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


async def troubled(here: Installation) -> Visit:
    """A visit that had trouble, a second browser that was replaced, and one that never came."""
    visit = await gone_by(here)
    second = await here.book(participants=[ANNA, DOCTOR], patient_ref="anna", external_ref="booking-1")
    first = await second.admitted("Anna Berg")
    await here.visits.happened(first.id, "media.degraded", {"level": "poor", "reason": "network"})
    await second.comes("Anna Berg")
    waiting = (await here.visits.snapshot(second.id)).arrivals[1]
    await second.act("Anna Berg", "admit", session=waiting.session)
    await second.open("Doctor")
    await here.ask("POST", f"{second.path}/end", {}, Idempotency_Key="k")
    assert visit.id != second.id
    return second


async def media(here: Installation) -> list[Any]:
    async with here.app.store.read() as db:
        return [one.data for one in await queries.events(db, "north", 0, 1000) if one.type == "media.degraded"]


async def test_telemetry_goes_after_two_weeks_and_the_visit_stays(here: Installation) -> None:
    visit = await troubled(here)
    before = await counts(here)
    await pass_days(here, 13)
    assert (await media(here), (await counts(here))["sessions"]) == (
        [{"level": "poor", "reason": "network"}],
        before["sessions"],
    )
    assert (await counts(here))["answers"] == (await counts(here))["embed_tokens"] == 0
    await pass_days(here, 2)
    assert await media(here) == [{}]
    # The browser that was replaced, and the one that never came.
    assert (await counts(here))["sessions"] == before["sessions"] - 2
    anna = (await visit.room())["participants"][0]
    assert (anna["display_name"], anna["state"]) == ("Anna Berg", "admitted")


async def test_people_go_after_ninety_days_and_what_statistics_need_stays(here: Installation) -> None:
    visit = await troubled(here)
    before = await counts(here)
    await pass_days(here, 89)
    assert (await here.ask("GET", visit.path)).status == 200
    await pass_days(here, 2)
    after = await counts(here)
    assert after == {**before, "sessions": 0, "embed_tokens": 0, "answers": 0}
    assert left_of(here, "+4670", "anna@", "booking-1") == []
    assert {cell.partition(".")[0] for cell in left_of(here, "Anna", "anna", "Doctor", "Nils")} == {"audit_entries"}
    for path in (visit.path, f"{visit.path}/participants", visit.of("Anna Berg")):
        assert (await here.ask("GET", path)).status == 404
    assert (await here.ask("GET", "/v1/rooms")).body["items"] == []
    # Readers of events find every one of them, at its place, without anybody's name.
    async with here.app.store.read() as db:
        events = await queries.events(db, "north", 0, 1000)
    assert len(events) == before["events"]
    assert "participant.admitted" in {one.type for one in events}
    assert "by" not in {key for one in events for key in one.data}
    (expired, _) = await entries(here, action="room.expired")
    assert expired["actor"] == {"known": "system"}
    assert expired["patient_ref"] == "anna"
    assert await problems(here) == []


async def test_rooms_that_are_cancelled_or_were_never_used_go_too(here: Installation) -> None:
    cancelled = await here.book()
    await here.ask("DELETE", cancelled.path)
    unused = await here.book()
    await here.pass_time(days=1)
    await pass_days(here, 91)
    for visit in (cancelled, unused):
        assert (await here.ask("GET", visit.path)).status == 404
    assert left_of(here, "Relative") == ["audit_entries.person_name"]


async def test_a_visit_still_to_come_stays_however_old_its_booking(here: Installation) -> None:
    start = here.now + timedelta(days=200)
    times = {"starts_at": start.isoformat(), "ends_at": (start + timedelta(hours=1)).isoformat()}
    visit = await here.book(**times)
    await pass_days(here, 150)
    assert (await visit.room())["participants"][1]["display_name"] == "Patient"


async def test_a_visits_figures_go_at_last_and_positions_never_come_again(here: Installation) -> None:
    await troubled(here)
    async with here.app.store.read() as db:
        last = (await queries.events(db, "north", 0, 1000))[-1].position
    await pass_days(here, 801)
    await pass_days(here, 1)
    assert await counts(here) == dict.fromkeys(await counts(here), 0)
    times = {"starts_at": here.now.isoformat(), "ends_at": (here.now + timedelta(hours=1)).isoformat()}
    await here.book(**times)
    async with here.app.store.read() as db:
        assert (await queries.events(db, "north", 0, 1000))[0].position == last + 1
    assert await problems(here) == []


async def test_logins_and_staffs_sessions_that_have_expired_go_by_the_clock(here: Installation) -> None:
    nora = Actor("n-2", "Nora Nurse")
    await here.app.staff.open("north", nora, "Ward 7")
    await here.app.staff.code("north", nora, ["Ward 7"])
    async with here.app.store.write() as transaction:
        await logins.begin(
            transaction.db,
            state=b"s",
            browser=b"b",
            tenant="north",
            provider="region",
            session=None,
            now=here.now,
            expires_at=here.now + timedelta(minutes=5),
        )
        await logins.worth(transaction.db, b"s", b"c", {"name": "Nora Nurse"}, here.now + timedelta(minutes=5))
    await pass_days(here, 1)
    assert left_of(here, "Nora") == ["audit_entries.actor_name"]


async def test_many_rooms_go_a_few_at_a_time(here: Installation) -> None:
    for _ in range(25):
        visit = await here.book()
        await here.ask("POST", f"{visit.path}/end", {})
    here.now += timedelta(days=91)
    left = []
    for _ in range(4):
        await here.app.retention.tick()
        left.append(len((await here.ask("GET", "/v1/rooms?limit=200")).body["items"]))
    # The server's own tick may have taken its turn in between.
    assert left[0] >= 5
    assert left[-1] == 0


async def test_the_law_is_the_least(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"retention\.audit_years"):
        load(overrides={"retention": {"audit_years": 4}}, environment={})
    with pytest.raises(BadSettings, match=r"retention\.statistics_days: 30 is less than"):
        load(overrides={"retention": {"statistics_days": 30}}, environment={})
    longer = load(overrides={"retention": {"audit_years": 10}, "data": str(tmp_path)}, environment={})
    assert App(longer).settings.retention.audit_years == 10
