"""Whoever waits is connected ahead: without media, seen by nobody, and in the visit the moment they are let in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from vardrum.control.live.presence import LOST_AFTER, Presence
from vardrum.control.visits.values import Role, Verb
from vardrum.sfu import shards
from vardrum.tests.api.test_websocket_timings import counted
from vardrum.tests.api.websocket_house import OFFER, House, Message, Page, Room
from vardrum.tests.support.wait import wait_until

PATIENT, RELATIVE, CAREGIVER = ("Pat", Role.PATIENT), ("Rel", Role.RELATIVE), ("Car", Role.CAREGIVER)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path) as house:
        yield house


async def prepare(page: Page, id: int = 1) -> Message:
    """Connects ahead, and waits for the answer."""
    await page.say("prepare", id=id, sdp=OFFER)
    return await page.hears("answer", id=id)


async def ahead(house: House) -> tuple[Room, Page, str, Page]:
    """A host, and somebody who waits and of whom the node says that they are connected: room, host, token and page."""
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    token = await room.token("Pat")
    page = await house.hello(token)
    await prepare(page)
    house.live.connection(room.id, room.ids["Pat"], True)
    return room, host, token, page


async def refused(page: Page, code: str, id: int = 1) -> str:
    """Tries to connect ahead; why that isn't possible."""
    await page.say("prepare", id=id, sdp=OFFER)
    return str((await page.hears("error", code=code, re=id))["detail"])


async def test_who_waits_has_a_peer_without_media_that_is_used_once_they_are_let_in(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    await host.offer()
    page = await room.comes("Pat")
    answer = await prepare(page)
    assert house.node.holds(room.id, room.ids["Pat"])
    # Nobody sees them, nor do they see anybody: media has not heard of them as a person.
    assert room.ids["Pat"] not in {person.id for person in house.node.persons[room.id]}
    assert house.node.slots(room.id, room.ids["Pat"]) == []
    assert [one for one in await page.settled() if one["type"] in ("slots", "participants", "speaking")] == []
    assert [slot for one in await host.settled() if one["type"] == "slots" for slot in one["slots"]] == []
    house.live.connection(room.id, room.ids["Pat"], True)

    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    slots = await page.sees(room.ids["Car"])
    assert {one["mid"] for one in slots} <= set(re.findall(r"^a=mid:(\S+)", answer["sdp"], re.MULTILINE))
    await host.sees(room.ids["Pat"])
    assert house.node.joined == [(room.id, room.ids["Car"])], "no second offer"
    await host.lists("participants", lambda people: [one["connection"] for one in people][-1] == "connected")
    assert counted(house.live.timings.join) == (1, 0.0), "and no time until media came"


async def test_it_carries_an_identification_too_and_stays_while_one_waits_again(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    await host.offer()
    page = await room.comes("Pat")
    await prepare(page)
    await host.say("identify", participant=room.ids["Pat"])
    await page.hears("identifying")
    await page.sees(room.ids["Car"])
    await room.does(Verb.HOLD, "Pat")
    await page.hears("held")
    await page.sees()
    await room.does(Verb.ADMIT, "Pat")
    await page.sees(room.ids["Car"])


async def test_one_that_crosses_with_being_let_in_is_an_offer(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    await host.offer()
    page = await room.admitted("Pat")
    await prepare(page)
    await page.sees(room.ids["Car"])
    await host.sees(room.ids["Pat"])


async def test_only_who_waits_may_and_an_offer_is_still_for_those_inside(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    page = await room.comes("Pat")
    await page.say("offer", id=1, sdp=OFFER, restart=False)
    await page.hears("error", code="not-allowed", re=1)
    await prepare(page, 2)
    assert "grow" in await refused(page, "bad-offer", 2)
    await room.does(Verb.DENY, "Pat")
    await page.hears("denied")
    assert not house.node.holds(room.id, room.ids["Pat"]), "who was denied is connected to nothing"
    await refused(page, "not-allowed", 3)


async def test_a_second_browser_can_not_take_the_first_ones_place(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    first = await room.admitted("Pat")
    await first.offer()
    second = await room.comes("Pat")
    assert "another browser" in await refused(second, "not-allowed")
    assert house.node.holds(room.id, room.ids["Pat"])


async def test_a_network_that_lets_no_media_through_makes_nobody_lost_who_waits(house: House) -> None:
    room, host, token, _ = await ahead(house)
    house.live.connection(room.id, room.ids["Pat"], False)
    again = await house.hello(token)
    assert (await again.hears("welcome"))["media"] == "kept"
    (present,) = [one for one in house.live.rooms[room.id].present.values() if one.participant == room.ids["Pat"]]
    assert not present.presence.peer, "its websocket says that it is there"
    assert (await host.lists("queue", lambda queue: queue))[0]["connection"] == "connected"
    # Let in, it has as long to be heard as anybody, and offers a new connection meanwhile.
    await room.does(Verb.ADMIT, "Pat")
    await again.hears("admitted")
    await host.lists("participants", lambda people: people[-1]["connection"] in ("connecting", "connected"))
    await again.offer(2)
    await again.sees(room.ids["Car"])


async def test_who_said_hello_again_while_they_waited_is_connected_when_they_are_let_in(house: House) -> None:
    room, host, token, page = await ahead(house)
    # The node says that media comes once, however often the websocket changes.
    page.cut()
    again = await house.hello(token)
    await again.hears("waiting")
    await room.does(Verb.ADMIT, "Pat")
    await again.hears("admitted")
    await host.lists("participants", lambda people: [one["connection"] for one in people][-1] == "connected")


async def test_a_peer_that_is_gone_counts_no_more_when_its_page_comes_back(house: House) -> None:
    room, _, token, _ = await ahead(house)
    house.node.drop(room.id, room.ids["Pat"])
    again = await house.hello(token)
    assert (await again.hears("welcome"))["media"] == "new"
    (present,) = [one for one in house.live.rooms[room.id].present.values() if one.participant == room.ids["Pat"]]
    assert not present.prepared
    assert not present.presence.media


async def test_what_was_muted_on_a_former_page_does_not_hold_on_the_next(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    token = await room.token("Pat")
    page = await house.hello(token)
    await page.hears("waiting")
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    await page.offer()
    await page.say("muted", source="microphone", muted=True)
    await page.settled()
    await room.does(Verb.REMOVE, "Pat")
    await page.closed()
    await room.does(Verb.HOLD, "Pat")
    again = await house.hello(token)
    await again.hears("held")
    await prepare(again, 7)
    await room.does(Verb.ADMIT, "Pat")
    await again.hears("admitted")
    people = await again.lists("participants", lambda people: people)
    assert people[-1]["muted"]["microphone"] is False


async def test_a_peer_that_is_gone_before_one_is_let_in_is_replaced_by_an_offer(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    await host.offer()
    page = await room.comes("Pat")
    await prepare(page)
    house.node.drop(room.id, room.ids["Pat"])
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    await page.offer(2)
    await page.sees(room.ids["Car"])


async def test_a_visit_without_media_has_none_to_prepare(house: House) -> None:
    room = await house.room(PATIENT, form="phone")
    assert "without sound" in await refused(await room.comes("Pat"), "not-allowed")


async def test_nobody_is_connected_ahead_where_there_is_no_room_to_spare(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await house.room(PATIENT, RELATIVE, ("Bro", Role.RELATIVE), CAREGIVER, max_participants=2)
    pages = [await room.comes(name) for name in ("Pat", "Rel", "Bro")]
    for page in pages[:2]:
        await prepare(page)
    assert "ahead" in await refused(pages[2], "overloaded")
    await prepare(pages[0], 2)  # one's own is replaced
    await pages[0].say("leave")
    await pages[0].closed()
    await prepare(pages[2], 2)
    monkeypatch.setattr(shards, "OVERLOADED", -1.0)
    monkeypatch.setattr(shards, "RELIEVED", -1.0)

    def full() -> bool:
        gauge = house.node.metrics()["shard_overloaded"]
        assert isinstance(gauge, dict)
        return any(gauge.values())

    await wait_until(full, deadline=5, what="the overload")
    await refused(pages[1], "overloaded", 3)
    assert house.node.metrics()["joins_refused"] == 0, "nobody was kept out of a visit"
    assert house.node.holds(room.id, room.ids["Rel"]), "what stands stays"


async def test_when_everybody_has_left_nothing_is_kept(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.comes("Pat")
    await prepare(page)
    await page.say("leave")
    await page.closed()
    assert not house.node.holds(room.id, room.ids["Pat"])
    assert house.node.metrics()["rooms"] == 0


async def test_too_many_are_refused_and_nothing_else_is(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.comes("Pat")
    for id in range(1, 7):
        await page.say("prepare", id=id, sdp=OFFER)
    await page.hears("error", code="too-many-requests", re=6)
    await page.settled()


def test_presence_of_who_is_let_in_begins_with_what_is_known_of_their_media() -> None:
    heard, unheard = Presence(answered=0.0, media=True), Presence(answered=0.0)
    for presence in (heard, unheard):
        presence.let_in(10.0)
    assert heard.at(10.0) == "connected"
    assert unheard.at(10.0) == "connecting"
    assert unheard.at(10.0 + LOST_AFTER) == "lost"
