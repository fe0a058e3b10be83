"""Bodies, headers and addresses that nobody should send: every answer is a clear refusal, nothing breaks."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from vardrum.control.api.routing import Route
from vardrum.control.api.server import TABLE
from vardrum.tests.api.installation import ACTOR, Installation, actor_header
from vardrum.tests.support.logs import leaks
from vardrum.tests.support.server import Server

ROUNDS = 40
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**400, 1.5, "", "x", "\u0000", "\ud800", "😀" * 300, "2026-03-02T09:00:00Z", "2026-13-02",
    [], [[]], {}, {"name": "x"}, {"": ""}, ["x"] * 50, "sess_" + "0" * 36, "part_" + "f" * 36, "../../x", "${7*7}",
)  # fmt: skip
FIELDS = (
    "role", "display_name", "host", "reason", "session", "method", "identity", "care_unit", "starts_at", "ends_at",
    "participants", "identity_policy", "max_participants", "title", "invite", "resume", "embed_token", "__proto__",
    "functions", "texts", "technical", "visit",
)  # fmt: skip


def body(chance: random.Random) -> bytes:
    """Something like a body: fields that exist with values that don't fit, sometimes torn or mutated."""
    value: Any = {chance.choice(FIELDS): chance.choice(VALUES) for _ in range(chance.randrange(6))}
    if chance.random() < 0.1:
        value = chance.choice(VALUES)
    text = json.dumps(value).encode()
    if chance.random() < 0.3 and text:
        position = chance.randrange(len(text))
        text = text[:position] + bytes([chance.randrange(256)]) + text[position + chance.randrange(3) :]
    return text


@pytest.mark.parametrize("route", TABLE, ids=lambda route: f"{route.method} {route.path}")
async def test_no_body_breaks_a_call(here: Installation, route: Route) -> None:
    chance = random.Random(f"{route.method} {route.path}")
    visit = await here.book()
    await visit.admitted("Patient")
    people = [*visit.ids.values(), "part_x", "%00", "%2e%2e", "'"]
    hook = await here.ask("POST", "/v1/webhooks", {"url": "https://portal.invalid/"})
    hooks = [hook.body["id"], *people]
    for _ in range(ROUNDS):
        who = chance.choice(people)
        names = {"part": who, "care_unit": who, "external_ref": who, "provider": "eid"}
        names |= {"hook": chance.choice(hooks), "delivery": chance.choice(people)}
        path = route.path.format(room=visit.id, **names)
        headers: dict[str, Any] = {"Idempotency_Key": str(chance.random())} if chance.random() < 0.2 else {}
        reply = await here.ask(
            route.method, path, raw=body(chance), If_Match=chance.choice(("*", '"1"', "x")), **headers
        )
        assert reply.status < 500, (path, reply)
        if reply.status >= 400:
            assert reply.problem
            assert len(json.dumps(reply.body)) < 20_000


async def raw(url: str, sent: bytes, *, ends: bool = True) -> bytes:
    """What the server says to bytes that may be no HTTP, and to their end."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    if ends:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_no_bytes_break_the_listener(here: Installation) -> None:
    key, actor = here.key.encode(), actor_header(ACTOR).encode()
    for sent in (
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/rooms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"\xff" * 50 + b"\r\n\r\n",
        b"GET /v1/rooms HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST /v1/rooms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + b"\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/rooms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + b"\r\nVardrum-Actor: " + actor
        + b"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{",
    ):  # fmt: skip
        answer = await raw(here.app.url, sent)
        assert b"Traceback" not in answer
        assert b" 500 " not in answer[:20]
    assert (await here.ask("GET", "/v1/rooms")).status == 200


async def test_the_log_has_nothing_of_who_sends_what_is_no_http(tmp_path: Path) -> None:
    async with Server(tmp_path) as server:
        for torn in (b"Transfer-Encoding: chunked\r\nContent-Length: 1", b"X-Name Pia Patient", b"X: \x00Pia Patient"):
            sent = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + torn + b"\r\n\r\n"
            assert b" 400 " in (await raw(server.http, sent, ends=False))[:20]
        log = server.process.output(100_000)
    assert leaks(log, ["Pia Patient"]) == []
    assert "Traceback" not in log
