"""Counts of visits: what each visit counts as, small groups, and a table that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from vardrum.control.store import reporting
from vardrum.control.visits.statistics import Spread
from vardrum.tests.api.installation import START, Installation, Visit

DAY = {"from": (START - timedelta(hours=1)).isoformat(), "to": (START + timedelta(hours=12)).isoformat()}


async def count(here: Installation, **query: str) -> Any:
    reply = await here.ask("GET", f"/v1/statistics?{urlencode({**DAY, **query})}")
    assert reply.status == 200, reply
    return reply.body


async def end(visit: Visit) -> None:
    await visit.here.ask("POST", visit.path + "/end", {})


async def held(here: Installation, minutes: float = 10, **fields: Any) -> tuple[Visit, str]:
    """A visit that took place, and the patient's token."""
    visit = await here.book(**fields)
    await visit.host()
    patient = await visit.admitted("Patient")
    here.now += timedelta(minutes=minutes)
    await end(visit)
    return visit, patient.token


async def test_each_visit_is_one_thing_and_training_is_none(here: Installation) -> None:
    await held(here)
    await held(here, training=True)
    nobody = await here.book()
    await nobody.host()
    await end(nobody)
    waited = await here.book(form="phone")
    await waited.comes("Patient")
    await end(waited)
    cancelled = await here.book(form="chat")
    await here.ask("DELETE", cancelled.path)
    await here.book()
    elsewhere = await here.book(care_unit={"name": "Ward 8"})
    later = START + timedelta(days=2)
    await here.book(starts_at=later.isoformat(), ends_at=(later + timedelta(hours=1)).isoformat())

    body = await count(here)
    assert [one["care_unit"] for one in body["units"]] == ["Ward 7", "Ward 8"]
    kinds = ("booked", "held", "no_shows", "not_met", "cancelled", "pending")
    assert [body["units"][0][kind] for kind in kinds] == [5, 1, 1, 1, 1, 1]
    assert [body["total"][kind] for kind in kinds] == [6, 1, 1, 1, 1, 2]
    assert [body["total"][form] for form in ("video", "phone", "chat")] == [4, 1, 1]
    only = await count(here, care_unit="Ward 8")
    assert [one["care_unit"] for one in only["units"]] == ["Ward 8"]
    assert only["total"] == {name: value for name, value in only["units"][0].items() if name != "care_unit"}
    assert elsewhere.id
    other = await here.ask("GET", f"/v1/statistics?{urlencode(DAY)}", key=await here.new_key("south"))
    assert (other.body["units"], other.body["total"]["booked"]) == ([], 0)


async def test_waiting_and_lasting_are_told_by_median_and_p90(here: Installation) -> None:
    for minutes in (1, 2, 8):
        visit = await here.book(
            starts_at=(here.now + timedelta(minutes=2)).isoformat(),
            ends_at=(here.now + timedelta(minutes=32)).isoformat(),
        )
        await visit.comes("Patient")
        here.now += timedelta(minutes=minutes)
        await visit.host()
        await visit.act("Patient", "admit")
        here.now += timedelta(minutes=minutes * 2)
        await end(visit)
    total = (await count(here))["total"]
    assert total["waiting"] == {"count": 3, "median_seconds": 120.0, "p90_seconds": 480.0}
    assert total["waiting_after_start"] == {"count": 3, "median_seconds": 0.0, "p90_seconds": 360.0}
    assert total["duration"] == {"count": 3, "median_seconds": 240.0, "p90_seconds": 960.0}


def test_p90_is_by_nearest_rank() -> None:
    assert Spread.of([]) == Spread(0, None, None)
    assert Spread.of([7.0]) == Spread(1, 7.0, 7.0)
    assert Spread.of([float(n) for n in range(10, 0, -1)]) == Spread(10, 5.5, 9.0)
    assert Spread.of([float(n) for n in range(1, 12)]) == Spread(11, 6.0, 10.0)


async def test_failures_are_counted_once_a_visit_and_only_where_there_is_video(here: Installation) -> None:
    for form in ("video", "phone"):
        visit = await here.book(form=form)
        await visit.host()
        patient, relative = await visit.admitted("Patient"), await visit.admitted("Relative")
        for who in (patient, relative):
            await here.visits.happened(who.id, "fallback.needed", {"reason": "no_media"})
        await here.visits.happened(patient.id, "fallback.needed", {"reason": "asked"})
    await held(here)
    technical = (await count(here))["total"]["technical"]
    assert technical == {"visits": 2, "fallback_needed": 1, "fallback_used": 0, "no_media": 1}


async def test_what_few_have_answered_is_not_told(here: Installation) -> None:
    answers = [(5, 1), (4, 2), (3, 3), (2, 4), (1, 5), (1, 1)]
    for n, (technical, seen) in enumerate(answers, 1):
        visit, token = await held(here, minutes=1)
        body = {"technical": technical, "visit": seen}
        await here.ask("POST", visit.path + "/feedback", body, key=token)
        ratings = (await count(here))["total"]["ratings"]
        means = (None, None) if n < 5 else (3.0, 3.0)
        assert (ratings["technical"], ratings["visit"]) == means, "a sixth must not be told by what it changes"
        assert ratings["count"] == n
    assert (await count(here))["total"]["host_ratings"] == {"count": 0, "technical": None, "visit": None}


async def test_hosts_ratings_stand_apart(here: Installation) -> None:
    visit = await here.book()
    host = await visit.host()
    await here.ask("POST", visit.path + "/feedback", {"visit": 1}, key=host.token)
    total = (await count(here))["total"]
    assert (total["ratings"]["count"], total["host_ratings"]["count"]) == (0, 1)


@pytest.mark.parametrize("size", [1, 3, 5, 10, 11])
async def test_many_visits_are_read_in_pieces_and_none_twice(here: Installation, size: int) -> None:
    booked = {(await here.book()).id for _ in range(10)}  # all begin at the same moment
    period = reporting.Period("north", START, START + timedelta(minutes=6))
    found = [room.id async for piece in reporting.pieces(here.app.store, period, (), size) for room in piece.rooms]
    assert (len(found), set(found)) == (10, booked)
    assert (await count(here, to=(START + timedelta(minutes=5)).isoformat()))["total"]["booked"] == 0


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"from": DAY["to"], "to": DAY["from"]}, "#/to"),
        ({"from": DAY["from"], "to": DAY["from"]}, "#/to"),
        ({"to": (START + timedelta(days=366)).isoformat()}, "#/to"),
        ({"from": "2199-12-31T00:00:00Z", "to": "2000-01-01T00:00:00Z"}, "#/to"),
        ({"from": "yesterday"}, "#/from"),
        ({"unit": "x"}, "#/unit"),
    ],
)
async def test_a_period_that_doesnt_fit_is_refused(here: Installation, query: dict[str, str], pointer: str) -> None:
    reply = await here.ask("GET", f"/v1/statistics?{urlencode({**DAY, **query})}")
    assert (reply.status, reply.problem, reply.pointers) == (422, "invalid-query", {pointer})


async def test_the_last_thirty_days_are_counted_where_nothing_is_said(here: Installation) -> None:
    await held(here)
    body = (await here.ask("GET", "/v1/statistics")).body
    assert (body["to"], body["from"]) == ("2026-03-02T09:10:00Z", "2026-01-31T09:10:00Z")
    assert body["total"]["held"] == 1
    later = (await here.ask("GET", f"/v1/statistics?{urlencode({'from': DAY['from']})}")).body
    assert later["to"] == "2026-04-01T08:00:00Z"


HOSTILE = ["=1+1", "+46", "-2+3", "@SUM(A1)", 'Ward "7", north;=1', "=cmd|' /C calc'!A0", "＝1", "\u00a0=1", "Vård ÅÄÖ"]


async def test_a_table_has_a_row_a_unit_and_no_cell_that_runs(here: Installation) -> None:
    for name in HOSTILE:
        reply = await here.ask("POST", "/v1/rooms", here.booking(care_unit={"name": name}))
        assert reply.status == 201, reply
    address = f"{here.app.url}/v1/statistics?{urlencode(DAY)}"
    headers = {"Authorization": f"Bearer {here.key}", "Accept": "text/csv"}
    async with here.http.get(address, headers=headers) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
        text = await answer.text()
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0][:4] == ["care_unit", "from", "to", "booked"]
    assert "waiting_median_seconds" in rows[0]
    assert len(rows) == 1 + len(HOSTILE)
    for row in rows[1:]:
        assert len(row) == len(rows[0])
        assert not any(cell.strip()[:1] in set("=+-@＝") for cell in row), row
        assert row[0].lstrip("'") in [one.strip() for one in HOSTILE]
    assert all(line.startswith('"') for line in text.splitlines()), "one cell whatever separates cells"
