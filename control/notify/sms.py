"""SMS through whatever HTTP gateway a region has: the request is made from a template in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from .sending import Outgoing, Undeliverable, Unsent
from .template import BadTemplate, Template

TIMEOUT = 20.0
# Not this message's fault: the gateway is busy, or doesn't know us (yet).
LATER = frozenset({401, 402, 403, 404, 405, 407, 408, 409, 421, 425, 429})


def headers_of(text: str) -> dict[str, str]:
    """Lines of `Name: value`, empty ones and those with # left out. Raises BadTemplate."""
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not name.strip().replace("-", "").isalnum():
            raise BadTemplate("has a line that isn't a header such as Authorization: Bearer abc")
        found[name.strip()] = value.strip()
    return found


@dataclass(frozen=True)
class Gateway:
    """Where SMS go."""

    url: str
    method: str
    headers: Mapping[str, str]
    template: Template

    def __repr__(self) -> str:
        return "Gateway()"  # headers hold a key, and some have one in the address


class Sms:
    """Sends one SMS a request, and follows no redirects: a number goes where the operator said, and nowhere else."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Opens what connections are kept in."""
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT), cookie_jar=aiohttp.DummyCookieJar()
        )

    async def stop(self) -> None:
        """Closes it."""
        if self._http is not None:
            await self._http.close()

    async def send(self, one: Outgoing) -> None:
        """Hands a message over.

        Raises:
            Unsent: it may go later.
            Undeliverable: it never will to this number.
        """
        if self._http is None:
            raise Unsent("not started")
        gateway = self._gateway
        body = gateway.template.filled({"to": one.to, "text": one.text, "id": one.id})
        sent: dict[str, Any] = {"json": body} if gateway.template.format == "json" else {"data": body}
        # A gateway that knows the header takes a message that is tried again for one.
        headers = {"Idempotency-Key": one.id, **gateway.headers}
        try:
            async with self._http.request(
                gateway.method, gateway.url, headers=headers, allow_redirects=False, **sent
            ) as answer:
                status = answer.status
        except TimeoutError:
            raise Unsent("timeout") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unsent(type(error).__name__) from None
        if status < 300:
            return
        if 400 <= status < 500 and status not in LATER:
            raise Undeliverable(f"http {status}")
        raise Unsent(f"http {status}")
