"""When a delivery is tried again, when it is given up, and how fast a receiver is spoken to: no I/O, time is given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class State(StrEnum):
    """Of a delivery, as it is stored."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class Reason(StrEnum):
    """What came of a try, for the developer of the portal."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # answered, but not with 2xx
    BUSY = "busy"  # 429, 502, 503 or 504: not about this event
    REDIRECT = "redirect"  # never followed
    GONE = "gone"  # 410
    TIMEOUT = "timeout"
    NAME_NOT_FOUND = "name-not-found"
    ADDRESS_NOT_ALLOWED = "address-not-allowed"
    NOT_CONNECTED = "not-connected"
    CERTIFICATE = "certificate"  # not trusted, or for another name
    TLS = "tls"
    NO_ANSWER = "no-answer"  # the connection ended, or what came is no HTTP
    SECRET_UNREADABLE = "secret-unreadable"  # noqa: S105 - our keyring lacks a key; the operator's log says so
    EXPIRED = "expired"  # never tried: the receiver was away all the time


# Nothing about the event itself: whatever else is for this receiver would end alike.
AWAY = frozenset(Reason) - {Reason.DELIVERED, Reason.REFUSED, Reason.REDIRECT, Reason.GONE, Reason.EXPIRED}
_BUSY = (429, 502, 503, 504)

# Standard Webhooks asks for days of tries; three span a weekend.
GIVE_UP_AFTER = timedelta(days=3)
# What had to wait for an earlier event of its room until that was given up has its own tries, however old it is.
LEAST_ATTEMPTS = 5
_FIRST, _LONGEST, _LONGEST_AWAY = 5.0, 3600.0, 300.0
_FIRST_PAUSE = 1.0
# What a receiver may ask for with Retry-After.
LONGEST_RETRY_AFTER = 3600.0
# At once to one receiver; and to all together, beside one that each has for itself.
PLACES = 8
SHARED_PLACES = 64


@dataclass(frozen=True)
class Outcome:
    """What came of a try.

    Attributes:
        milliseconds: how long it took.
        status: HTTP status, where one came.
        retry_after: seconds that the receiver asks us to wait, where it does.
    """

    reason: Reason
    milliseconds: int
    status: int | None = None
    retry_after: float | None = None


def reason_of(status: int) -> Reason:
    """What an HTTP status means here (Standard Webhooks, "Webhook responses")."""
    if 200 <= status < 300:
        return Reason.DELIVERED
    if status == 410:
        return Reason.GONE
    if 300 <= status < 400:
        return Reason.REDIRECT
    return Reason.BUSY if status in _BUSY else Reason.REFUSED


def wait(attempts: int, reason: Reason, chance: float) -> timedelta:
    """Until the next try after `attempts` of them: exponential, with full jitter (`chance`, 0 to 1).

    At most an hour; 5 minutes where the receiver is away, since that isn't the event's fault and soon over.
    """
    longest = _LONGEST_AWAY if reason in AWAY else _LONGEST
    return timedelta(seconds=chance * min(longest, _FIRST * 2.0 ** min(attempts - 1, 20)))


def given_up(queued_at: datetime, attempts: int, away_since: datetime | None, now: datetime) -> bool:
    """Whether a delivery that has just failed is a dead letter from now on; `away_since` is the receiver's."""
    return now - queued_at >= GIVE_UP_AFTER and (attempts >= LEAST_ATTEMPTS or gone(away_since, now))


def gone(away_since: datetime | None, now: datetime) -> bool:
    """Whether a receiver has been away for so long that what is as old is given up untried."""
    return away_since is not None and now - away_since >= GIVE_UP_AFTER


class Receiver:
    """How much one webhook's receiver is trusted with at once.

    It starts with one, gets one more with each answer, and is back at one when it is away: then a single try at a time,
    with pauses that grow. So one that hangs holds hardly anything, and one that comes back isn't run over.
    """

    def __init__(self) -> None:
        self._places = 1
        self._failures = 0
        self._closed_until: datetime | None = None

    def places(self, busy: int, now: datetime) -> int:
        """How many more tries may begin while `busy` are under way."""
        if self._closed_until is not None and now < self._closed_until:
            return 0
        return max(0, self._places - busy)

    def answered(self) -> None:
        """It took an event, or refused one: it is there."""
        self._places = min(PLACES, self._places + 1)
        self._failures = 0
        self._closed_until = None

    def away(self, now: datetime, chance: float, retry_after: float | None = None) -> None:
        """It wasn't there, or said that it can't just now."""
        self._places = 1
        if self._closed_until is not None and now < self._closed_until:
            return  # of those that were under way together only the first counts
        self._failures += 1
        pause = chance * min(_LONGEST_AWAY, _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 20))
        pause = max(pause, min(LONGEST_RETRY_AFTER, retry_after or 0.0))
        self._closed_until = now + timedelta(seconds=pause)

    def hurry(self) -> None:
        """Somebody says that it is there again."""
        self._failures = 0
        self._closed_until = None
