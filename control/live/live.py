"""All rooms that somebody is in: where the disk, the media node, the clock and the websockets report to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from ...sfu.types import Level, Reason, SlotView, Way
from ..secret import Random
from ..turn import Turn
from ..visits.rules import State
from ..visits.values import Actor, Session
from .client import Client
from .conversation import Conversation, Deciding
from .record import Record, Writing
from .relays import Relays
from .room import LiveRoom, Snapshots
from .timings import Timings

if TYPE_CHECKING:
    from ...sfu.node import Node

log = structlog.get_logger(__name__)

TICK = 0.25
# A ping each 2 s leaves room for one to be lost before 5 s of silence make somebody lost.
PING = 2.0
# A websocket that has been silent for so long is a dead connection; its client has long come back by another.
SILENT = 30.0
GOING_AWAY = 1001
# States in which somebody is there for others.
THERE = (State.WAITING, State.IDENTIFYING, State.ADMITTED)


class VisitsFace(Snapshots, Deciding, Writing, Protocol):
    """What this side asks of `Visits`."""

    def subscribe(self, callback: Callable[[str], Awaitable[None]]) -> None: ...

    def subscribe_mutes(self, callback: Callable[[str, str, Actor], Awaitable[None]]) -> None: ...


class Live:
    """Implements `sfu.types.Listener`.

    `node` is set after construction, since a node is made with its listener; it must be set before `start`.
    """

    node: Node

    def __init__(
        self,
        visits: VisitsFace,
        *,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        turn: Turn | None = None,
        random: Random = os.urandom,
    ) -> None:
        self.rooms: dict[str, LiveRoom] = {}
        self._visits = visits
        self.now = now
        self.wall = wall
        self.timings = Timings()
        self._record = Record(visits)
        self._relays = Relays(turn, now, wall, random)
        self._tasks: list[asyncio.Task[None]] = []
        self._pinged = now()

    async def start(self) -> None:
        """Listens to `visits`, and begins to watch who is there."""
        self._visits.subscribe(self._room_changed)
        self._visits.subscribe_mutes(self._muted)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch()), loop.create_task(self._record.run())]

    async def stop(self) -> None:
        """Ends what `start` began, and every websocket; clients come back, to this server restarted or to another.

        May be called twice.
        """
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        for room in self.rooms.values():
            for client in room.clients:
                client.close(GOING_AWAY)

    async def enter(self, session: Session, client: Client) -> Conversation:
        """Welcomes a client, whose session has arrived, into its room."""
        live = self.rooms.get(session.room)
        if live is None:
            live = LiveRoom(
                session.room, self._visits, self.node, self.now, self.wall, self._record, self.timings, self._relays
            )
            self.rooms[session.room] = live
        await live.enter(session.id, session.participant, client)
        return Conversation(live, session.id, client, self._visits, self.wall)

    def detach(self, room: str, session: str, client: Client) -> None:
        """A client's websocket has gone."""
        live = self.rooms.get(room)
        if live is not None:
            live.detach(session, client)

    def metrics(self) -> dict[str, int | dict[str, float]]:
        """What an operator may want to see: rooms and websockets now, and those who are there by `state`."""
        there = Counter(
            present.state
            for room in self.rooms.values()
            for present in room.present.values()
            if present.presence.state in ("connecting", "connected")
        )
        return {
            "rooms": len(self.rooms),
            "websockets": sum(len(room.clients) for room in self.rooms.values()),
            "participants": {str(state): float(there[state]) for state in THERE},
        }

    # -- from the disk --

    async def _room_changed(self, room: str) -> None:
        live = self.rooms.get(room)
        if live is not None:
            await live.refresh()

    async def _muted(self, room: str, participant: str, by: Actor) -> None:
        live = self.rooms.get(room)
        if live is not None:
            live.muted_by_host(participant, by.participant or by.name)

    # -- from the clock --

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                self._look(self.now())
            except Exception:
                log.exception("watching who is there failed")

    def _look(self, now: float) -> None:
        if now - self._pinged >= PING:
            self._pinged = now
            for client in [client for room in self.rooms.values() for client in room.clients]:
                if now - client.answered > SILENT:
                    client.cut()
                else:
                    client.ping()
        for room in list(self.rooms.values()):
            room.tick(now)
            if room.over and not room.clients:
                self.rooms.pop(room.id, None)

    # -- from media (sfu.types.Listener) --

    def slots_changed(self, room: str, participant: str, slots: list[SlotView]) -> None:
        """A viewer's slots show others from now on."""
        if room in self.rooms:
            self.rooms[room].slots_changed(participant, slots)

    def speaking(self, room: str, participants: list[str]) -> None:
        """Who speaks now."""
        if room in self.rooms:
            self.rooms[room].speaking(participants)

    def connection(self, room: str, participant: str, connected: bool) -> None:
        """Whether media or RTCP came within 5 s."""
        if room in self.rooms:
            self.rooms[room].connection(participant, connected)

    def expired(self, room: str, participant: str) -> None:
        """A peer was silent for 5 minutes and is no more."""
        if room in self.rooms:
            self.rooms[room].expired(participant)

    def send_changed(self, room: str, participant: str, send: Mapping[str, Any]) -> None:
        """How somebody is to send from now on."""
        if room in self.rooms:
            self.rooms[room].send_changed(participant, send)

    def quality(self, room: str, to: str, participant: str, level: Level, reason: Reason, way: Way = "") -> None:
        """How well `to` sees and hears `participant`; where they are the same, how well media serves them at all."""
        if room in self.rooms:
            self.rooms[room].quality(to, participant, level, reason, way)
