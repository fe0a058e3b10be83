"""Secrets and ids: random strings that are shown once and kept as hashes, files of secrets, ids that sort by age."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

# 128 bits is what the contract gives a link; nobody guesses it, so an unsalted hash is enough to keep it by.
SECRET_BYTES = 16
# A password, or some headers; whatever is longer is another file.
_LARGEST_FILE = 64 * 1024

ID = re.compile(
    r"^(room|part|sess|evt|hook|dlv|key)_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
)

Random = Callable[[int], bytes]
Clock = Callable[[], datetime]


class BadFile(Exception):
    """A file that a setting names can't be used; the message says which and why, and nothing of what it holds."""


def read_file(key: str, path: str) -> str:
    """The text of a file of secrets that the setting `key` names. Raises BadFile."""
    try:
        with Path(path).open("rb") as file:
            return file.read(_LARGEST_FILE).decode()
    except OSError as error:
        raise BadFile(f"{key}: {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadFile(f"{key}: {path} isn't text") from None


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def new_secret(prefix: str, random: Random, size: int = SECRET_BYTES) -> str:
    """`prefix` and `size` random bytes as base64url without padding."""
    return prefix + base64.urlsafe_b64encode(random(size)).rstrip(b"=").decode()


def digest(secret: str) -> bytes:
    """What is kept of a secret: SHA-256, 32 bytes. Enough for 128 random bits and more, not for passwords."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Ids:
    """Makes UUIDv7 (RFC 9562, section 5.7) that grow strictly, also within a millisecond.

    The 12 bits after the version are a counter (section 6.2, method 1), so rows sort by id in the order they were made.
    """

    def __init__(self, random: Random, milliseconds: Callable[[], int] | None = None) -> None:
        self._random = random
        self._milliseconds = milliseconds or (lambda: time.time_ns() // 1_000_000)
        self._last = 0
        self._lock = Lock()

    def new(self, prefix: str) -> str:
        """`<prefix>_<uuid>`."""
        with self._lock:
            self._last = max(self._last + 1, self._milliseconds() << 12)
            stamp, counter = self._last >> 12, self._last & 0xFFF
        tail = int.from_bytes(self._random(8), "big") & ((1 << 62) - 1)
        value = (stamp & ((1 << 48) - 1)) << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | tail
        text = f"{value:032x}"
        return f"{prefix}_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
