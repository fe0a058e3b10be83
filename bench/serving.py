"""`vardrum serve` in a process of its own, and what it uses: read from /proc, so that asking costs it nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

VARDRUM = str(Path(sys.executable).with_name("vardrum"))
SCOPES = ("rooms:read", "rooms:write", "admission", "vouch", "reports", "admin")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """What a process has used, and holds.

    Attributes:
        cpu: seconds of user and system time since its start, in steps of 10 ms.
        threads: CPU seconds of each thread that lives by its name and number, in nanoseconds' steps.
        rss: bytes of memory that are resident.
        fds: open file descriptors.
    """

    at: float
    cpu: float
    threads: Mapping[str, float]
    rss: int
    fds: int


def usage(pid: int) -> Usage:
    """What process `pid` uses now.

    Raises:
        FileNotFoundError, ProcessLookupError: it has ended.
    """
    root = Path(f"/proc/{pid}")
    threads = {}
    for task in (root / "task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            nanoseconds = int((task / "schedstat").read_text().split()[0])
            threads[f"{(task / 'comm').read_text().strip()}/{task.name}"] = nanoseconds / 1e9
    rss = int((root / "statm").read_text().split()[1]) * _PAGE
    return Usage(time.monotonic(), _cpu(root), threads, rss, len(os.listdir(root / "fd")))


def _cpu(task: Path) -> float:
    # The name, in brackets, may hold anything.
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def busy_time() -> float:
    """CPU seconds that the machine has worked, time that other machines took from it included."""
    fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    idle = int(fields[3]) + int(fields[4])
    return (sum(int(each) for each in fields[:8]) - idle) / _TICKS


def descendants(pid: int) -> set[int]:
    """Process `pid` and all that it and those have started, and that are still there."""
    parents = {}
    for task in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parents[int(task.parent.name)] = int(task.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def used_by(pids: Iterable[int]) -> float:
    """CPU seconds of user and system time that these processes have used; those that have ended count nothing."""
    used = 0.0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            used += _cpu(Path(f"/proc/{pid}"))
    return used


def allow_files() -> None:
    """Lets this process and those it starts have as many open files as the system permits: a crowd has thousands."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def socket_drops(ports: Collection[int]) -> int:
    """Datagrams that the kernel had to throw away because nobody read these UDP ports in time."""
    drops = 0
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) in ports:
                drops += int(fields[-1])
    return drops


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _free_ports(count: int) -> range:
    """So many ports behind each other, free for UDP and TCP a moment ago."""
    while True:
        first = free_port()
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError, OverflowError):
            for port in range(first, first + count):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    probes.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            return range(first, first + count)


class Serving:
    """A server on loopback, or on another address of the namespace that `prefix` enters, with a data folder of its own.

    Attributes:
        http, key: base URL and API key, after `start`.
        media_ports: of the shards.
        metrics_port: on loopback.
    """

    def __init__(
        self,
        data: Path,
        *,
        host: str = "127.0.0.1",
        prefix: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self._host = host
        self.http = self.key = self.metrics_url = ""
        # One for each shard, of which there are as many as cores.
        self.media_ports = _free_ports(len(os.sched_getaffinity(0)))
        self.metrics_port = free_port()
        self._listen = f"{host}:{free_port()}"
        self._prefix = tuple(prefix)
        self._env = {
            "VARDRUM_METRICS__LISTEN": f"127.0.0.1:{self.metrics_port}",
            # Who measures doesn't wait for bots to end their visits.
            "VARDRUM_DRAIN__SECONDS": "0",
            **(env or {}),
        }
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    async def start(self) -> Serving:
        """Starts it and makes an API key.

        Raises:
            RuntimeError: it ended; the text has what it printed.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        ready = self.data / "ready.json"
        ready.unlink(missing_ok=True)
        command = [VARDRUM, "serve", "--data", str(self.data), "--http", self._listen, "--media-ip", self._host]
        command += ["--media-port", str(self.media_ports.start), "--ready-file", str(ready)]
        with (self.data / "server.log").open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL"),
                *self._prefix,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._env},
            )
        end = time.monotonic() + 30
        while not (ready.exists() and ready.read_text().endswith("\n")):
            if self._child.returncode is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start:\n{self.log()}")
            await asyncio.sleep(0.02)
        self.http = json.loads(ready.read_text())["http"]
        if not self.key:
            await self._vardrum("tenants", "create", "bench")
            wanted = [word for scope in SCOPES for word in ("--scope", scope)]
            said = await self._vardrum("keys", "create", "--tenant", "bench", "--name", "bench", *wanted)
            self.key = re.findall(r"vrk_\S+", said)[0]
        return self

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after 10 s; may be called twice."""
        if self._child is None or self._child.returncode is not None:
            return
        self._child.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._child.wait(), 10)
        except TimeoutError:
            self._child.kill()
            await self._child.wait()

    async def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self._child is not None, "not started"
        self._child.kill()
        await self._child.wait()

    async def __aenter__(self) -> Serving:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def usage(self) -> Usage:
        """What the server uses now."""
        return usage(self.pid)

    def log(self, last: int = 4000) -> str:
        """The end of what it has printed."""
        return (self.data / "server.log").read_text(encoding="utf-8", errors="replace")[-last:]

    async def metrics(self, *, relay: str | None = None) -> dict[str, float]:
        """Its Prometheus samples by name with labels, such as `vardrum_media_drops_total{reason="…"}`.

        Args:
            relay: a UNIX socket that leads to `metrics_port`, where the server is in a namespace.
        """
        connector = aiohttp.UnixConnector(path=relay) if relay else None
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.get(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer,
        ):
            lines = (await answer.text()).splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    async def _vardrum(self, *arguments: str) -> str:
        child = await asyncio.create_subprocess_exec(
            *(VARDRUM, *arguments, "--data", str(self.data)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self._env},
        )
        output, errors = await child.communicate()
        if child.returncode != 0:
            raise RuntimeError(f"vardrum {' '.join(arguments)}: {errors.decode()}")
        return output.decode()
