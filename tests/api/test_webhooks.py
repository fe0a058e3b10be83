"""/v1/webhooks: made, listed, rotated, deleted; what fits a webhook and what doesn't."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from vardrum.control.store import models
from vardrum.control.webhooks.service import MAX_WEBHOOKS
from vardrum.tests.api.installation import Installation

URL = "https://portal.example.org/hooks"


async def make(here: Installation, **body: Any) -> Any:
    reply = await here.ask("POST", "/v1/webhooks", {"url": URL, **body})
    assert reply.status == 201, reply
    return reply.body


async def test_a_new_webhook_shows_its_secret_this_once(here: Installation) -> None:
    made = await make(here, events=["room.created"])
    assert made["id"].startswith("hook_")
    assert (made["url"], made["events"], made["state"]) == (URL, ["room.created"], "active")
    key = base64.b64decode(made["secret"].removeprefix("whsec_"), validate=True)
    assert 24 <= len(key) <= 64
    again = await here.ask("GET", f"/v1/webhooks/{made['id']}")
    assert again.body == {name: value for name, value in made.items() if name != "secret"}
    async with here.app.store.read() as db:
        kept = (await db.get_one(models.Webhook, made["id"])).secrets
    assert key not in kept
    assert base64.b64encode(key) not in kept


async def test_webhooks_are_listed_in_pages_and_deleted(here: Installation) -> None:
    made = [(await make(here))["id"] for _ in range(3)]
    first = await here.ask("GET", "/v1/webhooks?limit=2")
    second = await here.ask("GET", f"/v1/webhooks?limit=2&cursor={first.body['next']}")
    assert [one["id"] for one in first.body["items"] + second.body["items"]] == made
    assert second.body["next"] is None
    assert (await here.ask("DELETE", f"/v1/webhooks/{made[1]}")).status == 204
    assert [one["id"] for one in (await here.ask("GET", "/v1/webhooks")).body["items"]] == [made[0], made[2]]
    assert (await here.ask("DELETE", f"/v1/webhooks/{made[1]}")).problem == "not-found"


async def test_another_tenants_webhook_does_not_exist(here: Installation) -> None:
    made = await make(here)
    south = await here.new_key("south")
    path = f"/v1/webhooks/{made['id']}"
    calls = [("GET", path), ("DELETE", path), ("POST", f"{path}/rotate"), ("GET", f"{path}/deliveries")]
    for method, where in (*calls, ("POST", f"{path}/deliveries/dlv_x/redeliver")):
        assert (await here.ask(method, where, key=south)).problem == "not-found", where
    assert (await here.ask("GET", "/v1/webhooks", key=south)).body == {"items": [], "next": None}


async def test_only_a_key_with_admin_may_touch_webhooks(here: Installation) -> None:
    key = await here.new_key("north", ("rooms:read", "rooms:write", "admission", "vouch", "reports"))
    assert (await here.ask("POST", "/v1/webhooks", {"url": URL}, key=key)).problem == "not-allowed"
    assert (await here.ask("GET", "/v1/webhooks", key=key)).problem == "not-allowed"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "portal.example.org",
        "http://portal.example.org/",
        "ftp://portal.example.org/",
        "https:///hooks",
        "https://user:word@portal.example.org/",
        "https://@portal.example.org/",
        "https://portal.example.org/#there",
        "https://portal.example.org/\nHost: x",
        "https://portal.example.org\\@10.0.0.1/",
        "https://portal.example.org:0/",
        "https://portal.example.org:99999/",
        "https://[::1/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://017700000001/",
        "https://10.0.0.1./",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://１２７.0.0.1/",
        "https://portal.example.org/" + "x" * 2048,
    ],
)
async def test_a_url_that_does_not_fit_is_refused(here: Installation, url: str) -> None:
    reply = await here.ask("POST", "/v1/webhooks", {"url": url})
    assert (reply.status, reply.problem, reply.pointers) == (422, "invalid-body", {"#/url"})


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"events": []}, "#/events"),
        ({"events": ["room.vanished"]}, "#/events/0"),
        ({"events": "room.created"}, "#/events"),
        ({"secret": "whsec_" + "A" * 32}, "#/secret"),
    ],
)
async def test_a_field_that_does_not_fit_is_named(here: Installation, change: dict[str, Any], pointer: str) -> None:
    reply = await here.ask("POST", "/v1/webhooks", {"url": URL, **change})
    assert (reply.status, reply.pointers) == (422, {pointer})


async def test_a_tenant_has_a_bounded_number_of_webhooks(here: Installation) -> None:
    for _ in range(MAX_WEBHOOKS):
        made = await make(here)
    assert (await here.ask("POST", "/v1/webhooks", {"url": URL})).problem == "state-conflict"
    await here.ask("DELETE", f"/v1/webhooks/{made['id']}")
    assert (await here.ask("POST", "/v1/webhooks", {"url": URL})).status == 201


async def test_the_same_key_of_idempotency_makes_one_webhook(here: Installation) -> None:
    first, again = [await here.ask("POST", "/v1/webhooks", {"url": URL}, Idempotency_Key="hook-1") for _ in range(2)]
    assert first.body == again.body
    assert len((await here.ask("GET", "/v1/webhooks")).body["items"]) == 1
