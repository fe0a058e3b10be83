"""A portal's receiver of webhooks: a real HTTPS server, certified by a test authority, as bad as a test likes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import trustme
from aiohttp import web

from .server import free_port


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    @property
    def room(self) -> str:
        return str(self.event["room"])


Answer = web.StreamResponse | int
Behaviour = Callable[[web.Request, Received], Awaitable[Answer]]


class Authority:
    """Issues certificates; `file` is what a server has to trust."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def context(self, *names: str) -> ssl.SSLContext:
        """For a server by these names."""
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(found)
        return found


async def agree(request: web.Request, one: Received) -> Answer:
    """What a good receiver does."""
    return 204


class Receiver:
    """`async with Receiver(authority) as receiver`; `stop` and `start` keep its port.

    Attributes:
        received: all requests that came, whatever they were answered.
        behave: what a request is answered; a number is a status.
    """

    def __init__(self, tls: ssl.SSLContext | None, behave: Behaviour = agree) -> None:
        self.received: list[Received] = []
        self.behave = behave
        self.port = free_port()
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://localhost:{self.port}/hooks?token=never-in-a-log"
        self._tls = tls
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True).start()

    async def stop(self) -> None:
        """Connections are refused from now on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def ids(self) -> list[str]:
        """Of all requests, in the order that they came."""
        return [one.id for one in self.received]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        one = Received(dict(request.headers), await request.read())
        self.received.append(one)
        answer = await self.behave(request, one)
        return web.Response(status=answer) if isinstance(answer, int) else answer


def answer_too(request: web.Request) -> None:
    """An answer that nobody has asked for, before the real one."""
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def hang_up(request: web.Request) -> None:
    """Closes the connection without an answer."""
    assert request.transport is not None
    with contextlib.suppress(OSError):
        request.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    request.transport.close()
