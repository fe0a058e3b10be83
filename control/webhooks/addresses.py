"""Where a webhook may lead: which addresses may be connected to, and what an URL must look like.

Whoever has an admin key chooses the URL, and this server stands inside a region's net: without these rules a webhook
would be a way to reach what only the inside can (server-side request forgery).
"""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from yarl import URL

Address = IPv4Address | IPv6Address

MAX_URL = 2048
# IANA's registry of special-purpose IPv4 addresses: what isn't globally reachable, 6to4's relays, multicast, class E.
_SPECIAL_4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Of IPv6 only what is handed out as global unicast (RFC 4291, section 2.4), so mapped, NAT64, site- and link-local and
# multicast are out; and of that neither protocols' own (Teredo, ORCHID), documentation, nor 6to4.
_GLOBAL_6 = IPv6Network("2000::/3")
_SPECIAL_6 = tuple(IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
# What `webhooks.allow_private` adds. Link-local stays out: clouds answer there with their machines' credentials.
_PRIVATE: tuple[IPv4Network | IPv6Network, ...] = (
    *(IPv4Network(net) for net in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    *(IPv6Network(net) for net in ("::1/128", "fc00::/7")),
)
# A last label of digits, or 0x…: resolvers read such names as IPv4 in old notations (127.1, 0x7f000001).
_LIKE_A_NUMBER = re.compile(r"(^|\.)(\d+|0[xX][0-9a-fA-F]*)\.?$")


def literal(host: str) -> Address | None:
    """The address that a URL's host is, in its one usual notation; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def may_connect(address: str, *, private: bool, plain: bool = False) -> bool:
    """Whether a webhook may be sent there.

    Args:
        address: as the resolver or the kernel says it.
        private: setting `webhooks.allow_private`.
        plain: without TLS, which may not leave this machine.
    """
    found = literal(address)
    if found is None or getattr(found, "scope_id", None) is not None:
        return False
    if plain:
        return private and found.is_loopback
    if private and any(found in net for net in _PRIVATE if net.version == found.version):
        return True
    if isinstance(found, IPv4Address):
        return not any(found in net for net in _SPECIAL_4)
    return found in _GLOBAL_6 and not any(found in net for net in _SPECIAL_6)


def check_url(url: str, *, private: bool) -> URL:
    """A URL that a webhook may have. Names are looked up at each try, not here.

    Raises:
        ValueError: the message says what was expected.
    """
    expected = "expected an address like https://portal.region.example/webhooks"
    if len(url) > MAX_URL or re.search(r"[^\x21-\x7e]|\\", url):
        raise ValueError(f"{expected}: at most {MAX_URL} characters, ASCII, without spaces")
    try:
        found = URL(url)
        port, host = found.port, found.raw_host
    except ValueError:
        raise ValueError(expected) from None
    if found.scheme not in ("https", "http") or not host or not port:
        raise ValueError(expected)
    if found.scheme == "http" and not (private and (host == "localhost" or _loopback(host))):
        raise ValueError("expected https")
    # As it was written: an empty user or fragment is dropped by the parser.
    if "@" in re.split(r"[/?#]", url.partition("//")[2])[0] or "#" in url:
        raise ValueError("can't have a user, a password or a fragment")
    address = literal(host)
    if address is None and (_LIKE_A_NUMBER.search(host) or ":" in host or "%" in host):
        raise ValueError(expected)
    if address is not None and not may_connect(str(address), private=private, plain=found.scheme == "http"):
        raise ValueError("leads to an address that isn't allowed")
    return found


def _loopback(host: str) -> bool:
    address = literal(host)
    return address is not None and address.is_loopback
