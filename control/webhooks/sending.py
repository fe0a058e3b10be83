"""One try: a POST to an address that was checked, within a time, whatever the other side does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_exceptions import ClientConnectorCertificateError, ClientConnectorSSLError

from . import rules
from .addresses import check_url, may_connect
from .rules import Outcome, Reason

# Seconds until a connection stands, names looked up and TLS included.
CONNECT_WITHIN = 5.0
# Of an answer's body nothing is kept, but who is still writing it shouldn't see the connection cut.
DRAINED = 4096
# A name server that hangs holds a thread until the system's resolver gives up, some 20 s.
LOOKUPS = 32


class NotAllowed(OSError):
    """The address isn't one that may be connected to."""


class NotFound(OSError):
    """The name leads nowhere."""


class Names(AbstractResolver):
    """The system's resolver, in threads of its own: those of the event loop are few, and files wait for them too.

    Only addresses that may be connected to come out. Whoever asks for the same name at once shares one lookup.
    """

    def __init__(self, *, private: bool, plain: bool) -> None:
        self._private = private
        self._plain = plain
        self._turn = asyncio.Semaphore(LOOKUPS)
        self._running: dict[tuple[str, int, int], asyncio.Task[list[Any]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises NotFound or NotAllowed."""
        key = (host, port, int(family))
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._look_up(*key))
            task.add_done_callback(lambda _: self._running.pop(key, None))
        found = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            # Who is waiting may give up; the thread can't.
            for kind, _, _, _, address in await asyncio.shield(task)
            if may_connect(str(address[0]), private=self._private, plain=self._plain)
        ]
        if not found:
            raise NotAllowed
        return found

    async def close(self) -> None:
        for task in list(self._running.values()):
            task.cancel()

    async def _look_up(self, host: str, port: int, family: int) -> list[Any]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Any]] = loop.create_future()

        def tell(found: list[Any]) -> None:
            if not done.done():
                done.set_result(found)

        def look_up() -> None:
            try:
                found = list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
            except (OSError, UnicodeError):
                found = []
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, found)

        async with self._turn:
            # A daemon: the process doesn't wait for a name server when it ends.
            Thread(target=look_up, name="names", daemon=True).start()
            found = await done
        if not found:
            raise NotFound
        return found


class Sender:
    """Sends to https addresses, and with `allow_private` to http ones on this machine. `async with Sender(…)`."""

    def __init__(self, *, private: bool, ca_file: Path | None, timeout: float, agent: str) -> None:
        """
        Args:
            private: setting `webhooks.allow_private`.
            ca_file: certificates to trust beside the system's, PEM.
            timeout: seconds for a whole try.
            agent: User-Agent.

        Raises:
            OSError, ssl.SSLError: `ca_file` can't be read.
        """
        self._private = private
        self._timeout = timeout
        self._agent = agent
        self._trust = ssl.create_default_context()
        self._trust.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca_file is not None:
            self._trust.load_verify_locations(cafile=ca_file)
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        self._sessions = {scheme: self._session(plain=scheme == "http") for scheme in ("https", "http")}
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    def _session(self, *, plain: bool) -> aiohttp.ClientSession:
        def make_socket(info: Any) -> socket.socket:
            # The last place before the connection: aiohttp takes a host of digits and dots for an address, and
            # doesn't ask the resolver.
            if not may_connect(str(info[4][0]), private=self._private, plain=plain):
                raise NotAllowed
            return socket.socket(info[0], info[1], info[2])

        connector = aiohttp.TCPConnector(
            resolver=Names(private=self._private, plain=plain),
            use_dns_cache=False,
            socket_factory=make_socket,
            ssl=self._trust,
            limit=0,  # bounded by who calls
            # A receiver that answers twice would otherwise acknowledge the event that comes next on its connection.
            force_close=True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": self._agent, "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=self._timeout, connect=min(self._timeout, CONNECT_WITHIN)),
        )

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Posts `body`; never raises for what the other side does."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        status = retry_after = None
        try:
            status, retry_after = await self._post(url, headers, body)
            reason = rules.reason_of(status)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = _why(error)
        return Outcome(reason, round((loop.time() - began) * 1000), status, retry_after)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, float | None]:
        try:
            # Again, since the setting may have changed.
            target = check_url(url, private=self._private)
        except ValueError:
            raise NotAllowed from None
        session = self._sessions[target.scheme]
        async with session.post(target, data=body, headers=headers, allow_redirects=False) as answer:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                left = DRAINED
                while left > 0 and (part := await answer.content.read(left)):
                    left -= len(part)
            asked = answer.headers.get("Retry-After", "").strip()
            return answer.status, float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 8 else None


def _why(error: Exception) -> Reason:
    # An address that isn't allowed comes wrapped in what aiohttp makes of a failed connection.
    cause = getattr(error, "os_error", None) or error
    if isinstance(cause, NotAllowed):
        return Reason.ADDRESS_NOT_ALLOWED
    if isinstance(cause, NotFound):
        return Reason.NAME_NOT_FOUND
    if isinstance(error, TimeoutError):
        return Reason.TIMEOUT
    if isinstance(error, ClientConnectorCertificateError):
        return Reason.CERTIFICATE
    if isinstance(error, ClientConnectorSSLError):
        return Reason.TLS
    if isinstance(error, aiohttp.ClientConnectorError):
        return Reason.NOT_CONNECTED
    return Reason.NO_ANSWER
