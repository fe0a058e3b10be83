"""How a database is, for `vardrum doctor`: asked, and not changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ..secret import Clock
from .store import MIGRATIONS, open_database, sentence
from .trouble import Unusable


@dataclass(frozen=True)
class Examination:
    """
    Attributes:
        name: what an operator knows it by, without a password.
        version: of its schema; None where it has no tables of ours.
        newest: the schema's version that this program makes.
        newer: whether this program doesn't know the version: a later one has made it.
        readonly: why nothing can be written, or None.
        ahead: seconds that the database's clock is ahead of ours; None where it has none of its own.
    """

    name: str
    version: str | None
    newest: str
    newer: bool
    readonly: str | None
    ahead: float | None


async def examine(where: Path | str, clock: Clock) -> Examination:
    """
    Args:
        where: as for `Store`; a file must exist.

    Raises:
        Unusable: it can't be read at all.
    """
    database = open_database(where, serves=False)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_current_head() or ""
    try:
        try:
            async with database.readers.connect() as connection:
                version, ahead = await connection.run_sync(_read, clock)
        except DBAPIError as error:
            raise Unusable(f"{database.name} can't be used: {sentence(error)}") from None
        readonly = None
        try:
            # Both begin a transaction that writes: SQLite's takes the file's lock, PostgreSQL's that of whoever writes.
            async with database.writer.connect() as connection:
                await connection.execute(text("SELECT 1"))
                await connection.rollback()
        except DBAPIError as error:
            readonly = sentence(error)
        except Unusable as error:
            raise Unusable(f"{database.name} {error}") from None
    finally:
        await database.readers.dispose()
        await database.writer.dispose()
    known = {one.revision for one in scripts.walk_revisions()}
    newer = version is not None and version not in known
    return Examination(database.name, version, newest, newer, readonly, ahead)


def _read(connection: Any, clock: Clock) -> tuple[str | None, float | None]:
    version = MigrationContext.configure(connection).get_current_revision()
    if connection.dialect.name != "postgresql":
        return version, None  # it has none but this machine's
    # The transaction's own time would be that of its beginning.
    asked = clock()
    theirs = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return version, theirs - (asked.timestamp() + clock().timestamp()) / 2
