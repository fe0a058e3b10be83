"""Processes that a test or a benchmark starts: their output in a file, ended by process group, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from .waiting import wait_until


class Process:
    """A child in a process group of its own, so that a browser's helpers end with it."""

    def __init__(self, child: asyncio.subprocess.Process, log: Path) -> None:
        self._child = child
        self.log = log

    @classmethod
    async def start(cls, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> Process:
        """Start `command`; what it prints, on either stream, is appended to `log`."""
        with log.open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                # Also when who started it is killed nothing of theirs goes on running.
                *("setpriv", "--pdeathsig", "KILL"),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        return cls(child, log)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.returncode is None

    def output(self, last: int = 4000) -> str:
        """The end of what it has printed so far, `last` characters."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-last:]

    async def kill(self) -> None:
        """SIGKILL to the whole group, and wait until the child is gone."""
        self.send(signal.SIGKILL)
        await self._child.wait()

    async def stop(self, deadline: float = 10.0) -> int:
        """SIGTERM, and the exit status; SIGKILL for the group when the child does not end within `deadline` s."""
        self.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._child.wait(), deadline)
        except TimeoutError:
            pass
        finally:
            self.send(signal.SIGKILL)
        return await self._child.wait()

    async def printed(self, text: str, *, deadline: float) -> str:
        """The first line that contains `text`.

        Raises:
            AssertionError: the process ended without printing it.
            TimeoutError: it didn't print it in time.
        """

        def line() -> str:
            found = [line for line in self.output(100_000).splitlines() if text in line]
            return found[0] if found else ""

        await wait_until(lambda: line() or not self.running, deadline=deadline, what=f"{text!r} in {self.log}")
        assert line(), f"ended with {self._child.returncode} before printing {text!r}:\n{self.output()}"
        return line()

    def send(self, number: signal.Signals) -> None:
        """Sends it to the whole group; who has ended doesn't mind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)
