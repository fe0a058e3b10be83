"""SQLite, the default: a file in the data folder, on disk before `write` returns, nothing to run beside the server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from .brief import Connection
from .trouble import SLOW, UNWRITABLE

READERS = 4
_UNWRITABLE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PERM")


class Sqlite:
    """The database in the file at `path`.

    Write-ahead log and `synchronous=FULL`, so what was acknowledged survives `kill -9` and a power cut. Writers queue
    in the store and not here: SQLite's busy handler sleeps and gives up.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.taken = asyncio.Event()
        self.writer = self._engine(path, size=1, read_only=False)
        self.readers = self._engine(path, size=READERS, read_only=True)

    async def scrub(self) -> None:
        """Has the files forget what was deleted before they were told to (`secure_delete`): rewrites them once."""
        # The only connection that writes: nobody else does meanwhile.
        async with self.writer.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            if raw is not None:
                # Not through SQLAlchemy, which begins a transaction: VACUUM can't run inside one.
                for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    await raw.execute_fetchall(statement)

    def passes(self, error: DBAPIError) -> str | None:
        """Of an error that passes by itself, what to say meanwhile."""
        name: str = getattr(error.orig, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return SLOW
        # The disk is full, gone or broken, or the file was made somebody else's; who is in a visit doesn't need it.
        if name.startswith(_UNWRITABLE) or "no such savepoint" in str(error.orig):
            return UNWRITABLE
        return None

    def undone(self, connection: AsyncConnection) -> bool:
        """Whether the transaction that was begun is none any more.

        When the disk is full SQLite undoes all of it, savepoints too, and whatever comes next would be a transaction of
        its own (https://www.sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction").
        """
        raw = connection.sync_connection.connection.driver_connection if connection.sync_connection else None
        return raw is not None and not raw.in_transaction

    @staticmethod
    def _engine(path: Path, *, size: int, read_only: bool) -> AsyncEngine:
        # What people are called must not come into the log with an error of the database.
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{path}",
            async_creator=lambda: Connection(path),
            pool_size=size,
            max_overflow=0,
            pool_timeout=30,
            hide_parameters=True,
        )

        @event.listens_for(engine.sync_engine, "connect")
        def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute("PRAGMA synchronous=FULL")
            # What is deleted is overwritten, and not only marked as free.
            cursor.execute("PRAGMA secure_delete=ON")
            cursor.execute("PRAGMA busy_timeout=10000")
            # Here and not later: it can't be changed inside a transaction.
            cursor.execute("PRAGMA query_only=ON" if read_only else "PRAGMA journal_mode=WAL")
            cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def begin(connection: Any) -> None:
            # IMMEDIATE: a transaction that reads first and writes later would otherwise fail instead of waiting its
            # turn behind another process, such as `vardrum keys create`.
            connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

        return engine
