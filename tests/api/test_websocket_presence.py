"""Who is there: by media where one has a peer, by the websocket where one hasn't."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from vardrum.control.live import live as hub
from vardrum.control.visits.rules import RoomState
from vardrum.control.visits.values import Role
from vardrum.tests.api.websocket_house import House, Page
from vardrum.tests.support.wait import wait_until

PATIENT, CAREGIVER = ("Pat", Role.PATIENT), ("Car", Role.CAREGIVER)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path) as house:
        yield house


async def connection(page: Page, name: str, connection: str) -> None:
    def found(people: list[Any]) -> bool:
        return {one["display_name"]: one["connection"] for one in people}.get(name) == connection

    await page.lists("participants", found, within=9)


async def persisted(house: House, room: str, name: str) -> str:
    snapshot = await house.visits.snapshot(room)
    return next(person.connection for person in snapshot.participants if person.display_name == name)


async def test_who_is_gone_for_5_seconds_is_lost_and_written_down_as_that(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    page = await room.admitted("Pat")
    await connection(host, "Pat", "connected")
    await page.close()
    await connection(host, "Pat", "lost")

    async def lost() -> bool:
        return await persisted(house, room.id, "Pat") == "lost"

    await wait_until(lost, deadline=3, what="the loss on disk")


async def test_a_client_that_does_not_answer_pings_is_lost(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    silent = await house.client.ws_connect(house.server.make_url("/v1/ws"), autoping=False)
    await silent.send_str(json.dumps({"type": "hello", "token": await room.token("Pat"), "device": {}}))
    await host.lists("queue", lambda queue: queue and queue[0]["connection"] == "connected")
    monkeypatch.setattr(hub, "SILENT", 6.0)
    await host.lists("queue", lambda queue: queue and queue[0]["connection"] == "lost", within=9)
    # In the end the dead websocket is dropped.
    await wait_until(lambda: len(house.live.rooms[room.id].clients) == 1, deadline=5, what="the socket being cut")
    await silent.close()


async def test_with_a_peer_media_decides(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    page = await room.admitted("Pat")
    await page.offer()
    await connection(host, "Pat", "lost")  # nothing came within 5 s of the answer
    house.live.connection(room.id, room.ids["Pat"], True)
    await connection(host, "Pat", "connected")
    house.live.connection(room.id, room.ids["Pat"], False)
    await connection(host, "Pat", "lost")
    # The node gives the peer up: the websocket, which still answers, decides again.
    house.live.expired(room.id, room.ids["Pat"])
    await connection(host, "Pat", "connected")


async def test_a_page_that_comes_back_to_its_peer_is_connecting_until_media_flows(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    token = await room.token("Pat")
    page = await house.hello(token)
    await page.hears("waiting")
    await host.say("admit", participant=room.ids["Pat"])
    await page.hears("admitted")
    await page.offer()
    house.live.connection(room.id, room.ids["Pat"], True)
    await page.close()
    await connection(host, "Pat", "connected")  # a lost websocket is no leave: media goes on
    house.live.connection(room.id, room.ids["Pat"], False)
    await connection(host, "Pat", "lost")
    again = await house.hello(token)
    await again.hears("admitted")
    await connection(host, "Pat", "connecting")
    house.live.connection(room.id, room.ids["Pat"], True)
    await connection(host, "Pat", "connected")


async def test_a_visit_is_in_progress_once_a_host_and_another_are_both_there(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    await room.host("Car")
    assert (await house.visits.snapshot(room.id)).state is RoomState.OPEN
    await room.admitted("Pat")

    async def started() -> bool:
        return (await house.visits.snapshot(room.id)).state is RoomState.IN_PROGRESS

    await wait_until(started, deadline=3, what="the visit in progress")


async def test_who_waits_is_told_when_staff_comes_and_goes(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    page = await room.comes("Pat")
    await page.hears("waiting", staff_present=False)
    host = await room.host("Car")
    await page.hears("waiting", staff_present=True)
    await host.close()
    await page.hears("waiting", staff_present=False, within=9)


async def test_a_room_is_forgotten_after_its_end(house: House) -> None:
    room = await house.room(CAREGIVER)
    host = await room.host("Car")
    await host.say("end")
    await host.closed()
    await wait_until(lambda: house.live.rooms == {}, deadline=3, what="an empty hall")


async def test_a_server_that_stops_tells_everyone_to_come_back(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.comes("Pat")
    await house.server.close()
    assert await page.closed() == 1001
