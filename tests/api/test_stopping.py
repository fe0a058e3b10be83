"""SIGTERM: no new visits, those that go on end in peace or go on with the next server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from vardrum.tests.support.portal import Invited, Portal, Refused, create_key
from vardrum.tests.support.server import Server
from vardrum.tests.support.wait import wait_until

LONG = {"VARDRUM_DRAIN__SECONDS": "600"}
PEOPLE: list[dict[str, Any]] = [
    {"display_name": "Nurse", "role": "caregiver", "host": True},
    {"display_name": "Patient", "role": "patient"},
]


class Page:
    """A page without media: its session, and the websocket that it has now."""

    def __init__(self, portal: Portal, session: dict[str, Any]) -> None:
        self._portal = portal
        self.session = session
        self.socket: aiohttp.ClientWebSocketResponse
        self.heard: list[dict[str, Any]] = []

    @classmethod
    async def open(cls, portal: Portal, one: Invited) -> Page:
        body = {"invite": one.join_url.partition("#")[2]}
        return cls(portal, await portal.call("POST", "/v1/sessions", body, key=""))

    async def hello(self) -> Page:
        """Says hello on a websocket of its own."""
        self.heard = []
        self.socket = await self._portal.http.ws_connect(self.session["websocket_url"])
        await self.socket.send_json({"type": "hello", "token": self.session["token"], "device": {}})
        return self

    async def hears(self, type: str) -> dict[str, Any]:
        """The next message of this type; what came before it stays in `heard`."""
        async with asyncio.timeout(20):
            async for message in self.socket:
                self.heard.append(message.json())
                if self.heard[-1]["type"] == type:
                    return self.heard[-1]
        raise AssertionError(f"closed with {self.socket.close_code} after {self.heard}")

    async def is_closed(self) -> int | None:
        """The code that the server closed with."""
        async with asyncio.timeout(20):
            async for message in self.socket:
                self.heard.append(message.json())
        return self.socket.close_code


@contextlib.asynccontextmanager
async def serving(data: Path, env: dict[str, str]) -> AsyncIterator[tuple[Server, Portal]]:
    async with (
        Server(data, env={"VARDRUM_HOSTS__BY_LINK": "true", **env}) as server,
        Portal(server.http, await create_key(server)) as portal,
    ):
        yield server, portal


async def visit(portal: Portal) -> tuple[Page, Page]:
    """A nurse and a patient who are in."""
    invited = await portal.book(PEOPLE, identity_policy={"patient": "none"})
    nurse, patient = [await Page.open(portal, one) for one in invited]
    await (await nurse.hello()).hears("admitted")
    await (await patient.hello()).hears("waiting")
    await portal.act(invited[1], "admit")
    await patient.hears("admitted")
    return nurse, patient


def ask(server: Server) -> None:
    server.process.send(signal.SIGTERM)


async def ended(server: Server) -> int:
    """Its exit status, once it has ended by itself."""
    await wait_until(lambda: not server.process.running, deadline=30, what="the server's end")
    return await server.process.stop()


async def test_a_visit_that_goes_on_ends_in_peace_and_nobody_new_begins_one(tmp_path: Path) -> None:
    async with serving(tmp_path, LONG) as (server, portal):
        nurse, patient = await visit(portal)
        later = await Page.open(portal, (await portal.book(PEOPLE))[1])
        ask(server)
        assert set(await nurse.hears("stopping")) == {"type", "at"}
        await patient.hears("stopping")
        # The process lives, but isn't one to send people to.
        assert (await portal.call("GET", "/healthz", key=""))["status"] == "ok"
        with pytest.raises(Refused) as refused:
            await portal.call("GET", "/readyz", key="")
        assert refused.value.status == 503
        # Who would begin a visit comes again in a few seconds; nothing of it was written down.
        error = await (await later.hello()).hears("error")
        assert (error["code"], error["re"], await later.is_closed()) == ("unavailable", "hello", 1013)
        # The visit itself has all that it had, a network that was lost too.
        await patient.socket.close()
        await (await patient.hello()).hears("admitted")
        await patient.hears("stopping")
        await portal.book(PEOPLE)
        assert server.process.running
        await patient.socket.send_json({"type": "leave"})
        assert await nurse.is_closed() == 1001
        assert await ended(server) == 0


async def test_at_the_deadline_people_go_on_with_the_next_server_without_waiting_again(tmp_path: Path) -> None:
    async with serving(tmp_path, {"VARDRUM_DRAIN__SECONDS": "1"}) as (server, portal):
        pages = await visit(portal)
        ask(server)
        assert [await page.is_closed() for page in pages] == [1001, 1001]
        assert await ended(server) == 0
        await server.start()
        for page in pages:
            await (await page.hello()).hears("admitted")
            assert "waiting" not in [message["type"] for message in page.heard]


async def test_nobody_waits_where_nobody_is_in_a_visit_or_where_it_is_asked_for_twice(tmp_path: Path) -> None:
    async with serving(tmp_path, LONG) as (server, portal):
        alone = await Page.open(portal, (await portal.book(PEOPLE))[0])
        await (await alone.hello()).hears("admitted")
        ask(server)
        assert await alone.is_closed() == 1001
        assert await ended(server) == 0
        await server.start()
        nurse, _ = await visit(portal)
        ask(server)
        await nurse.hears("stopping")
        ask(server)
        assert await nurse.is_closed() == 1001
        assert await ended(server) == 0


async def test_a_server_that_is_still_starting_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    for number, how in enumerate((signal.SIGTERM, signal.SIGINT)):
        asked = asyncio.Event()

        async def silent(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event = asked
        ) -> None:
            asked.set()
            await reader.read()
            writer.close()

        # A database that takes the connection and says nothing, such as behind a firewall.
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as database:
            port = database.sockets[0].getsockname()[1]
            server = Server(
                tmp_path / str(number), env={"VARDRUM_DATABASE_URL": f"postgresql://u:p@127.0.0.1:{port}/v"}
            )
            starting = asyncio.create_task(server.start())
            async with asyncio.timeout(30):
                await asked.wait()
            server.process.send(how)
            with pytest.raises(AssertionError, match="the server ended"):
                await starting
            # Nothing was wrong.
            assert await server.process.stop() == 0
            assert server.process.output() == ""
