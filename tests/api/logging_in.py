"""A browser and a room for tests of logins: real provider, real server, and aiohttp in the browser's place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from aiohttp import ClientSession, CookieJar
from vardrum.tests.api.installation import Arrived, Installation, Reply, Visit

PUBLIC = "https://video.example.org"
CALLBACK = f"{PUBLIC}/v1/oidc/eid/callback"
STAFF_CALLBACK = f"{PUBLIC}/v1/oidc/card/callback"


class Browser:
    """One browser: the provider's cookies in a jar, ours by hand: they are `Secure`, and there is no proxy here."""

    def __init__(self, here: Installation, http: ClientSession) -> None:
        self.here = here
        self.http = http
        self.ours: dict[str, str] = {}

    async def post(self, path: str, body: Any, token: str | None = None) -> Reply:
        """A call of a page of ours in this browser."""
        headers = {"Content-Type": "application/json", **self._cookie()}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = self.here.app.url + path
        async with self.here.http.post(url, data=json.dumps(body), headers=headers) as answer:
            for header in answer.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(header).items():
                    assert name.startswith("__Host-")
                    assert (morsel["secure"], morsel["httponly"], morsel["path"]) == (True, True, "/")
                    self.ours[name] = morsel.value
            text = await answer.read()
            return Reply(answer.status, json.loads(text) if text else None, answer.headers)

    async def start(self, token: str, provider: str = "eid") -> Reply:
        return await self.post(f"/v1/oidc/{provider}/start", {}, token)

    async def finish(self, token: str, code: str, provider: str = "eid") -> Reply:
        return await self.post(f"/v1/oidc/{provider}/finish", {"code": code}, token)

    async def log_in(self, location: str) -> str:
        """Follows the provider's pages to the address at which it sends the browser back to us."""
        self.http.cookie_jar.clear()  # nobody is logged in at the provider already
        for _ in range(12):
            async with self.http.get(location, allow_redirects=False) as answer:
                assert answer.status in (302, 303), (answer.status, await answer.text())
                location = str(answer.headers["Location"])
                if location.startswith("/"):
                    location = f"http://{answer.url.authority}{location}"
            if location.startswith(PUBLIC):
                return location
        raise AssertionError("the provider sends the browser round and round")

    async def back(self, location: str) -> tuple[str, dict[str, str]]:
        """Goes to the callback: the page that it leads to, and what its fragment says."""
        path = location.removeprefix(PUBLIC)
        async with self.here.http.get(
            self.here.app.url + path, allow_redirects=False, headers=self._cookie()
        ) as answer:
            assert answer.status == 303, await answer.text()
            page, _, fragment = answer.headers["Location"].partition("#")
            assert answer.headers["Cache-Control"] == "no-store"
            return page, dict(parse_qsl(fragment))

    async def through(self, token: str, provider: str = "eid") -> dict[str, str]:
        """The whole way of a login: what the page is told in the end."""
        started = await self.start(token, provider)
        assert started.status == 200, started
        return (await self.back(await self.log_in(started.body["location"])))[1]

    def _cookie(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.ours.items())} if self.ours else {}


def browser_http() -> ClientSession:
    """At the provider; its address is an IP."""
    return ClientSession(cookie_jar=CookieJar(unsafe=True))


def changed(location: str, **query: str | None) -> str:
    """The address with other parameters; None takes one away."""
    parts = urlsplit(location)
    given = {name: values[0] for name, values in parse_qs(parts.query).items()}
    wanted = {name: value for name, value in {**given, **query}.items() if value is not None}
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(wanted)}"


async def visit_now(here: Installation, **fields: Any) -> Visit:
    """A room that is open by the real clock, since a provider's tokens are of now; patients need an eID."""
    here.now = datetime.now(UTC)
    people: list[Mapping[str, Any]] = [
        {"role": "caregiver", "display_name": "Doctor", "host": True},
        {"role": "patient", "display_name": "Patient", "expected_subject": "197001012384"},
        {"role": "relative", "display_name": "Relative"},
    ]
    times = {"starts_at": here.now.isoformat(), "ends_at": (here.now + timedelta(hours=1)).isoformat()}
    return await here.book(**{"identity_policy": {"patient": "loa3"}, "participants": people, **times, **fields})


async def waits(visit: Visit, name: str = "Patient") -> Arrived:
    return await visit.comes(name)
