"""The link as a process on a TUN device, for `Network.link` to run in the router.

python -m vardrum.bench.network.edge DEVICE CLINIC SOCKET COUNTS

What is on its way to the network CLINIC goes up, everything else down. SOCKET is a UNIX datagram socket that it makes;
each datagram is JSON: `{"seed": number, "up": conditions, "down": conditions}`, the first begins, each later one
changes the conditions (its seed is not used). To COUNTS it writes a JSON line each 100 ms: `{"at": seconds of the
monotonic clock, "up": counts, "down": counts}`, with `queued` bytes added; a capacity without a limit is null.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import sys
import time
from dataclasses import asdict
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from ..unhurried import prefer
from .link import Conditions, Link, Way

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
COUNT_EVERY = 0.1


def open_tun(device: str, *, blocking: bool = True) -> int:
    """A file descriptor of a TUN device with this name: packets without a header of their own.

    Raises:
        OSError: not permitted, or the name is taken.
    """
    tun = os.open("/dev/net/tun", os.O_RDWR | (0 if blocking else os.O_NONBLOCK))
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    return tun


def _counted(way: Way, now: float) -> dict[str, Any]:
    counts = asdict(way.counts(now))
    if counts["capacity"] == float("inf"):
        counts["capacity"] = None
    return {**counts, "queued": way.queued}


def _take_all(tun: int, link: Link, mask: int, net: int) -> None:
    while True:
        try:
            packet = os.read(tun, 65_536)
        except BlockingIOError:
            return
        if len(packet) < 20 or packet[0] >> 4 != 4:
            continue
        (target,) = struct.unpack_from("!I", packet, 16)
        (link.up if target & mask == net else link.down).take(packet, time.monotonic())


def main(device: str, clinic: str, path: str, counts: str) -> None:
    """Runs until it is killed."""
    # A packet waits as long as the link says, not for those who turn pictures into bits.
    with contextlib.suppress(OSError):
        prefer(0)
    network = IPv4Network(clinic)
    mask, net = int(network.netmask), int(network.network_address)
    said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    said.bind(path)
    tun = open_tun(device, blocking=False)
    print("ready", flush=True)
    link: Link | None = None
    next_count = float("inf")
    with Path(counts).open("a", encoding="utf-8", buffering=1) as lines:
        while True:
            now = time.monotonic()
            wait = link.wait(now) if link else None
            timeout = max(min(next_count - now, float("inf") if wait is None else wait), 0.0)
            sources = [tun, said.fileno()]
            readable, _, _ = select.select(sources, [], [], None if timeout == float("inf") else timeout)
            if said.fileno() in readable:
                message = json.loads(said.recv(1 << 20))
                up, down = Conditions.from_json(message["up"]), Conditions.from_json(message["down"])
                now = time.monotonic()
                if link is None:
                    link, next_count = Link(up, down, now, message["seed"]), now + COUNT_EVERY
                else:
                    link.up.change(up, now)
                    link.down.change(down, now)
                print("changed", flush=True)
            if link is None:
                continue
            if tun in readable:
                _take_all(tun, link, mask, net)
            now = time.monotonic()
            for packet in link.due(now):
                os.write(tun, packet)
            if now >= next_count:
                line = {"at": now, "up": _counted(link.up, now), "down": _counted(link.down, now)}
                lines.write(json.dumps(line) + "\n")
                next_count = max(next_count + COUNT_EVERY, now)


if __name__ == "__main__":
    main(*sys.argv[1:])
