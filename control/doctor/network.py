"""Ports and addresses: whether they can be had, and whether people outside can reach them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from ..settings import Settings, split_address
from .finding import Finding, ok, warning, wrong

Kind = socket.SocketKind
# Seconds for this machine to answer itself.
ANSWERS_WITHIN = 5.0


def refusal(host: str, port: int, kind: Kind) -> OSError | None:
    """Why the port can't be had, as the server would ask for it; None where it can."""
    try:
        info = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
        with socket.socket(info[0], kind) as tried:
            if kind == socket.SOCK_STREAM:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if info[0] == socket.AF_INET6:
                tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            tried.bind(info[4])
            if kind == socket.SOCK_STREAM:
                tried.listen(1)
    except OSError as error:
        return error
    return None


async def http(settings: Settings, serving: bool) -> Finding:
    """The port of pages and API; `serving`: whether a server of this data folder runs."""
    name, host, port = "http", settings.http.host, settings.http.port
    if port == 0:
        return ok(name, "the system chooses the port at each start")
    error = refusal(host, port, socket.SOCK_STREAM)
    where = f"{host} port {port}"
    if error is None:
        if serving:
            what = f"{where} is free, but a server runs on this data folder: it has other settings than these"
            return warning(name, what, "give doctor the arguments and variables that the service has")
        return ok(name, f"{where} is free")
    # Who may not bind a port below 1024 is told that first; the running server may.
    if not serving or error.errno not in (errno.EADDRINUSE, errno.EACCES):
        return _refused(name, where, port, error, "http.host and http.port", "-ltnp")
    said = await readiness(settings)
    if said is None:
        return ok(name, f"{where} is held by the running server, which says that it is ready")
    return wrong(name, f"{where} is held, and says {said}", "the server's log says what it waits for")


async def readiness(settings: Settings) -> str | None:
    """What is wrong with whoever has our HTTP port, in their words; None where it is our server, and ready."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.http.host, settings.http.host)  # noqa: S104 - any
    shown = f"[{host}]" if ":" in host else host
    url = f"{'https' if settings.http.certificate else 'http'}://{shown}:{settings.http.port}/readyz"
    try:
        # This machine itself: whether its certificate is for the public name is asked elsewhere.
        async with (
            ClientSession(connector=TCPConnector(ssl=False), timeout=ClientTimeout(total=ANSWERS_WITHIN)) as client,
            client.get(url) as answer,
        ):
            found = await answer.json(content_type=None)
    except (ClientError, TimeoutError, OSError, ValueError):
        return "nothing that a Vardrum server would (/readyz)"
    if isinstance(found, dict) and found.get("status") == "ready":
        return None
    detail = found.get("detail") if isinstance(found, dict) else None
    return str(detail)[:200] if isinstance(detail, str) else "nothing that a Vardrum server would (/readyz)"


def media(settings: Settings, serving: bool) -> Finding:
    """The ports of media, UDP and TCP, one for each shard."""
    name, wanted = "media ports", settings.media_settings()
    if wanted.port == 0:
        return ok(name, "the system chooses the ports at each start, so no firewall can let them in by number")
    last = wanted.port + wanted.shards - 1
    said = f"{wanted.ip} port {wanted.port}" + (f" to {last}" if last > wanted.port else "")
    kinds = [socket.SOCK_DGRAM, *([socket.SOCK_STREAM] if wanted.tcp else [])]
    refused = [
        (port, kind, error)
        for port in range(wanted.port, last + 1)
        for kind in kinds
        if (error := refusal(wanted.ip, port, kind)) is not None
    ]
    if not refused:
        if serving:
            what = f"{said}: free, but a server runs on this data folder: it has other settings than these"
            return warning(name, what, "give doctor the arguments and variables that the service has")
        return ok(name, f"{said}, UDP{' and TCP' if wanted.tcp else ''}: free")
    if serving and all(error.errno == errno.EADDRINUSE for *_, error in refused):
        return ok(name, f"{said}: held by the running server")
    port, kind, error = refused[0]
    where = f"{wanted.ip} port {port} ({'UDP' if kind == socket.SOCK_DGRAM else 'TCP'})"
    return _refused(name, where, port, error, "media.ip and media.port", "-lunp" if kind == kinds[0] else "-ltnp")


def metrics(settings: Settings, serving: bool) -> Finding:
    """The port of /metrics, and who reaches it."""
    name = "metrics"
    if not settings.metrics.listen:
        return ok(name, "served nowhere")
    host, port = split_address(settings.metrics.listen)
    error = refusal(host, port, socket.SOCK_STREAM) if port else None
    if error is not None and not (serving and error.errno == errno.EADDRINUSE):
        return _refused(name, f"{host} port {port}", port, error, "metrics.listen", "-ltnp")
    with contextlib.suppress(ValueError):
        if (address := ipaddress.ip_address(host)).is_global or address.is_unspecified:
            what = f"{settings.metrics.listen} can be reached from outside, and has no login"
            return warning(name, what, "let metrics.listen be an address that only Prometheus reaches, or firewall it")
    return ok(name, f"{settings.metrics.listen}: {'free' if error is None else 'held by the running server'}")


async def resolve(host: str) -> list[str]:
    """The addresses of a name, as this machine finds them; none where there are none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(info[4][0]).partition("%")[0] for info in found))


def public_url(settings: Settings, addresses: Sequence[str]) -> Finding:
    """What links start with; `addresses`: of its host."""
    name, url = "public_url", settings.public_url
    tls = bool(settings.http.certificate)
    example = 'public_url = "https://video.region.example", with the name that patients use'
    if not url:
        return warning(name, "it is empty, so links lead to this machine's own address", example)
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http" and not (host == "localhost" or _is(host, "is_loopback")):
        return wrong(name, f"{url} isn't https: browsers give no camera there, and others could read along", example)
    if parts.scheme == "http" and tls:
        return wrong(name, f"{url} isn't https, and the server speaks TLS (http.certificate)", example)
    if not addresses:
        return wrong(name, f"the name {host} isn't found", f"enter it into your DNS; resolvectl query {host}")
    if parts.scheme == "https" and not tls and not settings.http.trusted_proxies:
        what = f"{url} is https by a proxy that isn't trusted, so all people together count as one address"
        return warning(name, what, 'http.trusted_proxies = ["127.0.0.1"], or the proxy\'s address')
    return ok(name, f"{url} leads to {', '.join(addresses[:4])}")


def public_address(settings: Settings, addresses: Sequence[str]) -> Finding:
    """Whether phones can reach media; `addresses`: of `public_url`'s host."""
    name, announced = "media address", settings.media_settings().announced
    said = ", ".join(announced)
    # A name that isn't found yet is no name of this machine.
    local = not settings.public_url or (bool(addresses) and all(_is(one, "is_loopback") for one in addresses))
    if all(_is(one, "is_loopback") for one in announced):
        if local:
            return ok(name, f"{said}, for this machine alone")
        what = f"phones are told to send media to {said}, which is their own machine"
        return wrong(name, what, "media.ip = this machine's address (ip -br address says it), or 0.0.0.0")
    if not any(_is(one, "is_global") for one in announced) and any(_is(one, "is_global") for one in addresses):
        what = f"phones are told to send media to {said}, which is nobody's in the internet"
        likely = next(one for one in addresses if _is(one, "is_global"))
        remedy = f'media.public_ip = what your firewall forwards, such as "{likely}"; UDP and TCP, on the same ports'
        return warning(name, what, remedy)
    return ok(name, f"phones are told to send media to {said}")


def _refused(name: str, where: str, port: int, error: OSError, setting: str, listing: str) -> Finding:
    match error.errno:
        case errno.EADDRINUSE:
            what = f"{where} is held by another program"
            return wrong(name, what, f"ss {listing} 'sport = :{port}' says by which; stop it, or change {setting}")
        case errno.EADDRNOTAVAIL:
            remedy = f"ip -br address lists this machine's own; change {setting}"
            if name == "media ports":
                remedy += "; an address outside a NAT is media.public_ip"
            return wrong(name, f"{where}: this machine has no such address", remedy)
        case errno.EACCES:
            what = f"{where} is only for who may bind ports below 1024"
            remedy = "AmbientCapabilities=CAP_NET_BIND_SERVICE in the service's unit, or a reverse proxy"
            return warning(name, what, remedy)
    return wrong(name, f"{where} can't be had: {error.strerror or error}", f"change {setting}")


def _is(address: str, what: str) -> bool:
    """A property of an address; a name has none."""
    try:
        return bool(getattr(ipaddress.ip_address(address), what))
    except ValueError:
        return False
