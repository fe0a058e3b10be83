"""Which readings of a room are accesses of their own: a portal that asks every few seconds makes one entry an hour.

One room is what is read: its answer, its list of people and each of them tell the same about the same people. A list of
rooms is one reading of each room in it, or nobody could say later who has seen this patient's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta

from ..audit.acting import Acting
from .values import RoomSnapshot

# Readers times rooms; the oldest are forgotten, which makes an entry more and none less.
REMEMBERED = 50_000

Reading = tuple[str | None, str | None, str]


class Readings:
    """What was read lately by whom, in memory."""

    def __init__(self, again: timedelta) -> None:
        self._again = again
        self._read: OrderedDict[Reading, datetime] = OrderedDict()

    def fresh(self, who: Acting, rooms: Sequence[RoomSnapshot], now: datetime) -> list[RoomSnapshot]:
        """Rooms of which it hasn't been written down lately that `who` reads them."""
        found = []
        for room in rooms:
            last = self._read.get((who.key, who.id, room.id))
            if last is None or not timedelta(0) <= now - last < self._again:
                found.append(room)
        return found

    def written(self, who: Acting, rooms: Sequence[RoomSnapshot], now: datetime) -> None:
        """It is on disk that `who` has read these."""
        for room in rooms:
            reading = (who.key, who.id, room.id)
            self._read[reading] = now
            self._read.move_to_end(reading)
        while len(self._read) > REMEMBERED:
            self._read.popitem(last=False)
