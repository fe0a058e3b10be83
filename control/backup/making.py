"""`vardrum backup`: one moment of the data folder in an archive, while the server goes on."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ..audit.acting import OPERATOR, acts
from ..keyring import BadKeyring
from ..keyring import copy as copy_keyring
from ..keyring import load as load_keyring
from ..settings import DATABASE, Settings
from ..store import keys, snapshot
from ..store.store import Busy, Store, Unusable
from .archive import NAME, Contents, Source, write


class CannotBackUp(Exception):
    """The message says what to change."""


def back_up(settings: Settings, archive: Path, keyring_copy: Path | None, *, at: datetime, version: str) -> Contents:
    """Makes the archive, and a copy of the keyring where one is wanted. Whatever was committed before is in it.

    Args:
        keyring_copy: for another place than the archive's: together they tell everything. It is brought up to date
            where it is there already.

    Raises:
        CannotBackUp: there is no archive then.
    """
    database = settings.database
    if archive.exists():
        raise CannotBackUp(_there(archive))
    if isinstance(database, Path) and not database.exists():
        raise CannotBackUp(f"data: there is no database {database}")
    try:
        keyring = load_keyring(settings.keyring_file(), create=False)
        if keyring_copy is not None:
            copy_keyring(settings.keyring_file(), keyring_copy)
        asyncio.run(_record(database, at))
        # Beside the archive, where there has to be room for it anyway.
        with tempfile.TemporaryDirectory(prefix=".vardrum-backup-", dir=archive.parent) as folder:
            sources = []
            if isinstance(database, Path):
                copy = Path(folder) / DATABASE
                snapshot.take(database, copy)
                sources.append(_source(DATABASE, copy))
            # After the database: what is newer is left out when they are restored, what is older would be missed.
            sources += _heads(settings.audit_folder())
            kind = "sqlite" if isinstance(database, Path) else "postgresql"
            return write(archive, sources, keyring, made_at=at, version=version, database=kind)
    except BadKeyring as error:
        raise CannotBackUp(f"keyring: {error}") from None
    except (Unusable, Busy) as error:
        raise CannotBackUp(f"{settings.database_setting}: {error}") from None
    except FileExistsError:
        raise CannotBackUp(_there(archive)) from None
    except OSError as error:
        raise CannotBackUp(f"{archive}: can't be made: {error.strerror or error} ({error.filename})") from None


def _there(archive: Path) -> str:
    return f"{archive}: is there already (expected a new name: no backup is ever overwritten)"


async def _record(database: Path | str, at: datetime) -> None:
    """Writes the backup into every tenant's trail, before it is made, so that it is in the backup too."""
    if await Store.revision(database) != Store.newest_revision():
        return  # the tables of another version, which is still running perhaps: they are copied as they are
    async with Store(database) as store:
        with acts(OPERATOR):
            await keys.record_everywhere(store, "backup.made", at)


def _heads(folder: Path) -> Iterator[Source]:
    for path in sorted(folder.glob("*.jsonl")):
        if NAME.fullmatch(name := f"audit/{path.name}"):
            yield _source(name, path)


def _source(name: str, path: Path) -> Source:
    return Source(name, path, path.stat().st_size)
