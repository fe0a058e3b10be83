"""Locust's end of the pipe to a crew (`crew.py`): plain subprocess, thread and queue, which gevent makes cooperative.

Nothing here imports gevent or Locust: inside Locust the standard library is patched, elsewhere it works as it is.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

# Seconds until a crew is there, the native bots' build included; and until everybody has left.
START, GOODBYE = 300.0, 15.0
# Seconds in which who is told to leave says what they have noticed.
LAST_WORDS = 8.0


class CrewGone(Exception):
    """The crew's process has ended, or never began; what it printed is on standard error."""


class Taking:
    """One person's part in a visit, as it happens."""

    def __init__(self, crew: Crew, number: int) -> None:
        self._crew, self._number = crew, number
        self.said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.outcome = ""

    def figures(self, timeout: float | None = None) -> Iterator[dict[str, Any]]:
        """What is noticed (`kind name ms problem`), until it is over; then `outcome` says how.

        Raises:
            CrewGone: the crew's process has ended.
            queue.Empty: nothing came in `timeout` seconds.
        """
        while not self.outcome:
            said = self.said.get(timeout=timeout)
            if said is None:
                self.outcome = "failed"
                raise CrewGone("the bots' process has ended")
            if "done" in said:
                self.outcome = said["done"]
            else:
                yield said["figure"]

    def ask_to_leave(self) -> None:
        """Whoever reads the figures gets the last of them."""
        self._crew.say(do="leave", id=self._number)

    def leave(self) -> Iterator[dict[str, Any]]:
        """Leaves, unless it is over; yields what was noticed until then."""
        if self.outcome:
            return
        self.ask_to_leave()
        with contextlib.suppress(queue.Empty, CrewGone):
            yield from self.figures(LAST_WORDS)


class Crew:
    """A crew's process; started when it is made.

    Attributes:
        pid: of the process.
    """

    def __init__(self, base: str, processes: int = 1) -> None:
        """
        Raises:
            CrewGone: it did not come up.
        """
        command = [sys.executable, "-m", "vardrum.bench.load.crew", "--http", base, "--processes", str(processes)]
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl+C is for Locust, which tells us; and a crew ends when its input does.
            start_new_session=True,
        )
        self._takings: dict[int, Taking] = {}
        self._numbers = itertools.count(1)
        self._ready: queue.SimpleQueue[bool] = queue.SimpleQueue()
        # Lines are written by one thread alone: a user that is killed while it writes must not leave half a line.
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for work in (self._read, self._write):
            threading.Thread(target=work, daemon=True).start()
        ready = False
        try:
            with contextlib.suppress(queue.Empty):
                ready = self._ready.get(timeout=START)
        finally:
            # Also when who starts it is stopped meanwhile.
            if not ready:
                self.stop()
        if not ready:
            raise CrewGone("the bots' process did not start")

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def come(self, secret: Mapping[str, str], *, host: bool, talk: float, patience: float, layers: int) -> Taking:
        """Somebody comes by `secret`, the body of `POST /v1/sessions`."""
        number = next(self._numbers)
        taking = self._takings[number] = Taking(self, number)
        self.say(do="come", id=number, secret=dict(secret), host=host, talk=talk, patience=patience, layers=layers)
        if not self.running:
            taking.said.put(None)
        return taking

    def say(self, **fields: Any) -> None:
        """One line to the crew."""
        self._lines.put(json.dumps(fields) + "\n")

    def stop(self) -> None:
        """Everybody leaves, and the process ends; may be called twice."""
        self._lines.put(None)
        try:
            self._child.wait(GOODBYE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _write(self) -> None:
        assert self._child.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while (line := self._lines.get()) is not None:
                self._child.stdin.write(line)
                self._child.stdin.flush()
        with contextlib.suppress(OSError, ValueError):
            self._child.stdin.close()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            said = json.loads(line)
            if "ready" in said:
                self._ready.put(True)
                continue
            number = said["id"]
            taking = self._takings.pop(number, None) if "done" in said else self._takings.get(number)
            if taking is not None:
                taking.said.put(said)
        self._ready.put(False)
        for taking in list(self._takings.values()):
            taking.said.put(None)
