"""What a reverse proxy says of a request, believed of those that the operator trusts and of nobody else."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Proxies behind one another that are asked who came to them; the longest way that anyone has is some three.
MAX_HOPS = 8
# RFC 1035, section 2.3.4, a port, and the brackets of an IPv6 address.
MAX_HOST = 255 + 6 + 2
# One household or phone has at least so much of IPv6 (RFC 6177); to count single addresses would be to count nobody.
IPV6_PREFIX = 64


class Proxies:
    """`trusted`: the networks of proxies whose `X-Forwarded-For`, `-Proto` and `-Host` count."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)

    def client(self, request: web.Request) -> Address | None:
        """Who it comes from: the last address that isn't a trusted proxy's. None where the way here has no addresses.

        What stands before it in the header anyone can write. What isn't an address ends the search: then it is the
        proxy that said so.
        """
        found = _address(request.remote or "")
        if found is None or not self._trusts(found):
            return found
        way = ",".join(request.headers.getall("X-Forwarded-For", ())).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
        for hop in reversed(way):
            before = _address(hop)
            if before is None:
                break
            found = before
            if not self._trusts(found):
                break
        return found

    def counted(self, request: web.Request) -> str:
        """As whom the client is counted: an IPv4 address, or the network of an IPv6 one."""
        found = self.client(request)
        if isinstance(found, IPv6Address):
            return str(IPv6Network((int(found), IPV6_PREFIX), strict=False))
        return str(found or "")

    def secure(self, request: web.Request) -> bool:
        """Whether the client speaks TLS, with us or with the proxy."""
        return request.secure or self._said(request, "X-Forwarded-Proto").lower() == "https"

    def host(self, request: web.Request) -> str:
        """The host, and port where it isn't the usual one, that the client asked for."""
        return self._said(request, "X-Forwarded-Host")[:MAX_HOST] or request.host

    def _said(self, request: web.Request, header: str) -> str:
        """What the proxy that spoke to us has put last."""
        peer = _address(request.remote or "")
        if peer is None or not self._trusts(peer):
            return ""
        return ",".join(request.headers.getall(header, ())).rpartition(",")[2].strip()

    def _trusts(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def _address(text: str) -> Address | None:
    """An address, also one with a port as some proxies write it."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # How a listener of both families names IPv4 (RFC 4291, section 2.5.5.2).
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
