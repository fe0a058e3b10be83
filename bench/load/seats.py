"""Who sits where: patients bring seats for others into a clinic, and caregivers and relatives take them.

One board for all of a load test, at Locust's master (or its only process). Workers tell it by Locust's own messages, so
that people of different workers meet, and workers share nothing else but the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The messages to the board, and from it.
ASK, GIVE = "vardrum-seats", "vardrum-seat"


@dataclass(frozen=True)
class Seat:
    """A place in a room for somebody of `role`, who gets in by `key`: a link's secret, or a participant's id."""

    role: str
    room: str
    key: str


@dataclass(frozen=True)
class Given:
    """A seat for one user of a worker."""

    worker: str
    user: str
    seat: Seat


@dataclass
class Board:
    """Free seats and those who want one, both in the order in which they came."""

    free: dict[str, deque[Seat]] = field(default_factory=dict)
    wanted: dict[str, deque[tuple[str, str]]] = field(default_factory=dict)

    def offer(self, seat: Seat) -> list[Given]:
        """A seat is free."""
        self.free.setdefault(seat.role, deque()).append(seat)
        return self._match(seat.role)

    def want(self, worker: str, user: str, role: str) -> list[Given]:
        """A user of a worker wants a seat."""
        self.wanted.setdefault(role, deque()).append((worker, user))
        return self._match(role)

    def withdraw(self, room: str) -> None:
        """A room's seats are not to be taken any more."""
        for role, seats in self.free.items():
            self.free[role] = deque(seat for seat in seats if seat.room != room)

    def forget(self, worker: str, user: str = "") -> None:
        """A user has gone, or all of a worker's."""
        for role, users in self.wanted.items():
            self.wanted[role] = deque(one for one in users if one[0] != worker or user not in ("", one[1]))

    def obey(self, worker: str, said: Mapping[str, Any]) -> list[Given]:
        """Does what a worker's message says."""
        match said["say"]:
            case "offer":
                return self.offer(Seat(said["role"], said["room"], said["key"]))
            case "want":
                return self.want(worker, said["user"], said["role"])
            case "withdraw":
                self.withdraw(said["room"])
            case "forget":
                self.forget(worker, said["user"])
        return []

    def _match(self, role: str) -> list[Given]:
        given = []
        free, wanted = self.free.get(role, deque()), self.wanted.get(role, deque())
        while free and wanted:
            worker, user = wanted.popleft()
            # Who waits longest is seen first, as in a clinic.
            given.append(Given(worker, user, free.popleft()))
        return given
