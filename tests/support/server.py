"""A real Vardrum server as a child process, as an operator would start it."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...bench.process import Process
from .wait import wait_until

VARDRUM = str(Path(sys.executable).with_name("vardrum"))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago, for UDP and TCP; chosen here so that a server can be restarted on it."""
    for _ in range(100):
        with socket.socket(socket.AF_INET) as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            stream.bind((host, 0))
            port = int(stream.getsockname()[1])
            with contextlib.suppress(OSError):
                datagram.bind((host, port))
                return port
    raise AssertionError("no port is free")


class Server:
    """`vardrum serve` or `vardrum demo` on one data directory, over any number of starts.

    Attributes:
        ready: the JSON of the ready file, after `start`.
        http: the base URL, such as `http://127.0.0.1:40123`.
    """

    def __init__(
        self,
        data: Path,
        *,
        command: str = "serve",
        host: str = "127.0.0.1",
        media_ip: str | None = None,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        shards: int = 1,
    ) -> None:
        """
        Args:
            data: kept over restarts; made when missing.
            host: address of HTTP.
            media_ip: address of media; the same where None.
            arguments: further command line arguments.
            prefix: what runs the command, such as a namespace's `nsenter …`.
            shards: with more than one the system chooses the ports of media.
        """
        data.mkdir(parents=True, exist_ok=True)
        self.data = data
        self.host = host
        self.media_ip = media_ip or host
        self.command = command
        self.arguments = tuple(arguments)
        self.env = dict(env or {})
        self.prefix = tuple(prefix)
        self.shards = shards
        self.ready: dict[str, Any] = {}
        # Ports are free in this namespace, and with that (a test's own) in any other.
        self.http_port = free_port()
        self.media_port = free_port()
        self._process: Process | None = None

    @property
    def http(self) -> str:
        return str(self.ready["http"])

    @property
    def process(self) -> Process:
        assert self._process is not None, "the server was not started"
        return self._process

    async def start(self, deadline: float = 30.0) -> Server:
        """Start it, and return when its ready file is there.

        Raises:
            AssertionError: it ended; the text has what it printed.
        """
        ready = self.data / "ready.json"
        ready.unlink(missing_ok=True)
        self._process = await Process.start(
            [
                *self.prefix,
                VARDRUM,
                self.command,
                *(["--data", str(self.data)] if self.command == "serve" else []),
                "--http",
                f"{self.host}:{self.http_port}",
                "--media-ip",
                self.media_ip,
                "--media-port",
                str(self.media_port if self.shards == 1 else 0),
                "--ready-file",
                str(ready),
                *self.arguments,
            ],
            log=self.data / "server.log",
            env={
                "VARDRUM_METRICS__LISTEN": f"{self.host}:0",
                "VARDRUM_MEDIA__SHARDS": str(self.shards),
                # Tests that restart a server don't wait for their own visits to end.
                "VARDRUM_DRAIN__SECONDS": "0",
                **self.env,
            },
        )
        process = self._process

        def answer() -> dict[str, Any] | str:
            if not process.running:
                return "ended"
            text = ready.read_text() if ready.exists() else ""
            return json.loads(text) if text.endswith("\n") else {}

        found = await wait_until(answer, deadline=deadline, what="the server's ready file", every=0.02)
        assert isinstance(found, dict), f"the server ended:\n{process.output()}"
        self.ready = found
        return self

    async def kill(self) -> None:
        """As a power cut would: SIGKILL, nothing flushed."""
        await self.process.kill()

    async def stop(self) -> int:
        """As an operator would: SIGTERM; returns the exit status."""
        return await self.process.stop()

    async def __aenter__(self) -> Server:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await self._process.stop()
