"""Under overload nobody new comes in, and whoever is in stays."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from vardrum.control.visits.values import Role
from vardrum.sfu import shards
from vardrum.sfu.node import Node
from vardrum.tests.api.websocket_house import OFFER, House, Message
from vardrum.tests.support.wait import wait_until

PATIENT, RELATIVE, CAREGIVER = ("Pat", Role.PATIENT), ("Rel", Role.RELATIVE), ("Car", Role.CAREGIVER)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path, shards=2) as house:
        yield house


def overloaded(node: Node) -> set[str]:
    """The numbers of the shards that are overloaded."""
    gauge = node.metrics()["shard_overloaded"]
    assert isinstance(gauge, dict)
    return {number for number, value in gauge.items() if value}


def port(answer: Message) -> int:
    """Where the answer says that media goes."""
    found = re.search(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+) typ host", answer["sdp"])
    assert found, answer["sdp"]
    return int(found[1])


async def test_nobody_new_comes_in_and_who_is_in_stays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host, patient = await room.host("Car"), await room.admitted("Pat")
    await host.offer()
    await patient.offer()
    # Whatever they do, all shards are too busy.
    monkeypatch.setattr(shards, "OVERLOADED", -1.0)
    monkeypatch.setattr(shards, "RELIEVED", -1.0)
    await wait_until(lambda: overloaded(house.node) == {"0", "1"}, deadline=5, what="the overload")
    relative = await room.admitted("Rel")
    await relative.say("offer", id=1, sdp=OFFER, restart=False)
    assert "again" in (await relative.hears("error", code="overloaded", re=1))["detail"]
    assert house.node.metrics()["joins_refused"] == 1
    # A page that was loaded anew, an ICE restart, and a connection that failed before it stood.
    await patient.offer(2)
    await patient.offer(3, restart=True, sdp=re.sub(r"(?<=a=ice-ufrag:)\S+", "anew", OFFER))
    house.node.drop(room.id, room.ids["Pat"])
    await patient.offer(4)
    monkeypatch.undo()
    await wait_until(lambda: not overloaded(house.node), deadline=5, what="the relief")
    await relative.offer(2)
    await patient.sees(room.ids["Car"], room.ids["Rel"])


async def test_rooms_are_spread_and_each_stays_where_it_is(house: House) -> None:
    ports = {}
    for number in range(4):
        room = await house.room(PATIENT, CAREGIVER)
        host, patient = await room.host("Car"), await room.admitted("Pat")
        ports[number] = port(await host.offer())
        assert port(await patient.offer()) == ports[number]
        assert port(await patient.offer(2)) == ports[number]
    assert set(ports.values()) == set(house.node.ports)
    assert sorted(ports.values()).count(min(ports.values())) == 2


async def test_new_rooms_avoid_the_shard_that_is_overloaded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await house.room(PATIENT, CAREGIVER)
    host = await first.host("Car")
    busy = port(await host.offer())
    measure = shards.Load.measure

    def overload(load: shards.Load, now: float, sample: shards.Sample) -> None:
        measure(load, now, sample)
        load.overloaded = sample.packets > 0

    monkeypatch.setattr(shards.Load, "measure", overload)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"noise", ("127.0.0.1", busy))
    await wait_until(lambda: len(overloaded(house.node)) == 1, deadline=5, what="the overload")
    for _ in range(2):
        room = await house.room(PATIENT, CAREGIVER)
        assert port(await (await room.host("Car")).offer()) != busy
    patient = await first.admitted("Pat")
    await patient.say("offer", id=1, sdp=OFFER, restart=False)
    await patient.hears("error", code="overloaded", re=1)
