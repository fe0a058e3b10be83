"""A real Prometheus (Debian's package) that scrapes a server as the example in `config/` says, only more often."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession

from ...bench.process import Process
from .server import free_port
from .wait import wait_until

CONFIG = Path(__file__).parents[2] / "config"
# What the example has, and what is put there instead.
TARGET, EVERY = "127.0.0.1:9464", "15s"


class Prometheus:
    """`async with Prometheus(folder, target)`; `target` is the host and port of a server's /metrics."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._target = target
        self._process: Process | None = None
        self._http: ClientSession | None = None
        self._base = ""

    async def __aenter__(self) -> Prometheus:
        text = (CONFIG / "prometheus.yml").read_text()
        assert TARGET in text
        assert EVERY in text
        self._folder.mkdir()
        written = self._folder / "prometheus.yml"
        written.write_text(text.replace(TARGET, self._target).replace(EVERY, "2s"))
        (self._folder / "alerts.yml").write_text((CONFIG / "alerts.yml").read_text())
        address = f"127.0.0.1:{free_port()}"
        self._base = f"http://{address}/api/v1/"
        self._http = ClientSession()
        self._process = await Process.start(
            [
                "prometheus",
                f"--config.file={written}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            log=self._folder / "prometheus.log",
        )
        await wait_until(self._has_scraped, deadline=60, what="Prometheus has scraped the server")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await self._process.stop()
        if self._http is not None:
            await self._http.close()

    async def ask(self, path: str, **query: str) -> Any:
        """The `data` of an answer of its API.

        Raises:
            AssertionError: it refused, such as an expression that doesn't parse.
        """
        assert self._http is not None
        async with self._http.get(self._base + path, params=query) as answer:
            found = await answer.json()
        assert found["status"] == "success", f"{query}: {found['error']}"
        return found["data"]

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        found: list[dict[str, Any]] = (await self.ask("query", query=expression))["result"]
        return found

    async def _has_scraped(self) -> bool:
        assert self._process is not None
        assert self._process.running, self._process.output()
        try:
            targets = (await self.ask("targets"))["activeTargets"]
        except ClientError:
            return False
        return [one["health"] for one in targets] == ["up"]


async def promtool(*arguments: str, stdin: bytes = b"") -> tuple[int, str]:
    """Exit status, and all that it says."""
    child = await asyncio.create_subprocess_exec(
        "promtool",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await child.communicate(stdin)
    assert child.returncode is not None
    return child.returncode, output.decode()
