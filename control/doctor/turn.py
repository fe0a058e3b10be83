"""The TURN server: whether it answers where people are told to find it, and takes what they are given."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl

from aioice.stun import TransactionFailed
from aioice.turn import create_turn_endpoint

from ..secret import BadFile, Clock
from ..settings import Settings
from .finding import Finding, ok, warning, wrong

NAME = "TURN"
# A server that is there answers in milliseconds; UDP asks again by itself meanwhile.
ANSWERS_WITHIN = 5.0
# Who asks, in that server's log.
USER = "doctor"
UNAUTHORIZED = 401
# RFC 7065, section 3.1; the settings have let nothing else in.
_URL = re.compile(r"(turns?):(\[[^]]+\]|[^:?]+)(?::(\d+))?(?:\?transport=(\w+))?")


async def turn(settings: Settings, clock: Clock) -> list[Finding]:
    """What is said of each address of the settings. A relay is asked for, and given back at once."""
    try:
        server = settings.turn_server()
    except BadFile as error:
        return [wrong(NAME, str(error), "the server's user must be able to read that file")]
    if server is None:
        return [ok(NAME, "none: networks that let only TCP port 443 out reach the pages, and no media")]
    made = server.credential(USER, clock().timestamp())
    found = [await _ask(url, made.username, made.password) for url in server.urls]
    if not any(url.startswith("turns:") for url in server.urls):
        remedy = 'turn.urls = [… , "turns:turn.region.example:443?transport=tcp"], see config/coturn.conf'
        what = "no turns: address: the strictest networks let nothing else out"
        found.append(warning(f"{NAME} by TLS", what, remedy))
    return found


class _Relay(asyncio.DatagramProtocol):
    """Who has a relay, and uses it for nothing."""

    def __init__(self) -> None:
        self.given_back = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.given_back.set()


async def _ask(url: str, username: str, password: str) -> Finding:
    name = f"{NAME} {url}"
    # What didn't fit, the settings have refused.
    scheme, host, port, transport = re.findall(_URL, url)[0]
    secure = scheme == "turns"
    where = (host.strip("[]"), int(port or (5349 if secure else 3478)))
    over = transport or ("tcp" if secure else "udp")
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            relay, using = await create_turn_endpoint(
                _Relay,
                where,
                username,
                password,
                ssl=ssl.create_default_context() if secure else None,
                transport=over,
            )
            relay.close()
            await using.given_back.wait()
    except TransactionFailed as error:
        return _refused(name, error)
    except ssl.SSLCertVerificationError as error:
        what = f"its certificate isn't accepted: {error.verify_message.rstrip('.')}"
        return wrong(name, what, "cert and pkey in coturn.conf: for that name, with all that lead to the authority")
    except OSError as error:
        return unreached(name, where, over, error)
    return ok(name, "gives a relay to who has a credential of ours")


def unreached(name: str, where: tuple[str, int], over: str, error: OSError) -> Finding:
    """What is said where nobody could be asked; `over`: udp or tcp."""
    host, port = where
    match error:
        case socket.gaierror():
            return wrong(name, f"the name {host} isn't found", f"enter it into your DNS; resolvectl query {host}")
        case ssl.SSLError():
            what = f"{host} port {port} speaks no TLS ({(error.reason or 'it ends').lower().replace('_', ' ')})"
            return wrong(name, what, "tls-listening-port, cert and pkey in coturn.conf; what else has that port?")
        case TimeoutError():
            said = "nothing answers"
        case _:
            said = os.strerror(error.errno) if error.errno else "no connection comes about"
    remedy = f"see that coturn runs there, and whether a firewall lets {over.upper()} port {port} in"
    return wrong(name, f"{said} ({over.upper()})", remedy)


def _refused(name: str, error: TransactionFailed) -> Finding:
    code, reason = error.response.attributes.get("ERROR-CODE", (0, ""))
    if code == UNAUTHORIZED:
        remedy = "static-auth-secret in coturn.conf = what is in turn.secret_file, and both machines' clocks right"
        return wrong(name, "takes no credential of ours", remedy)
    return wrong(name, f"refuses: {code} {str(reason)[:80]}", "coturn's log says why")
