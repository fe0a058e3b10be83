"""A database of the first version comes up in this one, with its keys, visits, links and events."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from vardrum.control.secret import digest
from vardrum.control.store import store as module
from vardrum.control.store.models import EPOCH
from vardrum.control.store.store import Store
from vardrum.tests.api.installation import START, Installation
from vardrum.tests.support.postgres import PostgresServer

FIRST = "0001"
KEY, LINK = "vrk_of_the_first_version", "link-of-the-first-version"
ROOM = "room_01950000-0000-7000-8000-000000000001"
HOST, PATIENT = "part_01950000-0000-7000-8000-000000000001", "part_01950000-0000-7000-8000-000000000002"


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """An empty database, without tables."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        yield tmp_path / "data" / "vardrum.db"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        with server.database() as address:
            yield address


def at(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


class Database:
    """Either, asked without anything of ours."""

    def __init__(self, where: Path | str) -> None:
        self._mark = "?" if isinstance(where, Path) else "%s"
        self._connection: Any = sqlite3.connect(where) if isinstance(where, Path) else psycopg.connect(where)

    def insert(self, table: str, **row: Any) -> None:
        marks = ", ".join([self._mark] * len(row))
        self._connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))

    def one(self, question: str) -> Any:
        return self._connection.execute(question).fetchone()

    def close(self) -> None:
        self._connection.commit()
        self._connection.close()


async def first_version(where: Path | str) -> None:
    """What the first version would have written: a tenant, its key, and a visit that is open at START."""
    store = Store(where)
    now = at(START)
    async with store._database.writer.begin() as connection:
        await connection.run_sync(module._migrate, FIRST)
    await store.stop()
    database = Database(where)
    database.insert("tenants", id="north", name="Region North", created_at=now)
    database.insert(
        "api_keys", id="key_01950000-0000-7000-8000-000000000001", tenant="north", name="portal",
        scopes='["rooms:read", "admission", "vouch", "audit"]', secret=digest(KEY), created_at=now,
    )  # fmt: skip
    database.insert(
        "rooms", id=ROOM, tenant="north", state="open", form="video", training=False,
        patient_ref="patient-1", care_unit='{"name": "Ward 7"}', care_unit_key="Ward 7", starts_at=now,
        ends_at=at(START + timedelta(minutes=30)), opens_at=now, closes_at=at(START + timedelta(hours=1)),
        time_zone="Europe/Stockholm", language="sv", max_participants=8, locked=False,
        identity_policy='{"patient": "none"}', created_at=now, updated_at=now, version=1,
    )  # fmt: skip
    for id, role, host, more in (
        (HOST, "caregiver", True, {}),
        (PATIENT, "patient", False, {"phone": "+46701234567", "link": digest(LINK), "expected_subject": "1912"}),
    ):
        database.insert(
            "participants", id=id, tenant="north", room=ROOM, role=role, host=host, notify=False,
            display_name=role, sign_language=False, created_at=now, version=1, **more,
        )  # fmt: skip
    database.insert(
        "events", position=5, id="evt_01950000-0000-7000-8000-000000000001", tenant="north", room=ROOM,
        type="room.created", occurred_at=now, data="{}",
    )  # fmt: skip
    database.close()


async def test_what_the_first_version_wrote_works_in_this_one(where: Path | str, tmp_path: Path) -> None:
    await first_version(where)
    address = "" if isinstance(where, Path) else where
    async with Installation(tmp_path / "data", {"database_url": address}) as here:
        room = (await here.ask("GET", f"/v1/rooms/{ROOM}", key=KEY)).body
        assert [(one["id"], one["role"]) for one in room["participants"]] == [(HOST, "caregiver"), (PATIENT, "patient")]
        path = f"/v1/rooms/{ROOM}/participants/{PATIENT}"
        assert (await here.ask("GET", f"{path}/phone", key=KEY)).body == {"phone": "+46701234567"}
        arrived = await here.ask("POST", "/v1/sessions", {"invite": LINK}, key="")
        assert arrived.status == 201, arrived
        await here.visits.arrive(arrived.body["id"])
        assert (await here.ask("POST", f"{path}/admit", {}, key=KEY)).status == 200
        events = (await here.ask("GET", "/v1/events?after=0", key=KEY)).body["items"]
        assert events[0]["type"] == "room.created"
        assert [one["position"] for one in events] == list(range(1, len(events) + 1))
        assert "participant.admitted" in [one["type"] for one in events]
        trail = (await here.ask("GET", "/v1/audit", key=KEY)).body["items"]
        assert "participant.admitted" in [one["action"] for one in trail]
    database = Database(where)
    phone, expected = database.one(f"SELECT phone, expected_subject FROM participants WHERE id = '{PATIENT}'")
    database.close()
    # What was plain in the first version isn't any more.
    assert (phone, expected == "1912") == (None, False)
    assert await Store.revision(where) == Store.newest_revision()
