"""kill -9 during a busy minute of admissions: whatever was acknowledged is there after the restart."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from vardrum.tests.support.portal import Invited, Portal, Refused, create_key
from vardrum.tests.support.server import Server
from vardrum.tests.support.wait import wait_until

MINUTE = 60.0
KILLS = 4
WARDS = 6
SEED = 20_260_101

# What a caller sees of a server that dies under it.
GONE = (aiohttp.ClientError, ConnectionError, TimeoutError, asyncio.TimeoutError, OSError)


@dataclass
class Ledger:
    """What the server has acknowledged, in the order that it did.

    Attributes:
        states: participant to the state that was last acknowledged.
        doubtful: participants about whom a call was under way when the server died: it may have happened.
    """

    states: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, Invited] = field(default_factory=dict)
    people: dict[str, Invited] = field(default_factory=dict)
    acknowledged: int = 0


class Ward:
    """One nurse at work: books visits, sees patients arrive, admits, sometimes holds and admits again, or removes."""

    def __init__(self, portal: Portal, ledger: Ledger, chance: random.Random) -> None:
        self._portal = portal
        self._ledger = ledger
        self._chance = chance

    async def work(self, until: float) -> None:
        """Until the monotonic clock says `until`; a server that isn't there is asked again."""
        while time.monotonic() < until:
            try:
                await self._visit()
            except GONE:
                await asyncio.sleep(0.05)

    async def _visit(self) -> None:
        people = [{"display_name": f"Patient {number}", "role": "patient"} for number in range(3)]
        invited = await self._portal.book(people, identity_policy={"patient": "none"})
        for one in invited:
            self._ledger.people[one.id] = one
        sockets = await asyncio.gather(*(self._arrive(one) for one in invited))
        try:
            for one in invited:
                await self._acknowledged(one, "admit", "admitted")
                roll = self._chance.random()
                if roll < 0.2:
                    await self._acknowledged(one, "hold", "waiting")
                    await self._acknowledged(one, "admit", "admitted")
                elif roll < 0.3:
                    await self._acknowledged(one, "remove", "removed")
        finally:
            for socket in sockets:
                await socket.close()

    async def _acknowledged(self, one: Invited, verb: str, state: str) -> None:
        self._ledger.doubtful[one.id] = one
        try:
            answer = await self._portal.act(one, verb)
        except Refused:
            # Refused is an answer too: nothing has changed.
            del self._ledger.doubtful[one.id]
            raise
        assert answer["state"] == state, answer
        del self._ledger.doubtful[one.id]
        self._ledger.states[one.id] = state
        self._ledger.acknowledged += 1

    async def _arrive(self, one: Invited) -> aiohttp.ClientWebSocketResponse:
        invite = one.join_url.partition("#")[2]
        session = await self._portal.call("POST", "/v1/sessions", {"invite": invite}, key="")
        socket = await self._portal.http.ws_connect(session["websocket_url"])
        await socket.send_json({"type": "hello", "token": session["token"], "device": {}})
        async for message in socket:
            if message.json()["type"] == "waiting":
                return socket
        raise ConnectionResetError("closed before waiting")


async def differences(portal: Portal, ledger: Ledger) -> list[str]:
    """Every acknowledged state that the server doesn't know any more."""
    found = []
    for participant, state in ledger.states.items():
        if participant in ledger.doubtful:
            continue
        now = (await portal.participant(ledger.people[participant]))["state"]
        if now != state:
            found.append(f"{participant}: acknowledged {state}, now {now}")
    return found


@pytest.mark.timeout(240)
async def test_whatever_was_acknowledged_is_there_after_kill_and_restart(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    chance = random.Random(SEED)
    ledger = Ledger()
    server = await Server(tmp_path / "server").start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        portal = await stack.enter_async_context(Portal(server.http, await create_key(server)))
        start = time.monotonic()
        kills = sorted(chance.uniform(8, MINUTE - 4) for _ in range(KILLS))
        wards = [Ward(portal, ledger, random.Random(chance.random())) for _ in range(WARDS)]
        work = [asyncio.create_task(ward.work(start + MINUTE)) for ward in wards]
        checked = 0
        for at in kills:
            # A ward that ended early has failed: `gather` below says how.
            await wait_until(
                functools.partial(lambda when: time.monotonic() >= when or any(one.done() for one in work), start + at),
                deadline=MINUTE + 10,
                what="the moment to kill",
            )
            await server.kill()
            # Nothing is acknowledged while it is down: this is exactly what it has promised.
            promised = Ledger(dict(ledger.states), dict(ledger.doubtful), ledger.people)
            await server.start()
            assert await differences(portal, promised) == []
            checked += len(promised.states)
        await asyncio.gather(*work)
        assert await differences(portal, ledger) == []
        figure(
            f"{ledger.acknowledged} admissions, holds and removals acknowledged in {MINUTE:.0f} s over {KILLS} kills; "
            f"{checked} promises checked right after a kill: all kept"
        )
        assert ledger.acknowledged > 200
