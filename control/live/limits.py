"""How often a socket may say what: token buckets, with time as an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """`burst` at once, then `per_second`."""

    burst: int
    per_second: float


class Bucket:
    """One rate's tokens."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Takes a token, if there is one at `now` (seconds, monotonic)."""
        self._tokens = min(self._rate.burst, self._tokens + max(0.0, now - self._at) * self._rate.per_second)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


# What a page does at its busiest, some four times over. An offer costs the most (SDP, certificates, a new peer); the
# contract has clients send one each second at most. Typing comes each 300 ms or per key, whichever is later.
RATES: Mapping[str, Rate] = {
    "offer": Rate(5, 1.5),
    "prepare": Rate(3, 0.2),
    "chat": Rate(10, 2),
    "typing": Rate(30, 15),
    "wishes": Rate(30, 10),
    "stats": Rate(5, 1),
    "help": Rate(3, 0.2),
    "hand": Rate(10, 2),
    "sharing": Rate(10, 2),
    "muted": Rate(20, 5),
    "ping": Rate(20, 5),
}
# Everything together, what has no rate of its own (a host's decisions) included.
ALL = Rate(100, 40)
# Messages that don't fit, and those beyond ALL: a page with a bug may send some; more than this is a client that
# doesn't listen. Too many of one type alone is no offence: a stuck key must not throw anybody out of a visit.
OFFENCES = Rate(20, 0.5)


class Limits:
    """The buckets of one socket."""

    def __init__(self, now: float) -> None:
        self._all = Bucket(ALL, now)
        self._by_type = {kind: Bucket(rate, now) for kind, rate in RATES.items()}
        self._offences = Bucket(OFFENCES, now)

    def allow(self, kind: str, now: float) -> bool:
        """Whether a message of this type may be acted on."""
        own = self._by_type.get(kind)
        return own is None or own.take(now)

    def flooded(self, now: float) -> bool:
        """Counts a message of whatever type; true when there are too many of all together."""
        return not self._all.take(now)

    def forgive(self, now: float) -> bool:
        """Counts an offence; false once this client is to be taken for hostile."""
        return self._offences.take(now)
