"""A network namespace with one address and no way out: for servers that refuse to use loopback, as Janus does.

It is held open by a process that does nothing, and ends with it. A veth whose other end is unused has the address; what
is sent to it from inside stays in the namespace's loopback, so it costs what loopback costs.
"""

from __future__ import annotations

import asyncio
import os
from typing import Self

ADDRESS = "10.255.255.1"


class NoIsland(Exception):
    """A namespace can't be made here; the text says why."""


class Island:
    """Attributes: prefix: what runs a command inside."""

    def __init__(self) -> None:
        self.prefix: tuple[str, ...] = ()
        self._holder: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Makes it.

        Raises:
            NoIsland: not root, or the kernel can't.
        """
        if os.geteuid() != 0:
            raise NoIsland("a network namespace is made as root only")
        command = ("setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity")
        self._holder = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
        net, own = f"/proc/{self._holder.pid}/ns/net", os.stat("/proc/self/ns/net").st_ino
        for _ in range(500):
            if os.stat(net).st_ino != own:
                break
            await asyncio.sleep(0.01)
        else:
            raise NoIsland("no network namespace was made within 5 s")
        self.prefix = ("nsenter", f"--net={net}")
        try:
            # Before the interfaces come up, so that there is IPv4 only.
            await self._run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            await self._run("ip", "link", "set", "lo", "up")
            await self._run("ip", "link", "add", "shore", "type", "veth", "peer", "name", "sea")
            await self._run("ip", "address", "add", f"{ADDRESS}/30", "dev", "shore")
            for name in ("sea", "shore"):
                await self._run("ip", "link", "set", name, "up")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._holder is not None and self._holder.returncode is None:
            self._holder.kill()
            await self._holder.wait()

    async def _run(self, *command: str) -> None:
        child = await asyncio.create_subprocess_exec(
            *self.prefix, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await child.communicate()
        if child.returncode != 0:
            raise NoIsland(f"{' '.join(command)}: {output.decode().strip()}")
