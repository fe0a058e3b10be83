"""A copy of SQLite's file while a server writes to it, and what such a copy has to be when it comes back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from .trouble import Unusable

# Milliseconds: who checkpoints or writes at this moment is soon done.
PATIENCE = 10_000


def take(source: Path, target: Path) -> None:
    """All that was committed when this began, in the new file `target`: a read transaction, beside which others write.

    Nothing of what was deleted or replaced comes along.

    Raises:
        Unusable: the database, or the disk that is written to, fails.

    Source:
        https://www.sqlite.org/lang_vacuum.html, section 3 (VACUUM INTO).
    """
    try:
        with closing(_open(source, "rw")) as database:
            database.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise Unusable(f"{source} can't be copied: {error}") from None


def check(path: Path) -> None:
    """Reads all of it, and makes sure that it is whole.

    Raises:
        Unusable: it isn't.
    """
    try:
        with closing(_open(path, "ro")) as database:
            # Nothing that the file says of itself is run.
            database.execute("PRAGMA trusted_schema=OFF")
            [(found,)] = database.execute("PRAGMA integrity_check(1)").fetchall()
            orphans = database.execute("PRAGMA foreign_key_check").fetchone()
    except (sqlite3.Error, ValueError) as error:
        raise Unusable(f"the database in it can't be used: {error}") from None
    if found != "ok" or orphans is not None:
        raise Unusable("the database in it is damaged")


def _open(path: Path, mode: str) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=PATIENCE / 1000)
