"""What pages report of their device, how well each is seen and heard, and whom hosts should phone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from vardrum.control.live import troubles
from vardrum.control.store import queries
from vardrum.control.visits.invitations import NewParticipant
from vardrum.control.visits.values import Role, Verb
from vardrum.sfu.types import DeviceStats
from vardrum.tests.api.websocket_house import House, Room
from vardrum.tests.support.wait import wait_until

PATIENT, RELATIVE, CAREGIVER = ("Pat", Role.PATIENT), ("Rel", Role.RELATIVE), ("Car", Role.CAREGIVER)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path) as house:
        yield house


async def record(room: Room) -> list[tuple[str, str, Any]]:
    """Whose media did what, as the feed has it."""
    names = {id: name for name, id in room.ids.items()}
    async with room.house.store.read() as db:
        return [
            (names[event.participant or ""], event.type, event.data)
            for event in await queries.events(db, "demo", 0, 1000)
            if event.type.startswith(("media.", "fallback."))
        ]


async def recorded(room: Room, *expected: tuple[str, str, Any], within: float = 5) -> None:
    async def so() -> bool:
        found = await record(room)
        assert found == list(expected)
        return True

    await wait_until(so, deadline=within, what="the record")


async def test_what_a_page_measures_reaches_media_once_it_has_any(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    page = await room.comes("Pat")
    await page.say("stats", seconds=2)
    await page.settled()
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    figures: dict[str, Any] = {
        "seconds": 2.1, "decoded": 40, "dropped": 2, "decode_ms": 9.5, "limitation": "bandwidth", "battery": 0.2,
        "pictures": 1, "height": 360,
    }  # fmt: skip
    await page.say("stats", **figures, codecs=["video/VP8"])
    assert [message for message in await page.settled() if message["type"] == "error"] == []
    assert house.node.reports == [(room.id, room.ids["Pat"], DeviceStats(**figures, codecs=("video/VP8",)))]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"seconds": 61},
        {"seconds": 2, "decoded": -1},
        {"seconds": 2, "decoded": 1.5},
        {"seconds": 2, "limitation": "weather"},
        {"seconds": 2, "battery": 2},
        {"seconds": 2, "codecs": ["video/VP8"] * 5},
        {"seconds": 2, "more": 1},
    ],
    ids=str,
)
async def test_what_no_page_can_have_measured_is_refused(house: House, wrong: dict[str, Any]) -> None:
    room = await house.room(PATIENT)
    page = await room.admitted("Pat")
    await page.say("stats", **wrong)
    await page.hears("error", code="bad-message", re="stats")
    assert house.node.reports == []


async def test_quality_is_told_to_whom_it_concerns_and_again_to_a_page_that_comes_back(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    token = await room.token("Pat")
    page = await house.hello(token)
    await page.hears("waiting")
    house.live.quality(room.id, room.ids["Pat"], room.ids["Car"], "poor", "your_network")
    await page.settled()
    assert not [message for message in page.heard if message["type"] == "quality"], "nothing of anyone while one waits"
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    house.live.quality(room.id, room.ids["Pat"], room.ids["Car"], "sound_only", "your_network", "down")
    said = await page.hears("quality")
    assert said == {
        "type": "quality", "participant": room.ids["Car"], "level": "sound_only", "reason": "your_network"
    }  # fmt: skip
    house.live.quality(room.id, room.ids["Pat"], room.ids["Car"], "poor", "their_phone")
    await page.hears("quality", level="poor", reason="their_phone")
    assert not [message for message in await host.settled() if message["type"] == "quality"]

    again = await house.hello(token)
    await again.hears("quality", participant=room.ids["Car"], level="poor", reason="their_phone")
    # What was so before somebody was on hold says nothing of afterwards.
    await room.does(Verb.HOLD, "Pat")
    await again.hears("held")
    await room.does(Verb.ADMIT, "Pat")
    await again.hears("admitted")
    assert not [message for message in await again.settled() if message["type"] == "quality"]
    house.live.quality(room.id, room.ids["Pat"], room.ids["Car"], "poor", "their_phone")
    await again.hears("quality", level="poor", reason="their_phone")


async def test_who_is_being_identified_hears_of_that_host_only(house: House) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host = await room.host("Car")
    await room.admitted("Rel")
    page = await room.comes("Pat")
    await host.say("identify", participant=room.ids["Pat"])
    await page.hears("identifying")
    for name in ("Rel", "Car", "Pat"):
        house.live.quality(room.id, room.ids["Pat"], room.ids[name], "poor", "your_network")
    told = {message["participant"] for message in await page.settled() if message["type"] == "quality"}
    assert told == {room.ids["Car"], room.ids["Pat"]}


async def test_ones_own_bad_quality_is_written_down_and_so_is_its_end(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    await room.host("Car")
    page = await room.admitted("Pat")
    house.live.quality(room.id, room.ids["Car"], room.ids["Pat"], "poor", "their_network")
    house.live.quality(room.id, room.ids["Pat"], room.ids["Pat"], "sound_only", "your_network", "down")
    await page.hears("quality", participant=room.ids["Pat"], level="sound_only")
    bad = ("Pat", "media.degraded", {"level": "sound_only", "reason": "network", "way": "down"})
    await recorded(room, bad)
    house.live.quality(room.id, room.ids["Pat"], room.ids["Pat"], "good", "")
    await recorded(room, bad, ("Pat", "media.restored", {"level": "good", "reason": "network"}))


async def test_who_falls_silent_or_never_has_media_is_to_be_phoned(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(troubles, "NO_MEDIA", 1.0)
    monkeypatch.setattr(troubles, "SILENT_AFTER_LOST", 0.5)
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host = await room.host("Car")
    house.live.connection(room.id, room.ids["Car"], True)
    never = ("Pat", "fallback.needed", {"reason": "no_media"})
    patient = await room.admitted("Pat")
    relative = await room.comes("Rel")  # who waits has no media, and that is no trouble
    assert await host.hears("fallback") == {
        "type": "fallback", "participant": room.ids["Pat"], "phone_available": False
    }  # fmt: skip
    assert await record(room) == [never], "written down before it is said"
    assert not [message for message in await patient.settled() if message["type"] == "fallback"]

    await room.does(Verb.ADMIT, "Rel")
    await relative.hears("admitted")
    await relative.offer()
    house.live.connection(room.id, room.ids["Rel"], True)
    live = house.live.rooms[room.id].by_key(room.ids["Rel"])
    assert live is not None
    await wait_until(lambda: live.troubles.heard, deadline=2, what="being heard")
    house.live.connection(room.id, room.ids["Rel"], False)
    await host.hears("fallback", participant=room.ids["Rel"], within=8)
    await recorded(room, never, ("Rel", "fallback.needed", {"reason": "silent"}))


async def test_who_asks_to_be_phoned_is_written_down_once_and_told_each_time(house: House) -> None:
    room = await house.room(CAREGIVER)
    invited = await house.visits.invite(room.id, NewParticipant(Role.PATIENT, "Pat", phone="+46701740605"))
    room.ids["Pat"] = invited.participant.id
    room.secrets["Pat"] = (invited.join_url or "").partition("#")[2]
    host, page = await room.host("Car"), await room.comes("Pat")
    for _ in range(2):
        await page.say("help", kind="phone")
        await host.hears("fallback", participant=room.ids["Pat"], phone_available=True)
    asked = ("Pat", "fallback.needed", {"reason": "asked"})
    assert await record(room) == [asked]
    # A host who comes later hears of it, but not of somebody who has left.
    again = await room.host("Car")
    await again.hears("fallback", participant=room.ids["Pat"])
    await page.say("leave")
    await page.closed()
    later = await room.host("Car")
    assert not [message for message in await later.settled() if message["type"] == "fallback"]
    assert await record(room) == [asked]


async def test_media_knows_who_interprets_into_sign_language(house: House) -> None:
    room = await house.room(CAREGIVER)
    invited = await house.visits.invite(room.id, NewParticipant(Role.INTERPRETER, "Ida", sign_language=True))
    room.ids["Ida"] = invited.participant.id
    room.secrets["Ida"] = (invited.join_url or "").partition("#")[2]
    await room.host("Car")
    await room.admitted("Ida")
    signs = {person.id: person.sign_language for person in house.node.persons[room.id]}
    assert signs == {room.ids["Car"]: False, room.ids["Ida"]: True}
