"""The secrets of a webhook, and the signature made with them (Standard Webhooks 1.0, "Signature scheme").

Three lines of HMAC are ours, so that the tests can check them with the library that portals verify with.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..keyring import Keyring
from ..secret import Random
from ..store.models import EPOCH

PREFIX = "whsec_"
# The specification wants 24 to 64.
SECRET_BYTES = 32
# How long a former secret signs beside the new one.
BOTH_FOR = timedelta(hours=24)
# Somebody who rotates again and again keeps those that a receiver may still know.
MAX_SECRETS = 5


@dataclass(frozen=True)
class Secret:
    """A key, and until when it signs; None for the present one."""

    key: bytes
    until: datetime | None = None

    @property
    def shown(self) -> str:
        """As portals are told it."""
        return PREFIX + base64.b64encode(self.key).decode()


def first(random: Random) -> list[Secret]:
    """The secrets of a new webhook."""
    return [Secret(random(SECRET_BYTES))]


def rotated(secrets: Sequence[Secret], now: datetime, random: Random) -> list[Secret]:
    """A new secret first; the former one signs for a day longer."""
    former = [Secret(one.key, one.until or now + BOTH_FOR) for one in secrets if one.until is None or one.until > now]
    return [Secret(random(SECRET_BYTES)), *former][:MAX_SECRETS]


def seal(secrets: Sequence[Secret], keyring: Keyring, hook: str) -> bytes:
    """As they are stored."""
    plain = [
        [base64.b64encode(one.key).decode(), None if one.until is None else (one.until - EPOCH).total_seconds()]
        for one in secrets
    ]
    return keyring.seal(json.dumps(plain).encode(), f"webhook {hook}")


def unseal(sealed: bytes, keyring: Keyring, hook: str) -> list[Secret]:
    """As they were sealed. Raises keyring.Unreadable."""
    return [
        Secret(base64.b64decode(key), None if until is None else EPOCH + timedelta(seconds=until))
        for key, until in json.loads(keyring.open(sealed, f"webhook {hook}"))
    ]


def headers(secrets: Sequence[Secret], message: str, body: bytes, now: datetime) -> dict[str, str]:
    """What a receiver verifies by; `message` is the same over all tries."""
    timestamp = str(int(now.timestamp()))
    signed = f"{message}.{timestamp}.".encode() + body
    keys = [one.key for one in secrets if one.until is None or one.until > now]
    signatures = [f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}" for key in keys]
    return {"webhook-id": message, "webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}
