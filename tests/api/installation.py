"""A whole installation for API tests: real server, real database on disk, a clock that tests move."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession
from vardrum.control import settings
from vardrum.control.api.caller import Scope
from vardrum.control.api.openapi import refusals
from vardrum.control.api.server import TABLE
from vardrum.control.app import App
from vardrum.control.store import keys, queries
from vardrum.tests.support.postgres import dump
from vardrum.tests.support.tables import lay

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ACTOR = {"id": "nurse-1", "name": "Nils Nurse", "care_unit": "Ward 7"}
ALL_SCOPES = tuple(str(scope) for scope in Scope)
NOBODY_IDENTIFIED = {"patient": "none"}


def actor_header(actor: Mapping[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(actor).encode()).decode().rstrip("=")


@dataclass(frozen=True)
class Reply:
    """An answer: its status, its JSON (None where empty) and its headers."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def problem(self) -> str:
        """The name of the problem that this answer is."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self
        assert self.body["status"] == self.status
        assert self.body["title"]
        assert self.body["detail"]
        return str(self.body["type"]).rpartition("/problems/")[2]

    @property
    def pointers(self) -> set[str]:
        return {one["pointer"] for one in self.body["errors"]}


ROUTES = [(re.compile(re.sub(r"{\w+}", "[^/]+", route.path)), route) for route in TABLE]


def documented(method: str, path: str, reply: Reply) -> None:
    """Whatever a test asks: a refusal is one that the OpenAPI document says of that operation."""
    if reply.status < 400:
        return
    for pattern, route in ROUTES:
        if route.method == method and pattern.fullmatch(path):
            assert reply.problem in refusals(route), f"{method} {route.path} doesn't document {reply.problem}"


class Installation:
    """`async with Installation(folder) as here`; entering again on the same folder is a restart."""

    def __init__(self, folder: Path, overrides: Mapping[str, Any] | None = None) -> None:
        self.now = START
        chosen = {
            "data": str(folder),
            "http": {"host": "127.0.0.1", "port": 0},
            "metrics": {"listen": ""},
            "public_url": "https://video.example.org",
            **(overrides or {}),
        }
        loaded = settings.load(overrides=chosen, environment={})
        self._database = loaded.database
        self.app = App(loaded, clock=lambda: self.now)
        self.keys: dict[str, str] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if isinstance(self._database, Path):
            self._database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lay(self._database)
        await self._stack.enter_async_context(self.app)
        self.http = await self._stack.enter_async_context(ClientSession())
        self.visits = self.app.visits
        if not await keys.tenants(self.app.store):
            await keys.create_tenant(self.app.store, "north", "Region North", self.now)
            await keys.create_tenant(self.app.store, "south", "Region South", self.now)
        self.key = await self.new_key("north")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def new_key(self, tenant: str, scopes: Sequence[str] = ALL_SCOPES) -> str:
        _, secret = await keys.create_key(self.app.store, tenant, "test", scopes, self.now, os.urandom)
        return secret

    async def pass_time(self, **by: float) -> None:
        """Moves the clock, and lets what is due happen."""
        self.now += timedelta(**by)
        await self.visits.tick()

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        raw: bytes | None = None,
        actor: Mapping[str, str] | None = ACTOR,
        **headers: str,
    ) -> Reply:
        """One request; `key` "" sends no credentials, `raw` sends bytes as they are."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key != "":
            sent["Authorization"] = f"Bearer {key or self.key}"
        if actor is not None:
            sent["Vardrum-Actor"] = actor_header(actor)
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.http.request(method, self.app.url + path, data=data, headers=sent) as answer:
            text = await answer.read()
            reply = Reply(answer.status, json.loads(text) if text else None, answer.headers)
        documented(method, path.partition("?")[0], reply)
        return reply

    def booking(self, **fields: Any) -> dict[str, Any]:
        """A room's body that fits; it is open at START."""
        return {
            "care_unit": {"name": "Ward 7"},
            "starts_at": (START + timedelta(minutes=5)).isoformat(),
            "ends_at": (START + timedelta(minutes=35)).isoformat(),
            **fields,
        }

    async def book(self, **fields: Any) -> Visit:
        """A room that is open, with a host, a patient and a relative; nobody has to show a document."""
        people = [
            {"role": "caregiver", "display_name": "Doctor", "host": True},
            {"role": "patient", "display_name": "Patient"},
            {"role": "relative", "display_name": "Relative"},
        ]
        fields = {"identity_policy": NOBODY_IDENTIFIED, "participants": people, **fields}
        reply = await self.ask("POST", "/v1/rooms", self.booking(**fields))
        assert reply.status == 201, reply
        return Visit(self, reply.body)

    async def everything_kept(self) -> bytes:
        """Every byte that is in the database."""
        where = self.app.settings.database
        if isinstance(where, Path):
            return b"".join(file.read_bytes() for file in where.parent.rglob("*") if file.is_file())
        return await asyncio.to_thread(dump, where)

    async def events(self, tenant: str = "north") -> list[tuple[str, str | None]]:
        """(type, participant) of all that happened, in order."""
        async with self.app.store.read() as db:
            return [(one.type, one.participant) for one in await queries.events(db, tenant, 0, 1000)]


@dataclass
class Arrived:
    """A browser with a session."""

    id: str
    token: str
    resume: str
    participant: str


class Visit:
    """A room and its people, by display name."""

    def __init__(self, here: Installation, made: Any) -> None:
        self.here = here
        self.made = made
        self.id: str = made["id"]
        self.path = f"/v1/rooms/{self.id}"
        self.ids = {one["display_name"]: one["id"] for one in made["participants"]}
        self.links = {one["display_name"]: one["join_url"].partition("#")[2] for one in made["participants"]}

    def of(self, name: str) -> str:
        return f"{self.path}/participants/{self.ids[name]}"

    async def open(self, name: str) -> Arrived:
        """Opens the link in a browser that has no session: not yet arrived."""
        reply = await self.here.ask("POST", "/v1/sessions", {"invite": self.links[name]}, key="")
        assert reply.status == 201, reply
        return Arrived(reply.body["id"], reply.body["token"], reply.body["resume"], reply.body["participant"])

    async def comes(self, name: str) -> Arrived:
        """Opens the link and says hello."""
        arrived = await self.open(name)
        await self.here.visits.arrive(arrived.id)
        return arrived

    async def host(self, name: str = "Doctor") -> Arrived:
        """A host whom the portal has logged in."""
        made = await self.here.ask("POST", self.of(name) + "/sessions", {})
        reply = await self.here.ask("POST", "/v1/sessions", {"embed_token": made.body["embed_token"]}, key="")
        assert reply.status == 201, reply
        await self.here.visits.arrive(reply.body["id"])
        return Arrived(reply.body["id"], reply.body["token"], reply.body["resume"], reply.body["participant"])

    async def act(self, name: str, verb: str, key: str | None = None, **body: Any) -> Reply:
        return await self.here.ask("POST", f"{self.of(name)}/{verb}", body, key=key)

    async def admitted(self, name: str) -> Arrived:
        arrived = await self.comes(name)
        reply = await self.act(name, "admit")
        assert reply.status == 200, reply
        return arrived

    async def state(self, name: str) -> str:
        return str((await self.here.ask("GET", self.of(name))).body["state"])

    async def room(self) -> Any:
        return (await self.here.ask("GET", self.path)).body
