"""/v1/events: what has happened, gapless and in the order of commits, to the tenant whose it is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from vardrum.control.store.store import Store
from vardrum.control.visits.scene import Policy
from vardrum.control.visits.service import Visits
from vardrum.tests.api.installation import Installation

pytestmark = pytest.mark.both_databases


async def page(here: Installation, query: str = "", key: str | None = None) -> Any:
    reply = await here.ask("GET", f"/v1/events?{query}", key=key)
    assert reply.status == 200, reply
    return reply.body


async def test_a_portal_reads_what_has_happened_to_its_room(here: Installation) -> None:
    visit = await here.book(external_ref="booking-1")
    await visit.admitted("Patient")
    body = await page(here)
    assert body["next"] is None
    assert [one["position"] for one in body["items"]] == list(range(1, len(body["items"]) + 1))
    assert [one["type"] for one in body["items"]] == [
        "room.created",
        "room.opened",
        "participant.invited",
        "participant.invited",
        "participant.invited",
        "participant.waiting",
        "participant.connected",
        "participant.admitted",
    ]
    assert {one["room"] for one in body["items"]} == {visit.id}
    assert {one["external_ref"] for one in body["items"]} == {"booking-1"}
    admitted = body["items"][-1]
    assert admitted["id"].startswith("evt_")
    assert admitted["occurred_at"] == "2026-03-02T09:00:00Z"
    assert admitted["participant"] == visit.ids["Patient"]
    assert admitted["data"]["by"] == {"id": "nurse-1", "care_unit": "Ward 7"}


async def test_no_name_and_no_typed_word_is_in_an_event(here: Installation) -> None:
    visit = await here.book(title="Unspoken title", patient_ref="unspoken-ref")
    await visit.comes("Patient")
    await visit.act("Patient", "identify", reason="Unspoken reason")
    await here.ask("PUT", visit.of("Patient") + "/identity", {"method": "document", "document_type": "passport"})
    await visit.act("Patient", "deny", reason="Unspoken reason")
    await here.ask("POST", f"{visit.path}/lock", {})
    said = json.dumps(await page(here))
    for word in ("Unspoken", "unspoken", "Nils", "Patient", "Doctor"):
        assert word not in said
    # The reason stays where whoever it is about is told it.
    room = await here.visits.snapshot(visit.id)
    assert [one.reason for one in room.arrivals] == ["Unspoken reason"]


async def test_pages_follow_each_other_and_the_end_says_so(here: Installation) -> None:
    await here.book()
    everything = (await page(here))["items"]
    found: list[Any] = []
    after: int | None = 0
    while after is not None:
        body = await page(here, f"after={after}&limit=2")
        found += body["items"]
        after = body["next"]
    assert found == everything
    last = everything[-1]["position"]
    assert await page(here, f"after={last}") == {"items": [], "next": None}
    await here.book()
    assert (await page(here, f"after={last}"))["items"][0]["position"] == last + 1


async def test_a_tenant_counts_and_sees_only_its_own(here: Installation) -> None:
    south = await here.new_key("south")
    await here.book()
    await here.ask("POST", "/v1/rooms", here.booking(), key=south)
    await here.book()
    theirs = (await page(here, key=south))["items"]
    assert [(one["position"], one["type"]) for one in theirs] == [(1, "room.created"), (2, "room.opened")]
    ours = (await page(here))["items"]
    assert [one["position"] for one in ours] == list(range(1, 11))
    assert {one["room"] for one in ours}.isdisjoint(one["room"] for one in theirs)


@pytest.mark.both_databases(False)  # refused before any database is asked
@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=9007199254740992", "limit=0", "limit=501", "cursor=x"])
async def test_a_query_that_does_not_fit_is_refused(here: Installation, query: str) -> None:
    reply = await here.ask("GET", f"/v1/events?{query}")
    assert (reply.status, reply.problem) == (422, "invalid-query")


@pytest.mark.both_databases(False)
async def test_a_key_needs_the_scope_and_a_hosts_token_will_not_do(here: Installation) -> None:
    writer = await here.new_key("north", ["rooms:write"])
    assert (await here.ask("GET", "/v1/events", key=writer)).status == 403
    doctor = await (await here.book()).host()
    assert (await here.ask("GET", "/v1/events", key=doctor.token)).status == 403


async def test_readers_miss_nothing_while_many_write(here: Installation) -> None:
    south = await here.new_key("south")
    rounds, writers, readers = 5, 3, 2
    finished = asyncio.Event()

    async def portal(key: str) -> None:
        for _ in range(rounds):
            reply = await here.ask("POST", "/v1/rooms", here.booking(), key=key)
            assert reply.status == 201
            assert (await here.ask("DELETE", f"/v1/rooms/{reply.body['id']}", key=key)).status == 204
            # Refused: what is rolled back leaves no gap.
            no_time = here.booking(ends_at=here.now.isoformat())
            assert (await here.ask("POST", "/v1/rooms", no_time, key=key)).status == 422

    async def beside() -> None:
        """Another process, such as a command: it has a queue of its own."""
        async with Store(here.app.settings.database) as store:
            visits = Visits(store, Policy(public_url="https://x.example"), here.app.keyring, clock=lambda: here.now)
            for _ in range(rounds):
                made = await here.ask("POST", "/v1/rooms", here.booking())
                await visits.cancel_room(made.body["id"], tenant="north")

    async def reader(key: str) -> list[str]:
        found: list[str] = []
        while True:
            over = finished.is_set()
            items = (await page(here, f"after={len(found)}&limit=7", key))["items"]
            assert [one["position"] for one in items] == list(range(len(found) + 1, len(found) + len(items) + 1))
            found += [one["id"] for one in items]
            if over and not items:
                return found

    reading = [asyncio.create_task(reader(key)) for key in (here.key, south) for _ in range(readers)]
    await asyncio.gather(*(portal(key) for key in (here.key, south) for _ in range(writers)), beside())
    finished.set()
    seen = await asyncio.gather(*reading)
    north, theirs = seen[:readers], seen[readers:]
    assert all(one == north[0] for one in north)
    assert all(one == theirs[0] for one in theirs)
    assert len(theirs[0]) == writers * rounds * 3  # created, opened, cancelled
    assert len(north[0]) == len(theirs[0]) + rounds * 3
    assert len(set(north[0] + theirs[0])) == len(north[0]) + len(theirs[0])
