"""A small booking portal: people log in, caregivers book visits, and each finds theirs in a frame.

    python -m vardrum.control.examples.portal --server https://video.region.example --listen localhost:8090

The API key is read from VARDRUM_API_KEY and never leaves this process. With PORTAL_WEBHOOK_SECRET (whsec_…) it takes
webhooks at /webhooks. Its users are pretended; all else is as it should be in a real portal.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import click
from aiohttp import ClientSession, web

USERS: dict[str, dict[str, Any]] = {
    "sara": {"role": "caregiver", "display_name": "Sara Lind, läkare", "host": True},
    "anna": {"role": "patient", "display_name": "Anna Berg"},
}
COOKIE = "portal"
PAGE = """<!doctype html><html lang="sv"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Portalen</title><script type="module" src="{server}/embed.js"></script>
<script type="module" src="/portal.js"></script><body>{body}</body></html>"""
# Whose token is too old (a page that stood open until the visit began) gets a new one with the page.
SCRIPT = """document.addEventListener("vardrum:error", ({ detail }) => {
  if (detail.code === "token-not-accepted") location.reload();
});"""


class Portal:
    def __init__(self, server: str, key: str, origin: str, webhook_secret: str) -> None:
        self.server, self.origin = server.rstrip("/"), origin
        self.key, self.webhook_secret = key, webhook_secret
        self.sessions: dict[str, str] = {}  # cookie -> user
        self.visits: dict[str, dict[str, str]] = {}  # room -> {user: participant}
        self.heard: dict[str, str] = {}  # id of an event -> its type

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.protect])
        app.add_routes([web.get("/", self.home), web.get("/portal.js", self.script), web.post("/login", self.login)])
        app.add_routes([web.post("/visits", self.book), web.get("/visits/{room}", self.visit)])
        app.add_routes([web.post("/webhooks", self.webhook)] if self.webhook_secret else [])
        return app

    @web.middleware
    async def protect(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        # A form on somebody else's page can't name our origin. Webhooks come from no browser, and are signed.
        if request.method == "POST" and request.path != "/webhooks" and request.headers.get("Origin") != self.origin:
            raise web.HTTPForbidden(text="cross-site request")
        answer = await handler(request)
        answer.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' {self.server}; frame-src {self.server}; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        answer.headers["Cache-Control"] = "no-store"  # a page holds a token that is good once
        return answer

    async def ask(self, path: str, body: Any, **headers: str) -> Any:
        headers["Authorization"] = f"Bearer {self.key}"
        async with (
            ClientSession(self.server, raise_for_status=True) as http,
            http.post(path, json=body, headers=headers) as answer,
        ):
            return await answer.json()

    def page(self, body: str) -> web.Response:
        return web.Response(text=PAGE.format(server=escape(self.server), body=body), content_type="text/html")

    def user(self, request: web.Request) -> str:
        user = self.sessions.get(request.cookies.get(COOKIE, ""))
        if user is None:
            raise web.HTTPSeeOther("/")
        return user

    async def home(self, request: web.Request) -> web.Response:
        user = self.sessions.get(request.cookies.get(COOKIE, ""))
        if user is None:
            buttons = "".join(f'<p><button name="user" value="{one}">{one}</button></p>' for one in USERS)
            return self.page(f'<h1>Log in</h1><form method="post" action="/login">{buttons}</form>')
        mine = [room for room, people in self.visits.items() if user in people]
        links = "".join(
            f'<p><a href="/visits/{escape(room)}">visit {number}</a></p>' for number, room in enumerate(mine)
        )
        book = '<form method="post" action="/visits"><button id="book">Book a visit with anna</button></form>'
        return self.page(f"<h1>Hello {user}</h1>{links}{book if 'host' in USERS[user] else ''}")

    async def script(self, request: web.Request) -> web.Response:
        return web.Response(text=SCRIPT, content_type="text/javascript")

    async def login(self, request: web.Request) -> web.Response:
        user = str((await request.post()).get("user"))
        if user not in USERS:  # here a real portal asks an identity provider
            raise web.HTTPForbidden
        cookie = secrets.token_urlsafe(32)
        self.sessions[cookie] = user
        answer = web.HTTPSeeOther("/")
        answer.set_cookie(COOKIE, cookie, httponly=True, samesite="Lax", secure=self.origin.startswith("https:"))
        raise answer

    async def book(self, request: web.Request) -> web.Response:
        if "host" not in USERS[self.user(request)]:
            raise web.HTTPForbidden
        now = datetime.now(UTC)
        times = {"starts_at": now.isoformat(), "ends_at": (now + timedelta(minutes=30)).isoformat()}
        room = {"care_unit": {"name": "Ekbackens vårdcentral"}, **times, "participants": list(USERS.values())}
        # The key is this booking's: a request that is sent again books nothing twice.
        made = await self.ask("/v1/rooms", room, **{"Idempotency-Key": secrets.token_urlsafe()})
        ids = {one["display_name"]: one["id"] for one in made["participants"]}
        self.visits[made["id"]] = {user: ids[person["display_name"]] for user, person in USERS.items()}
        raise web.HTTPSeeOther(f"/visits/{made['id']}")

    async def visit(self, request: web.Request) -> web.Response:
        user, room = self.user(request), request.match_info["room"]
        participant = self.visits.get(room, {}).get(user)
        if participant is None:
            raise web.HTTPNotFound
        # Each page vouches anew for whoever is logged in, with the eID that they have used.
        eid = {"method": "bankid", "level": "loa3", "subject": user, "name": USERS[user]["display_name"]}
        token = await self.ask(f"/v1/rooms/{room}/participants/{participant}/sessions", {"identity": eid})
        return self.page(f'<vardrum-visit token="{escape(token["embed_token"])}" lang="sv"></vardrum-visit>')

    async def webhook(self, request: web.Request) -> web.Response:
        """Standard Webhooks, version 1: HMAC-SHA256 of id, time and body; each event counts once."""
        body, message = await request.read(), request.headers.get("webhook-id", "")
        stamp = request.headers.get("webhook-timestamp", "")
        secret = base64.b64decode(self.webhook_secret.removeprefix("whsec_"))
        signed = hmac.digest(secret, f"{message}.{stamp}.".encode() + body, hashlib.sha256)
        given = [one[3:] for one in request.headers.get("webhook-signature", "").split() if one.startswith("v1,")]
        fresh = stamp.isascii() and stamp.isdigit() and abs(time.time() - int(stamp)) < 300
        expected = base64.b64encode(signed)
        if not fresh or not any(hmac.compare_digest(one.encode(), expected) for one in given):
            raise web.HTTPUnauthorized
        self.heard.setdefault(message, str((await request.json())["type"]))
        return web.Response(status=204)


@click.command()
@click.option("--server", required=True, help="Where Vardrum is, as browsers reach it.")
@click.option("--listen", default="localhost:8090", show_default=True, help="Where this portal is.")
def main(server: str, listen: str) -> None:
    """Serve the sample portal."""
    host, _, port = listen.rpartition(":")
    portal = Portal(
        server, os.environ["VARDRUM_API_KEY"], f"http://{listen}", os.environ.get("PORTAL_WEBHOOK_SECRET", "")
    )
    web.run_app(portal.app(), host=host, port=int(port), print=None)


if __name__ == "__main__":
    main()
