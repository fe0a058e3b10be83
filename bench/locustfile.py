"""People of a clinic as Locust users: `locust -f bench/locustfile.py -H http://SERVER` (docs/load.md).

Portal asks the API only. A Patient books a visit, comes to its waiting room and brings seats for a Caregiver, who lets
in who waits, talks and ends it, and for a Relative. Who takes part in a visit has real media, by the native bots of a
process beside each of Locust's (`vardrum.bench.load.crew`): no WebRTC runs under gevent.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import queue
import random
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from locust import FastHttpUser, between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from vardrum.bench.load.figures import of_locust
from vardrum.bench.load.meeting import LEAVE, LEFT, Master, Worker
from vardrum.bench.load.pipe import CrewGone
from vardrum.bench.load.seats import ASK, GIVE, Board, Seat
from vardrum.bench.load.weather import MESSAGE as WEATHER

log = logging.getLogger("vardrum")
UNIT = {"name": "Load test"}
ACTOR = {"id": "load", "name": "Load test", "care_unit": UNIT["name"]}
# How often somebody of the staff looks at who waits.
LOOK = 5.0
# What a Portal user has booked and not cancelled at most.
BOOKED = 50
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
