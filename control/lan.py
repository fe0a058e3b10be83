"""Which of this machine's addresses a phone in the same network can reach."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

# What `--lan` stands for where no address is given.
AUTO = "auto"
# Addresses of examples (RFC 5737, RFC 3849), for asking the kernel how it would reach somebody: nothing is sent.
SOMEBODY = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


class NoAddress(Exception):
    """There is none that a phone could reach; the message says what to do."""


def address(wanted: str) -> str:
    """This machine's address in its local network, or the one that is `wanted`. Raises NoAddress."""
    if wanted != AUTO:
        if not _ours(wanted):
            raise NoAddress(f"{wanted!r} is not an address of this machine (ip -br address lists them)")
        return wanted
    for family, somebody in SOMEBODY:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((somebody, 9))
            found = ipaddress.ip_address(asked.getsockname()[0])
            if not (found.is_loopback or found.is_link_local or found.is_unspecified):
                return str(found)
    raise NoAddress(
        "this machine has no way out, by which its address in the local network could be told"
        " (ip -br address lists its addresses; --lan ADDRESS takes one)"
    )


def _ours(address: str) -> bool:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family) as one:
            one.bind((address, 0))
    except (OSError, ValueError):
        return False
    return not ipaddress.ip_address(address).is_unspecified
