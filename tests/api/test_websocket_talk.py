"""What people inside say to each other and to hosts: chat, typing, hands, mutes, screens, calls for help."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from vardrum.control.visits.values import Role, Verb
from vardrum.sfu.types import Wish
from vardrum.tests.api.websocket_house import PORTAL, House, Message, Page

PATIENT, RELATIVE, CAREGIVER = ("Pat", Role.PATIENT), ("Rel", Role.RELATIVE), ("Car", Role.CAREGIVER)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path) as house:
        yield house


def lines(page: Page) -> list[Message]:
    return [message for message in page.heard if message["type"] == "chat"]


async def test_a_line_reaches_everyone_admitted_once_and_nobody_who_waits(house: House) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host, patient, waiting = await room.host("Car"), await room.admitted("Pat"), await room.comes("Rel")
    await patient.say("chat", id="a", text="hello")
    await patient.say("chat", id="a", text="hello again")
    await patient.settled()
    first, second = lines(patient)
    assert first == second
    assert first["text"] == "hello"
    assert (await host.hears("chat"))["participant"] == room.ids["Pat"]
    await host.settled()
    assert lines(host) == []
    await waiting.settled()
    assert lines(waiting) == []


async def test_what_was_said_while_one_was_away_comes_again_and_what_was_said_on_hold_does_not(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    token = await room.token("Pat")
    await host.say("chat", id="0", text="before Pat came")
    page = await house.hello(token)
    await page.hears("waiting")
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    await host.say("chat", id="1", text="one")
    seen = (await page.hears("chat"))["seq"]
    await page.close()
    await host.say("chat", id="2", text="two")
    await host.settled()
    await room.does(Verb.HOLD, "Pat")
    await host.say("chat", id="3", text="about Pat")
    await host.settled()
    await room.does(Verb.ADMIT, "Pat")
    await host.say("chat", id="4", text="four")
    await host.settled()
    again = await house.hello(token, last_chat=seen)
    await again.hears("admitted")
    await again.settled()
    assert [line["text"] for line in lines(again)] == ["two", "four"]
    reloaded = await house.hello(token)
    await reloaded.hears("admitted")
    await reloaded.settled()
    assert [line["text"] for line in lines(reloaded)] == ["one", "two", "four"]


async def test_seq_grows_over_a_restart(tmp_path: Path) -> None:
    last = 0
    for text in ("before", "after"):
        async with House(tmp_path) as house:
            room = await house.room(PATIENT)
            page = await room.admitted("Pat")
            await page.say("chat", id="same", text=text)
            said = await page.hears("chat")
            assert said["seq"] > last
            last = said["seq"]


async def test_a_host_writes_to_somebody_who_waits_and_other_guests_do_not_see_it(house: House) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host, relative, waiting = await room.host("Car"), await room.admitted("Rel"), await room.comes("Pat")
    await host.say("chat", id="a", text="one moment", to=room.ids["Pat"])
    assert (await waiting.hears("chat"))["to"] == room.ids["Pat"]
    assert (await host.hears("chat"))["text"] == "one moment"
    await relative.settled()
    assert lines(relative) == []
    await relative.say("chat", id="b", text="me too", to=room.ids["Pat"])
    assert (await relative.hears("error"))["re"] == "b"
    await waiting.say("chat", id="c", text="hello?")
    assert (await waiting.hears("error"))["re"] == "c"


async def test_typing_and_hands_reach_everyone_admitted(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host, patient = await room.host("Car"), await room.admitted("Pat")
    await patient.say("typing", text="I ca")
    await host.hears("typing", participant=room.ids["Pat"], text="I ca")
    await patient.hears("typing", text="I ca")
    await patient.say("hand", raised=True)
    await host.hears("hand", participant=room.ids["Pat"], raised=True)
    await host.lists("participants", lambda people: [one["hand"] for one in people] == [False, True])


async def test_muting_oneself_is_shown_and_enforced(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host, patient = await room.host("Car"), await room.admitted("Pat")
    await patient.say("muted", source="camera", muted=True)
    await host.lists("participants", lambda people: people[-1]["muted"] == {"microphone": False, "camera": True})
    assert house.node.mutes[room.id, room.ids["Pat"], "camera"] is True
    # A new connection of the same page is muted before it sends anything.
    house.node.mutes.clear()
    await patient.offer()
    assert house.node.mutes[room.id, room.ids["Pat"], "camera"] is True


async def test_a_host_mutes_somebody_until_they_unmute(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host, patient = await room.host("Car"), await room.admitted("Pat")
    await host.say("mute", participant=room.ids["Pat"])
    assert await patient.hears("mute") == {"type": "mute", "source": "microphone", "by": room.ids["Car"]}
    await host.lists("participants", lambda people: people[-1]["muted"]["microphone"])
    assert house.node.mutes[room.id, room.ids["Pat"], "microphone"] is True
    await patient.say("muted", source="microphone", muted=False)
    await host.lists("participants", lambda people: not people[-1]["muted"]["microphone"])
    assert house.node.mutes[room.id, room.ids["Pat"], "microphone"] is False
    await patient.say("mute", participant=room.ids["Car"])
    assert (await patient.hears("error"))["code"] == "not-allowed"


async def test_a_portal_mutes_through_http_too(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.admitted("Pat")
    await room.does(Verb.MUTE, "Pat")
    assert (await page.hears("mute"))["by"] == PORTAL.name


async def test_one_screen_at_a_time_and_a_host_replaces(house: House) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host, patient, relative = await room.host("Car"), await room.admitted("Pat"), await room.admitted("Rel")
    await patient.say("sharing", on=True)
    await patient.settled()
    await relative.say("sharing", on=True)
    await relative.hears("error", code="screen-taken", re="sharing")
    assert house.node.sharing == {(room.id, room.ids["Pat"]): True}
    await host.say("sharing", on=True)
    await patient.hears("error", code="screen-taken")
    assert house.node.sharing == {(room.id, room.ids["Pat"]): False, (room.id, room.ids["Car"]): True}
    await host.say("sharing", on=False)
    await host.settled()
    await relative.say("sharing", on=True)
    await relative.settled()
    assert house.node.sharing[room.id, room.ids["Rel"]] is True
    await room.does(Verb.HOLD, "Rel")
    await relative.hears("held")
    await patient.say("sharing", on=True)
    await patient.settled()
    assert house.node.sharing[room.id, room.ids["Pat"]] is True


async def test_help_reaches_hosts_also_those_who_come_later(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    patient = await room.comes("Pat")
    await patient.say("help", kind="phone")
    await patient.settled()
    host = await room.host("Car")
    assert await host.hears("fallback") == {
        "type": "fallback", "participant": room.ids["Pat"], "phone_available": False
    }  # fmt: skip


async def test_wishes_name_people_who_are_inside(house: House) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host = await room.host("Car")
    await room.admitted("Pat")
    await room.comes("Rel")
    show = [{"participant": room.ids[name], "source": "camera", "max_height": 360} for name in ("Pat", "Rel")]
    await host.say("wishes", show=show, pin=room.ids["Pat"])
    await host.settled()
    assert house.node.wished[room.id, room.ids["Car"]] == ([Wish(room.ids["Pat"], "camera", 360)], room.ids["Pat"])


async def test_wishes_are_handed_on_anew_only_when_somebody_they_name_comes(house: House) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host = await room.host("Car")
    await host.say("wishes", show=[{"participant": room.ids["Rel"], "source": "camera", "max_height": 360}])
    await host.settled()
    house.node.wished.clear()
    await room.admitted("Pat")
    await host.lists("participants", lambda people: len(people) == 2)
    # Said again, they would hide Pat, whom the page hasn't had the time to wish for.
    assert house.node.wished == {}
    await room.admitted("Rel")
    await host.lists("participants", lambda people: len(people) == 3)
    assert house.node.wished == {(room.id, room.ids["Car"]): ([Wish(room.ids["Rel"], "camera", 360)], None)}


async def test_a_page_that_was_loaded_anew_is_not_muted_by_its_former_self_but_still_by_a_host(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    token = await room.token("Pat")
    page = await house.hello(token)
    await page.hears("waiting")
    await room.does(Verb.ADMIT, "Pat")
    await page.hears("admitted")
    await page.say("muted", source="camera", muted=True)
    await host.say("mute", participant=room.ids["Pat"])
    await page.hears("mute")
    await page.offer()
    await page.close()
    again = await house.hello(token)
    await again.hears("admitted")
    await again.hears("mute", source="microphone")
    await again.offer()
    await host.lists("participants", lambda people: people[-1]["muted"] == {"microphone": True, "camera": False})


async def test_media_tells_of_speakers_and_of_how_to_send(house: House) -> None:
    room = await house.room(PATIENT, RELATIVE, CAREGIVER)
    host, waiting = await room.host("Car"), await room.comes("Rel")
    await room.admitted("Pat")
    house.live.speaking(room.id, [room.ids["Pat"], "nobody"])
    await host.lists("speaking", lambda people: people == [room.ids["Pat"]])
    house.live.send_changed(room.id, room.ids["Car"], {"camera": {"width": 320}})
    assert (await host.hears("send"))["camera"] == {"width": 320}
    await waiting.settled()
    assert not [said for said in waiting.heard if said["type"] == "speaking"]


async def test_hosts_lock_and_unlock(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    token = await room.token("Pat")
    await host.say("lock")
    await host.settled()
    late = await house.hello(token)
    await late.hears("error", code="room-locked")
    assert await late.closed() == 1013
    await host.say("unlock")
    await host.settled()
    page = await house.hello(token)
    await page.hears("waiting")


async def test_a_second_browser_of_a_host_decides_nothing(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    await room.host("Car")
    await room.comes("Pat")
    second = await room.comes("Car")
    await second.hears("waiting")
    await second.say("admit", participant=room.ids["Pat"])
    await second.hears("error", code="not-allowed", re="admit")


async def test_a_rule_that_is_not_met_is_told_to_the_host(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER, identity_policy={"patient": "document"})
    host = await room.host("Car")
    await room.comes("Pat")
    await host.say("admit", participant=room.ids["Pat"])
    await host.hears("error", code="identity-not-met", re="admit")
