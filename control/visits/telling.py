"""What has become of a room is told to who listens, and kept in memory for who follows it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from itertools import count

import structlog

from ..store.store import Transaction
from .refused import Refused
from .rules import LIVE, RoomEvent, RoomState, room_after
from .scene import Scene
from .values import Actor, RoomSnapshot

RoomCallback = Callable[[str], Awaitable[None]]
MuteCallback = Callable[[str, str, Actor], Awaitable[None]]

# More rooms with somebody in them than a machine has; one that was forgotten is read again.
MOST = 10_000

log = structlog.get_logger(__name__)


class Telling:
    """Hears of every commit that changed a room."""

    def __init__(self) -> None:
        self._room_callbacks: list[RoomCallback] = []
        self._mute_callbacks: list[MuteCallback] = []
        # Rooms whose listeners are being told; True when they have changed again meanwhile.
        self._telling: dict[str, bool] = {}
        # Rooms that may have changed and whose listeners haven't heard of it: the next tick tells them.
        self._untold: set[str] = set()
        # Rooms in which somebody has arrived, as the last commit left them (None: over), each with the number of that
        # commit.
        self._latest: OrderedDict[str, tuple[int, RoomSnapshot | None]] = OrderedDict()
        self._number = count(1)

    def subscribe(self, callback: RoomCallback) -> None:
        """`callback(room id)` is awaited after a commit that changed the room, never twice at once for one room.

        What changes while it runs is told in one further call, so a snapshot taken inside is never missed.
        """
        self._room_callbacks.append(callback)

    def subscribe_mutes(self, callback: MuteCallback) -> None:
        """`callback(room, participant, by)` after an accepted `mute` of a microphone, which only memory knows."""
        self._mute_callbacks.append(callback)

    def after(self, transaction: Transaction, scene: Scene) -> None:
        """Tells once this is on disk, where it changed anything; called when all is done in the room."""
        if not scene.changed:
            return
        snapshot, number = scene.snapshot(), next(self._number)
        # Before the commit: where its answer is lost, nobody here knows whether it happened.
        self._untold.add(snapshot.id)

        async def tell() -> None:
            self._keep(number, snapshot)
            await self.tell(snapshot.id)

        transaction.after_commit.append(tell)

    def latest(self, room: str, now: datetime) -> RoomSnapshot | None:
        """The room as the last commit left it, where that is known; what its care unit has chosen isn't in it."""
        _, kept = self._latest.get(room, (0, None))
        if kept is None:
            return None
        self._latest.move_to_end(room)
        due = kept.state is RoomState.SCHEDULED and kept.opens_at <= now
        return replace(kept, state=room_after(kept.state, RoomEvent.OPEN)) if due else kept

    async def tell_untold(self) -> None:
        """Tells of what nobody could be told of, or nobody knows to have happened."""
        for room in sorted(self._untold - self._telling.keys()):
            self._latest.pop(room, None)
            await self.tell(room)

    async def tell(self, room: str) -> None:
        """Has everyone who listens look at the room."""
        if room in self._telling:
            self._telling[room] = True
            return
        self._telling[room] = True
        try:
            while self._telling[room]:
                self._telling[room] = False
                self._untold.discard(room)
                for callback in self._room_callbacks:
                    try:
                        await callback(room)
                    except Exception as error:
                        # It is on disk; that somebody couldn't be told must not undo the answer.
                        if isinstance(error, Refused) and error.name == "unavailable":
                            self._untold.add(room)
                        else:
                            log.exception("a listener failed", room=room)
        finally:
            del self._telling[room]

    async def tell_mute(self, room: str, participant: str, by: Actor) -> None:
        """Only memory knows of it."""
        for callback in self._mute_callbacks:
            try:
                await callback(room, participant, by)
            except Exception:
                log.exception("a listener failed", room=room)

    def _keep(self, number: int, snapshot: RoomSnapshot) -> None:
        # Writers go on after their commit in any order.
        former, _ = self._latest.get(snapshot.id, (0, None))
        if number < former or not (former or snapshot.arrivals):
            return
        self._latest[snapshot.id] = number, snapshot if snapshot.state in LIVE else None
        self._latest.move_to_end(snapshot.id)
        while len(self._latest) > MOST:
            self._latest.popitem(last=False)
