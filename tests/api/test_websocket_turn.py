"""Who is told of the TURN server: those who are let in, each with a credential of their own, and nobody before."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from vardrum.control.turn import Turn
from vardrum.control.visits.values import Role, Verb
from vardrum.tests.api.websocket_house import House, Message

PATIENT, CAREGIVER = ("Pat", Role.PATIENT), ("Car", Role.CAREGIVER)
URLS = ("turn:turn.region.example:3478", "turns:turn.region.example:443?transport=tcp")
SECRET = b"00112233445566778899aabbccddeeff"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path, turn=Turn(URLS, SECRET, 3600)) as house:
        yield house


def good(status: Message) -> tuple[int, str]:
    """Expiry and name of the one credential in a status, which must be signed."""
    (server,) = status["ice_servers"]
    assert server["urls"] == list(URLS)
    wanted = hmac.digest(SECRET, server["username"].encode(), "sha1")
    assert base64.b64decode(server["credential"]) == wanted
    expiry, _, user = server["username"].partition(":")
    return int(expiry), user


async def test_credentials_come_with_admission_and_not_before(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    page = await room.comes("Pat")
    await page.hears("waiting")
    assert "turn" not in str(await page.settled())
    host = await room.host("Car")
    await host.say("identify", participant=room.ids["Pat"])
    seen = good(await page.hears("identifying"))
    await room.does(Verb.HOLD, "Pat")
    await page.hears("held")
    await room.does(Verb.ADMIT, "Pat")
    let_in = good(await page.hears("admitted"))
    assert abs(let_in[0] - time.time() - 3600) < 60
    assert seen == let_in
    # Nothing of who anybody is.
    for known in (*room.ids.values(), *room.secrets.values(), "Pat"):
        assert known not in let_in[1]


async def test_everybody_has_their_own_and_changes_of_the_room_bring_no_other(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    page = await room.comes("Pat")
    await room.does(Verb.ADMIT, "Pat")
    mine = good(await page.hears("admitted"))
    embed = await house.visits.embed_token(room.id, room.ids["Car"], None, tenant="demo")
    host = await house.hello((await house.visits.open_session(embed_token=embed.embed_token)).token)
    assert good(await host.hears("admitted"))[1] != mine[1]
    await page.lists("participants", lambda people: len(people) == 2)
    await host.say("lock")
    assert [one["type"] for one in await page.settled() if one["type"] == "admitted"] == []


async def test_who_says_hello_again_gets_a_fresh_one_under_the_same_name(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await house.room(PATIENT)
    token = await room.token("Pat")
    page = await house.hello(token)
    await page.hears("waiting")
    await room.does(Verb.ADMIT, "Pat")
    first = good(await page.hears("admitted"))
    monkeypatch.setattr(house.live._relays, "_wall", lambda: time.time() + 1800)
    page.cut()
    again = good(await (await house.hello(token)).hears("admitted"))
    assert again[0] - first[0] >= 1790
    assert again[1] == first[1]


async def test_a_visit_that_outlasts_a_credential_is_told_of_another(tmp_path: Path) -> None:
    async with House(tmp_path, turn=Turn(URLS, SECRET, 2)) as house:
        room = await house.room(PATIENT)
        page = await room.comes("Pat")
        await room.does(Verb.ADMIT, "Pat")
        said = [good(await page.hears("admitted")) for _ in range(3)]
        assert said[0][0] < said[2][0]
        assert len({user for _, user in said}) == 1


async def test_a_visit_by_phone_has_none(house: House) -> None:
    fields: dict[str, Any] = {"form": "phone"}
    room = await house.room(PATIENT, **fields)
    page = await room.comes("Pat")
    await room.does(Verb.ADMIT, "Pat")
    assert (await page.hears("admitted"))["ice_servers"] == []
