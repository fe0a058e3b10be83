"""A network of one's own: a clinic and a phone with a router between them that can be cut without either end noticing.

Namespaces live in processes of who made them, so they end with it and nothing is left in the system. As root they are
made directly, as anybody else inside a user namespace.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ..process import Process
from ..waiting import wait_until
from .link import Conditions

CLINIC = "10.71.1.2"
PHONE = "10.71.2.2"
CLINIC_SIX = "fd71:1::2"
PHONE_SIX = "fd71:2::2"
# What the phone's NAT and its other network show to the clinic.
OUTER = "10.71.3.2"
MOBILE = "10.71.4.2"


class Namespace:
    """A network namespace, held open by a process that does nothing."""

    def __init__(self, holder: Process, prefix: tuple[str, ...], scratch: Path) -> None:
        self._holder = holder
        self._scratch = scratch
        self._stack = AsyncExitStack()
        self.prefix = prefix

    @property
    def pid(self) -> int:
        return self._holder.pid

    @classmethod
    async def make(cls, scratch: Path, inside: tuple[str, ...]) -> Namespace:
        """A namespace with only its loopback up; `inside` is what enters the user namespace to make it in, if any."""
        holder = await Process.start([*inside, "unshare", "--net", "sleep", "infinity"], log=scratch / "namespaces.log")
        own = os.stat("/proc/self/ns/net").st_ino

        def entered() -> bool:
            assert holder.running, f"no network namespace: {holder.output()}"
            return os.stat(f"/proc/{holder.pid}/ns/net").st_ino != own

        await wait_until(entered, deadline=10, what="a network namespace")
        made = cls(holder, (*inside, "nsenter", f"--net=/proc/{holder.pid}/ns/net"), scratch)
        await made.run("ip", "link", "set", "lo", "up")
        return made

    async def run(self, *command: str) -> str:
        """What a command prints, run inside.

        Raises:
            AssertionError: it failed; the text has what it said.
        """
        child = await asyncio.create_subprocess_exec(
            *self.prefix, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await child.communicate()
        assert child.returncode == 0, f"{' '.join(command)}: {output.decode()}"
        return output.decode()

    async def relay(self, host: str, port: int) -> str:
        """The path of a UNIX socket that leads to a TCP address inside; works as soon as something listens there."""
        # Paths of UNIX sockets are at most 107 bytes long, and pytest's folders come near.
        path = _folder(self._stack, "relay") / "socket"
        relay = await Process.start(
            [*self.prefix, sys.executable, "-m", "vardrum.bench.network.relay", str(path), host, str(port)],
            log=self._scratch / "relay.log",
        )
        self._stack.push_async_callback(relay.kill)
        await wait_until(path.exists, deadline=10, what="a relay into the namespace")
        return str(path)

    async def close(self) -> None:
        await self._stack.aclose()
        await self._holder.kill()


class Nat:
    """The NAT before the phone; see `nat`."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def rebind(self) -> None:
        """It forgets where answers over UDP belong: what the phone sends next comes from other ports."""
        os.kill(self._process.pid, signal.SIGUSR1)

    def forget_connections(self) -> None:
        """Connections lead nowhere from here on, and neither end is told."""
        os.kill(self._process.pid, signal.SIGUSR2)

    def mapped(self, protocol: str) -> int:
        """How many mappings of `udp` or `tcp` it has made so far."""
        return self._process.output(1_000_000).count(f"mapped {protocol}")


class RunningLink:
    """The link before the phone; see `edge`.

    Attributes:
        up, down: how it is now.
        counts: the file that its counts go to.
    """

    def __init__(self, process: Process, path: Path, counts: Path, seed: int) -> None:
        self._process = process
        self._path = path
        self._seed = seed
        self._changes = 0
        self.counts = counts
        self.up = self.down = Conditions()

    async def change(self, up: Conditions | None = None, down: Conditions | None = None) -> None:
        """From here on it is like this, each way as before where None."""
        self.up, self.down = up or self.up, down or self.down
        said = {"seed": self._seed, "up": self.up.as_json(), "down": self.down.as_json()}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(json.dumps(said).encode(), str(self._path))
        self._changes += 1
        await wait_until(
            lambda: self._process.output(1_000_000).count("changed") >= self._changes,
            deadline=10,
            what="a change of the link",
            every=0.02,
        )


async def _where_allowed(stack: AsyncExitStack, scratch: Path) -> tuple[str, ...]:
    """What enters a user namespace in which one may make others; nothing as root."""
    if os.geteuid() == 0:
        return ()
    user = await Process.start(
        ["unshare", "--user", "--map-root-user", "sleep", "infinity"], log=scratch / "namespaces.log"
    )
    stack.push_async_callback(user.kill)
    own = os.stat("/proc/self/ns/user").st_ino
    await wait_until(
        lambda: not user.running or os.stat(f"/proc/{user.pid}/ns/user").st_ino != own,
        deadline=10,
        what="a user namespace",
    )
    return ("nsenter", f"--user=/proc/{user.pid}/ns/user", "--preserve-credentials")


@asynccontextmanager
async def alone(scratch: Path, *addresses: str) -> AsyncIterator[Namespace]:
    """A namespace that is joined to nothing, with these addresses, whatever they are elsewhere."""
    async with AsyncExitStack() as stack:
        made = await Namespace.make(scratch, await _where_allowed(stack, scratch))
        stack.push_async_callback(made.close)
        for address in addresses:
            await made.run("ip", "address", "add", address, "dev", "lo")
        yield made


def _folder(stack: AsyncExitStack, name: str) -> Path:
    """A folder that goes with `stack`."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-")))


def _net(address: str) -> str:
    """The network that an address of ours is in."""
    return address.rsplit(".", 1)[0] + ".0/24"


class Network:
    """clinic (server and desktops) - router - phone.

    Attributes:
        clinic, phone: where to run what; their addresses are `CLINIC` and `PHONE`.
    """

    def __init__(
        self, clinic: Namespace, router: Namespace, phone: Namespace, stack: AsyncExitStack, scratch: Path
    ) -> None:
        self.clinic = clinic
        self.phone = phone
        self._scratch = scratch
        self._moved = False
        self._router = router
        self._stack = stack

    @classmethod
    async def make(cls, scratch: Path) -> Network:
        """Three namespaces, joined and routed."""
        async with AsyncExitStack() as stack:
            inside = await _where_allowed(stack, scratch)
            spaces = []
            for _ in range(3):
                spaces.append(await Namespace.make(scratch, inside))
                stack.push_async_callback(spaces[-1].close)
            clinic, router, phone = spaces
            for number, end, address in ((1, clinic, CLINIC), (2, phone, PHONE)):
                gate = address.rsplit(".", 1)[0] + ".1"
                await router.run(
                    *("ip", "link", "add", f"side{number}", "type", "veth"),
                    *("peer", "name", "wire", "netns", str(end.pid)),
                )
                await router.run("ip", "address", "add", f"{gate}/24", "dev", f"side{number}")
                await router.run("ip", "link", "set", f"side{number}", "up")
                await end.run("ip", "address", "add", f"{address}/24", "dev", "wire")
                await end.run("ip", "link", "set", "wire", "up")
                await end.run("ip", "route", "add", "default", "via", gate)
            network = cls(clinic, router, phone, stack.pop_all(), scratch)
            await network.mend()
            return network

    async def cut(self) -> None:
        """Nothing passes any more in either direction, as in a tunnel: both ends still have their link."""
        await self._forward(0)

    async def mend(self) -> None:
        """Packets pass again."""
        await self._forward(1)

    async def _forward(self, on: int) -> None:
        await self._router.run(
            "sh", "-c", f"echo {on} > /proc/sys/net/ipv4/ip_forward; echo {on} > /proc/sys/net/ipv6/conf/all/forwarding"
        )

    async def six_only(self) -> None:
        """From here on there is only IPv6, between `CLINIC_SIX` and `PHONE_SIX`."""
        for number, end, address in ((1, self.clinic, CLINIC_SIX), (2, self.phone, PHONE_SIX)):
            gate = address.rsplit(":", 1)[0] + ":1"
            await self._router.run("ip", "address", "add", f"{gate}/64", "dev", f"side{number}", "nodad")
            await end.run("ip", "-4", "address", "flush", "dev", "wire")
            await end.run("ip", "address", "add", f"{address}/64", "dev", "wire", "nodad")
            await end.run("ip", "route", "add", "default", "via", gate)

    async def nat(self, *, udp: bool = True, only: int | None = None) -> Nat:
        """Put a NAT in front of the phone; without `udp` it passes TCP only, with `only` to that one port alone."""
        log = self._scratch / "nat.log"
        options = [*([] if udp else ["no-udp"]), *([] if only is None else [f"only={only}"])]
        process = await Process.start(
            [*self._router.prefix, sys.executable, "-m", "vardrum.bench.network.nat", "nat", PHONE, OUTER, *options],
            log=log,
        )
        self._stack.push_async_callback(process.kill)
        await process.printed("ready", deadline=10)
        await self._router.run("ip", "link", "set", "nat", "up")
        await self._router.run("ip", "route", "add", f"{OUTER}/32", "dev", "nat")
        await self._router.run("ip", "route", "add", "default", "dev", "nat", "table", "71")
        # Before the link's rules: what the NAT lets out goes over the link, and what the link lets through to the NAT.
        await self._router.run("ip", "rule", "add", "priority", "100", "iif", "side2", "lookup", "71")
        await self._any_way_back()
        return Nat(process)

    async def link(self, up: Conditions, down: Conditions, *, seed: int) -> RunningLink:
        """Put a link between phone and clinic that is like this; see `link`."""
        # As for relays, in a folder with a short name.
        path, counts = _folder(self._stack, "link") / "socket", self._scratch / "link.jsonl"
        process = await Process.start(
            [
                *self._router.prefix,
                *(sys.executable, "-m", "vardrum.bench.network.edge", "slow", _net(CLINIC), str(path), str(counts)),
            ],
            log=self._scratch / "link.log",
        )
        self._stack.push_async_callback(process.kill)
        await process.printed("ready", deadline=10)
        link = RunningLink(process, path, counts, seed)
        await link.change(up, down)
        await self._router.run("ip", "link", "set", "slow", "up")
        await self._router.run("ip", "route", "add", "default", "dev", "slow", "table", "72")
        for side in ("side2", "side3", "nat"):
            await self._rule("iif", side, "to", _net(CLINIC))
        await self._rule("iif", "side1")
        await self._any_way_back()
        return link

    async def _rule(self, *what: str) -> None:
        await self._router.run("ip", "rule", "add", "priority", "200", *what, "lookup", "72")

    async def _any_way_back(self) -> None:
        """Packets come in over a TUN with the address of somebody who isn't there."""
        await self._router.run("sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done")

    async def move(self) -> None:
        """The phone's interface goes away with its address, and another one comes with another: Wi-Fi to 4G."""
        gate = MOBILE.rsplit(".", 1)[0] + ".1"
        if not self._moved:
            await self._router.run(
                *("ip", "link", "add", "side3", "type", "veth"),
                *("peer", "name", "mobile", "netns", str(self.phone.pid)),
            )
            await self._router.run("ip", "address", "add", f"{gate}/24", "dev", "side3")
            await self._router.run("ip", "link", "set", "side3", "up")
        self._moved = True
        await self.phone.run(
            "sh",
            "-c",
            f"ip link set wire down; ip address flush dev wire; ip address add {MOBILE}/24 dev mobile;"
            f" ip link set mobile up; ip route add default via {gate}",
        )

    async def close(self) -> None:
        await self._stack.aclose()
