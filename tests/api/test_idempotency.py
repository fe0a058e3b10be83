"""Idempotency-Key: asked twice, done once, answered the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from vardrum.control.visits.bookings import NewRoom
from vardrum.tests.api.installation import Installation

pytestmark = pytest.mark.both_databases


async def count(here: Installation) -> int:
    return len((await here.ask("GET", "/v1/rooms?limit=200")).body["items"])


async def test_the_same_request_is_done_once_and_answered_the_same(here: Installation) -> None:
    body = here.booking(participants=[{"role": "patient", "display_name": "Anna"}])
    first = await here.ask("POST", "/v1/rooms", body, Idempotency_Key="k-1")
    again = await here.ask("POST", "/v1/rooms", body, Idempotency_Key="k-1")
    assert again.body == first.body  # with the link, which is shown nowhere else
    assert (again.status, again.headers["ETag"], again.headers["Location"]) == (
        201,
        first.headers["ETag"],
        first.headers["Location"],
    )
    assert await count(here) == 1


async def test_another_request_under_the_same_key_is_refused(here: Installation) -> None:
    await here.ask("POST", "/v1/rooms", here.booking(), Idempotency_Key="k-1")
    other = await here.ask("POST", "/v1/rooms", here.booking(title="x"), Idempotency_Key="k-1")
    assert (other.status, other.problem) == (422, "idempotency-key-reused")
    # Another caller's key of the same name is another key.
    south = await here.new_key("south")
    assert (await here.ask("POST", "/v1/rooms", here.booking(), key=south, Idempotency_Key="k-1")).status == 201


async def test_a_refusal_is_kept_too(here: Installation) -> None:
    visit = await here.book()
    path = visit.of("Patient") + "/admit"
    first = await here.ask("POST", path, {}, Idempotency_Key="k-1")
    assert first.status == 409
    await visit.comes("Patient")
    again = await here.ask("POST", path, {}, Idempotency_Key="k-1")
    assert (again.status, again.body) == (409, first.body)
    assert again.problem == "state-conflict"
    assert (await here.ask("POST", path, {}, Idempotency_Key="k-2")).status == 200


async def test_a_failure_of_ours_is_not_kept_and_leaves_nothing_behind(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = here.visits.create_room

    async def fails_after_writing(tenant: str, new: NewRoom, participants: list[object]) -> None:
        await create(tenant, new)
        raise OSError("disk full")

    monkeypatch.setattr(here.visits, "create_room", fails_after_writing)
    failed = await here.ask("POST", "/v1/rooms", here.booking(), Idempotency_Key="k-1")
    assert (failed.status, failed.problem) == (500, "internal-error")
    assert "disk full" not in str(failed.body)
    monkeypatch.undo()
    assert await count(here) == 0
    assert (await here.ask("POST", "/v1/rooms", here.booking(), Idempotency_Key="k-1")).status == 201


async def test_the_answer_is_kept_for_a_day_and_over_restarts(tmp_path: Path, database: str) -> None:
    async with Installation(tmp_path, {"database_url": database}) as here:
        key, body = here.key, here.booking(title="once")
        first = await here.ask("POST", "/v1/rooms", body, key=key, Idempotency_Key="k-1")
    async with Installation(tmp_path, {"database_url": database}) as here:
        here.now = here.now.replace(hour=23)
        again = await here.ask("POST", "/v1/rooms", body, key=key, Idempotency_Key="k-1")
        assert again.body == first.body
        here.now = here.now.replace(day=3, hour=9)
        later = {**body, "starts_at": "2026-03-03T09:00:00Z", "ends_at": "2026-03-03T10:00:00Z"}
        assert (await here.ask("POST", "/v1/rooms", later, key=key, Idempotency_Key="k-1")).status == 201


async def test_what_is_kept_cannot_be_read_from_the_disk(here: Installation) -> None:
    body = here.booking(title="Unmistakable", participants=[{"role": "patient", "display_name": "Anna"}])
    reply = await here.ask("POST", "/v1/rooms", body, Idempotency_Key="visible-key")
    secret = reply.body["participants"][0]["join_url"].partition("#")[2]
    kept = await here.everything_kept()
    assert secret.encode() not in kept
    assert b"visible-key" not in kept


async def test_while_the_first_runs_the_second_is_told_so(here: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    create = here.visits.create_room
    began, go_on = asyncio.Event(), asyncio.Event()

    async def waits(*arguments: object) -> object:
        began.set()
        await go_on.wait()
        return await create(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(here.visits, "create_room", waits)
    first = asyncio.create_task(here.ask("POST", "/v1/rooms", here.booking(), Idempotency_Key="k-1"))
    await began.wait()
    second = await here.ask("POST", "/v1/rooms", here.booking(), Idempotency_Key="k-1")
    assert (second.status, second.problem) == (409, "request-running")
    go_on.set()
    assert (await first).status == 201
    assert (await here.ask("POST", "/v1/rooms", here.booking(), Idempotency_Key="k-1")).body == (await first).body


@pytest.mark.both_databases(False)  # refused before any database is asked
@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "å"])
async def test_a_key_that_does_not_fit(here: Installation, key: str) -> None:
    reply = await here.ask("POST", "/v1/rooms", here.booking(), Idempotency_Key=key)
    assert (reply.status, reply.problem) == (422, "invalid-header")
    assert await count(here) == 0


async def test_a_hosts_calls_can_be_repeated_too(here: Installation) -> None:
    visit = await here.book()
    doctor = await visit.host()
    person = {"role": "other", "display_name": "Once"}
    replies = [
        await here.ask("POST", f"{visit.path}/participants", person, key=doctor.token, Idempotency_Key="k")
        for _ in range(2)
    ]
    assert replies[0].body == replies[1].body
    assert len((await visit.room())["participants"]) == 4
