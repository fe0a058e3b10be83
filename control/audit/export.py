"""Appends signed heads of what has grown to the export files: by the clock, and when the server stops."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import structlog

from ..keyring import Keyring, Unreadable
from ..secret import Clock
from ..store import audit
from ..store.store import Store
from . import heads
from .heads import BadHead, SignedHead

log = structlog.get_logger(__name__)


class Export:
    """The export folder of a running server."""

    def __init__(self, store: Store, keyring: Keyring, folder: Path, clock: Clock) -> None:
        self._store = store
        self._keyring = keyring
        self._folder = folder
        self._clock = clock

    def prepare(self) -> None:
        """Makes the folder. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def run(self) -> None:
        """Signs and appends the heads that have changed since. A file that can't be written is tried again later."""
        async with self._store.read() as db:
            changed = await audit.heads_to_export(db)
        for head in changed:
            try:
                # Signing takes no time worth a thread, but waiting for the disk does.
                line = await asyncio.to_thread(self._append, head)
            except OSError as error:
                log.error("a signed head of the audit trail can't be written", error=error.strerror)
                continue
            async with self._store.write() as transaction:
                # After the file: where this fails, the line is there and is found by the next.
                await audit.exported(transaction.db, head.tenant, head.number, line)

    def _append(self, head: audit.Head) -> bytes:
        """SHA-256 of the line."""
        path = heads.file_of(self._folder, head.tenant)
        heads.mend(path)
        last = heads.last_line(path)
        previous = "" if head.exported_line is None else head.exported_line.hex()
        if (last is None and previous) or (last is not None and heads.digest(last) != previous):
            found = self._ours(last)
            if found is None or found.number < head.exported_number:
                # What is written next still names the line that should be there, so that `verify` misses it for good.
                log.error("exported heads of the audit trail are missing", tenant=head.tenant)
            else:
                # The server ended between file and database; or the database is older than the file, which
                # `verify` says, since heads must grow.
                previous = heads.digest(last or b"")
                if (found.number, found.hash) == (head.number, head.hash.hex()):
                    return bytes.fromhex(previous)
                if found.number >= head.number:
                    log.error("the audit trail is older than its exported heads", tenant=head.tenant)
        at = audit.microseconds(self._clock())
        line = heads.sign(self._keyring, head.tenant, head.number, head.hash, at, previous).line()
        heads.append(path, line)
        return hashlib.sha256(line).digest()

    def _ours(self, line: bytes | None) -> SignedHead | None:
        try:
            found = heads.parse(line or b"")
            heads.check(found, heads.public_key(self._keyring, found.key))
        except (BadHead, Unreadable):
            return None
        return found
