"""HTTP to a provider: short, bounded, without redirects, cookies or a proxy from the environment."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Self

import aiohttp

# Seconds for a whole answer. Somebody waits before a button meanwhile.
WITHIN = 10.0
# Discovery documents have some 5 kB, key sets some 10.
LARGEST = 256 * 1024


class Unreachable(Exception):
    """No answer that can be used: nobody there, too slow, an error of theirs, or not JSON."""


class Declined(Exception):
    """The provider's own refusal (RFC 6749, section 5.2).

    Attributes:
        error: its code, such as `invalid_grant`.
    """

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class Fetch:
    """`async with Fetch() as fetch`."""

    def __init__(self) -> None:
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=WITHIN, connect=5),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "User-Agent": "vardrum"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def get(self, url: str, token: str | None = None) -> Mapping[str, Any]:
        """The JSON object at `url`. Raises Unreachable."""
        return await self._ask("GET", url, headers={"Authorization": f"Bearer {token}"} if token else {})

    async def post(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None) -> Mapping[str, Any]:
        """The JSON object that a form is answered with. Raises Unreachable or Declined."""
        words = "" if basic is None else base64.b64encode(":".join(basic).encode()).decode()
        headers = {"Authorization": f"Basic {words}"} if words else {}
        return await self._ask("POST", url, data=dict(form), headers=headers)

    async def _ask(self, method: str, url: str, **more: Any) -> Mapping[str, Any]:
        if self._http is None:
            raise RuntimeError("not started")
        try:
            async with self._http.request(method, url, allow_redirects=False, **more) as answer:
                body = await _read(answer)
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # What it was stays here: addresses and tokens may stand in it.
            raise Unreachable(type(error).__name__) from None
        found = _parsed(body)
        if 400 <= status < 500 and found is not None and isinstance(found.get("error"), str):
            raise Declined(found["error"][:100])
        if status != 200 or found is None:
            raise Unreachable(f"status {status}")
        return found


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in answer.content.iter_chunked(16 * 1024):
        body += part
        if len(body) > LARGEST:
            raise ValueError("too large")
    return bytes(body)


def _parsed(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
