"""Writers one after the other, and one commit for all who came while the disk was busy with the former one.

A commit that is on disk takes milliseconds whoever it is for; a region's morning is hundreds of small ones a second.
Each writer has the database to itself, in a savepoint of its own, so one that fails takes nothing of the others with
it; none of them goes on before the commit of all.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import Histogram
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm.session import JoinTransactionMode

from .brief import briefly
from .trouble import Undone, Unusable

# So many share a commit at most, and so many seconds after the first nobody new is let in: it waits for all of them.
MOST, LONGEST = 64, 0.050
# Seconds; on a disk of its own a commit takes a few milliseconds, and one of a tenth of a second is felt by everyone.
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Turn:
    """One writer's.

    Attributes:
        begun: the connection to write with, and whether nobody has written in this transaction yet.
        over: whether what was written stands.
        committed: done once it is on disk; fails with all others of the same commit.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[tuple[AsyncConnection, bool]] = loop.create_future()
        self.over: asyncio.Future[bool] = loop.create_future()
        self.committed: asyncio.Future[None] = loop.create_future()
        # Who was cancelled meanwhile doesn't ask.
        self.committed.add_done_callback(lambda done: done.cancelled() or done.exception())


class Writers:
    """Gives turns on the one connection of `engine`.

    Attributes:
        commits: how many there were.
        commit_seconds, wait_seconds: how long each took, and how long each writer waited for its turn.
    """

    def __init__(self, engine: AsyncEngine, undone: Callable[[AsyncConnection], bool]) -> None:
        """`undone` says whether the database has undone a transaction that was begun on this connection by itself."""
        self._engine = engine
        self._undone = undone
        self.commits = 0
        self.commit_seconds = Histogram(
            "vardrum_database_commit_seconds",
            "Time that a commit took to be on disk",
            buckets=BUCKETS,
            registry=None,
        )
        self.wait_seconds = Histogram(
            "vardrum_database_wait_seconds",
            "Time that a writer waited for its turn",
            buckets=BUCKETS,
            registry=None,
        )
        self._waiting: deque[Turn] = deque()
        self._giving: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def turn(self, turn: Turn, brief: bool) -> AsyncIterator[AsyncSession]:
        """A session that nobody else writes beside; what the block wrote stands unless it raises.

        It isn't on disk when the block has ended: `turn.committed` tells when it is. `brief` as for `Store.write`.
        """
        came = time.monotonic()
        self._waiting.append(turn)
        if self._giving is None or self._giving.done():
            self._giving = asyncio.create_task(self._give())
        stands = False
        try:
            connection, first = await turn.begun
            self.wait_seconds.observe(time.monotonic() - came)
            # Who is the first needs no savepoint: if it fails, there is nothing to keep.
            how: JoinTransactionMode = "rollback_only" if first else "create_savepoint"
            session = AsyncSession(connection, expire_on_commit=False, autoflush=False, join_transaction_mode=how)
            with briefly(brief):
                async with session as db, db.begin():
                    yield db
            stands = True
        finally:
            turn.over.set_result(stands)

    async def stop(self) -> None:
        """Waits for who is writing."""
        if self._giving is not None:
            await asyncio.wait({self._giving})

    async def _give(self) -> None:
        while self._waiting:
            served: list[Turn] = []
            try:
                async with self._engine.connect() as connection:
                    transaction = await connection.begin()
                    await self._serve(connection, served)
                    if transaction.is_active:
                        began = time.monotonic()
                        await transaction.commit()
                        self.commit_seconds.observe(time.monotonic() - began)
                        self.commits += 1
            except Exception as error:
                # Where there was no transaction at all, nobody who waits will get one now.
                waiting = [] if served else [turn for turn in self._waiting if not turn.begun.done()]
                failed: list[asyncio.Future[Any]] = [turn.committed for turn in served]
                for future in (*failed, *(turn.begun for turn in waiting)):
                    if not future.done():
                        future.set_exception(error)
                if not served:
                    self._waiting.clear()
            else:
                for turn in served:
                    if not turn.committed.done():
                        turn.committed.set_result(None)

    async def _serve(self, connection: AsyncConnection, served: list[Turn]) -> None:
        clock = asyncio.get_running_loop().time
        until, first = clock() + LONGEST, True
        while self._waiting and len(served) < MOST and (first or clock() < until):
            turn = self._waiting.popleft()
            if turn.begun.cancelled():
                continue
            turn.begun.set_result((connection, first))
            if await turn.over:
                served.append(turn)
            elif first:
                return
            if connection.invalidated:
                raise Unusable("has gone in the middle of a transaction")
            if self._undone(connection):
                # What those before wrote has gone with it: they mustn't be told that it stands.
                raise Undone
            first = False
