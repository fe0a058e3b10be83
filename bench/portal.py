"""A booking portal as load tests play it: the contract's HTTP with one API key."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

ACTOR = {"id": "bench", "name": "Bench", "care_unit": "Bench"}


class Refused(Exception):
    """The server answered with a problem document: `status` is its status, `problem` the last word of its type."""

    def __init__(self, call: str, status: int, problem: Any) -> None:
        super().__init__(f"{call}: {status} {problem}")
        self.status = status
        kind = problem.get("type", "") if isinstance(problem, dict) else ""
        self.problem = str(kind).rpartition("/")[2]


class Portal:
    """A booking portal with one API key."""

    def __init__(self, base: str, key: str, *, relay: str | None = None) -> None:
        """
        Args:
            relay: a UNIX socket that leads to the server, where that is in a namespace.
        """
        self.base = base
        actor = base64.urlsafe_b64encode(json.dumps(ACTOR).encode()).decode().rstrip("=")
        headers = {"Authorization": f"Bearer {key}", "Vardrum-Actor": actor}
        connector = aiohttp.UnixConnector(path=relay) if relay else aiohttp.TCPConnector(limit=32)
        self._http = aiohttp.ClientSession(headers=headers, connector=connector)

    async def __aenter__(self) -> Portal:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer.

        Raises:
            Refused: any status from 400 up.
        """
        return await call(self._http, method, self.base + path, body)

    async def book(self, people: int, *, minutes: float = 120) -> tuple[str, list[dict[str, Any]]]:
        """A room that is open now, and its people: a host, a patient, relatives. Nobody has to show a document."""
        now = datetime.now(UTC)
        roles = ["caregiver", "patient", *["relative"] * people][:people]
        room = await self.call(
            "POST",
            "/v1/rooms",
            {
                "title": "Bench",
                "care_unit": {"name": ACTOR["care_unit"]},
                "starts_at": now.isoformat(),
                "ends_at": (now + timedelta(minutes=minutes)).isoformat(),
                "max_participants": max(2, people),
                "identity_policy": {"patient": "none"},
                "participants": [
                    {"display_name": f"Bot {place}", "role": role, "host": place == 0}
                    for place, role in enumerate(roles)
                ],
            },
        )
        return room["id"], sorted(room["participants"], key=lambda one: str(one["display_name"]))

    async def vouch(self, participant: Mapping[str, Any]) -> dict[str, str]:
        """What a host gets in with at once."""
        path = f"/v1/rooms/{participant['room']}/participants/{participant['id']}/sessions"
        return {"embed_token": (await self.call("POST", path, {}))["embed_token"]}


def invitation(participant: Mapping[str, Any]) -> dict[str, str]:
    """What somebody gets in with who has a link."""
    return {"invite": participant["join_url"].partition("#")[2]}


async def call(http: aiohttp.ClientSession, method: str, url: str, body: Any = None) -> Any:
    """The JSON of an answer.

    Raises:
        Refused: any status from 400 up.
    """
    async with http.request(method, url, json=body) as answer:
        said = await answer.json(content_type=None)
        if answer.status >= 400:
            raise Refused(f"{method} {url}", answer.status, said)
        return said
