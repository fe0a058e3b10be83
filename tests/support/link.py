"""A slow and lossy link between two networks: delay and seeded random loss, each way by itself.

The kernels that tests run on have no netem, so this is one on a TUN device. Run by `Network.link` in the router:

python -m vardrum.tests.support.link DEVICE INNER DELAY_MS LOSS_UP LOSS_DOWN SEED

It delays from the start, and loses from SIGUSR1 on, so that what is measured is not how long pages take to load.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import signal
import struct
import sys
import time
from ipaddress import IPv4Network

from .nat import IFF_NO_PI, IFF_TUN, TUNSETIFF


class Link:
    """What becomes of each packet.

    Attributes:
        losing: whether it loses by now.
    """

    def __init__(self, inner: str, delay: float, loss: tuple[float, float], seed: int) -> None:
        """
        Args:
            inner: the network behind the link; from it is up, to it down.
            delay: seconds, one way.
            loss: shares lost on the way up and down.
        """
        network = IPv4Network(inner)
        self._mask, self._net = int(network.netmask), int(network.network_address)
        self._delay = delay
        self._loss = loss
        # One chance for each way: what comes down must not decide what is lost on the way up.
        self._chances = (random.Random(seed), random.Random(seed + 1))
        self._queue: list[tuple[float, int, bytes]] = []
        self._count = 0
        self.losing = False

    def take(self, packet: bytes, now: float) -> None:
        """Lose it, or keep it until its time."""
        (target,) = struct.unpack_from("!I", packet, 16)
        down = target & self._mask == self._net
        lost = self._chances[down].random() < self._loss[down]
        if lost and self.losing:
            return
        self._count += 1
        heapq.heappush(self._queue, (now + self._delay, self._count, packet))

    def due(self, now: float) -> list[bytes]:
        """What has come through by now."""
        through = []
        while self._queue and self._queue[0][0] <= now:
            through.append(heapq.heappop(self._queue)[2])
        return through

    def wait(self, now: float) -> float | None:
        """Seconds until something comes through; None while nothing is on its way."""
        return max(self._queue[0][0] - now, 0.0) if self._queue else None


def main(device: str, inner: str, delay_ms: str, loss_up: str, loss_down: str, seed: str) -> None:
    link = Link(inner, float(delay_ms) / 1000, (float(loss_up), float(loss_down)), int(seed))
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))

    def lose(*_: object) -> None:
        link.losing = True

    signal.signal(signal.SIGUSR1, lose)
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([tun], [], [], link.wait(time.monotonic()))
        if readable:
            packet = os.read(tun, 65_536)
            if len(packet) >= 20 and packet[0] >> 4 == 4:
                link.take(packet, time.monotonic())
        for packet in link.due(time.monotonic()):
            os.write(tun, packet)


if __name__ == "__main__":
    main(*sys.argv[1:])
