"""`vardrum audit verify`: reads the trail and its exported heads, and says what doesn't fit, first bad number first.

Chain, heads and public keys are read side by side, in bounded memory. Nothing here trusts the database: every value is
recomputed, and what its rows say of themselves (`erased_by`, the head's row) only counts where the chain says it too.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..settings import TENANT
from ..store import audit
from ..store.store import Db, Store
from . import heads
from .acting import Known
from .entry import DIGEST, FIELDS, NO_DIGEST, NO_SALT, PLAIN, SALT, Entry, chained, field_digest, genesis
from .heads import BadHead, SignedHead

# More of one tenant say nothing new.
MAX_PROBLEMS = 50
# What the law demands, whatever is set; in microseconds.
MIN_YEARS = 5
YEAR = 365 * 86_400 * 1_000_000
EVERY = 50_000
# What may ever be erased: of whom an entry is about, and of those who acted for themselves.
PERSONAL = ("person_name", "person_ref", "reason")
OWN = ("actor_id", "actor_name")
# What may come of a detail that isn't as it was written.
UNREADABLE = (audit.Unreadable, ValueError, KeyError, TypeError, OverflowError, RecursionError)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Problem:
    """Something that doesn't fit.

    Attributes:
        number: of the entry, or of the entry that a head names; None where neither is the matter.
        kind: `missing`, `repeated`, `changed`, `value`, `erased`, `unreadable`, `beginning`, `cut`, `head`, `export`,
            `key` or `tenant`.
    """

    tenant: str
    number: int | None
    kind: str
    detail: str

    def __str__(self) -> str:
        where = "" if self.number is None else f" {self.number}"
        return f"{self.tenant}{where}: {self.kind}: {self.detail}"


@dataclass(frozen=True)
class Report:
    """What was found; `entries` and `heads` are how many were read."""

    entries: int
    heads: int
    problems: Sequence[Problem]


async def verify(
    store: Store,
    folder: Path,
    public_keys: Mapping[str, bytes],
    *,
    now: datetime,
    others: Sequence[Path] = (),
    tenant: str | None = None,
    progress: Progress = lambda tenant, done, of: None,
) -> Report:
    """Checks every tenant's trail, or one's.

    Args:
        folder: of the export files.
        public_keys: 32 bytes by name.
        now: nothing was made later; whoever forges an entry says any time they like.
        others: files of heads that were kept elsewhere, of any tenants.
    """
    # Before the database: what a running server appends meanwhile is newer than what is read of it.
    sizes = _sizes(folder)
    found: list[Problem] = []
    entries = read = 0
    async with store.read() as db:
        known = set(await audit.known_tenants(db)) | set(sizes) | _named(others)
        for one in sorted(known) if tenant is None else [tenant]:
            check = _Chain(one, public_keys, audit.microseconds(now))
            await check.run(db, folder, sizes.get(one, 0), others, progress)
            found += check.problems
            entries += check.entries
            read += check.heads
    return Report(entries, read, found)


def _sizes(folder: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in folder.glob("*.jsonl")}


def _named(others: Sequence[Path]) -> set[str]:
    """Tenants of heads that were kept elsewhere: of one that is gone altogether nothing else tells."""
    found = set()
    for line in itertools.chain.from_iterable(heads.lines(path) for path in others):
        with contextlib.suppress(BadHead):
            found.add(heads.parse(line).tenant)
    return {one for one in found if TENANT.fullmatch(one)}


class _Chain:
    """One tenant's; `now` in microseconds since 1970."""

    def __init__(self, tenant: str, public_keys: Mapping[str, bytes], now: int) -> None:
        self.tenant = tenant
        self.problems: list[Problem] = []
        self.entries = self.heads = 0
        self.keys = public_keys
        self._now = now
        self._number = 0
        self._hash = genesis(tenant)
        self._records: dict[int, Entry | None] = {}
        self.removed = 0
        self.removable = 0

    def say(self, kind: str, detail: str, number: int | None = None) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(self.tenant, number, kind, detail))

    async def run(self, db: Db, folder: Path, size: int, others: Sequence[Path], progress: Progress) -> None:
        row = await audit.head(db, self.tenant)
        if row is None:
            self.say("tenant", "the database has no such trail")
        await self._begin(db)
        # Heads in order of their numbers, each from its own file: the next of each is compared when the chain is there.
        export = _Heads(self, heads.file_of(folder, self.tenant), size)
        export.wanted = "" if row is None else _hex(row.exported_line)
        waiting = [export, *(_Heads(self, path, path.stat().st_size, chained=False) for path in others)]
        total = await audit.count(db, self.tenant)
        try:
            async for entry in audit.stream(db, self.tenant):
                await self._entry(db, entry)
                for one in waiting:
                    one.reached(entry.number, entry.hash)
                self.entries += 1
                if self.entries % EVERY == 0:
                    progress(self.tenant, self.entries, total)
        except (audit.Unreadable, TypeError, ValueError, OverflowError):
            self.say("unreadable", f"what follows entry {self._number} can't be read", self._number + 1)
        else:
            if self.entries != total:
                self.say("repeated", f"{total} entries, of which {self.entries} could be told apart by their numbers")
        for one in waiting:
            one.ended(self._number)
            self.heads += one.read
        if row is not None:
            self._row(row, export)

    async def _begin(self, db: Db) -> None:
        """Where the oldest entries were removed for their age, the chain says what it goes on from."""
        removed = None
        try:
            removed = await audit.newest(db, self.tenant, audit.EXPIRED)
            if removed is None:
                return
            said = json.loads(removed.detail)
            self._number, self._hash = int(said["upto"]), bytes.fromhex(said["hash"])
            self.removed = self._number
            # Whatever a head doesn't cover yet is younger than its signature.
            self.removable = min(removed.at, self._now) - MIN_YEARS * YEAR
        except UNREADABLE:
            number = None if removed is None else removed.number
            self.say("beginning", "what it says of entries that were removed can't be read", number)

    async def _entry(self, db: Db, entry: Entry) -> None:
        expected = self._number + 1
        if entry.number != expected:
            if entry.number < expected:
                self.say("repeated", "is there twice, or after a higher number", entry.number)
                return
            last = entry.number - 1
            missing = f"entry {expected} is" if last == expected else f"entries {expected} to {last} are"
            self.say("missing", f"{missing} missing", expected)
        self._number = entry.number
        plain = {name: getattr(entry, name) for name in PLAIN}
        before, self._hash = self._hash, entry.hash
        # After a gap, and after one that is wrong, each is judged by what is before it: the first bad one is told.
        if entry.number == expected:
            try:
                fits = chained(before, entry.tenant, entry.number, plain, entry.digests) == entry.hash
            except (TypeError, ValueError):
                fits = False
            if not fits:
                self.say("changed", "it, or what is before it, isn't what was written", entry.number)
        await self._values(db, entry)

    async def _values(self, db: Db, entry: Entry) -> None:
        if len(entry.salts) != SALT * len(FIELDS) or len(entry.digests) != DIGEST * len(FIELDS):
            self.say("value", "salts or digests are incomplete", entry.number)
            return
        for name in FIELDS:
            value, salt, digest = getattr(entry, name), entry.salt(name), entry.digest(name)
            if value is None:
                if salt != NO_SALT:
                    self.say("value", f"{name} was taken out, and its salt was left", entry.number)
                elif digest != NO_DIGEST:
                    await self._erased(db, entry, name)
            elif not isinstance(value, str) or field_digest(name, salt, value) != digest:
                self.say("value", f"{name} isn't what was written", entry.number)

    async def _erased(self, db: Db, entry: Entry, name: str) -> None:
        themselves = entry.known == Known.PARTICIPANT
        if name not in PERSONAL and not (themselves and name in OWN):
            self.say("erased", f"{name} was erased, which never may be", entry.number)
            return
        by = entry.erased_by
        if not isinstance(by, int) or by <= entry.number or not await self._records_erasure(db, by, entry.number):
            self.say("erased", f"{name} was erased, and no later entry says so", entry.number)

    async def _records_erasure(self, db: Db, by: int, number: int) -> bool:
        if by not in self._records:
            if len(self._records) >= 100:
                self._records.clear()
            try:
                self._records[by] = await audit.entry(db, self.tenant, by)
            except audit.Unreadable:
                self._records[by] = None
        record = self._records[by]
        if record is None or record.action != audit.ERASED:
            return False
        try:
            return number in json.loads(record.detail)["entries"]
        except UNREADABLE:
            return False

    def _row(self, row: audit.Head, export: _Heads) -> None:
        if (row.number, row.hash) != (self._number, self._hash):
            kind = "cut" if isinstance(row.number, int) and row.number > self._number else "head"
            self.say(kind, f"the chain ends at {self._number}, its head's row says {row.number}", self._number)
        if row.exported_number and not export.has_wanted:
            self.say("export", "the head that was exported last is missing from its file", row.exported_number)


class _Heads:
    """The signed heads of one tenant in one file, compared with the chain as it goes by."""

    def __init__(self, chain: _Chain, path: Path, size: int, *, chained: bool = True) -> None:
        """`chained`: whether it is our export, of which each line must name the one before it."""
        self._chain = chain
        self._chained = chained
        self._path = path
        self._size = size
        self._digest = ""
        # The line that the database says was exported last; None until it was seen, then how many are after it.
        self.wanted = ""
        self._after: int | None = None
        self._last = self._at = self.read = 0
        self._heads = self._read()
        self._next: SignedHead | None = None
        self._begun = False

    def _read(self) -> Iterator[SignedHead]:
        """Heads that are signed by a key of ours; whatever else is told."""
        for place, line in zip(itertools.count(1), heads.lines(self._path), strict=False):
            self._at += len(line) + 1
            where = f"{self._path.name} line {place}"
            try:
                head = heads.parse(line)
            except BadHead as error:
                self._follow(line)
                self._chain.say("export", f"{where} {error}")
                continue
            if head.tenant != self._chain.tenant:
                if self._chained:
                    self._follow(line)
                    self._chain.say("export", f"{where} is of the tenant {head.tenant[:64]}")
                continue
            if self._chained and head.previous != self._digest:
                self._chain.say("export", f"{where}: a line before it is missing, or was changed", head.number)
            self._follow(line)
            public = self._chain.keys.get(head.key)
            if public is None:
                self._chain.say(
                    "key", f"{where} is signed with {head.key[:32]}, which isn't among our keys", head.number
                )
                continue
            try:
                heads.check(head, public)
            except BadHead as error:
                self._chain.say("key" if "another key" in str(error) else "export", f"{where} {error}", head.number)
                continue
            self.read += 1
            if self._later:
                continue  # appended by a running server after the database was looked at
            if self._chained and head.number <= self._last:
                self._chain.say("export", f"{where}: the trail was shorter than before, or grew twice", head.number)
            self._last = max(self._last, head.number)
            yield head

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            if not self._chained:
                # Kept by people, a few, in any order.
                self._heads = iter(sorted(self._heads, key=lambda head: head.number))
            self._next = next(self._heads, None)

    def _follow(self, line: bytes) -> None:
        self._digest = heads.digest(line)
        if self._digest == self.wanted:
            self._after = 0
        elif self._after is not None and not self._later:
            self._after += 1

    @property
    def _later(self) -> bool:
        """Whether the line is of after `size` was looked at; the last of then may have no newline."""
        return self._at > self._size + 1

    def reached(self, number: Any, hash_: Any) -> None:
        """The chain has come to this entry."""
        self._begin()
        while self._next is not None and self._next.number <= number:
            # Entries before the first that is kept have gone for their age; what follows them covers them.
            if self._next.number < self._chain.removed and self._next.at > self._chain.removable:
                self._chain.say("beginning", f"what followed entry {self._next.number} was removed before its time")
            if self._next.number == number and self._next.hash != _hex(hash_):
                self._chain.say("head", f"{self._path.name}: another chain was signed up to here", number)
            self._next = next(self._heads, None)

    def ended(self, number: int) -> None:
        """The chain has no more entries."""
        self._begin()
        told = False
        while self._next is not None:
            if self._next.number > number and not told:
                self._chain.say("cut", f"{self._path.name}: entries up to {self._next.number} were signed", number + 1)
                told = True
            self._next = next(self._heads, None)

    @property
    def has_wanted(self) -> bool:
        """Whether that line is the last, or the last but one: the server may end between file and row."""
        return self._after is not None and self._after <= 1


def _hex(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else ""
