"""Events on their way to a real receiver: signed, in order, again and again, and what a portal sees of it."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook
from vardrum.control.store import queries
from vardrum.control.store import webhooks as rows
from vardrum.tests.api.installation import Installation, Reply
from vardrum.tests.support.receiver import Answer, Authority, Received, Receiver, answer_too, hang_up
from vardrum.tests.support.wait import wait_until


class Portal:
    """An installation and a receiver that it trusts."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.authority = Authority(folder)
        self.folder = folder
        chosen = {"allow_private": True, "ca_file": str(self.authority.file), "timeout_seconds": 1, **settings}
        self.overrides = {"webhooks": chosen, "metrics": {"listen": "127.0.0.1:0"}}
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> Portal:
        self.here = await self.stack.enter_async_context(Installation(self.folder / "data", self.overrides))
        self.receiver = await self.stack.enter_async_context(Receiver(self.authority.context()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def subscribe(self, url: str | None = None, **body: Any) -> Hook:
        reply = await self.here.ask("POST", "/v1/webhooks", {"url": url or self.receiver.url, **body})
        assert reply.status == 201, reply
        return Hook(self.here, reply.body)

    async def room(self, **fields: Any) -> str:
        """Of next week, so that one event tells of it."""
        times = {"starts_at": "2026-03-12T11:00:00Z", "ends_at": "2026-03-12T12:00:00Z"}
        reply = await self.here.ask("POST", "/v1/rooms", self.here.booking(**times, **fields))
        assert reply.status == 201, reply
        return str(reply.body["id"])

    async def change(self, room: str, title: str) -> None:
        reply = await self.here.ask("PATCH", f"/v1/rooms/{room}", {"title": title}, If_Match="*")
        assert reply.status == 200, reply

    async def told(self, count: int) -> list[Received]:
        """Once so many requests have come."""
        await wait_until(lambda: len(self.receiver.received) >= count, deadline=10, what=f"{count} requests")
        return self.receiver.received


class Hook:
    def __init__(self, here: Installation, made: Any) -> None:
        self.here = here
        self.id = made["id"]
        self.secret = made["secret"]
        self.path = f"/v1/webhooks/{self.id}"

    async def read(self) -> Any:
        return (await self.here.ask("GET", self.path)).body

    async def deliveries(self, query: str = "") -> list[Any]:
        """Oldest first."""
        reply = await self.here.ask("GET", f"{self.path}/deliveries{query}")
        assert reply.status == 200, reply
        return list(reversed(reply.body["items"]))

    async def redeliver(self, delivery: str) -> Reply:
        return await self.here.ask("POST", f"{self.path}/deliveries/{delivery}/redeliver")

    async def states(self, *expected: str) -> list[Any]:
        """The deliveries, once they are in these states."""
        found: list[Any] = []

        async def there() -> bool:
            found[:] = await self.deliveries()
            return [one["state"] for one in found] == list(expected)

        await wait(there, lambda: f"expected {expected}, found {found}")
        return found


async def wait(condition: Any, what: Any, deadline: float = 10.0) -> None:
    end = asyncio.get_running_loop().time() + deadline
    while not await condition():
        assert asyncio.get_running_loop().time() < end, what if isinstance(what, str) else what()
        await asyncio.sleep(0.02)


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    async with Portal(tmp_path) as made:
        yield made


async def test_an_event_is_told_signed_and_as_the_contract_says(portal: Portal) -> None:
    before = await portal.room()
    hook = await portal.subscribe()
    room = await portal.room(external_ref="b-1")
    [one] = await portal.told(1)
    assert one.headers["Content-Type"] == "application/json"
    assert one.headers["User-Agent"].startswith("Vardrum-Webhooks/")
    timestamp = datetime.fromtimestamp(int(one.headers["webhook-timestamp"]), UTC)
    assert timestamp == portal.here.now
    assert one.headers["webhook-signature"] == Webhook(hook.secret).sign(one.id, timestamp, one.body.decode())
    event = one.event
    assert (event["id"], event["type"], event["room"]) == (one.id, "room.created", room)
    assert (event["external_ref"], event["occurred_at"]) == ("b-1", "2026-03-02T09:00:00Z")
    assert event["room"] != before
    assert set(event) == {"id", "position", "type", "occurred_at", "room", "external_ref", "data"}
    [delivery] = await hook.states("delivered")
    assert (delivery["event"], delivery["type"], delivery["attempts"]) == (one.id, "room.created", 1)
    assert delivery["last_attempt"]["status"] == 204
    assert delivery["last_attempt"]["reason"] == "delivered"
    assert delivery["id"].startswith("dlv_")


async def test_only_the_types_that_were_asked_for_are_told(portal: Portal) -> None:
    await portal.subscribe(events=["room.updated"])
    room = await portal.room()
    await portal.change(room, "x")
    [one] = await portal.told(1)
    assert one.event["type"] == "room.updated"


async def test_another_tenants_events_are_not_told(portal: Portal) -> None:
    await portal.subscribe()
    south = await portal.here.new_key("south")
    await portal.here.ask("POST", "/v1/rooms", portal.here.booking(), key=south)
    room = await portal.room()
    [one] = await portal.told(1)
    assert one.room == room


async def test_after_a_rotation_both_secrets_sign_for_a_day(portal: Portal) -> None:
    hook = await portal.subscribe()
    for _ in range(2):
        rotated = await portal.here.ask("POST", f"{hook.path}/rotate")
        assert rotated.status == 200
        assert rotated.body["secret"] != hook.secret
    await portal.room()
    [one] = await portal.told(1)
    signatures = one.headers["webhook-signature"].split(" ")
    timestamp = datetime.fromtimestamp(int(one.headers["webhook-timestamp"]), UTC)
    assert len(signatures) == 3
    for secret in (rotated.body["secret"], hook.secret):
        assert Webhook(secret).sign(one.id, timestamp, one.body.decode()) in signatures
    portal.here.now += timedelta(hours=24, seconds=1)
    await portal.room()
    two = (await portal.told(2))[1]
    key = base64.b64decode(rotated.body["secret"].removeprefix("whsec_"))
    signed = f"{two.id}.{two.headers['webhook-timestamp']}.".encode() + two.body
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert two.headers["webhook-signature"] == f"v1,{expected}"


async def test_a_failing_event_holds_back_its_room_and_no_other(portal: Portal) -> None:
    hook = await portal.subscribe()
    bad = await portal.room()
    await portal.told(1)
    works = False

    async def behave(_: web.Request, one: Received) -> Answer:
        return 500 if one.room == bad and not works else 200

    portal.receiver.behave = behave
    await portal.change(bad, "a")
    await portal.change(bad, "b")
    good = await portal.room()
    await portal.change(good, "c")
    states = await hook.states("delivered", "pending", "held", "delivered", "delivered")
    assert (states[1]["last_attempt"]["status"], states[1]["last_attempt"]["reason"]) == (500, "refused")
    assert (await hook.read())["state"] in ("failing", "active")
    assert (await hook.redeliver(states[2]["id"])).problem == "state-conflict"
    works = True
    await portal.here.pass_time(seconds=6)
    await hook.states(*["delivered"] * 5)
    told = [one.event for one in portal.receiver.received if one.room == bad]
    # The same id over all tries, and nothing overtook it.
    assert {one["id"] for one in told[1:-1]} == {states[1]["event"]}
    assert told[-1]["id"] == states[2]["event"]
    assert (await hook.read())["state"] == "active"


async def test_after_three_days_it_is_a_dead_letter_and_the_room_goes_on(portal: Portal) -> None:
    hook = await portal.subscribe()
    room = await portal.room()
    await portal.told(1)
    poison: set[str] = set()

    async def behave(_: web.Request, one: Received) -> Answer:
        if one.event["type"] == "room.updated" and not poison:
            poison.add(one.id)
        return 400 if one.id in poison else 200

    portal.receiver.behave = behave
    await portal.change(room, "a")
    await portal.change(room, "b")
    await hook.states("delivered", "pending", "held")
    for tries in range(1, 6):
        portal.here.now += timedelta(days=1 if tries > 1 else 0)
        # Written down, and not only seen there: the next try is reckoned from then.
        await wait(functools.partial(tried, hook, tries), "another try")
    found = await hook.states("delivered", "dead", "delivered")
    assert found[1]["attempts"] == 5
    assert "next_attempt_at" not in found[1]
    assert [one["id"] for one in await hook.deliveries("?state=dead")] == [found[1]["id"]]
    poison.clear()
    poison.add("nothing")
    again = await hook.redeliver(found[1]["id"])
    assert (again.status, again.body["state"]) == (202, "pending")
    await hook.states("delivered", "delivered", "delivered")


async def tried(hook: Hook, times: int) -> bool:
    return any(one["attempts"] >= times for one in await hook.deliveries())


async def test_what_is_asked_for_again_holds_nothing_back(portal: Portal) -> None:
    hook = await portal.subscribe()
    room = await portal.room()
    [first] = await hook.states("delivered")

    async def behave(_: web.Request, one: Received) -> Answer:
        return 500 if one.id == first["event"] else 200

    portal.receiver.behave = behave
    assert (await hook.redeliver(first["id"])).status == 202
    await portal.told(2)
    await portal.change(room, "a")
    await hook.states("pending", "delivered")


async def test_a_receiver_that_was_away_for_three_days_leaves_dead_letters_and_goes_on(portal: Portal) -> None:
    hook = await portal.subscribe()
    await portal.receiver.stop()
    for _ in range(3):
        room = await portal.room()
        await portal.change(room, "a")
    await wait(lambda: failing(hook), "failing")
    # What is queued after the clock has moved is as young as then.
    await hook.states("pending", "held", "pending", "held", "pending", "held")
    portal.here.now += timedelta(days=3, minutes=1)
    await hook.states(*["dead"] * 6)
    reasons = {(one["last_attempt"] or {"reason": "expired"})["reason"] for one in await hook.deliveries()}
    assert reasons <= {"not-connected", "expired"}
    await portal.receiver.start()
    await portal.room()
    portal.here.now += timedelta(minutes=6)
    await hook.states(*["dead"] * 6, "delivered")


async def failing(hook: Hook) -> bool:
    return bool((await hook.read())["state"] == "failing")


async def test_410_disables_until_somebody_asks_again(portal: Portal) -> None:
    hook = await portal.subscribe()
    statuses = [410]

    async def behave(_: web.Request, one: Received) -> Answer:
        return statuses.pop() if statuses else 200

    portal.receiver.behave = behave
    room = await portal.room()
    [dead] = await hook.states("dead")
    assert dead["last_attempt"]["reason"] == "gone"
    assert (await hook.read())["state"] == "disabled"
    await portal.change(room, "a")
    await hook.states("dead", "pending")
    assert len(portal.receiver.received) == 1
    assert (await hook.redeliver(dead["id"])).status == 202
    await hook.states("delivered", "delivered")
    assert (await hook.read())["state"] == "active"


async def test_a_redirect_is_not_followed(portal: Portal) -> None:
    hook = await portal.subscribe()

    async def behave(request: web.Request, _: Received) -> Answer:
        raise web.HTTPTemporaryRedirect("/elsewhere")

    portal.receiver.behave = behave
    await portal.room()
    await portal.told(1)

    async def tried() -> bool:
        return (await hook.deliveries())[0]["last_attempt"] is not None

    await wait(tried, "a try")
    [one] = await hook.deliveries()
    assert (one["last_attempt"]["status"], one["last_attempt"]["reason"]) == (307, "redirect")


async def test_a_receiver_that_hangs_delays_nobody_else(portal: Portal) -> None:
    async def hang(_: web.Request, one: Received) -> Answer:
        await asyncio.sleep(30)
        return 200

    async with Receiver(portal.authority.context(), hang) as hanging:
        hung = [await portal.subscribe(hanging.url) for _ in range(10)]
        await portal.subscribe()
        for number in range(20):
            await portal.room()
            await portal.told(number + 1)
        # Each has one try at a time, and then a pause.
        assert len(hanging.received) <= 30

        async def tried() -> bool:
            return any(one["last_attempt"] is not None for one in await hung[0].deliveries())

        await wait(tried, "a timeout")
        assert "timeout" in {(one["last_attempt"] or {}).get("reason") for one in await hung[0].deliveries()}


async def test_answers_that_nobody_asked_for_acknowledge_nothing(portal: Portal) -> None:
    hook = await portal.subscribe()
    seen: set[str] = set()

    async def behave(request: web.Request, one: Received) -> Answer:
        if one.id not in seen:
            seen.add(one.id)
            hang_up(request)
            return 200
        answer_too(request)
        return 200

    portal.receiver.behave = behave
    room = await portal.room()
    for title in "abc":
        await portal.change(room, title)
    for _ in range(8):
        portal.here.now += timedelta(minutes=6)
        await asyncio.sleep(0)
        if [one["state"] for one in await hook.deliveries()] == ["delivered"] * 4:
            break
        await wait(lambda: moved(hook), "a try", 3)
    await hook.states(*["delivered"] * 4)
    assert len(seen) == 4


async def moved(hook: Hook) -> bool:
    found = await hook.deliveries()
    now = hook.here.now
    return all("next_attempt_at" not in one or one["next_attempt_at"] > now.isoformat() for one in found)


async def test_an_answer_without_end_is_not_read(portal: Portal) -> None:
    sent = 0

    async def endless(request: web.Request, one: Received) -> Answer:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 4096)
            sent += 4096

    portal.receiver.behave = endless
    hook = await portal.subscribe()
    await portal.room()
    [one] = await hook.states("delivered")
    assert one["last_attempt"]["milliseconds"] < 1000
    assert sent < 20_000_000


async def test_plain_http_is_for_this_machine_only(portal: Portal) -> None:
    async with Receiver(None) as plain:
        hook = await portal.subscribe(plain.url)
        await portal.room()
        await hook.states("delivered")
        assert len(plain.received) == 1
    reply = await portal.here.ask("POST", "/v1/webhooks", {"url": "http://10.0.0.1/"})
    assert reply.pointers == {"#/url"}
    assert (await portal.here.ask("POST", "/v1/webhooks", {"url": "https://10.0.0.1/"})).status == 201
    assert (await portal.here.ask("POST", "/v1/webhooks", {"url": "https://169.254.169.254/"})).status == 422


@pytest.mark.parametrize(
    ("settings", "name", "certified", "reason"),
    [
        ({"allow_private": False}, "localhost", "localhost", "address-not-allowed"),
        ({}, "nothing.invalid", "localhost", "name-not-found"),
        ({}, "localhost", "portal.example.org", "certificate"),
        ({"ca_file": ""}, "localhost", "localhost", "certificate"),
    ],
)
async def test_who_is_not_the_right_one_is_told_nothing(
    tmp_path: Path, settings: dict[str, Any], name: str, certified: str, reason: str
) -> None:
    async with (
        Portal(tmp_path, **settings) as portal,
        Receiver(portal.authority.context(certified)) as receiver,
    ):
        hook = await portal.subscribe(f"https://{name}:{receiver.port}/")
        await portal.room()

        async def tried() -> bool:
            return bool((found := await hook.deliveries()) and found[0]["last_attempt"])

        await wait(tried, "a try")
        [one] = await hook.deliveries()
        assert one["last_attempt"]["reason"] == reason
        assert "status" not in one["last_attempt"]
        assert receiver.received == []


async def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    async with Portal(tmp_path) as portal:
        hook = await portal.subscribe()
        await portal.receiver.stop()
        room = await portal.room()
        await portal.change(room, "a")
        await hook.states("pending", "held")
        await portal.receiver.start()
        port = portal.receiver.port
        async with AsyncExitStack() as stack:
            await portal.here.__aexit__()
            after = await stack.enter_async_context(Installation(tmp_path / "data", portal.overrides))
            after.now += timedelta(minutes=6)
            await portal.told(2)
            assert portal.receiver.port == port
            assert [one.event["type"] for one in portal.receiver.received] == ["room.created", "room.updated"]


async def test_a_deleted_webhook_is_told_nothing_more_and_leaves_nothing(portal: Portal) -> None:
    hook = await portal.subscribe()
    await portal.room()
    await hook.states("delivered")
    assert (await portal.here.ask("DELETE", hook.path)).status == 204
    await portal.room()

    async def gone() -> bool:
        text = await metrics(portal)
        return "vardrum_webhooks_hooks 0.0" in text

    await wait(gone, "no webhook")
    assert len(portal.receiver.received) == 1


async def test_an_erased_event_is_told_to_nobody_and_holds_nothing_back(portal: Portal) -> None:
    hook = await portal.subscribe()
    await portal.receiver.stop()
    room = await portal.room()
    await portal.change(room, "a")
    erased, other = await hook.states("pending", "held")
    async with portal.here.app.store.write() as transaction:
        found = await queries.events(transaction.db, "north", 0, 100)
        [event] = [one for one in found if one.id == erased["event"]]
        await transaction.db.delete(event)
    await portal.receiver.start()
    portal.here.now += timedelta(minutes=6)
    await hook.states("delivered")
    assert portal.receiver.ids == [other["event"]]


async def test_without_webhooks_what_happens_costs_nothing_more(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = await portal.subscribe()
    await portal.here.ask("DELETE", hook.path)

    async def gone() -> bool:
        return "vardrum_webhooks_hooks 0.0" in await metrics(portal)

    await wait(gone, "no webhook")
    looked = []
    monkeypatch.setattr(rows, "all_hooks", lambda db: looked.append(db))
    for _ in range(10):
        await portal.room()
    assert looked == []


async def test_figures_are_counted(portal: Portal) -> None:
    hook = await portal.subscribe()
    await portal.receiver.stop()
    await portal.room()
    await hook.states("pending")
    portal.here.now += timedelta(seconds=100)

    async def shown() -> bool:
        text = await metrics(portal)
        wanted = ("oldest_seconds 100.0", "pending 1.0", "failing 1.0")
        return all(f"vardrum_webhooks_{one}" in text for one in wanted)

    await wait(shown, "the age of the oldest")
    text = await metrics(portal)
    assert "vardrum_webhooks_unreachable_total 0.0" not in text
    assert "vardrum_webhooks_delivered_total 0.0" in text
    assert re.search(r"^vardrum_webhooks_event_lag_seconds_count [1-9]", text, re.MULTILINE)


async def metrics(portal: Portal) -> str:
    assert portal.here.app.metrics_url is not None
    async with aiohttp.ClientSession() as client, client.get(portal.here.app.metrics_url) as answer:
        return await answer.text()
