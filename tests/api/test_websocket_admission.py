"""The way in: hello, waiting, being admitted, and what each of them is told meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from vardrum.control.visits.values import Role, Verb
from vardrum.tests.api.websocket_house import OFFER, PORTAL, House, Message, Page
from vardrum.tests.support.wait import wait_until

PATIENT, RELATIVE, CAREGIVER = ("Pat", Role.PATIENT), ("Rel", Role.RELATIVE), ("Car", Role.CAREGIVER)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path) as house:
        yield house


def types(messages: list[Message]) -> list[str]:
    return [message["type"] for message in messages]


async def names(page: Page, *expected: str) -> None:
    await page.lists("participants", lambda people: {one["display_name"] for one in people} == set(expected))


async def test_whoever_waits_learns_that_they_wait_and_nothing_of_who_is_inside(house: House) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER, title="Check-up")
    await room.host("Car")
    await room.admitted("Rel")
    page = await house.hello(await room.token("Pat"))
    welcome = await page.hears("welcome")
    waiting = await page.hears("waiting")
    assert waiting["staff_present"] is True
    assert await page.settled() == []
    assert welcome["room"]["title"] == "Check-up"
    assert welcome["participant"] == {
        "id": room.ids["Pat"], "role": "patient", "host": False, "display_name": "Pat", "state": "waiting"
    }  # fmt: skip
    assert welcome["media"] == "new"
    text = str(welcome) + str(waiting)
    assert not [name for name in ("Rel", "Car", room.ids["Rel"], room.ids["Car"]) if name in text]


async def test_a_host_sees_the_queue_and_lets_somebody_in(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    patient = await room.comes("Pat")
    (one,) = await host.lists("queue", lambda queue: len(queue) == 1)
    assert (one["display_name"], one["role"], one["connection"]) == ("Pat", "patient", "connected")
    await host.say("admit", participant=one["participant"], session=one["session"])
    await patient.hears("admitted")
    await names(patient, "Pat", "Car")
    await names(host, "Pat", "Car")
    await host.lists("queue", lambda queue: queue == [])


async def test_offer_answer_and_slots_before_the_list_that_names_a_newcomer(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    answer = await host.offer()
    assert "a=ice-lite" in answer["sdp"]
    host.heard.clear()
    await room.admitted("Pat")
    await names(host, "Pat", "Car")
    first_naming = next(
        at for at, said in enumerate(host.heard)
        if said["type"] == "participants" and room.ids["Pat"] in str(said)
    )  # fmt: skip
    slots = [at for at, said in enumerate(host.heard) if said["type"] == "slots"]
    assert slots[0] < first_naming
    sound, picture = host.heard[slots[0]]["slots"]
    assert (sound["participant"], sound["source"], sound["paused"]) == (room.ids["Pat"], "microphone", False)
    assert (picture["participant"], picture["source"]) == (room.ids["Pat"], "camera")
    assert f"a=mid:{sound['mid']}\r\n" in OFFER


async def test_an_offer_of_somebody_who_waits_is_refused_and_reaches_no_media(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.comes("Pat")
    await page.say("offer", id=7, sdp="v=0", restart=False)
    assert (await page.hears("error"))["re"] == 7
    assert house.node.joined == []


async def test_each_state_is_told_once_and_removed_closes(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    page = await room.comes("Pat")
    await page.hears("waiting")
    await host.say("identify", participant=room.ids["Pat"])
    assert (await page.hears("identifying"))["host"] == room.ids["Car"]
    await host.say("hold", participant=room.ids["Pat"])
    await page.hears("held")
    await room.does(Verb.DENY, "Pat", reason="wrong day")
    assert (await page.hears("denied"))["reason"] == "wrong day"
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    await room.does(Verb.REMOVE, "Pat", reason="loud")
    assert (await page.hears("removed"))["reason"] == "loud"
    assert await page.closed() == 4002
    statuses = {"waiting", "identifying", "held", "admitted", "denied", "removed", "ended"}
    assert not [said for said in page.heard if said["type"] in statuses]


async def test_somebody_identified_sees_that_host_alone_and_is_told_no_list(house: House) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host = await room.host("Car")
    await room.admitted("Rel")
    await host.offer()
    page = await room.comes("Pat")
    await host.say("identify", participant=room.ids["Pat"])
    await page.hears("identifying")
    await page.offer()
    await page.sees(room.ids["Car"])
    await host.sees(room.ids["Pat"])
    await page.settled()
    assert "participants" not in types(page.heard)
    await host.say("identity", participant=room.ids["Pat"], method="document", document_type="passport")
    await host.lists("queue", lambda queue: queue and queue[0]["identity"])
    await host.say("admit", participant=room.ids["Pat"])
    await page.hears("admitted")
    people = await page.lists("participants", lambda people: len(people) == 3)
    assert {one["display_name"]: (one["identity"] or {}).get("method") for one in people}["Pat"] == "document"


async def test_a_hold_keeps_the_peer_and_takes_the_lists_away(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    await room.host("Car")
    page = await room.admitted("Pat")
    await page.offer()
    await page.sees(room.ids["Car"])
    await room.does(Verb.HOLD, "Pat")
    await page.hears("held")
    await page.sees()
    assert house.node.kept(room.id, room.ids["Pat"])
    assert [person.id for person in house.node.persons[room.id]] == [room.ids["Car"]]
    page.heard.clear()
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    await page.sees(room.ids["Car"])
    await names(page, "Pat", "Car")
    assert house.node.dropped == []


async def test_the_end_is_told_and_closes_everyone(house: House) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host, patient, waiting = await room.host("Car"), await room.admitted("Pat"), await room.comes("Rel")
    await host.say("end")
    for page in (host, patient, waiting):
        await page.hears("ended")
        assert await page.closed() == 4002
    assert house.node.closed == [room.id]


async def test_hello_after_the_end_is_told_so(house: House) -> None:
    room = await house.room(PATIENT)
    token = await room.token("Pat")
    await house.visits.end(room.id, PORTAL)
    page = await house.hello(token)
    await page.hears("welcome")
    await page.hears("ended")
    assert await page.closed() == 4002


async def test_after_leave_one_is_out_and_may_come_back(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    token = await room.token("Pat")
    page = await house.hello(token)
    await page.hears("waiting")
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    await page.say("leave")
    assert await page.closed() == 1000
    await names(host, "Car")
    again = await house.hello(token)
    await again.hears("admitted")
    await names(host, "Car", "Pat")


async def test_a_second_hello_of_the_session_closes_the_first_websocket(house: House) -> None:
    room = await house.room(PATIENT)
    token = await room.token("Pat")
    first = await house.hello(token)
    await first.hears("waiting")
    second = await house.hello(token)
    await second.hears("waiting")
    assert await first.closed() == 4001
    await second.settled()


async def test_a_lost_websocket_finds_its_peer_kept_and_whole_lists(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    await room.host("Car")
    token = await room.token("Pat")
    page = await house.hello(token)
    await page.hears("waiting")
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    await page.offer()
    page.cut()
    again = await house.hello(token)
    assert (await again.hears("welcome"))["media"] == "kept"
    await again.hears("admitted")
    await again.sees(room.ids["Car"])
    await names(again, "Pat", "Car")


async def test_a_second_browser_waits_under_its_own_session_and_admitting_it_closes_the_first(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    first = await room.admitted("Pat")
    await first.offer()
    second = await room.comes("Pat")
    await second.hears("waiting")
    (one,) = await host.lists("queue", lambda queue: len(queue) == 1)
    first.heard.clear()
    assert await first.settled() == []
    await host.say("admit", participant=room.ids["Pat"], session=one["session"])
    await second.hears("admitted")
    assert await first.closed() == 4002
    assert house.node.dropped == [(room.id, room.ids["Pat"])]
    await second.offer()
    # The participant keeps its name in media, so that those who see it keep its slot.
    assert house.node.joined == [(room.id, room.ids["Pat"])] * 2


async def test_a_second_browser_that_was_identified_keeps_its_peer_when_admitted(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER, max_participants=4)
    host = await room.host("Car")
    first = await room.admitted("Pat")
    second = await room.comes("Pat")
    (one,) = await host.lists("queue", lambda queue: len(queue) == 1)
    await host.say("identify", participant=room.ids["Pat"], session=one["session"])
    await second.hears("identifying")
    await second.offer()
    await second.sees(room.ids["Car"])
    await first.sees()
    await host.say("admit", participant=room.ids["Pat"], session=one["session"])
    await second.hears("admitted")
    assert await first.closed() == 4002
    assert house.node.kept(room.id, one["session"])
    await host.offer()
    await host.sees(room.ids["Pat"])


async def test_everyone_admitted_comes_back_without_waiting_after_the_server_was_killed(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = await house.room(PATIENT, CAREGIVER)
        await room.host("Car")
        token = await room.token("Pat")
        page = await house.hello(token)
        await page.hears("waiting")
        await room.does(Verb.ADMIT, "Pat")
        await page.hears("admitted")
    async with House(tmp_path) as house:
        page = await house.hello(token)
        assert (await page.hears("welcome"))["media"] == "new"
        await page.hears("admitted")
        people = await page.lists("participants", lambda people: len(people) == 2)
        connections = {one["display_name"]: one["connection"] for one in people}
        assert connections == {"Pat": "connected", "Car": "lost"}


async def test_an_offer_answered_after_the_removal_leaves_no_peer(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.admitted("Pat")

    async def remove() -> None:
        await room.does(Verb.REMOVE, "Pat")

    house.node.during_join = remove
    await page.say("offer", id=1, sdp=OFFER, restart=False)
    assert await page.closed() == 4002
    await wait_until(lambda: house.node.joined, deadline=5, what="the answer that came too late")
    assert not house.node.kept(room.id, room.ids["Pat"])
    assert "answer" not in types(page.heard)


async def test_a_visit_that_was_reopened_goes_on(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    token = await room.token("Pat")
    page = await house.hello(token)
    await page.hears("waiting")
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    await host.say("end")
    assert await page.closed() == 4002
    await house.visits.reopen(room.id, PORTAL)
    again = await house.hello(token)
    assert (await again.hears("welcome"))["media"] == "new"
    await again.hears("admitted")
    await again.offer()
    assert house.node.kept(room.id, room.ids["Pat"])
