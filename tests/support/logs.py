"""What must never be in a log: secrets, addresses of people, names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_SECRET = re.compile(r"vr[a-z]_[A-Za-z0-9_-]{8,}")
_IPV4 = re.compile(r"\b\d{1,3}(\.\d{1,3}){3}\b")
_IPV6 = re.compile(r"\[?\b[0-9a-f]{0,4}(:[0-9a-f]{0,4}){3,7}\]?", re.IGNORECASE)
# The server's own addresses, which the operator has given it.
_OWN = ("http", "public_url")


def leaks(log: str, told: Iterable[str]) -> list[str]:
    """The lines of a server's log that say more than they may, each with what it gives away.

    Args:
        log: one JSON object a line, or plain text.
        told: names and secrets that the server was given or gave out.
    """
    words = [word for word in told if word]
    found = []
    for line in log.splitlines():
        try:
            entry = json.loads(line)
            text = json.dumps({key: value for key, value in entry.items() if key not in (*_OWN, "timestamp")})
        except (ValueError, AttributeError):
            text = line
        for pattern in (_SECRET, _IPV4, _IPV6):
            if match := pattern.search(text):
                found.append(f"{match[0]}: {line}")
        found += [f"{word}: {line}" for word in words if word in text]
    return found
