"""What memory has seen and the disk has not: written down by one task, in order, so that no websocket waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from ..visits.refused import Refused
from .troubles import Happened

log = structlog.get_logger(__name__)

# One participant brings two in 10 s at most; these are more than all of a machine in the seconds a disk may hang.
WAITING = 10_000


class Writing(Protocol):
    """What is asked of `Visits`."""

    async def connection(self, session: str, connected: bool) -> None: ...

    async def happened(self, session: str, type: str, data: Mapping[str, str]) -> bool: ...


@dataclass(frozen=True)
class _Happening:
    session: str
    event: Happened
    then: Callable[[], None] | None


class Record:
    """Of connections only the last word counts; of what happened, each."""

    def __init__(self, visits: Writing) -> None:
        self._visits = visits
        self._connections: dict[str, bool] = {}
        self._happened: deque[_Happening] = deque(maxlen=WAITING)
        self._wanted = asyncio.Event()

    def connection(self, session: str, connected: bool) -> None:
        """An arrival is connected, or lost."""
        self._connections[session] = connected
        self._wanted.set()

    def happened(self, session: str, event: Happened, then: Callable[[], None] | None = None) -> None:
        """Something happened to an arrival; `then` is called once it is on disk."""
        self._happened.append(_Happening(session, event, then))
        self._wanted.set()

    async def run(self) -> None:
        """Writes for as long as it isn't cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._connections or self._happened:
                if self._connections:
                    await self._write_connection(*self._connections.popitem())
                if self._happened:
                    await self._write_happening(self._happened.popleft())

    async def _write_connection(self, session: str, connected: bool) -> None:
        try:
            await self._visits.connection(session, connected)
        except Refused as refused:
            if refused.name != "unavailable":
                log.info("connection not written", code=refused.name)
                return
            # Unless there was a later word meanwhile: without it, whoever left in an outage would be there for ever.
            self._connections.setdefault(session, connected)
            await asyncio.sleep(refused.retry_after or 1)
        except Exception:
            log.exception("writing a connection failed")

    async def _write_happening(self, one: _Happening) -> None:
        while True:
            try:
                written = await self._visits.happened(one.session, one.event.type, one.event.data)
                if written and one.then is not None:
                    one.then()
                return
            except Refused as refused:
                if refused.name != "unavailable":
                    return
                await asyncio.sleep(refused.retry_after or 1)
            except Exception:
                log.exception("writing an event failed", event_type=one.event.type)
                return
