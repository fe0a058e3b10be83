"""Who meets whom, and who has left: what there is once in each of Locust's processes, and once in a test.

Both (`Worker`, `Master`) talk by Locust's own messages. Locust isn't imported here: whoever imports it is patched.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .pipe import Crew, Taking
from .seats import ASK, GIVE, Board, Seat

# Before a test ends, its workers tell what their people have noticed so far: Locust's master itself waits for 0.5 s.
LEAVE, LEFT = "vardrum-leave", "vardrum-left"
LAST_REPORTS = 15.0
# What Locust's master calls a worker that doesn't answer.
MISSING = "missing"


class Worker:
    """What one process of Locust has: its crew, and its users who wait for a seat.

    Attributes:
        leaving: the test is about to end, so that nobody begins a visit any more.
    """

    def __init__(self) -> None:
        self.environment: Any = None
        self.leaving = False
        self._crew: Crew | None = None
        self._starting = threading.Lock()
        self._takings: set[Taking] = set()
        self._waiting: dict[str, queue.SimpleQueue[Seat]] = {}
        self._numbers = itertools.count(1)
        self._reports = 0

    def crew(self, base: str) -> Crew:
        """The process of the bots, started with the first that is needed.

        Raises:
            CrewGone: it did not come up.
        """
        with self._starting:
            if self._crew is None or not self._crew.running:
                self._crew = Crew(base)
            return self._crew

    @contextmanager
    def taking(self, taking: Taking) -> Iterator[Taking]:
        """Somebody of ours is in a visit."""
        self._takings.add(taking)
        try:
            yield taking
        finally:
            self._takings.discard(taking)

    def stop(self) -> None:
        """All bots leave, and their process ends."""
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.stop()

    def tell(self, **said: Any) -> None:
        """A message to the board."""
        self.environment.runner.send_message(ASK, said)

    def offer(self, seat: Seat) -> None:
        """A seat is free."""
        self.tell(say="offer", role=seat.role, room=seat.room, key=seat.key)

    @contextmanager
    def wanting(self, role: str) -> Iterator[queue.SimpleQueue[Seat]]:
        """A queue that a seat comes into."""
        user = f"{os.getpid()}-{next(self._numbers)}"
        seats = self._waiting[user] = queue.SimpleQueue()
        self.tell(say="want", user=user, role=role)
        try:
            yield seats
        finally:
            del self._waiting[user]
            self.tell(say="forget", user=user)
            # Who is stopped in this moment leaves the seat to somebody else.
            while not seats.empty():
                self.offer(seats.get())

    def on_seat(self, environment: Any, msg: Any, **_: Any) -> None:
        """The board gives one of ours a seat."""
        seat = Seat(*msg.data["seat"])
        waiting = self._waiting.get(msg.data["user"])
        if waiting is None:
            self.offer(seat)
        else:
            waiting.put(seat)

    def on_weather(self, environment: Any, msg: Any, **_: Any) -> None:
        """A dead zone, or everybody reconnects: for the people of this process."""
        if self._crew is not None:
            self._crew.say(do="weather", **msg.data)

    def on_leave(self, environment: Any, msg: Any, **_: Any) -> None:
        """Everybody leaves their visit and says what they noticed; the master is told when it has that."""
        self.leaving = True
        end = time.monotonic() + LAST_REPORTS
        for taking in list(self._takings):
            taking.ask_to_leave()
        while self._takings and time.monotonic() < end:
            time.sleep(0.05)
        reports = self._reports
        while self._reports == reports and time.monotonic() < end:
            time.sleep(0.05)
        # The report is on its way once its greenlet has gone on.
        time.sleep(0.2)
        environment.runner.send_message(LEFT, {})

    def on_report(self, **_: Any) -> None:
        """Locust reports to its master, as it does each three seconds."""
        self._reports += 1


class Master:
    """What there is once in a test: the board of seats, and who has left in the end."""

    def __init__(self) -> None:
        self.board = Board()
        self._left = 0

    def on_asked(self, environment: Any, msg: Any, **_: Any) -> None:
        """A worker says something to the board."""
        runner = environment.runner
        given = self.board.obey(msg.node_id, msg.data)
        while given:
            one = given.pop(0)
            if not _there(runner, one.worker):
                self.board.forget(one.worker)
                given += self.board.offer(one.seat)
                continue
            seat = one.seat
            runner.send_message(GIVE, {"user": one.user, "seat": [seat.role, seat.room, seat.key]}, one.worker)

    def on_left(self, environment: Any, msg: Any, **_: Any) -> None:
        """All of a worker's people have left."""
        self._left += 1

    def last_reports(self, runner: Any) -> None:
        """Everybody leaves, and their figures are here."""
        workers = [one.id for one in runner.clients.all if one.state != MISSING]
        self._left = 0
        runner.send_message(LEAVE, {})
        end = time.monotonic() + LAST_REPORTS + 1
        while self._left < len(workers) and time.monotonic() < end:
            time.sleep(0.05)


def _there(runner: Any, worker: str) -> bool:
    # The only process of a test has no clients, and is there.
    return not hasattr(runner, "clients") or any(
        one.id == worker and one.state != MISSING for one in runner.clients.all
    )
