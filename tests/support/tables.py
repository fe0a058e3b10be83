"""A database with all its tables, to begin a test with: to migrate an empty one takes longer than most tests."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vardrum.control.store.store import Store


def lay(file: Path) -> None:
    """Makes the file of SQLite that a server would make at its first start, where there is none."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_bytes(_tables())


@functools.cache
def _tables() -> bytes:
    # In a thread, since a test's own loop runs in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_migrated())).result()


async def _migrated() -> bytes:
    with tempfile.TemporaryDirectory(prefix="vardrum-tables-") as folder:
        file = Path(folder) / "tables.sqlite"
        async with Store(file):
            pass
        return file.read_bytes()
