"""People of a clinic as Locust users: `locust -f bench/locustfile.py -H http://SERVER` (docs/load.md).

Portal asks the API only. A Patient books a visit, comes to its waiting room and brings seats for a Caregiver, who lets
in who waits, talks and ends it, and for a Relative. Who takes part in a visit has real media, by the native bots of a
process beside each of Locust's (`vardrum.bench.load.crew`): no WebRTC runs under gevent.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from locust import FastHttpUser, between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner
from vardrum.bench.load.figures import of_locust
from vardrum.bench.load.pipe import Crew, CrewGone, Taking
from vardrum.bench.load.seats import ASK, GIVE, Board, Seat
from vardrum.bench.load.weather import MESSAGE as WEATHER

log = logging.getLogger("vardrum")
UNIT = {"name": "Load test"}
ACTOR = {"id": "load", "name": "Load test", "care_unit": UNIT["name"]}
# How often somebody of the staff looks at who waits.
LOOK = 5.0
# What a Portal user has booked and not cancelled at most.
BOOKED = 50
# Before a test ends, its workers tell what their people have noticed so far: Locust's master itself waits for 0.5 s.
LEAVE, LEFT = "vardrum-leave", "vardrum-left"
LAST_REPORTS = 15.0
PEOPLE = (
    {"role": "caregiver", "display_name": "Load staff", "host": True},
    {"role": "patient", "display_name": "Load patient"},
    {"role": "relative", "display_name": "Load relative"},
)


class Refused(Exception):
    """The server said no; Locust has counted it already."""


class VisitFailed(Exception):
    """Why somebody had no visit, or no good one; in words, as Locust's list of failures shows it."""

    def __str__(self) -> str:
        return str(self.args[0])


class Worker:
    """What one process of Locust has: its crew, and its users who wait for a seat.

    Attributes:
        leaving: the test is about to end, so that nobody begins a visit any more.
    """

    def __init__(self) -> None:
        self.environment: Environment | None = None
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
        assert self.environment is not None
        assert self.environment.runner is not None
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

    def on_seat(self, environment: Environment, msg: Any, **_: Any) -> None:
        """The board gives one of ours a seat."""
        seat = Seat(*msg.data["seat"])
        waiting = self._waiting.get(msg.data["user"])
        if waiting is None:
            self.offer(seat)
        else:
            waiting.put(seat)

    def on_weather(self, environment: Environment, msg: Any, **_: Any) -> None:
        """A dead zone, or everybody reconnects: for the people of this process."""
        if self._crew is not None:
            self._crew.say(do="weather", **msg.data)

    def on_leave(self, environment: Environment, msg: Any, **_: Any) -> None:
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
        assert environment.runner is not None
        environment.runner.send_message(LEFT, {})

    def on_report(self, **_: Any) -> None:
        """Locust reports to its master, as it does each three seconds."""
        self._reports += 1


class Master:
    """What there is once in a test: the board of seats, and who has left in the end."""

    def __init__(self) -> None:
        self.board = Board()
        self._left = 0

    def on_asked(self, environment: Environment, msg: Any, **_: Any) -> None:
        """A worker says something to the board."""
        runner = environment.runner
        assert runner is not None
        given = self.board.obey(msg.node_id, msg.data)
        while given:
            one = given.pop(0)
            if isinstance(runner, MasterRunner) and not _there(runner, one.worker):
                self.board.forget(one.worker)
                given += self.board.offer(one.seat)
                continue
            seat = one.seat
            runner.send_message(GIVE, {"user": one.user, "seat": [seat.role, seat.room, seat.key]}, one.worker)

    def on_left(self, environment: Environment, msg: Any, **_: Any) -> None:
        """All of a worker's people have left."""
        self._left += 1

    def last_reports(self, runner: MasterRunner) -> None:
        """Everybody leaves, and their figures are here."""
        workers = [one.id for one in runner.clients.all if one.state != STATE_MISSING]
        self._left = 0
        runner.send_message(LEAVE, {})
        end = time.monotonic() + LAST_REPORTS + 1
        while self._left < len(workers) and time.monotonic() < end:
            time.sleep(0.05)


def _there(runner: MasterRunner, worker: str) -> bool:
    return any(one.id == worker and one.state != STATE_MISSING for one in runner.clients.all)


worker, master = Worker(), Master()


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser, **_: Any) -> None:
    parser.add_argument("--talk", type=float, default=60.0, help="Seconds that a visit lasts once people have met")
    parser.add_argument("--patience", type=float, default=180.0, help="Seconds that somebody waits to be let in")
    parser.add_argument("--layers", type=int, default=2, help="Pictures that a camera sends at once: 1, 2 or 3")
    parser.add_argument("--report", default="", help="File for the figures as JSON", include_in_web_ui=False)


@events.init.add_listener
def _init(environment: Environment, runner: Any, **_: Any) -> None:
    worker.environment = environment
    if not isinstance(runner, WorkerRunner):
        runner.register_message(ASK, master.on_asked)
        runner.register_message(LEFT, master.on_left)
    if not isinstance(runner, MasterRunner):
        runner.register_message(GIVE, worker.on_seat)
        runner.register_message(WEATHER, worker.on_weather)
        runner.register_message(LEAVE, worker.on_leave, concurrent=True)
        environment.events.report_to_master.add_listener(worker.on_report)
        if not os.environ.get("VARDRUM_API_KEY"):
            log.error("VARDRUM_API_KEY is not set (expected an API key of the server, see docs/load.md)")
            sys.exit(2)


@events.test_start.add_listener
def _begin(environment: Environment, **_: Any) -> None:
    worker.leaving = False
    master.board = Board()


@events.test_stopping.add_listener
def _stopping(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner):
        master.last_reports(environment.runner)


@events.test_stop.add_listener
def _stop(environment: Environment, **_: Any) -> None:
    worker.stop()


@events.quitting.add_listener
def _quit(environment: Environment, **_: Any) -> None:
    if environment.runner is not None:
        # After Ctrl+C and SIGTERM users still run.
        environment.runner.stop()
    worker.stop()
    options = environment.parsed_options
    if options is not None and options.report and not isinstance(environment.runner, WorkerRunner):
        of_locust(environment.stats).write(Path(options.report))


class ApiUser(FastHttpUser):
    """Somebody who asks the API with the key."""

    abstract = True
    insecure = False
    network_timeout = 30.0
    connection_timeout = 10.0

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        actor = base64.urlsafe_b64encode(json.dumps(ACTOR).encode()).decode().rstrip("=")
        self._headers = {"Authorization": f"Bearer {os.environ['VARDRUM_API_KEY']}", "Vardrum-Actor": actor}

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        name: str = "",
        headers: Mapping[str, str] | None = None,
        fine: Callable[[str], bool] = lambda problem: False,
    ) -> tuple[Any, str]:
        """The JSON of an answer and its ETag.

        Args:
            name: under which Locust counts it; the path where empty.
            fine: whether a problem (the last word of its type) is nothing to wonder at.

        Raises:
            Refused: a problem, or no answer.
        """
        sent = {**self._headers, **(headers or {})}
        problem = None
        with self.client.request(
            method, path, json=body, name=name or path, headers=sent, catch_response=True
        ) as answer:
            said = _json(answer.text) if answer.text else None
            etag = str(answer.headers.get("ETag", "")) if answer.headers is not None else ""
            if 200 <= answer.status_code < 400:
                answer.success()
            else:
                problem = str(said.get("type", "")).rpartition("/")[2] if isinstance(said, dict) else ""
                if fine(problem):
                    answer.success()
                else:
                    answer.failure(f"{answer.status_code} {problem}" if answer.status_code else "no answer")
        if problem is not None:
            raise Refused(problem)
        return said, etag

    def book(self, starts_at: datetime) -> Any:
        """A visit of three, of an hour."""
        body = {
            "title": "Load test",
            "care_unit": UNIT,
            "starts_at": starts_at.isoformat(),
            "ends_at": (starts_at + timedelta(hours=1)).isoformat(),
            "max_participants": len(PEOPLE),
            "identity_policy": {"patient": "none"},
            "participants": PEOPLE,
        }
        return self.call("POST", "/v1/rooms", body)[0]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


class Portal(ApiUser):
    """A booking portal: books, lists, reschedules, cancels, reads what has happened and who waits."""

    weight = 1
    wait_time = between(1, 3)

    def on_start(self) -> None:
        """Nothing is booked yet, and nothing read."""
        self._rooms: list[str] = []
        self._position = 0

    def on_stop(self) -> None:
        """Nothing that this user has booked stays."""
        while self._rooms:
            self._quietly(self.cancel)

    @task(5)
    def book_one(self) -> None:
        """A visit of three, in the days to come."""
        when = datetime.now(UTC) + timedelta(hours=random.randint(2, 14 * 24))
        if len(self._rooms) < BOOKED:
            self._quietly(lambda: self._rooms.append(self.book(when)["id"]))

    @task(3)
    def reschedule(self) -> None:
        """One of them, by a day."""
        self._quietly(self._reschedule)

    def _reschedule(self) -> None:
        if self._rooms:
            path = f"/v1/rooms/{random.choice(self._rooms)}"
            room, etag = self.call("GET", path, name="/v1/rooms/{room}")
            times = {name: datetime.fromisoformat(room[name]) + timedelta(days=1) for name in ("starts_at", "ends_at")}
            body = {name: at.isoformat() for name, at in times.items()}
            self.call("PATCH", path, body, name="/v1/rooms/{room}", headers={"If-Match": etag})

    @task(2)
    def cancel_one(self) -> None:
        """One of them."""
        self._quietly(self.cancel)

    def cancel(self) -> None:
        """The one that was booked first."""
        if self._rooms:
            self.call("DELETE", f"/v1/rooms/{self._rooms.pop(0)}", name="/v1/rooms/{room}")

    @task(3)
    def list_rooms(self) -> None:
        """The visits that were booked."""
        self._quietly(lambda: self.call("GET", "/v1/rooms?limit=50", name="/v1/rooms"))

    @task(5)
    def read_events(self) -> None:
        """What has happened since the last time."""
        self._quietly(self._read_events)

    def _read_events(self) -> None:
        said, _ = self.call("GET", f"/v1/events?after={self._position}", name="/v1/events")
        self._position = max([self._position, *(one["position"] for one in said["items"])])

    @task(3)
    def see_who_waits(self) -> None:
        """In the waiting rooms of the unit."""
        self._quietly(lambda: see_who_waits(self))

    @staticmethod
    def _quietly(act: Callable[[], Any]) -> None:
        try:
            act()
        except Refused as refused:
            log.debug("refused: %s", refused)


def see_who_waits(user: ApiUser) -> None:
    """As the staff's console does."""
    user.call("GET", "/v1/waiting?care_unit=Load%20test", name="/v1/waiting")


class VisitUser(ApiUser):
    """Somebody who takes part in visits, one after the other."""

    abstract = True
    weight = 3
    wait_time = between(0.5, 2)

    def take_part(self, secret: Mapping[str, str], *, host: bool = False) -> str:
        """A visit with media; returns how it ended. What is noticed becomes Locust's statistics."""
        options = self.environment.parsed_options
        assert options is not None
        try:
            crew = worker.crew(self.host or "")
            come = crew.come(secret, host=host, talk=options.talk, patience=options.patience, layers=options.layers)
            with worker.taking(come) as taking:
                try:
                    for figure in taking.figures():
                        self._notice(figure)
                finally:
                    for figure in taking.leave():
                        self._notice(figure)
                return taking.outcome
        except CrewGone as gone:
            self._notice({"kind": "visit", "name": "bot", "ms": 0.0, "problem": str(gone)})
            return "failed"

    def go_on(self) -> None:
        """Nobody begins anything while the test ends."""
        while worker.leaving:
            time.sleep(0.5)

    def _notice(self, figure: Mapping[str, Any]) -> None:
        self.environment.events.request.fire(
            request_type=figure["kind"],
            name=figure["name"],
            response_time=figure["ms"],
            response_length=0,
            context={"role": type(self).__name__},
            exception=VisitFailed(figure["problem"]) if figure["problem"] else None,
        )


class Patient(VisitUser):
    """Books a visit for now, waits to be let in, and is there until it is ended."""

    @task
    def visit(self) -> None:
        """One visit."""
        self.go_on()
        try:
            room = self.book(datetime.now(UTC))
        except Refused:
            return
        invited = {one["role"]: one for one in room["participants"]}
        outcome = ""
        try:
            worker.offer(Seat("caregiver", room["id"], invited["caregiver"]["id"]))
            worker.offer(Seat("relative", room["id"], _secret(invited["relative"])))
            outcome = self.take_part({"invite": _secret(invited["patient"])})
        finally:
            worker.tell(say="withdraw", room=room["id"])
            if outcome != "ended":
                self._end(room["id"])

    def _end(self, room: str) -> None:
        """Nobody comes to a visit whose patient has gone."""
        try:
            self.call("POST", f"/v1/rooms/{room}/end", name="/v1/rooms/{room}/end", fine=_over)
        except Refused as refused:
            log.debug("refused: %s", refused)


class Relative(VisitUser):
    """Comes to the visit of somebody's patient."""

    @task
    def visit(self) -> None:
        """One visit."""
        self.go_on()
        with worker.wanting("relative") as seats:
            seat = seats.get()
        self.take_part({"invite": seat.key})


class Caregiver(VisitUser):
    """Looks who waits, comes into their visit, lets them in, talks, and ends it."""

    @task
    def visit(self) -> None:
        """One visit."""
        self.go_on()
        try:
            seat = self._next()
            path = f"/v1/rooms/{seat.room}/participants/{seat.key}/sessions"
            name = "/v1/rooms/{room}/participants/{part}/sessions"
            said, _ = self.call("POST", path, {}, name=name, fine=_over)
        except Refused:
            return
        self.take_part({"embed_token": said["embed_token"]}, host=True)

    def _next(self) -> Seat:
        with worker.wanting("caregiver") as seats:
            while True:
                try:
                    return seats.get(timeout=LOOK)
                except queue.Empty:
                    see_who_waits(self)


def _over(problem: str) -> bool:
    """Whom one was to see may have given up in this moment, or somebody has ended it already."""
    return problem in ("gone", "state-conflict")


def _secret(participant: Mapping[str, Any]) -> str:
    return str(participant["join_url"].partition("#")[2])
