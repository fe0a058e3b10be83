"""Whatever a client sends that doesn't fit gets a clear error and changes nothing; who goes on is closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError
from vardrum.control import signaling
from vardrum.control.live import outbox
from vardrum.control.visits.values import Role, Verb
from vardrum.tests.api.websocket_house import OFFER, ORIGIN, House
from vardrum.tests.support.wait import wait_until
from vardrum.tests.unit.test_live_messages import EXAMPLES

PATIENT, CAREGIVER = ("Pat", Role.PATIENT), ("Car", Role.CAREGIVER)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path) as house:
        yield house


async def test_a_foreign_origin_is_refused_ours_and_none_are_not(house: House) -> None:
    for foreign in ("https://evil.example", "null", "", "https://[evil", "https://\u2100.example"):
        with pytest.raises(WSServerHandshakeError) as refused:
            await house.open(headers={"Origin": foreign})
        assert refused.value.status == 403, foreign
    for headers in ({"Origin": ORIGIN}, {}, {"Origin": str(house.server.make_url("/")).rstrip("/")}):
        page = await house.open(headers=headers)
        await page.close()


async def test_messages_are_compressed_where_the_client_offers_it(house: House) -> None:
    page = await house.open()
    assert page.socket.compress
    await page.close()


@pytest.mark.parametrize(
    ("said", "code", "re"),
    [
        ("", "bad-message", None),
        ("no json", "bad-message", None),
        ("[1, 2]", "bad-message", None),
        ("null", "bad-message", None),
        ("[" * 50_000, "bad-message", None),
        ('{"type": "ping", "id": 1' + "0" * 5000 + "}", "bad-message", None),
        ('{"type": "dance"}', "unknown-type", "dance"),
        ('{"type": 5, "id": "x"}', "unknown-type", "x"),
        ('{"type": "ping"}', "bad-message", "ping"),
        ('{"type": "ping", "id": 1, "more": true}', "bad-message", 1),
        ('{"type": "ping", "id": 9007199254740993}', "bad-message", "ping"),
        ('{"type": "offer", "id": "1", "sdp": "", "restart": false}', "bad-message", "1"),
        ('{"type": "chat", "id": "' + "x" * 65 + '", "text": "a"}', "bad-message", "chat"),
        ('{"type": "chat", "id": "x", "text": "' + "x" * 4001 + '"}', "bad-message", "x"),
        ('{"type": "chat", "id": "x", "text": ""}', "bad-message", "x"),
        ('{"type": "chat", "id": "x", "text": "\\ud800"}', "bad-message", None),
        ('{"type": "wishes", "show": [{"participant": "a", "source": "camera", "max_height": 0}]}', None, "wishes"),
        ('{"type": "stats", "x": NaN}', "bad-message", "stats"),
        ('{"type": "stats", "x": "' + "x" * 20_000 + '"}', "bad-message", "stats"),
        ('{"type": "hello", "token": "x", "device": {}}', "hello-twice", "hello"),
    ],
)
async def test_what_does_not_fit_gets_an_error(house: House, said: str, code: str | None, re: str | int | None) -> None:
    room = await house.room(PATIENT)
    page = await room.comes("Pat")
    await page.socket.send_str(said)
    error = await page.hears("error")
    assert error["code"] == (code or "bad-message")
    assert error.get("re") == re
    assert "xxxx" not in error["detail"]
    await page.settled()


async def test_a_message_that_is_too_long_gets_an_error_and_a_far_longer_one_the_end(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.comes("Pat")
    await page.say("offer", id=1, sdp="x" * 256 * 1024, restart=False)
    await page.hears("error", code="message-too-large")
    await page.settled()
    await page.say("offer", id=1, sdp="x" * 1024 * 1024, restart=False)
    assert await page.closed() == 1009


async def test_a_small_frame_that_unpacks_to_much_is_not_unpacked(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.comes("Pat")
    await page.socket.send_str(" " * 64 * 1024 * 1024)  # 64 kB on the wire
    assert await page.closed(within=20) == 1009


async def test_binary_messages_are_refused(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.comes("Pat")
    await page.socket.send_bytes(b"\0" * 10)
    await page.hears("error", code="bad-message")
    await page.settled()


async def test_the_first_message_is_hello(house: House) -> None:
    page = await house.open()
    await page.say("ping", id=1)
    await page.hears("error", code="hello-expected", re=1)
    await page.say("hello", token="x" * 20_000, device={})
    await page.hears("error", code="message-too-large")
    room = await house.room(PATIENT)
    await page.say("hello", token=await room.token("Pat"), device={})
    await page.hears("waiting")


async def test_who_says_nothing_is_closed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signaling, "HELLO_WITHIN", 0.1)
    page = await house.open()
    await page.hears("error", code="hello-expected")
    assert await page.closed() == 1008


async def test_strangers_are_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signaling, "STRANGERS", 1)
    page = await house.open()
    with pytest.raises(WSServerHandshakeError) as refused:
        await house.open()
    assert refused.value.status == 503
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"]
    room = await house.room(PATIENT)
    await page.say("hello", token=await room.token("Pat"), device={})
    await page.hears("waiting")
    await house.open()


@pytest.mark.parametrize("token", ["", "vrs_unknown", "x" * 500, "vrs_\u00e5\u00e4\u00f6"])
async def test_a_token_that_is_none_is_closed_with_4003(house: House, token: str) -> None:
    page = await house.hello(token or "x")
    await page.hears("error", code="token-not-accepted", re="hello")
    assert await page.closed() == 4003


async def test_a_tampered_token_is_closed_with_4003(house: House) -> None:
    room = await house.room(PATIENT)
    token = await room.token("Pat")
    page = await house.hello(token[:-1] + ("A" if token[-1] != "A" else "B"))
    assert await page.closed() == 4003


async def test_a_token_of_a_replaced_browser_is_closed_with_4002(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    await room.host("Car")
    token = await room.token("Pat")
    first = await house.hello(token)
    await first.hears("waiting")
    await house.visits.renew_link(room.id, room.ids["Pat"])
    assert await first.closed() == 4002
    again = await house.hello(token)
    assert await again.closed() == 4002


async def test_somebody_who_goes_on_talking_nonsense_is_closed_as_hostile(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.comes("Pat")
    for _ in range(40):
        if not page.socket.closed:
            await page.socket.send_str("nonsense")
    assert await page.closed() == 4004


async def test_a_flood_is_closed_as_hostile_and_others_do_not_notice(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    host = await room.host("Car")
    page = await room.comes("Pat")
    try:
        for count in range(5000):
            await page.socket.send_str(json.dumps({"type": "ping", "id": count}))
    except ConnectionError:
        pass
    assert await page.closed(within=20) == 4004
    await host.settled()


async def test_a_burst_of_one_kind_is_refused_beyond_its_rate(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.admitted("Pat")
    for count in range(20):
        await page.say("chat", id=str(count), text="x")
    await page.hears("error", code="too-many-requests")
    await page.settled()


async def test_an_offer_that_is_refused_says_why_and_ids_must_grow(house: House) -> None:
    room = await house.room(PATIENT)
    page = await room.admitted("Pat")
    await page.say("offer", id=2, sdp="broken", restart=False)
    assert (await page.hears("error", code="bad-offer", re=2))["detail"]
    await page.say("offer", id=2, sdp=OFFER, restart=False)
    await page.hears("error", code="bad-offer", re=2)
    await page.say("offer", id=3, sdp=OFFER, restart=True)
    await page.hears("error", code="no-peer", re=3)
    await page.offer(id=4)


async def test_a_reader_that_does_not_read_is_cut_off_and_fills_no_memory(house: House) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    await room.host("Car")
    token = await room.token("Pat")
    page = await house.open(compress=0)
    page.stop_reading()
    await page.say("hello", token=token, device={})
    live = house.live
    await wait_until(lambda: len(live.rooms[room.id].clients) == 2, deadline=5, what="the hello")
    client = live.rooms[room.id].clients[-1]
    text = json.dumps({"type": "typing", "participant": "x", "text": "x" * 4000})
    said = 0
    async with asyncio.timeout(20):
        while not client.closing:
            client.say_text(text)
            said += 1
            await asyncio.sleep(0)
    # What the kernel's buffers and ours hold, and no more.
    assert said * len(text) < 16 * 1024 * 1024
    await wait_until(lambda: len(live.rooms[room.id].clients) == 1, deadline=5, what="the websocket being cut")


async def test_pings_of_the_websocket_itself_are_answered(house: House) -> None:
    room = await house.room(PATIENT)
    socket = await house.client.ws_connect(house.server.make_url("/v1/ws"), autoping=False)
    await socket.send_str(json.dumps({"type": "hello", "token": await room.token("Pat"), "device": {}}))
    await socket.ping(b"are you there")
    async with asyncio.timeout(5):
        while (message := await socket.receive()).type is not WSMsgType.PONG:
            pass
    assert message.data == b"are you there"
    await socket.close()


async def test_a_reader_that_has_stopped_does_not_outlive_its_close(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "GONE_WITHIN", 0.2)
    room = await house.room(PATIENT)
    page = await house.open(compress=0)
    page.stop_reading()
    await page.say("hello", token=await room.token("Pat"), device={})
    await wait_until(
        lambda: room.id in house.live.rooms and house.live.rooms[room.id].clients, deadline=5, what="hello"
    )
    (client,) = house.live.rooms[room.id].clients
    text = json.dumps({"type": "typing", "participant": "x", "text": "x" * 100_000})
    client.say_again([text] * 200)
    client.close(4002)
    await wait_until(lambda: not house.live.rooms[room.id].clients, deadline=5, what="the websocket being cut")


@pytest.mark.parametrize("state", ["waiting", "identifying", "admitted", "denied"])
async def test_whatever_is_said_in_whatever_state_is_done_or_refused(house: House, state: str) -> None:
    room = await house.room(PATIENT, CAREGIVER)
    await room.host("Car")
    page = await room.comes("Pat")
    if state != "waiting":
        verb = {"identifying": Verb.IDENTIFY, "admitted": Verb.ADMIT, "denied": Verb.DENY}[state]
        await room.does(verb, "Pat", **({"host": room.ids["Car"]} if verb is Verb.IDENTIFY else {}))
    await page.hears(state)
    for message in EXAMPLES:
        if message["type"] not in ("leave", "hello"):
            await page.socket.send_str(json.dumps(message))
    await page.settled()
    refused = {one["code"] for one in page.heard if one["type"] == "error"}
    assert "internal-error" not in refused
    assert "not-allowed" in refused
    snapshot = await house.visits.snapshot(room.id)
    assert [str(one.state) for one in snapshot.arrivals] == ["admitted", state]
