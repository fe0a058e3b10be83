"""The installation's TURN server: its addresses, and credentials that end by themselves.

Credentials are what coturn's `use-auth-secret` takes: an expiry and a name, signed with a secret that the two servers
share (draft-uberti-behave-turn-rest-00, section 2.2). Nothing is said between them, and nobody is registered.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import re
from dataclasses import dataclass, field

from .secret import BadFile, read_file

# RFC 7065, section 3.1; of the schemes' case and of further transports only what every browser takes.
_URL = re.compile(r"(turns?):(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?(?:\?transport=(udp|tcp))?")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# coturn reads it from a line of its configuration, where spaces, quotes, # and = mean something. 32 hexadecimal digits
# are 128 bits.
_SECRET = re.compile(r"[A-Za-z0-9_-]{32,256}")


def address(value: str) -> str:
    """A `turn:` or `turns:` address (RFC 7065, section 3.1). Raises ValueError, in words that follow the address."""
    found = _URL.fullmatch(value)
    if found is None or not _host(found[2]) or not 1 <= int(found[3] or 1) <= 65535:
        raise ValueError("is not a TURN address (expected one like turns:turn.region.example:443?transport=tcp)")
    if found[1] == "turns" and found[4] == "udp":
        raise ValueError("is TURN over DTLS, which browsers don't speak (expected turns:…?transport=tcp)")
    return value


def _host(value: str) -> bool:
    try:
        if value.startswith("["):
            ipaddress.IPv6Address(value[1:-1])
        elif value.replace(".", "").isdigit():
            ipaddress.IPv4Address(value)
    except ValueError:
        return False
    return value.startswith("[") or (len(value) <= 253 and all(_LABEL.fullmatch(part) for part in value.split(".")))


@dataclass(frozen=True)
class Credential:
    """What somebody shows the TURN server until it ends.

    Attributes:
        username: `<expiry, seconds since 1970>:<user>`.
        password: base64 of HMAC-SHA1 over the username.
    """

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Turn:
    """A TURN server, or several that share a secret.

    Attributes:
        urls: where it is reached.
        secret: what it shares with this server.
        lifetime: of a credential, seconds.
    """

    urls: tuple[str, ...]
    secret: bytes = field(repr=False)
    lifetime: int

    def credential(self, user: str, now: float) -> Credential:
        """One that is good from `now` (seconds since 1970) for `lifetime`.

        Args:
            user: whom the TURN server counts it for, and writes into its log: so it must say nothing of who that is.
        """
        username = f"{int(now) + self.lifetime}:{user}"
        # SHA-1 is the draft's, and coturn's. As a MAC it isn't broken, and the message is ours.
        mac = hmac.digest(self.secret, username.encode(), "sha1")
        return Credential(username, base64.b64encode(mac).decode())


def load(urls: tuple[str, ...], secret_file: str, lifetime_minutes: int) -> Turn | None:
    """What `[turn]` of the settings says; None where no TURN server is named.

    Raises:
        BadFile: the secret can't be read, or isn't one.
    """
    if not urls:
        return None
    secret = read_file("turn.secret_file", secret_file).strip()
    if not _SECRET.fullmatch(secret):
        expected = "expected 32 to 256 letters, digits, - and _ alone, such as `openssl rand -hex 32` prints"
        raise BadFile(f"turn.secret_file: {secret_file} holds no secret ({expected})")
    return Turn(urls, secret.encode(), 60 * lifetime_minutes)
