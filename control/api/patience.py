"""How many secrets that aren't accepted an address may try before it has to wait.

Nobody guesses 128 bits; this keeps somebody who tries anyway, or a page gone mad, from keeping the server busy. Only
refused requests are counted, so whoever shares the address and has a good link is let in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from ..visits.refused import Refused

# Addresses remembered; beyond this the one that was refused longest ago is forgotten.
MAX_ADDRESSES = 10_000


class Patience:
    """Counts refusals per address: `per_minute` at once, one more each 60 / `per_minute` seconds."""

    def __init__(self, per_minute: int, now: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._now = now
        # address: (time of the last refusal, how many were left then)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def refused(self, address: str) -> None:
        """Counts one. Raises Refused `too-many-requests` instead of the refusal when there were too many."""
        now = self._now()
        then, left = self._left.pop(address, (now, float(self._per_minute)))
        left = min(float(self._per_minute), left + (now - then) * self._per_minute / 60)
        enough = left >= 1
        self._left[address] = (now, left - 1 if enough else left)
        if len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)
        if not enough:
            raise Refused(
                "too-many-requests",
                "too many secrets from this address weren't accepted",
                retry_after=max(1, round((1 - left) * 60 / self._per_minute)),
            )
