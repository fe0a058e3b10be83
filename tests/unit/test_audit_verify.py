"""`vardrum audit verify` finds whatever is done to the trail behind its back, and says where; erasing isn't that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from vardrum.control import keyring as keyrings
from vardrum.control.audit import heads
from vardrum.control.audit import verify as module
from vardrum.control.audit.acting import Acting, Known, acts
from vardrum.control.audit.cli import public_keys
from vardrum.control.audit.entry import FIELDS, PLAIN, chained, genesis, salted
from vardrum.control.audit.export import Export
from vardrum.control.audit.verify import Report, verify
from vardrum.control.keyring import Keyring
from vardrum.control.retention import Kept, Retention
from vardrum.control.store import audit, keys
from vardrum.control.store.store import Store

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NURSE = Acting(Known.KEY, "nurse-1", "Nils Nurse", "Ward 7", "key_1")
ANNA = Acting(Known.PARTICIPANT, "part_anna", "Anna Berg")


class Place:
    """A database with two trails, exported twice: entries 1 to 6, then up to 9."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "vardrum.db"
        self.export = folder / "audit"
        self.keyring_file = folder / "keyring.json"

    @property
    def keyring(self) -> Keyring:
        return keyrings.load(self.keyring_file, create=True)

    @property
    def north(self) -> Path:
        return heads.file_of(self.export, "north")

    def store(self) -> Store:
        return Store(self.database)

    async def act(self, store: Store, tenant: str, first: int, last: int) -> None:
        for number in range(first, last + 1):
            async with store.write() as transaction:
                audit.record(
                    transaction,
                    "participant.admitted",
                    tenant=tenant,
                    at=NOW + timedelta(minutes=number),
                    by=ANNA if number % 3 == 0 else NURSE,
                    care_unit="Ward 7",
                    room="room_1",
                    participant="part_anna",
                    patient_ref="patient-1",
                    person_name="Anna Berg",
                    person_ref="anna",
                    reason="as agreed",
                    detail={"session": f"sess_{number}"},
                )

    async def sign(self, store: Store, at: datetime = NOW) -> None:
        export = Export(store, self.keyring, self.export, lambda: at)
        export.prepare()
        await export.run()

    async def fill(self) -> None:
        async with self.store() as store:
            for tenant in ("north", "south"):
                await keys.create_tenant(store, tenant, tenant, NOW)
                await self.act(store, tenant, 2, 6)
            await self.sign(store)
            with self.sql() as sql, contextlib.closing(sqlite3.connect(self.folder / "older.db")) as older:
                sql.backup(older)
            for tenant in ("north", "south"):
                await self.act(store, tenant, 7, 9)
            await self.sign(store)

    async def verify(
        self, *others: Path, known: dict[str, bytes] | None = None, now: datetime = NOW + timedelta(days=1)
    ) -> Report:
        async with self.store() as store:
            return await verify(store, self.export, known or public_keys(self.keyring), now=now, others=others)

    async def found(self, *others: Path, known: dict[str, bytes] | None = None) -> set[tuple[str, int | None, str]]:
        return {(one.tenant, one.number, one.kind) for one in (await self.verify(*others, known=known)).problems}

    @contextmanager
    def sql(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.database)
        try:
            yield connection
            connection.commit()
        finally:
            connection.close()

    def lines(self) -> list[bytes]:
        return self.north.read_bytes().splitlines()

    def write_lines(self, lines: list[bytes]) -> None:
        self.north.write_bytes(b"".join(line + b"\n" for line in lines))

    def rechain(self, tenant: str = "north", since: int = 1) -> None:
        """What somebody does who knows how hashes are made: all of them anew, and the head's row with them."""
        with self.sql() as sql:
            sql.row_factory = sqlite3.Row
            before = genesis(tenant)
            query = "SELECT * FROM audit_entries WHERE tenant = ? ORDER BY number"
            for number, row in enumerate(sql.execute(query, (tenant,)).fetchall(), 1):
                digests = row["digests"]
                if number >= since:
                    _, digests = salted({name: row[name] for name in FIELDS}, row["salts"])
                before = chained(before, tenant, number, {name: row[name] for name in PLAIN}, digests)
                sql.execute(
                    "UPDATE audit_entries SET number = ?, hash = ?, digests = ? WHERE tenant = ? AND number = ?",
                    (number, before, digests, tenant, row["number"]),
                )
            sql.execute("UPDATE audit_heads SET number = ?, hash = ? WHERE tenant = ?", (number, before, tenant))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    asyncio.run(Place(folder).fill())
    return folder


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Place:
    shutil.copytree(template, tmp_path / "data")
    return Place(tmp_path / "data")


async def test_an_untouched_trail_fits(place: Place) -> None:
    report = await place.verify()
    assert (report.entries, report.heads, list(report.problems)) == (18, 4, [])


N = "north"
SET = "UPDATE audit_entries SET {} WHERE tenant = 'north' AND number = 4"

EDITS: dict[str, tuple[str, set[tuple[str, int | None, str]]]] = {
    "time moved": (SET.format("at = at + 1"), {(N, 4, "changed")}),
    "action edited": (SET.format("action = 'participant.denied'"), {(N, 4, "changed")}),
    "outcome edited": (SET.format("outcome = 'refused'"), {(N, 4, "changed")}),
    "care unit edited": (SET.format("care_unit = 'Ward 8'"), {(N, 4, "changed")}),
    "care unit taken out": (SET.format("care_unit = NULL"), {(N, 4, "changed")}),
    "how the actor is known edited": (SET.format("known = 'staff'"), {(N, 4, "changed")}),
    "key edited": (SET.format("actor_key = 'key_2'"), {(N, 4, "changed")}),
    "actor's care unit edited": (SET.format("actor_care_unit = 'Ward 8'"), {(N, 4, "changed")}),
    "room edited": (SET.format("room = 'room_2'"), {(N, 4, "changed")}),
    "participant edited": (SET.format("participant = 'part_2'"), {(N, 4, "changed")}),
    "detail edited": (SET.format("detail = '{}'"), {(N, 4, "changed")}),
    "actor's id edited": (SET.format("actor_id = 'nurse-2'"), {(N, 4, "value")}),
    "actor's name edited": (SET.format("actor_name = 'Nora Nurse'"), {(N, 4, "value")}),
    "patient edited": (SET.format("patient_ref = 'patient-2'"), {(N, 4, "value")}),
    "person's name edited": (SET.format("person_name = 'Berit Berg'"), {(N, 4, "value")}),
    "person's reference edited": (SET.format("person_ref = 'berit'"), {(N, 4, "value")}),
    "reason edited": (SET.format("reason = 'no'"), {(N, 4, "value")}),
    "value moved to another field": (SET.format("actor_name = person_name"), {(N, 4, "value")}),
    "name taken out, salt left": (SET.format("person_name = NULL"), {(N, 4, "value")}),
    "salt changed": (SET.format("salts = zeroblob(96)"), {(N, 4, "value")}),
    "salts cut": (SET.format("salts = zeroblob(95)"), {(N, 4, "value")}),
    "digests changed": (SET.format("digests = zeroblob(192)"), {(N, 4, "changed"), (N, 4, "value")}),
    "hash changed": (SET.format("hash = zeroblob(32)"), {(N, 4, "changed"), (N, 5, "changed")}),
    "text where bytes belong": (SET.format("hash = 'x'"), {(N, 4, "changed"), (N, 5, "changed")}),
    "bytes where text belongs": (
        SET.format("action = CAST(x'ff' AS TEXT)"),
        {(N, 4, "unreadable"), (N, 4, "cut"), (N, 3, "cut")},
    ),
    "text where a number belongs": (SET.format("at = 'x'"), {(N, 4, "changed")}),
    "everything erased": (
        SET.format("person_name = NULL, patient_ref = NULL, salts = zeroblob(96)"),
        {(N, 4, "erased"), (N, 4, "value")},
    ),
    "first deleted": ("DELETE FROM audit_entries WHERE tenant = 'north' AND number = 1", {(N, 1, "missing")}),
    "one of the middle deleted": (
        "DELETE FROM audit_entries WHERE tenant = 'north' AND number = 4",
        {(N, 4, "missing")},
    ),
    "several deleted": (
        "DELETE FROM audit_entries WHERE tenant = 'north' AND number IN (4, 5)",
        {(N, 4, "missing")},
    ),
    "last deleted": ("DELETE FROM audit_entries WHERE tenant = 'north' AND number = 9", {(N, 9, "cut"), (N, 8, "cut")}),
    "all deleted": ("DELETE FROM audit_entries WHERE tenant = 'north'", {(N, 1, "cut"), (N, 0, "cut")}),
    "a later one made the first": (
        "UPDATE audit_entries SET number = 0 WHERE tenant = 'north' AND number = 4",
        {(N, 0, "repeated"), (N, 4, "missing")},
    ),
    "moved to another tenant": (
        "UPDATE audit_entries SET tenant = 'south', number = 10 WHERE tenant = 'north' AND number = 9",
        {(N, 9, "cut"), (N, 8, "cut"), ("south", 10, "changed"), ("south", 10, "head")},
    ),
    "head's row put back": (
        "UPDATE audit_heads SET number = 8 WHERE tenant = 'north'",
        {(N, 9, "head")},
    ),
    "head's row deleted": ("DELETE FROM audit_heads WHERE tenant = 'north'", {(N, None, "tenant")}),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
async def test_an_edited_database_is_found(place: Place, name: str) -> None:
    statement, expected = EDITS[name]
    with place.sql() as sql:
        sql.execute(statement)
    assert await place.found() == expected


def swap(place: Place) -> None:
    with place.sql() as sql:
        for former, later in ((4, 100), (5, 4), (100, 5)):
            sql.execute("UPDATE audit_entries SET number = ? WHERE tenant = 'north' AND number = ?", (later, former))


def duplicate(place: Place) -> None:
    with place.sql() as sql:
        columns = [row[1] for row in sql.execute("PRAGMA table_info(audit_entries)")]
        chosen = ", ".join("10" if name == "number" else name for name in columns)
        sql.execute(
            f"INSERT INTO audit_entries SELECT {chosen} FROM audit_entries WHERE tenant = 'north' AND number = 4"
        )


def same_number_twice(place: Place) -> None:
    with place.sql() as sql:
        sql.execute("CREATE TABLE other AS SELECT * FROM audit_entries")
        sql.execute("INSERT INTO other SELECT * FROM other WHERE tenant = 'north' AND number = 4")
        sql.execute("DROP TABLE audit_entries")
        sql.execute("ALTER TABLE other RENAME TO audit_entries")


def forge_from_the_middle(place: Place) -> None:
    """An entry between two others, with right hashes from there on."""
    with place.sql() as sql:
        sql.execute("UPDATE audit_entries SET number = -number - 1 WHERE tenant = 'north' AND number > 4")
        sql.execute("UPDATE audit_entries SET number = -number WHERE number < 0")
        columns = [row[1] for row in sql.execute("PRAGMA table_info(audit_entries)")]
        chosen = ", ".join("5" if name == "number" else name for name in columns)
        sql.execute(
            f"INSERT INTO audit_entries SELECT {chosen} FROM audit_entries WHERE tenant = 'north' AND number = 4"
        )
        sql.execute("UPDATE audit_entries SET actor_name = 'Nobody' WHERE tenant = 'north' AND number = 5")
    place.rechain(since=5)


def rebuild_all(place: Place) -> None:
    with place.sql() as sql:
        sql.execute("UPDATE audit_entries SET actor_name = 'Nobody' WHERE tenant = 'north'")
    place.rechain()


def change_salt_and_digest(place: Place) -> None:
    """Another value with a salt and digest that fit it; the chain is left."""
    with place.sql() as sql:
        row = sql.execute(f"SELECT {', '.join(FIELDS)} FROM audit_entries WHERE tenant = 'north' AND number = 4")
        values = {**dict(zip(FIELDS, row.fetchone(), strict=True)), "actor_name": "Nobody"}
        salts, digests = salted(values, bytes(range(96)))
        sql.execute(SET.format("actor_name = 'Nobody', salts = ?, digests = ?"), (salts, digests))


def cut_with_the_heads_row(place: Place) -> None:
    with place.sql() as sql:
        sql.execute("DELETE FROM audit_entries WHERE tenant = 'north' AND number > 7")
    place.rechain(since=10)


def restore_older(place: Place) -> None:
    for name in ("vardrum.db-wal", "vardrum.db-shm"):
        (place.folder / name).unlink(missing_ok=True)
    shutil.copy(place.folder / "older.db", place.database)


def forged_expiry(place: Place, at: datetime = NOW + timedelta(hours=1)) -> None:
    """Young entries removed, and an entry with right hashes that says that they were old."""
    with place.sql() as sql:
        hash_ = sql.execute("SELECT hash FROM audit_entries WHERE tenant = 'north' AND number = 8").fetchone()[0]
        sql.execute("DELETE FROM audit_entries WHERE tenant = 'north' AND number <= 8")

    async def record() -> None:
        async with place.store() as store, store.write() as transaction:
            detail = {"upto": 8, "hash": hash_.hex(), "newest": 0}
            audit.record(transaction, audit.EXPIRED, tenant="north", at=at, detail=detail)

    asyncio.run(record())


def forged_expiry_of_the_future(place: Place) -> None:
    """The same by an entry that claims to be made when they were old."""
    forged_expiry(place, NOW + timedelta(days=366 * 6))


def expiry_without_end(place: Place) -> None:
    """What says where the chain begins is no number that there is."""

    async def record() -> None:
        async with place.store() as store, store.write() as transaction:
            detail = {"upto": float("inf"), "hash": "00" * 32}
            audit.record(transaction, audit.EXPIRED, tenant="north", at=NOW, detail=detail)

    asyncio.run(record())


def expiry_in_other_bytes(place: Place) -> None:
    """What says where the chain begins can't be read by the database's driver."""
    with place.sql() as sql:
        sql.execute("UPDATE audit_entries SET action = 'audit.expired', detail = CAST(x'ff' AS TEXT) "
                    "WHERE tenant = 'north' AND number = 9")  # fmt: skip


def erasure_in_other_bytes(place: Place) -> None:
    """So can't what a name is said to have been erased by."""
    with place.sql() as sql:
        sql.execute(SET.format("person_name = NULL, erased_by = 9, salts = CAST(substr(salts, 1, 48) || "
                               "zeroblob(16) || substr(salts, 65) AS BLOB)"))  # fmt: skip
        sql.execute("UPDATE audit_entries SET detail = CAST(x'ff' AS TEXT) WHERE tenant = 'north' AND number = 9")


def drop_line(place: Place) -> None:
    place.write_lines(place.lines()[1:])


def cut_file(place: Place) -> None:
    place.write_lines(place.lines()[:1])


def no_file(place: Place) -> None:
    place.north.unlink()


def torn_line(place: Place) -> None:
    place.north.write_bytes(place.north.read_bytes()[:-20])


def edit_line(place: Place) -> None:
    first, last = place.lines()
    place.write_lines([first, heads.SignedHead(**{**json.loads(last), "at": 1}).line()])


def rewrite_spaces(place: Place) -> None:
    """The same head in other bytes."""
    first, last = place.lines()
    place.write_lines([json.dumps(json.loads(first)).encode(), last])


def no_head_at_all(place: Place) -> None:
    place.write_lines([*place.lines(), b"\xff\x00nonsense", b"[" * 1_900])


def other_tenants_file(place: Place) -> None:
    shutil.copy(heads.file_of(place.export, "south"), place.north)


def forge_line(place: Place) -> None:
    """A head of a chain of one's own, with a made-up signature."""
    first, last = place.lines()
    head = replace(heads.parse(last), hash="00" * 32)
    place.write_lines([first, head.line()])


def sign_with_another_key(place: Place) -> None:
    """Cut, and signed anew by a key that calls itself the same."""
    cut_with_the_heads_row(place)
    other = Keyring({"k1": bytes(32)}, "k1")
    with place.sql() as sql:
        hash_ = sql.execute("SELECT hash FROM audit_heads WHERE tenant = 'north'").fetchone()[0]
    first = place.lines()[0]
    head = heads.sign(other, "north", 7, hash_, 1, heads.digest(first))
    place.write_lines([first, head.line()])
    with place.sql() as sql:
        line = bytes.fromhex(heads.digest(head.line()))
        sql.execute("UPDATE audit_heads SET exported_number = 7, exported_line = ? WHERE tenant = 'north'", (line,))


def another_key_with_the_same_fingerprint(place: Place) -> None:
    other = Keyring({"k1": bytes(32)}, "k1")
    first, last = (heads.parse(line) for line in place.lines())
    forged = heads.sign(other, "north", last.number, bytes.fromhex(last.hash), 1, last.previous)
    claimed = heads.SignedHead(**{**asdict(forged), "fingerprint": last.fingerprint})
    place.write_lines([first.line(), claimed.line()])


def key_missing(place: Place) -> None:
    found = json.loads(place.keyring_file.read_text())
    place.keyring_file.write_text(json.dumps({"current": "k9", "keys": {"k9": found["keys"]["k1"]}}))


def another_keyring(place: Place) -> None:
    place.keyring_file.unlink()


TAMPERINGS: dict[Callable[[Place], None], set[tuple[str, int | None, str]]] = {
    swap: {(N, 4, "changed"), (N, 5, "changed"), (N, 6, "changed")},
    duplicate: {(N, 10, "changed"), (N, 10, "head")},
    same_number_twice: {(N, 4, "repeated")},
    forge_from_the_middle: {(N, 6, "head"), (N, 9, "head")},
    rebuild_all: {(N, 6, "head"), (N, 9, "head")},
    change_salt_and_digest: {(N, 4, "changed")},
    cut_with_the_heads_row: {(N, 8, "cut")},
    restore_older: {(N, 7, "cut"), ("south", 7, "cut")},
    forged_expiry: {(N, None, "beginning")},
    forged_expiry_of_the_future: {(N, None, "beginning")},
    expiry_without_end: {(N, 10, "beginning")},
    expiry_in_other_bytes: {(N, None, "beginning"), (N, 9, "unreadable"), (N, 9, "cut"), (N, 8, "cut")},
    erasure_in_other_bytes: {(N, 4, "erased"), (N, 9, "unreadable"), (N, 9, "cut"), (N, 8, "cut")},
    drop_line: {(N, 9, "export")},
    cut_file: {(N, 9, "export")},
    no_file: {(N, 9, "export")},
    torn_line: {(N, None, "export"), (N, 9, "export")},
    edit_line: {(N, 9, "export")},
    rewrite_spaces: {(N, 9, "export")},
    no_head_at_all: {(N, None, "export"), (N, 9, "export")},
    other_tenants_file: {(N, None, "export"), (N, 9, "export")},
    forge_line: {(N, 9, "export")},
    sign_with_another_key: {(N, 7, "key")},
    another_key_with_the_same_fingerprint: {(N, 9, "export")},
    key_missing: {(N, 6, "key"), (N, 9, "key"), ("south", 6, "key"), ("south", 9, "key")},
    another_keyring: {(N, 6, "key"), (N, 9, "key"), ("south", 6, "key"), ("south", 9, "key")},
}  # fmt: skip


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
async def test_tampering_is_found(place: Place, tamper: Callable[[Place], None]) -> None:
    await asyncio.to_thread(tamper, place)
    assert await place.found() == TAMPERINGS[tamper]


async def test_a_whole_machine_put_back_is_found_by_a_head_that_others_keep(place: Place, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    others = heads.file_of(place.export, "south").read_bytes()
    kept.write_bytes(b"".join(line + b"\n" for line in reversed(place.lines())) + others)
    restore_older(place)
    for tenant in ("north", "south"):
        path = heads.file_of(place.export, tenant)
        path.write_bytes(path.read_bytes().splitlines()[0] + b"\n")
    with place.sql() as sql:
        for tenant in ("north", "south"):
            line = bytes.fromhex(heads.digest(heads.file_of(place.export, tenant).read_bytes().splitlines()[0]))
            sql.execute(
                "UPDATE audit_heads SET exported_number = 6, exported_line = ? WHERE tenant = ?", (line, tenant)
            )
    assert await place.found() == set()
    assert await place.found(kept) == {(N, 7, "cut"), ("south", 7, "cut")}


async def test_a_head_that_others_keep_counts_without_a_newline_at_its_end(place: Place, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(place.lines()[-1])
    place.north.unlink()
    with place.sql() as sql:
        sql.execute("UPDATE audit_heads SET exported_number = 0, exported_line = NULL WHERE tenant = 'north'")
    cut_with_the_heads_row(place)
    assert await place.found() == set()
    assert await place.found(kept) == {(N, 8, "cut")}


async def test_a_tenant_that_is_gone_is_found_by_a_head_that_others_keep(place: Place, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(place.lines()[-1] + b"\n")
    place.north.unlink()
    with place.sql() as sql:
        for table, column in (("audit_entries", "tenant"), ("audit_heads", "tenant"), ("tenants", "id")):
            sql.execute(f"DELETE FROM {table} WHERE {column} = 'north'")
    assert await place.found() == set()
    assert await place.found(kept) == {(N, None, "tenant"), (N, 1, "cut")}


async def test_a_replaced_keyring_is_found_by_public_keys_that_others_keep(place: Place) -> None:
    known = public_keys(place.keyring)
    rebuild_all(place)
    place.keyring_file.unlink()
    shutil.rmtree(place.export)
    with place.sql() as sql:
        sql.execute("UPDATE audit_heads SET exported_number = 0, exported_line = NULL")
    async with place.store() as store:
        await place.sign(store)
    assert await place.found() == set()
    assert await place.found(known=known) == {(N, 9, "key"), ("south", 9, "key")}


async def test_a_server_that_goes_on_after_an_older_copy_was_restored_does_not_hide_it(place: Place) -> None:
    restore_older(place)
    async with place.store() as store:
        await place.act(store, "north", 7, 7)
        await place.sign(store)
    assert (N, 7, "export") in await place.found()


async def test_what_was_written_since_the_last_signature_fits(place: Place) -> None:
    async with place.store() as store:
        await place.act(store, "north", 10, 12)
    assert await place.found() == set()


async def test_a_server_that_ended_between_file_and_database_goes_on(place: Place) -> None:
    async with place.store() as store:
        with place.sql() as sql:
            row = sql.execute(
                "SELECT exported_number, exported_line FROM audit_heads WHERE tenant = 'north'"
            ).fetchone()
        await place.act(store, "north", 10, 10)
        await place.sign(store)
    with place.sql() as sql:
        sql.execute("UPDATE audit_heads SET exported_number = ?, exported_line = ? WHERE tenant = 'north'", row)
    assert await place.found() == set()
    async with place.store() as store:
        await place.sign(store)
        assert len(place.lines()) == 3
        await place.act(store, "north", 11, 11)
        await place.sign(store)
    assert (len(place.lines()), await place.found()) == (4, set())


@pytest.mark.parametrize("cut", [cut_file, no_file], ids=lambda cut: cut.__name__)
async def test_a_server_that_goes_on_after_its_heads_were_cut_does_not_hide_it(
    place: Place, cut: Callable[[Place], None]
) -> None:
    cut(place)
    async with place.store() as store:
        await place.act(store, "north", 10, 10)
        await place.sign(store)
    assert await place.found() == {(N, 10, "export")}


async def test_a_line_that_power_failed_in_is_written_anew(place: Place) -> None:
    async with place.store() as store:
        await place.act(store, "north", 10, 10)
        with place.north.open("ab") as file:
            file.write(place.lines()[-1][:100])
        await place.sign(store)
    assert (len(place.lines()), await place.found()) == (3, set())


async def test_writers_in_two_processes_make_one_chain(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        await asyncio.gather(*(place.act(store, "north", n, n) for n in range(10, 20) for store in (one, other)))
    report = await place.verify()
    assert (report.entries, list(report.problems)) == (38, [])


async def test_what_was_rolled_back_left_no_entry_and_the_chain_goes_on(place: Place) -> None:
    async with place.store() as store:

        async def fails() -> None:
            async with store.write():
                await place.act(store, "north", 10, 11)
                raise ValueError("no")

        async def conflicts() -> None:
            async with store.write() as transaction:
                await place.act(store, "north", 10, 11)
                transaction.before_commit.append(refuse)

        async def refuse() -> None:
            raise ValueError("no")

        for attempt in (fails, conflicts):
            with pytest.raises(ValueError, match="no"):
                await attempt()
        await place.act(store, "north", 10, 10)
    report = await place.verify()
    assert (report.entries, list(report.problems)) == (19, [])


async def test_heads_under_a_former_key_still_verify(place: Place) -> None:
    keyrings.rotate(place.keyring_file)
    async with place.store() as store:
        await place.act(store, "north", 10, 10)
        await place.sign(store)
    assert heads.parse(place.lines()[-1]).key == "k2"
    assert await place.found() == set()


async def erase(place: Place, *numbers: int, said: bool = True, **fields: bool) -> None:
    async with place.store() as store, store.write() as transaction:
        by = await audit.next_number(transaction.db, "north")
        for number in numbers:
            entry = await audit.entry(transaction.db, "north", number)
            assert entry is not None
            await audit.erase(transaction.db, entry, [name for name, wanted in fields.items() if wanted], by)
        if said:
            audit.record(transaction, audit.ERASED, tenant="north", at=NOW, detail={"entries": list(numbers)})


async def test_a_name_that_was_erased_properly_leaves_a_trail_that_verifies(place: Place) -> None:
    await erase(place, 2, 4, person_name=True, person_ref=True, reason=True)
    await erase(place, 3, person_name=True, actor_name=True, actor_id=True)
    assert await place.found() == set()
    assert b"Anna Berg" in place.database.read_bytes() + (place.folder / "older.db").read_bytes()
    with place.sql() as sql:
        query = (
            "SELECT person_name, hex(substr(salts, 49, 16)) FROM audit_entries WHERE tenant = 'north' AND number = 4"
        )
        assert sql.execute(query).fetchone() == (None, "00" * 16)


async def test_a_name_that_was_erased_without_saying_so_is_found(place: Place) -> None:
    await erase(place, 4, said=False, person_name=True)
    assert await place.found() == {(N, 4, "erased")}


async def test_an_erasure_that_names_other_entries_covers_nothing_else(place: Place) -> None:
    await erase(place, 2, person_name=True)
    with place.sql() as sql:
        sql.execute(SET.format("person_name = NULL, erased_by = 10, salts = CAST(substr(salts, 1, 48) || "
                               "zeroblob(16) || substr(salts, 65) AS BLOB)"))  # fmt: skip
    assert {one for one in await place.found() if one[1] == 4} == {(N, 4, "erased")}


@pytest.mark.parametrize("field", ["patient_ref", "actor_id", "actor_name"])
async def test_patients_and_staff_are_never_erased(place: Place, field: str) -> None:
    await erase(place, 4, **{field: True})
    assert await place.found() == {(N, 4, "erased")}


async def test_entries_that_have_grown_old_go_and_the_rest_verifies(place: Place) -> None:
    later = NOW + timedelta(days=366 * 5 + 2)
    async with place.store() as store:
        retention = Retention(store, Kept(), lambda: later)
        for _ in range(3):
            await retention.tick()
        with acts(NURSE):
            await place.act(store, "south", 10, 10)
        await place.sign(store, later)
    report = await place.verify(now=later)
    assert list(report.problems) == []
    with place.sql() as sql:
        kept = sql.execute("SELECT number, action FROM audit_entries WHERE tenant = 'north' ORDER BY number").fetchall()
    assert kept == [(10, "audit.expired")]


async def test_a_long_trail_is_read_bit_by_bit_with_progress(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "BATCH", 2)
    monkeypatch.setattr(module, "EVERY", 4)
    told: list[tuple[str, int, int]] = []
    async with place.store() as store:
        report = await verify(
            store,
            place.export,
            public_keys(place.keyring),
            now=NOW,
            progress=lambda *one: told.append(one),
            tenant="north",
        )
    assert (report.entries, list(report.problems), told) == (9, [], [("north", 4, 9), ("north", 8, 9)])
