"""/healthz, /readyz, /openapi.json: for machines that watch and developers who read."""

from __future__ import annotations

import json
from collections.abc import Callable

from aiohttp import web

from ..store.store import Store
from ..visits.refused import PROBLEMS, Refused
from . import openapi
from .server import TABLE


class Health:
    """`stopping` says whether the server is about to end; a balancer then sends nobody new."""

    def __init__(self, store: Store, public_url: str, version: str, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._stopping = stopping
        self._openapi = json.dumps(openapi.document(TABLE, version, public_url), ensure_ascii=False).encode()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/openapi.json", self.document),
            web.get("/problems/{name}", self.problem),
        ]

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers."""
        return web.json_response({"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        """It can do its work: the database answers, and can be written. Raises Refused `unavailable`."""
        if self._stopping():
            raise Refused("unavailable", "the server is stopping", retry_after=5)
        try:
            await self._store.check()
        except Exception:
            raise Refused("unavailable", "the database can't be used", retry_after=5) from None
        return web.json_response({"status": "ready"})

    async def problem(self, request: web.Request) -> web.Response:
        """What a problem's `type` leads to."""
        name = request.match_info["name"]
        if name not in PROBLEMS:
            raise Refused("not-found", "there is no such problem")
        status, title = PROBLEMS[name]
        return web.json_response({"type": name, "status": status, "title": title})

    async def document(self, request: web.Request) -> web.Response:
        return web.Response(body=self._openapi, content_type="application/json")
