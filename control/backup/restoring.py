"""`vardrum restore`: an installation from its backup, in a new data folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from ..audit import heads
from ..audit.acting import OPERATOR, acts
from ..folder import InUse, own
from ..keyring import FILE as KEYRING
from ..keyring import BadKeyring, Keyring
from ..keyring import copy as copy_keyring
from ..keyring import load as load_keyring
from ..settings import DATABASE, Settings
from ..store import audit, keys, snapshot
from ..store.store import Busy, Store, Unusable
from .archive import BadArchive, Contents, read, sync_folder

UNFINISHED = "restoring"
_NOT_EMPTY = "data: {data} isn't empty (expected a new folder: nothing is ever overwritten)"


class CannotRestore(Exception):
    """The message says what to change."""


def restore(settings: Settings, archive: Path, keyring_copy: Path | None, *, at: datetime) -> Contents:
    """Lays what is in the archive into the data folder, which must be new or empty, and brings it up to this version.

    Heads of the audit trail that are newer than the database are left out, and the trail says that it was restored.

    Args:
        keyring_copy: where no `keyring` is set: the copy that was kept apart; it comes into the data folder.

    Raises:
        CannotRestore: the data folder is as it was then.
    """
    keyring = _keyring(settings, keyring_copy)
    try:
        with _empty(settings.data) as folder:
            contents = read(archive, keyring, folder)
            database = _database(settings, contents, folder)
            _cut(folder / "audit", asyncio.run(_brought_up(database, contents, at)))
            _move(settings, folder, keyring_copy)
    except (InUse, Unusable, Busy) as error:
        raise CannotRestore(f"{settings.database_setting}: {error}") from None
    except BadArchive as error:
        raise CannotRestore(f"{archive}: {error}") from None
    except FileNotFoundError as error:
        raise CannotRestore(f"{error.filename}: there is no such file") from None
    except OSError as error:
        raise CannotRestore(f"{error.filename or settings.data}: {error.strerror or error}") from None
    return contents


def _keyring(settings: Settings, copy: Path | None) -> Keyring:
    path = copy or settings.keyring_file()
    if settings.keyring and copy is not None:
        raise CannotRestore(f"--keyring: isn't wanted, since the setting keyring names {settings.keyring} already")
    if not settings.keyring and copy is None:
        raise CannotRestore(
            f"--keyring: is missing (expected the copy of {KEYRING} that was kept apart from the backup)"
        )
    try:
        return load_keyring(path, create=False)
    except BadKeyring as error:
        raise CannotRestore(f"{'keyring' if copy is None else '--keyring'}: {error}") from None


@contextlib.contextmanager
def _empty(data: Path) -> Iterator[Path]:
    """A folder inside the data folder, which is nobody else's meanwhile, and as it was when the block raises."""
    new = not data.exists()
    if not new and any(data.iterdir()):
        raise CannotRestore(_NOT_EMPTY.format(data=data))
    folder = data / UNFINISHED
    with contextlib.ExitStack() as stack:
        lock = own(data, stack)
        if any(path != lock for path in data.iterdir()):
            raise CannotRestore(_NOT_EMPTY.format(data=data))  # in this very moment
        _give(lock)
        try:
            folder.mkdir(mode=0o700)
            yield folder
            folder.rmdir()
        except BaseException:
            for path in data.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            if new:
                data.rmdir()
            raise


def _database(settings: Settings, contents: Contents, folder: Path) -> Path | str:
    database = settings.database
    if isinstance(database, str):
        if contents.database != "postgresql":
            raise BadArchive("is of an installation on SQLite (expected no database_url)")
        if asyncio.run(Store.revision(database)) is None:
            raise Unusable("has none of our tables (expected what pg_dump has saved, restored before this)")
        return database
    if contents.database != "sqlite":
        raise BadArchive("is of an installation on PostgreSQL (expected the same in database_url)")
    if not (folder / DATABASE).exists():
        raise BadArchive("has no database in it")
    snapshot.check(folder / DATABASE)
    return folder / DATABASE


async def _brought_up(database: Path | str, contents: Contents, at: datetime) -> dict[str, bytes | None]:
    """Of each tenant, SHA-256 of the head that was exported last, as far as the database knows."""
    # With `serves`: no server may be at work on it, wherever its data folder is.
    async with Store(database, serves=True) as store:
        with acts(OPERATOR):
            detail = {"made_at": contents.made_at.isoformat(), "version": contents.version}
            await keys.record_everywhere(store, "backup.restored", at, detail)
        async with store.read() as db:
            return {one.tenant: one.exported_line for one in await audit.heads(db)}


def _cut(folder: Path, known: Mapping[str, bytes | None]) -> None:
    for path in folder.glob("*.jsonl"):
        if path.stem in known:
            heads.cut_after(path, known[path.stem])
        else:
            path.unlink()  # of a tenant that was made when the database had been copied


def _move(settings: Settings, folder: Path, keyring_copy: Path | None) -> None:
    """Last of all: until here nothing has the name that it is looked for by."""
    export = settings.audit_folder()
    if not export.exists():
        export.mkdir(mode=0o700, parents=True)
        _give(export)
    for path in (folder / "audit").glob("*.jsonl"):
        if not (export / path.name).exists():  # on a disk of others' they outlive a database
            _give(Path(shutil.move(path, export / path.name)))
    shutil.rmtree(folder / "audit", ignore_errors=True)
    if keyring_copy is not None:
        copy_keyring(keyring_copy, settings.data / KEYRING)
        _give(settings.data / KEYRING)
    for path in folder.glob(f"{DATABASE}*"):
        _give(path.rename(settings.data / path.name))
    sync_folder(settings.data)


def _give(path: Path) -> None:
    """To whom the folder belongs: root restores for a server that isn't root."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
