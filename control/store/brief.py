"""Short questions to SQLite are answered where they are asked, in the event loop's own thread.

The driver runs everything in a thread for each connection: four changes of thread for a statement, each a fight for
the interpreter's lock, cost ten times what the statement does. What reads and writes the few rows of one room by
their keys takes microseconds, since the file is in memory; it needn't go anywhere. What may take longer does: what
goes through a table, what waits for another process, and what waits for the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite

_brief: ContextVar[bool] = ContextVar("vardrum_brief", default=False)


@contextmanager
def briefly(yes: bool) -> Iterator[None]:
    """Whether what this block asks of the database is short: a bounded number of rows, all found by an index."""
    token = _brief.set(yes)
    try:
        yield
    finally:
        _brief.reset(token)


class Connection(aiosqlite.Connection):
    """A connection to the file at `path` that answers in the loop's thread what is asked inside `briefly(True)`.

    Transactions are begun by whoever uses it (`isolation_level` None).
    """

    def __init__(self, path: Path) -> None:
        opened = partial(sqlite3.connect, path, isolation_level=None, check_same_thread=False)
        super().__init__(opened, iter_chunk_size=64)
        # Who doesn't stop it mustn't keep the process.
        self._thread.daemon = True

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # One task at a time uses a connection, so its thread has nothing to do now.
        if _brief.get() and self._connection is not None:
            return fn(*args, **kwargs)
        return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
