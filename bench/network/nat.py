"""A NAT in front of the phone: what leaves goes out from an address and ports of the NAT's, until it forgets them.

Kernels may have no NAT of their own, so this is one on a TUN device (RFC 4787: endpoint-independent mapping), fast
enough for one person. Run by `Network.nat` in the router:

python -m vardrum.bench.network.nat DEVICE INNER OUTER [no-udp] [only=PORT]

SIGUSR1 makes it forget all UDP mappings and lead old ones nowhere, as when a carrier's NAT restarts, SIGUSR2 those of
TCP: connections then lead nowhere without being closed. With `no-udp` it passes TCP only, as a clinic's guest network
may, and with `only` what is on its way to that one port alone, as a hospital's firewall may.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from ipaddress import IPv4Address

from .edge import open_tun

TCP, UDP = 6, 17
SYN = 2
# Where the checksum stands in each protocol's header.
CHECKSUM = {TCP: 16, UDP: 6}


def patch(packet: bytearray, at: int, new: bytes, *checksums: int) -> None:
    """Write `new` (an even number of bytes at an even place), and mend the checksums over it (RFC 1624)."""
    for i in range(0, len(new), 2):
        (before,) = struct.unpack_from("!H", packet, at + i)
        (after,) = struct.unpack_from("!H", new, i)
        for place in checksums:
            (found,) = struct.unpack_from("!H", packet, place)
            total = (~found & 0xFFFF) + (~before & 0xFFFF) + after
            total = (total & 0xFFFF) + (total >> 16)
            total = (total & 0xFFFF) + (total >> 16)
            struct.pack_into("!H", packet, place, ~total & 0xFFFF)
    packet[at : at + len(new)] = new


class Nat:
    """The table: an inner address and port has one outer port at a time.

    Attributes:
        inner: whose packets are led out.
        outer: the address they then come from.
        udp: whether UDP passes at all.
        only: the port that packets may go to; any where None.
    """

    def __init__(self, inner: str, outer: str, *, udp: bool = True, only: int | None = None) -> None:
        self.inner = IPv4Address(inner).packed
        self.outer = IPv4Address(outer).packed
        self.udp = udp
        self.only = only
        self._next = 20_000
        self._out: dict[tuple[int, int], int] = {}
        self._in: dict[tuple[int, int], int] = {}

    def forget(self, protocol: int) -> None:
        """Lose all mappings of `protocol`; ports given before are not given again."""
        for table in (self._out, self._in):
            for key in [key for key in table if key[0] == protocol]:
                del table[key]

    def translate(self, packet: bytearray) -> bool:
        """Change a packet in place; whether it goes on."""
        if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] not in CHECKSUM:
            return False
        protocol, header = packet[9], (packet[0] & 15) * 4
        if protocol == UDP and not self.udp:
            return False
        checksums: tuple[int, ...] = (header + CHECKSUM[protocol],)
        if protocol == UDP and packet[checksums[0] : checksums[0] + 2] == b"\0\0":
            checksums = ()
        source, target = struct.unpack_from("!HH", packet, header)
        if packet[12:16] == self.inner:
            if self.only not in (None, target):
                return False
            port = self._out.get((protocol, source))
            if port is None:
                if protocol == TCP and not packet[header + 13] & SYN:
                    return False  # of a connection that it doesn't know (any more)
                port, self._next = self._next, self._next + 1
                self._out[protocol, source] = port
                self._in[protocol, port] = source
                print("mapped", {TCP: "tcp", UDP: "udp"}[protocol], flush=True)
            patch(packet, 12, self.outer, 10, *checksums)
            patch(packet, header, struct.pack("!H", port), *checksums)
            return True
        if packet[16:20] == self.outer and (inner := self._in.get((protocol, target))) is not None:
            patch(packet, 16, self.inner, 10, *checksums)
            patch(packet, header + 2, struct.pack("!H", inner), *checksums)
            return True
        return False


def main(device: str, inner: str, outer: str, *options: str) -> None:
    only = next((int(one.removeprefix("only=")) for one in options if one.startswith("only=")), None)
    nat = Nat(inner, outer, udp="no-udp" not in options, only=only)
    tun = open_tun(device)
    signal.signal(signal.SIGUSR1, lambda *_: nat.forget(UDP))
    signal.signal(signal.SIGUSR2, lambda *_: nat.forget(TCP))
    print("ready", flush=True)
    while True:
        packet = bytearray(os.read(tun, 65536))
        if nat.translate(packet):
            os.write(tun, packet)


if __name__ == "__main__":
    main(*sys.argv[1:])
