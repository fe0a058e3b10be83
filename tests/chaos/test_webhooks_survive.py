"""kill -9 again and again while a bad receiver is told: every event comes, in order in each room, and none is made up.

`DELIVERY_EVENTS=2000 DELIVERY_KILLS=50` is the long form; `DELIVERY_SEED` repeats one that failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import psycopg
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook
from vardrum.tests.support.logs import leaks
from vardrum.tests.support.portal import Portal, Refused, create_key
from vardrum.tests.support.receiver import Answer, Authority, Received, Receiver, answer_too, hang_up
from vardrum.tests.support.server import Server
from vardrum.tests.support.wait import wait_until

EVENTS = int(os.environ.get("DELIVERY_EVENTS", "160"))
KILLS = int(os.environ.get("DELIVERY_KILLS", "5"))
SEED = int(os.environ.get("DELIVERY_SEED", "20260601"))
WORKERS = 6
CHANGES = 4
TIMEOUT = 1.0
# What a caller sees of a server that dies under it.
GONE = (aiohttp.ClientError, ConnectionError, TimeoutError, OSError)


@dataclass
class Ledger:
    """What has come to the receiver.

    Attributes:
        arrived: (room, position, id, whether this one was acknowledged), in order of arrival.
        outrun: what came before an earlier event of its room had been acknowledged, in words.
    """

    secret: str = ""
    arrived: list[tuple[str, int, str, bool]] = field(default_factory=list)
    acknowledged: dict[str, set[int]] = field(default_factory=dict)
    events: dict[str, Any] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)


class BadReceiver:
    """Answers well four times of five; else late, with 500, not at all, or twice."""

    def __init__(self, ledger: Ledger, chance: random.Random) -> None:
        self._ledger = ledger
        self._chance = chance
        self.good = False

    async def behave(self, request: web.Request, one: Received) -> Answer:
        # Raises where it isn't signed, and the answer is 500.
        event = Webhook(self._ledger.secret).verify(one.body, dict(one.headers))
        assert event["id"] == one.id
        if self._ledger.events.setdefault(one.id, event) != event:
            self._ledger.changed.append(one.id)
        roll = 1.0 if self.good else self._chance.random()
        acknowledges = roll >= 0.12
        self._ledger.arrived.append((event["room"], event["position"], one.id, acknowledges))
        if roll < 0.02:
            await asyncio.sleep(TIMEOUT * 1.5)
        elif roll < 0.05:
            hang_up(request)
        elif roll < 0.12:
            return 500
        elif roll < 0.16:
            answer_too(request)
        elif roll < 0.2:
            await asyncio.sleep(self._chance.uniform(0, TIMEOUT / 4))
        return 204


class Work:
    """Portals' workers that book and change rooms, each call until it is answered."""

    def __init__(self, portal: Portal, chance: random.Random) -> None:
        self._portal = portal
        self._chance = chance
        self.made = 0

    async def run(self) -> None:
        while self.made < EVENTS:
            starts = datetime.now(UTC) + timedelta(days=1)
            booking = {
                "care_unit": {"name": "Test Unit"},
                "starts_at": starts.isoformat(),
                "ends_at": (starts + timedelta(hours=1)).isoformat(),
                "participants": [{"role": "patient", "display_name": "Pia Patient"}],
            }
            room = await self._call("POST", "/v1/rooms", booking)
            self.made += 2
            for number in range(CHANGES):
                await self._call("PATCH", f"/v1/rooms/{room['id']}", {"title": f"Change {number}"})
                self.made += 1

    async def _call(self, method: str, path: str, body: Any) -> Any:
        key = str(UUID(int=self._chance.getrandbits(128)))
        while True:
            try:
                headers = {"Idempotency-Key": key, "If-Match": "*"}
                return await self._portal.call(method, path, body, headers=headers)
            except Refused as refused:
                if refused.status not in (409, 503):
                    raise
            except GONE:
                pass
            await asyncio.sleep(0.05)


async def outages(receiver: Receiver, chance: random.Random) -> None:
    """The receiver is away for moments, until it is cancelled."""
    while True:
        await asyncio.sleep(chance.uniform(1, 4))
        await receiver.stop()
        await asyncio.sleep(chance.uniform(0.1, 1))
        await receiver.start()


def truth(server: Server, database: str) -> dict[str, tuple[str, int, str]]:
    """All events on disk: id to room, position and type."""
    query = "SELECT id, room, position, type FROM events"
    if database:
        with psycopg.connect(database) as connection:
            found = connection.execute(query).fetchall()
    else:
        with contextlib.closing(sqlite3.connect(server.data / "vardrum.db")) as file:
            found = file.execute(query).fetchall()
    return {row[0]: (row[1], row[2], row[3]) for row in found}


def outrun(ledger: Ledger, events: dict[str, tuple[str, int, str]]) -> list[str]:
    """What came although an earlier event of its room had never been acknowledged."""
    by_room: dict[str, list[int]] = {}
    for room, position, _ in events.values():
        by_room.setdefault(room, []).append(position)
    acknowledged: set[tuple[str, int]] = set()
    found = []
    for room, position, name, acknowledges in ledger.arrived:
        early = [one for one in by_room[room] if one < position and (room, one) not in acknowledged]
        if early:
            found.append(f"{name} at {position} of {room} before {early}")
        if acknowledges:
            acknowledged.add((room, position))
    return found


async def hurry(portal: Portal, hook: str) -> bool:
    """Asks for what has failed and waits for its next try; whether nothing waits."""
    page = await portal.call("GET", f"/v1/webhooks/{hook}/deliveries?state=pending&limit=200")
    for one in page["items"]:
        with contextlib.suppress(Refused):  # just delivered
            if one["state"] == "pending" and one["attempts"]:
                await portal.call("POST", f"/v1/webhooks/{hook}/deliveries/{one['id']}/redeliver")
    return not page["items"]


# A start alone takes a second, and many on a machine that others use too.
@pytest.mark.timeout(240 + 40 * KILLS)
@pytest.mark.both_databases
async def test_every_event_comes_in_order_however_often_the_server_is_killed(
    tmp_path: Path, database: str, figure: Callable[[str], None]
) -> None:
    print(f"DELIVERY_SEED={SEED}")
    chance = random.Random(SEED)
    ledger = Ledger()
    bad = BadReceiver(ledger, random.Random(chance.random()))
    authority = Authority(tmp_path)
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver(authority.context(), bad.behave))
        settings = {"ALLOW_PRIVATE": "true", "CA_FILE": str(authority.file), "TIMEOUT_SECONDS": str(TIMEOUT)}
        env = {f"VARDRUM_WEBHOOKS__{name}": value for name, value in settings.items()}
        if database:
            env["VARDRUM_DATABASE_URL"] = database
        server = await Server(tmp_path / "server", env={"VARDRUM_LOG__LEVEL": "debug", **env}).start()
        stack.push_async_callback(server.stop)
        portal = await stack.enter_async_context(Portal(server.http, await create_key(server)))
        hook = await portal.call("POST", "/v1/webhooks", {"url": receiver.url})
        ledger.secret = hook["secret"]
        work = Work(portal, random.Random(chance.random()))
        workers = [asyncio.create_task(work.run()) for _ in range(WORKERS)]
        away = asyncio.create_task(outages(receiver, random.Random(chance.random())))
        for at in sorted(chance.randrange(EVENTS) for _ in range(KILLS)):
            # A worker that ended early has failed: `gather` below says how.
            enough = functools.partial(lambda when: work.made >= when or all(one.done() for one in workers), at)
            await wait_until(enough, deadline=120, what=f"{at} events", every=0.005)
            await server.kill()
            await server.start()
        await asyncio.gather(*workers)
        made_in = time.monotonic() - began
        away.cancel()
        await asyncio.gather(away, return_exceptions=True)
        bad.good = True
        with contextlib.suppress(RuntimeError):
            await receiver.stop()
        await receiver.start()
        # Kills may have left most of it; some 20 a second are delivered on a machine that is busy otherwise.
        deadline = time.monotonic() + 60 + EVENTS / 10
        while not await hurry(portal, hook["id"]):
            assert time.monotonic() < deadline, "not all was delivered"
            await asyncio.sleep(1)
        await server.stop()
        took = time.monotonic() - began
    events = truth(server, database)
    assert len(events) >= EVENTS
    came = {name for _, _, name, acknowledges in ledger.arrived if acknowledges}
    assert sorted(ledger.events.keys() - events.keys()) == [], "invented"
    assert sorted(events.keys() - came) == [], "lost"
    assert ledger.changed == []
    for name, event in ledger.events.items():
        assert (event["room"], event["position"], event["type"]) == events[name]
    assert outrun(ledger, events) == []
    assert leaks((server.data / "server.log").read_text(), ["never-in-a-log", ledger.secret, "Pia Patient"]) == []
    acknowledged = sum(one[3] for one in ledger.arrived)
    figure(
        f"{len(events)} events on {'PostgreSQL' if database else 'SQLite'} over {KILLS} kills in {took:.0f} s "
        f"(made within {made_in:.0f} s): "
        f"{len(ledger.arrived)} tries came, {len(ledger.arrived) - acknowledged} refused, "
        f"{acknowledged - len(came)} delivered again; none lost, none early, none invented"
    )
