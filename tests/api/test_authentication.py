"""Who may call what."""

from __future__ import annotations

from datetime import timedelta

import pytest
from vardrum.control.api.server import TABLE
from vardrum.control.store import keys
from vardrum.tests.api.installation import ALL_SCOPES, Installation

PROTECTED = [route for route in TABLE if route.scope is not None]


@pytest.mark.parametrize("route", PROTECTED, ids=lambda route: f"{route.method} {route.path}")
async def test_every_call_needs_its_scope(here: Installation, route: object) -> None:
    visit = await here.book()
    names = {"room": visit.id, "part": visit.ids["Patient"], "external_ref": "nobody", "care_unit": "Ward 7"}
    names |= {"hook": "hook_x", "delivery": "dlv_x", "provider": "eid"}
    path = route.path.format(**names)  # type: ignore[attr-defined]
    method, scope = route.method, str(route.scope)  # type: ignore[attr-defined]
    without = await here.new_key("north", [one for one in ALL_SCOPES if one != scope])
    before = await visit.room()
    missing = await here.ask(method, path, {}, key="")
    assert (missing.status, missing.problem) == (401, "not-authenticated")
    assert missing.headers["WWW-Authenticate"] == "Bearer"
    lacking = await here.ask(method, path, {}, key=without)
    assert (lacking.status, lacking.problem) == (403, "not-allowed")
    assert await visit.room() == before


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer vrk_",
        "Bearer vrk_x",
        "Bearer vrs_x",
        "Bearer " + "x" * 3000,
    ],
)
async def test_credentials_that_are_none(here: Installation, header: str) -> None:
    reply = await here.ask("GET", "/v1/rooms", key="", Authorization=header)
    assert reply.status == 401


async def test_a_revoked_key_is_refused_at_once(here: Installation) -> None:
    key_id, secret = await keys.create_key(here.app.store, "north", "x", ["rooms:read"], here.now, lambda n: bytes(n))
    assert (await here.ask("GET", "/v1/rooms", key=secret)).status == 200
    await keys.revoke_key(here.app.store, key_id, here.now)
    assert (await here.ask("GET", "/v1/rooms", key=secret)).status == 401


async def test_somebody_who_only_guesses_has_to_wait_and_nobody_else(here: Installation) -> None:
    visit = await here.book()
    statuses = []
    for _ in range(70):
        reply = await here.ask("POST", "/v1/sessions", {"invite": "wrong"}, key="")
        statuses.append(reply.status)
    assert statuses[:60] == [401] * 60
    assert 429 in statuses[60:]
    refused = await here.ask("GET", "/v1/rooms", key="vrk_wrong")
    if refused.status == 429:
        assert refused.problem == "too-many-requests"
        assert int(refused.headers["Retry-After"]) >= 1
    await visit.comes("Patient")


async def test_what_is_not_there_is_a_problem_too(here: Installation) -> None:
    for method, path, status, name in (
        ("GET", "/v1/nothing", 404, "not-found"),
        ("GET", "/", 404, "not-found"),
        ("PUT", "/v1/rooms", 405, "method-not-allowed"),
        ("GET", "/v1/sessions", 405, "method-not-allowed"),
        ("GET", "/static/", 404, "not-found"),
        ("GET", "/static/../settings.py", 404, "not-found"),
        ("GET", "/j/Not_A_Tenant", 404, "not-found"),
        ("GET", "/problems/none", 404, "not-found"),
        ("GET", "/v1/hooks", 404, "not-found"),
    ):
        reply = await here.ask(method, path)
        assert (reply.status, reply.problem) == (status, name), path


async def test_an_actor_is_not_taken_from_a_body(here: Installation) -> None:
    visit = await here.book()
    await visit.comes("Patient")
    reply = await visit.act("Patient", "admit", by={"id": "somebody else"})
    assert (reply.status, reply.pointers) == (422, {"#/by"})


async def test_times_have_offsets(here: Installation) -> None:
    start = here.now + timedelta(minutes=5)
    local = start.astimezone(tz=None).isoformat()
    reply = await here.ask("POST", "/v1/rooms", here.booking(starts_at=local))
    assert reply.body["starts_at"] == "2026-03-02T09:05:00Z"
