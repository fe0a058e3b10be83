"""A booking portal as the tests play it: the contract's HTTP, and nothing of ours behind it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from .server import VARDRUM, Server

SCOPES = ("rooms:read", "rooms:write", "admission", "vouch", "reports", "admin")
ACTOR = {"id": "staff-1", "name": "Test Nurse", "care_unit": "Test Unit"}


class Refused(Exception):
    """The server answered with a problem document.

    Attributes:
        status, problem: of the answer.
    """

    def __init__(self, call: str, status: int, problem: Any) -> None:
        super().__init__(f"{call}: {status} {problem}")
        self.status = status
        self.problem = problem


@dataclass(frozen=True)
class Invited:
    """Somebody with a link."""

    id: str
    room: str
    name: str
    join_url: str


async def create_key(server: Server, scopes: Sequence[str] = SCOPES, tenant: str = "test") -> str:
    """A new tenant and its API key, through the command line, as an operator makes them; the server may be running."""
    await _vardrum(server, "tenants", "create", tenant)
    wanted = (word for scope in scopes for word in ("--scope", scope))
    output = await _vardrum(server, "keys", "create", "--tenant", tenant, "--name", "tests", *wanted)
    found = re.search(r"vrk_\S+", output)
    assert found, f"no key in {output!r}"
    return found[0]


async def _vardrum(server: Server, *arguments: str) -> str:
    child = await asyncio.create_subprocess_exec(
        VARDRUM,
        *arguments,
        "--data",
        str(server.data),
        env={**os.environ, **server.env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await child.communicate()
    assert child.returncode == 0, f"vardrum {' '.join(arguments)}: {errors.decode()}"
    return output.decode()


class Portal:
    """The portal's half of the contract, with one API key."""

    def __init__(self, base: str, key: str, *, relay: str | None = None) -> None:
        """
        Args:
            base: the server's URL.
            relay: a UNIX socket that leads to it, where the server is in a namespace.
        """
        self.base = base
        self.told: set[str] = {key, ACTOR["name"]}  # names and secrets, none of which may reach a log
        self._key = key
        connector = aiohttp.UnixConnector(path=relay) if relay else aiohttp.TCPConnector(limit=0)
        self.http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20))

    async def __aenter__(self) -> Portal:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of an answer; `key` "" asks without authentication.

        Raises:
            Refused: any status from 400 up.
        """
        actor = base64.urlsafe_b64encode(json.dumps(ACTOR).encode()).decode().rstrip("=")
        known = {"Authorization": f"Bearer {key or self._key}", "Vardrum-Actor": actor} if key != "" else {}
        sent = {**known, **(headers or {})}
        async with self.http.request(method, self.base + path, json=body, headers=sent) as answer:
            said = await answer.json(content_type=None)
            if answer.status >= 400:
                raise Refused(f"{method} {path}", answer.status, said)
            return said

    async def book(self, people: Sequence[Mapping[str, Any]], **room: Any) -> list[Invited]:
        """A room that is open now; the invited in the order of `people`. `room` overrides its fields."""
        now = datetime.now(UTC)
        made = await self.call(
            "POST",
            "/v1/rooms",
            {
                "title": "A visit",
                "care_unit": {"name": "Test Unit"},
                "starts_at": now.isoformat(),
                "ends_at": (now + timedelta(hours=1)).isoformat(),
                "language": "en",
                "participants": list(people),
                **room,
            },
        )
        by_name = {one["display_name"]: one for one in made["participants"]}
        return [self._invited(by_name[person["display_name"]]) for person in people]

    async def invite(self, room: str, **person: Any) -> Invited:
        """One more person, in mid-visit too."""
        return self._invited(await self.call("POST", f"/v1/rooms/{room}/participants", person))

    async def participant(self, invited: Invited) -> Any:
        """The participant as the server knows them now."""
        return await self.call("GET", f"/v1/rooms/{invited.room}/participants/{invited.id}")

    async def act(self, invited: Invited, verb: str, **body: Any) -> Any:
        """admit, hold, deny, remove, mute, identify."""
        return await self.call("POST", f"/v1/rooms/{invited.room}/participants/{invited.id}/{verb}", body)

    async def vouched_url(self, invited: Invited) -> str:
        """Where a host goes whom the portal has logged in: the same page, with a token that works once."""
        made = await self.call("POST", f"/v1/rooms/{invited.room}/participants/{invited.id}/sessions", {})
        self.told.add(made["embed_token"])
        return f"{invited.join_url.partition('#')[0]}#embed_token={made['embed_token']}"

    def _invited(self, one: Mapping[str, Any]) -> Invited:
        self.told |= {one["display_name"], one["join_url"].partition("#")[2]}
        return Invited(one["id"], one["room"], one["display_name"], one["join_url"])
