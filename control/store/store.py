"""The database of this installation: one writer at a time, any number of readers, every commit on disk.

SQLite is the embedded default: write-ahead log, `synchronous=FULL`, so what was acknowledged survives `kill -9` and a
power cut. Writers queue here and not in SQLite, whose busy handler sleeps and gives up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Self

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

# More writers than this in the queue means that the disk can't keep up: better to say so than to let them all time out.
MAX_QUEUE = 500
READERS = 4

AfterCommit = Callable[[], Awaitable[None]]
Db = AsyncSession


class Busy(Exception):
    """Too many writers are waiting; try again in a second."""


class Unusable(Exception):
    """The file can't be used as our database; the message says why."""


class Transaction:
    """One open transaction: `db` to read and write with, and what is to be done once it is on disk."""

    def __init__(self, db: AsyncSession) -> None:
        self.db = db
        self.after_commit: list[AfterCommit] = []


_current: ContextVar[Transaction | None] = ContextVar("vardrum_transaction", default=None)


class Store:
    """Opens the database at `path`, and brings its schema up to date."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = _engine(path, size=1, read_only=False)
        self._readers = _engine(path, size=READERS, read_only=True)
        self._turn = asyncio.Lock()
        self._queue = 0

    async def start(self) -> None:
        """Creates or migrates the tables. The folder must exist. Raises Unusable."""
        try:
            async with self._writer.begin() as connection:
                await connection.run_sync(_migrate)
        except CommandError:
            raise Unusable(f"{self.path} was made by a newer version of Vardrum") from None
        except DatabaseError as error:
            raise Unusable(f"{self.path} can't be used: {error.orig}") from None

    async def stop(self) -> None:
        await self._readers.dispose()
        await self._writer.dispose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """A transaction that writes: committed when the block ends, rolled back when it raises.

        Inside another `write` of the same task it joins that one, so that an act and the record of its answer are on
        disk together or not at all. What is in `after_commit` is awaited after the outermost commit.

        Raises:
            Busy: too many writers are waiting.
        """
        outer = _current.get()
        if outer is not None:
            yield outer
            return
        if self._queue >= MAX_QUEUE:
            raise Busy
        self._queue += 1
        try:
            async with (
                self._turn,
                AsyncSession(self._writer, expire_on_commit=False, autoflush=False) as db,
                db.begin(),
            ):
                transaction = Transaction(db)
                token = _current.set(transaction)
                try:
                    yield transaction
                finally:
                    _current.reset(token)
        finally:
            self._queue -= 1
        # The task may be cancelled by a client that went away; who listens must still hear of what is on disk.
        if transaction.after_commit:
            await asyncio.shield(_run(transaction.after_commit))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that reads one consistent state; inside `write`, that of the transaction."""
        outer = _current.get()
        if outer is not None:
            await outer.db.flush()
            yield outer.db
            return
        async with AsyncSession(self._readers, expire_on_commit=False, autoflush=False) as db, db.begin():
            yield db

    async def check(self) -> None:
        """Raises when the database can't be read."""
        async with self.read() as db:
            await db.execute(text("SELECT 1 FROM tenants LIMIT 1"))


async def _run(callbacks: list[AfterCommit]) -> None:
    # Not inside the transaction's context: a listener that writes must begin its own.
    for callback in callbacks:
        await callback()


def _engine(path: Path, *, size: int, read_only: bool) -> AsyncEngine:
    # What people are called must not come into the log with an error of the database.
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", pool_size=size, max_overflow=0, pool_timeout=30, hide_parameters=True
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver's own transaction handling begins too late for a consistent read; see "begin" below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA busy_timeout=10000")
        # Here and not later: it can't be changed inside a transaction.
        cursor.execute("PRAGMA query_only=ON" if read_only else "PRAGMA journal_mode=WAL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        # IMMEDIATE: a transaction that reads first and writes later would otherwise fail instead of waiting its turn
        # behind another process, such as `vardrum keys create`.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _migrate(connection: Any) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
