"""The archive of a backup: an ordinary tar of a signed list and the files that it lists, and nothing else.

The list says of each file how long it is and its SHA-256, and is signed with the installation's keyring. So an archive
that was damaged, exchanged or made up where backups are kept isn't taken, and no file is laid whose name or size isn't
on the list. It isn't compressed: that would take a core from visits, and reading it needs no limit of its own then.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, Literal

from cryptography.exceptions import InvalidSignature
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..keyring import Keyring
from ..settings import DATABASE, TENANT

PURPOSE = "backup"
LIST, SIGNATURE = "backup.json", "backup.signature"
NAME = re.compile(rf"{re.escape(DATABASE)}|audit/{TENANT.pattern}\.jsonl")
_SIGNED = b"vardrum backup\0"
# A tenant's line is under 200 bytes.
_LARGEST_LIST = 64 * 1024 * 1024
# Read at a time; tar's own headers are smaller.
_BLOCK = 1024 * 1024


class BadArchive(Exception):
    """It can't be used; the message says why, after the archive's name."""


class File(BaseModel):
    """A file of the data folder: length in bytes, SHA-256 in hex."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=f"^(?:{NAME.pattern})$")]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Contents(BaseModel):
    """What an archive says of itself.

    Attributes:
        made_at: when the backup began; what was committed before is in it.
        version: of the Vardrum that made it.
        database: `postgresql` where the database is backed up by its own means, and isn't in here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    made_at: datetime
    version: Annotated[str, Field(max_length=64)]
    database: Literal["sqlite", "postgresql"]
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(one.size for one in self.files)


@dataclass(frozen=True)
class Source:
    """The first `size` bytes of the file at `path`, which may grow meanwhile, for the archive's `name`."""

    name: str
    path: Path
    size: int

    def listed(self) -> File:
        """Reads it. Raises OSError."""
        found = hashlib.sha256()
        with self.path.open("rb") as file:
            for block in _blocks(file, self.size):
                found.update(block)
        return File(name=self.name, size=self.size, sha256=found.hexdigest())


def write(
    path: Path, sources: Sequence[Source], keyring: Keyring, *, made_at: datetime, version: str, database: str
) -> Contents:
    """Makes the archive at `path`, mode 0600, where there is nothing yet; it is whole and on disk when this returns.

    Raises:
        FileExistsError: something is there already.
        OSError: it can't be written.
    """
    # The name is taken first, so that nobody else's is overwritten, and filled in at last.
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    unfinished = path.with_name(path.name + ".part")
    try:
        files = tuple(one.listed() for one in sources)
        contents = Contents.model_validate(
            {"made_at": made_at, "version": version, "database": database, "files": files}
        )
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            _fill(file, contents, sources, keyring)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return contents


def _fill(file: IO[bytes], contents: Contents, sources: Sequence[Source], keyring: Keyring) -> None:
    listed = contents.model_dump_json().encode()
    signature = base64.urlsafe_b64encode(keyring.signing_key(PURPOSE).sign(_SIGNED + listed))
    # GNU's format: a database may be larger than the 8 GB that the older one can say.
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:

        def add(name: str, size: int, data: IO[bytes]) -> None:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = size, 0o600, int(contents.made_at.timestamp())
            tar.addfile(member, data)

        add(LIST, len(listed), io.BytesIO(listed))
        add(SIGNATURE, len(signature), io.BytesIO(signature))
        for one in sources:
            with one.path.open("rb") as data:
                add(one.name, one.size, data)


def read(path: Path, keyring: Keyring, into: Path) -> Contents:
    """Lays the archive's files into the empty folder `into`, mode 0600, after everything about them was checked.

    Raises:
        BadArchive: it isn't one, isn't signed with a key of `keyring`, or isn't as it was.
        OSError: it can't be read, or the files can't be written.
    """
    with path.open("rb") as file:
        try:
            # Not "r": that would also open what is compressed.
            with tarfile.open(fileobj=_Bounded(file), mode="r:") as tar:
                contents = _contents(tar, keyring)
                expected = {one.name: one for one in contents.files}
                while (member := tar.next()) is not None:
                    listed = expected.pop(member.name, None)
                    if listed is None or not _plain(member) or member.size != listed.size:
                        raise BadArchive("was changed since it was made: it has a file that it doesn't list")
                    _lay(tar, member, listed, into)
        except (tarfile.TarError, EOFError, ValueError, OverflowError):
            raise BadArchive("is damaged, or no backup of Vardrum") from None
    if expected:
        raise BadArchive(f"is incomplete: {min(expected)} is missing")
    return contents


def _contents(tar: tarfile.TarFile, keyring: Keyring) -> Contents:
    listed = _small(tar, LIST, _LARGEST_LIST)
    signature = _small(tar, SIGNATURE, 200)
    # Before anything of it is believed.
    if not any(_signed(keyring, name, listed, signature) for name in keyring.names):
        raise BadArchive("was made with another keyring, or was changed since")
    try:
        return Contents.model_validate_json(listed)
    except ValidationError:
        raise BadArchive("was made by a newer version of Vardrum") from None


def _signed(keyring: Keyring, key: str, listed: bytes, signature: bytes) -> bool:
    try:
        made = base64.b64decode(signature, altchars=b"-_", validate=True)
        keyring.signing_key(PURPOSE, key).public_key().verify(made, _SIGNED + listed)
    except (InvalidSignature, binascii.Error):
        return False
    return True


def _small(tar: tarfile.TarFile, name: str, limit: int) -> bytes:
    member = tar.next()
    if member is None or member.name != name or not _plain(member) or member.size > limit:
        raise BadArchive("is damaged, or no backup of Vardrum")
    return b"".join(_data(tar, member))


def _plain(member: tarfile.TarInfo) -> bool:
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None


def _lay(tar: tarfile.TarFile, member: tarfile.TarInfo, listed: File, into: Path) -> None:
    target = into / listed.name
    target.parent.mkdir(mode=0o700, exist_ok=True)
    found = hashlib.sha256()
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for block in _data(tar, member):
            found.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if found.hexdigest() != listed.sha256:
        raise BadArchive(f"was changed since it was made, or is damaged: {listed.name}")


def _data(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    data = tar.extractfile(member)
    if data is None:
        raise BadArchive("is damaged, or no backup of Vardrum")
    with data:
        yield from _blocks(data, member.size)


def _blocks(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        block = file.read(min(size, _BLOCK))
        if not block:
            raise EOFError("it has become shorter")
        size -= len(block)
        yield block


class _Bounded(io.RawIOBase):
    """A file to be read that gives nobody more than `_BLOCK` at once: a header may say that it is gigabytes long."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _BLOCK:
            raise tarfile.ReadError("a header that none of ours is as long as")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def sync_folder(folder: Path) -> None:
    """Names in it are on disk when this returns. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems can't.
        with contextlib.suppress(OSError):
            os.fsync(opened)
    finally:
        os.close(opened)
