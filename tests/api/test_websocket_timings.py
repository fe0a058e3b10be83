"""How long people wait, as operators see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import Histogram
from vardrum.control.secret import now
from vardrum.control.visits.values import Role, Verb
from vardrum.tests.api.websocket_house import House

PATIENT, CAREGIVER = ("Pat", Role.PATIENT), ("Car", Role.CAREGIVER)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path) as house:
        yield house


def counted(histogram: Histogram) -> tuple[int, float]:
    """How many, and the sum of their seconds."""
    (family,) = histogram.collect()
    found = {sample.name.removeprefix(family.name): sample.value for sample in family.samples}
    return int(found["_count"]), found["_sum"]


async def test_each_hello_that_is_welcomed_counts(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    page = await room.comes("Pat")
    await page.settled()
    count, seconds = counted(house.live.timings.welcome)
    assert count == 1
    assert 0 < seconds < 5
    refused = await house.hello("vrs_nobody")
    await refused.closed()
    assert counted(house.live.timings.welcome)[0] == 1


async def test_waiting_counts_until_a_host_lets_them_in_and_not_on_hold(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    await room.host("Car")
    page = await room.comes("Pat")
    assert counted(house.live.timings.waiting) == (0, 0.0)
    house.visits.clock = lambda: now() + timedelta(seconds=90)
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    count, seconds = counted(house.live.timings.waiting)
    assert count == 1
    assert 90 <= seconds < 100
    await room.does(Verb.HOLD, "Pat")
    await page.hears("held")
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    assert counted(house.live.timings.waiting)[0] == 1


async def test_joining_counts_from_being_let_in_to_the_first_media_and_once(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    page = await room.comes("Pat")
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    await page.offer()
    assert counted(house.live.timings.join)[0] == 0
    house.live.connection(room.id, room.ids["Pat"], True)
    count, seconds = counted(house.live.timings.join)
    assert count == 1
    assert 0 < seconds < 5
    # A network that was away and is back is no new joining.
    house.live.connection(room.id, room.ids["Pat"], False)
    house.live.connection(room.id, room.ids["Pat"], True)
    assert counted(house.live.timings.join)[0] == 1


async def test_who_is_there_is_counted_by_state(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    await room.host("Car")
    page = await room.comes("Pat")
    assert house.live.metrics()["participants"] == {"waiting": 1, "identifying": 0, "admitted": 1}
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    assert house.live.metrics()["participants"] == {"waiting": 0, "identifying": 0, "admitted": 2}
