"""An installation on PostgreSQL: when it goes away in the middle of the day, and when it isn't there at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from vardrum.control.visits.values import Role
from vardrum.tests.api.installation import Installation, Reply
from vardrum.tests.api.test_cli import vardrum
from vardrum.tests.api.websocket_house import House
from vardrum.tests.support.logs import leaks
from vardrum.tests.support.postgres import PostgresServer
from vardrum.tests.support.server import Server
from vardrum.tests.support.wait import wait_until


@pytest.fixture
def mine() -> Iterator[PostgresServer]:
    """A server that a test may end."""
    with PostgresServer() as server:
        yield server


async def test_what_is_asked_while_it_is_away_is_unavailable_and_then_works_by_itself(
    tmp_path: Path, mine: PostgresServer
) -> None:
    with capture_logs() as said, mine.database() as database:
        async with Installation(tmp_path, {"database_url": database}) as here:
            visit = await here.book(external_ref="before")
            mine.crash()
            booking = here.booking(external_ref="during")
            refused = [
                await here.ask("POST", "/v1/rooms", booking, Idempotency_Key="k"),
                await here.ask("GET", visit.path),
                await here.ask("GET", "/v1/events"),
                await here.ask("POST", "/v1/sessions", {"invite": visit.links["Patient"]}, key=""),
                await here.ask("GET", "/readyz", key=""),
            ]
            assert {(one.status, one.problem) for one in refused} == {(503, "unavailable")}
            assert all(int(one.headers["Retry-After"]) > 0 for one in refused)
            assert (await here.ask("GET", "/healthz", key="")).status == 200
            await asyncio.to_thread(mine.start)

            async def booked() -> Reply | None:
                reply = await here.ask("POST", "/v1/rooms", booking, Idempotency_Key="k")
                return reply if reply.status != 503 else None

            reply = await wait_until(booked, deadline=20, what="the database to be used again")
            assert reply.status == 201
            assert (await here.ask("GET", "/readyz", key="")).status == 200
            assert (await visit.room())["external_ref"] == "before"
            positions = [one["position"] for one in (await here.ask("GET", "/v1/events")).body["items"]]
            assert positions == list(range(1, len(positions) + 1))
    assert leaks("\n".join(json.dumps(one, default=str) for one in said), ["before", "during", "unspoken"]) == []


async def test_visits_go_on_while_it_is_away_and_what_happened_meanwhile_is_written_down_later(
    tmp_path: Path, mine: PostgresServer
) -> None:
    with mine.database() as database:
        async with House(tmp_path, database=database) as house:
            room = await house.room(("Doc", Role.CAREGIVER), ("Pat", Role.PATIENT), ("Rel", Role.RELATIVE))
            doctor, patient = await room.host("Doc"), await room.admitted("Pat")
            relative = await room.comes("Rel")
            for page in (doctor, patient):
                await page.offer()
            mine.crash()
            # Talk and pictures don't pass through the database.
            await patient.say("chat", id="1", text="still here")
            await doctor.hears("chat", text="still here")
            await patient.offer(2)
            await doctor.say("admit", participant=room.ids["Rel"])
            assert (await doctor.hears("error"))["code"] == "unavailable"
            # The relative goes away meanwhile, without a word.
            relative.cut()
            stranger = await house.hello("vrs_anything")
            assert (await stranger.hears("error"))["code"] == "unavailable"
            assert await stranger.closed() == 1013  # try again later
            await asyncio.to_thread(mine.start)

            async def lost() -> bool:
                found = await house.visits.snapshot(room.id)
                return [one.connection for one in found.participants if one.id == room.ids["Rel"]] == ["lost"]

            await wait_until(lost, deadline=30, what="the loss to be written down")
            await doctor.say("admit", participant=room.ids["Rel"])
            await doctor.lists("participants", lambda people: len(people) == 3)


async def test_a_change_whose_commit_was_not_answered_is_told_at_the_next_tick(
    tmp_path: Path, mine: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mine.database() as database:
        async with Installation(tmp_path, {"database_url": database}) as here:
            visit = await here.book()
            told: list[str] = []

            async def listens(room: str) -> None:
                told.append((await here.visits.snapshot(room)).title or "")

            here.visits.subscribe(listens)
            # It dies when the change is written and before anyone has heard of it.
            run = here.visits._telling.tell

            async def dies_first(room: str) -> None:
                mine.crash()
                await run(room)

            monkeypatch.setattr(here.visits._telling, "tell", dies_first)
            changed = await here.ask("PATCH", visit.path, {"title": "new"}, If_Match="*")
            monkeypatch.undo()
            assert (changed.status, told) == (200, [])
            await asyncio.to_thread(mine.start)

            async def ticks() -> bool:
                return bool(told)

            await wait_until(ticks, deadline=20, what="the next ticks")
            assert told[0] == "new"


async def test_an_operator_makes_keys_beside_a_server_on_postgresql(tmp_path: Path, postgres: PostgresServer) -> None:
    with postgres.database() as database:
        env = {"VARDRUM_DATABASE_URL": database}
        async with Server(tmp_path / "one", env=env) as server:
            assert await vardrum("tenants", "create", "north", env=env) == (0, "north\n", "")
            made = await vardrum("keys", "create", "--tenant", "north", "--name", "x", "--scope", "rooms:read", env=env)
            assert made[0] == 0
            second = await vardrum(
                "serve", "--data", str(tmp_path / "two"), "--http", "127.0.0.1:0", "--media-port", "0", env=env
            )
            assert second[0] == 1
            assert second[2].startswith("database_url: postgresql://vardrum:***@")
            assert second[2].endswith(" is in use by another server\n")
            assert leaks(server.process.output(), ["unspoken"]) == []


async def test_a_server_that_cannot_reach_it_says_so_and_no_password(tmp_path: Path) -> None:
    env = {"VARDRUM_DATABASE_URL": "postgresql://vardrum:unspoken@127.0.0.1:9/vardrum"}
    shown = "postgresql://vardrum:***@127.0.0.1:9/vardrum"
    for command in (("serve", "--data", str(tmp_path), "--http", "127.0.0.1:0"), ("tenants", "list")):
        status, output, errors = await vardrum(*command, env=env)
        assert (status, output) == (1, "")
        assert errors.startswith(f"database_url: {shown} can't be used: ")
        assert "Connection refused" in errors
        assert errors.count("\n") == 1
        assert "unspoken" not in errors
