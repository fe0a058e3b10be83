"""Backup and restore as an operator does them: beside a server at work, and of archives that somebody has changed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import io
import os
import random
import sqlite3
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from vardrum.control import keyring as keyrings
from vardrum.control import settings as configuration
from vardrum.control.audit.cli import public_keys
from vardrum.control.audit.verify import verify
from vardrum.control.backup import archive as archives
from vardrum.control.backup.archive import LIST, SIGNATURE, Contents, File
from vardrum.control.backup.making import CannotBackUp, back_up
from vardrum.control.backup.restoring import CannotRestore, restore
from vardrum.control.settings import Settings
from vardrum.control.store import keys
from vardrum.control.store import store as store_module
from vardrum.control.store.store import Store
from vardrum.tests.api.test_cli import vardrum
from vardrum.tests.support.portal import SCOPES, Portal, Refused, create_key
from vardrum.tests.support.postgres import PostgresServer, program
from vardrum.tests.support.server import Server
from vardrum.tests.support.tables import lay
from vardrum.tests.support.wait import wait_until

NOW = datetime(2026, 3, 2, tzinfo=UTC)
PEOPLE = [{"display_name": "Patient", "role": "patient", "phone": "+46701234567"}]
OFTEN = {"VARDRUM_AUDIT__EXPORT_SECONDS": "1"}


class Bookings:
    """Books one room after the other for as long as the block runs; what was answered is in `rooms`, links by room."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self.rooms: dict[str, str] = {}

    async def more(self, count: int) -> None:
        wanted = len(self.rooms) + count
        await wait_until(lambda: len(self.rooms) >= wanted, deadline=60, what=f"{count} more rooms")

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._book())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _book(self) -> None:
        while True:
            [patient] = await self._portal.book(PEOPLE)
            self.rooms[patient.room] = patient.join_url


async def all_there(server: Server, key: str, rooms: dict[str, str]) -> None:
    """Rooms, links, and what only the keyring opens."""
    async with Portal(server.http, key) as portal:
        for room, link in rooms.items():
            [patient] = (await portal.call("GET", f"/v1/rooms/{room}"))["participants"]
            assert await portal.call("GET", f"/v1/rooms/{room}/participants/{patient['id']}/phone") == {
                "phone": "+46701234567"
            }
            assert (await portal.call("POST", "/v1/sessions", {"invite": link.partition("#")[2]}))["token"]


def actions(data: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(data / "vardrum.db")) as database:
        found = database.execute("SELECT action FROM audit_entries WHERE action LIKE 'backup.%' ORDER BY number")
        return [action for (action,) in found]


async def test_what_was_there_when_a_backup_was_made_is_there_again_elsewhere(tmp_path: Path) -> None:
    archive, keyring, elsewhere = tmp_path / "saved.tar", tmp_path / "keyring", tmp_path / "elsewhere"
    async with Server(tmp_path / "data", env=OFTEN) as server:
        key = await create_key(server)
        heads = server.data / "audit" / "test.jsonl"
        async with Portal(server.http, key) as portal:
            bookings = Bookings(portal)
            async with bookings.going_on():
                await wait_until(lambda: heads.exists() and len(bookings.rooms) > 5, deadline=60, what="a signed head")
                before = dict(bookings.rooms)
                status, output, _ = await vardrum(
                    "backup", str(archive), "--keyring", str(keyring), "--data", str(server.data)
                )
                assert status == 0
                await bookings.more(1)  # which was under way perhaps
                known = set(bookings.rooms)
                await bookings.more(3)
            late = next(room for room in bookings.rooms if room not in known)
    assert output.startswith(f"{archive}: {archive.stat().st_size} bytes\n  vardrum.db: ")
    assert {one.stat().st_mode & 0o777 for one in (archive, keyring)} == {0o600}
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".") or one.suffix == ".part"] == []

    status, output, errors = await vardrum("restore", str(archive), "--keyring", str(keyring), "--data", str(elsewhere))
    assert (status, errors) == (0, "")
    assert (await vardrum("audit", "verify", "--data", str(elsewhere)))[0] == 0
    async with Server(elsewhere, env=OFTEN) as server:
        await all_there(server, key, before)
        async with Portal(server.http, key) as portal:
            with pytest.raises(Refused, match="404"):
                await portal.call("GET", f"/v1/rooms/{late}")
    assert await verified(elsewhere)
    assert actions(elsewhere) == ["backup.made", "backup.restored"]
    # A second one on top, or beside a server that runs, would be two installations in one.
    with pytest.raises(CannotRestore, match="isn't empty"):
        await asyncio.to_thread(restore, of(elsewhere), archive, keyring, at=NOW)


async def verified(data: Path, database: str = "") -> bool:
    public = public_keys(keyrings.load(data / "keyring.json", create=False))
    async with Store(database or data / "vardrum.db") as store:
        report = await verify(store, data / "audit", public, now=datetime.now(UTC))
    return report.heads > 0 and not report.problems


async def test_with_postgresql_the_rest_of_the_data_folder_comes_back_with_its_dump(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    archive, keyring, dump, elsewhere = (tmp_path / name for name in ("saved.tar", "keyring", "dump", "elsewhere"))
    with postgres.database() as former, postgres.database() as later:
        settings = of(tmp_path / "data", database_url=former)
        async with Server(settings.data, env={**OFTEN, "VARDRUM_DATABASE_URL": former}) as server:
            async with Store(former) as store:
                await keys.create_tenant(store, "test", "Test", NOW)
                _, key = await keys.create_key(store, "test", "portal", SCOPES, NOW, os.urandom)
            heads = server.data / "audit" / "test.jsonl"
            async with Portal(server.http, key) as portal:
                bookings = Bookings(portal)
                async with bookings.going_on():
                    await wait_until(lambda: heads.exists() and bookings.rooms, deadline=60, what="a signed head")
                    before = dict(bookings.rooms)
                    await run(program("pg_dump"), "--format=custom", f"--file={dump}", former)
                    await bookings.more(1)
                    saved = await asyncio.to_thread(back_up, settings, archive, keyring, at=NOW, version="1")
        assert [one.name for one in saved.files] == ["audit/test.jsonl"]
        settings = of(elsewhere, database_url=later)
        with pytest.raises(CannotRestore, match="restored before this"):
            await asyncio.to_thread(restore, settings, archive, keyring, at=NOW)
        assert not elsewhere.exists()
        await run(program("pg_restore"), "--exit-on-error", "--no-owner", f"--dbname={later}", str(dump))
        await asyncio.to_thread(restore, settings, archive, keyring, at=NOW)
        assert await verified(elsewhere, later)
        async with Server(elsewhere, env={**OFTEN, "VARDRUM_DATABASE_URL": later}) as server:
            await all_there(server, key, before)
        assert await verified(elsewhere, later)


async def run(*command: str) -> None:
    await asyncio.to_thread(subprocess.run, command, check=True)


# -- without a server --


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of an installation that was served once."""
    found = of(tmp_path / "data")
    found.data.mkdir()
    lay(found.data / "vardrum.db")
    keyrings.load(found.keyring_file(), create=True)
    found.audit_folder().mkdir()
    return found


def of(data: Path, **more: Any) -> Settings:
    return configuration.load(overrides={"data": str(data), **more}, environment={})


def saved(settings: Settings) -> Path:
    archive = settings.data.with_name("saved.tar")
    back_up(settings, archive, None, at=NOW, version="1")
    return archive


def test_nothing_is_ever_overwritten_and_what_fails_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    archive = saved(settings)
    before = archive.read_bytes()
    with pytest.raises(CannotBackUp, match="is there already"):
        back_up(settings, archive, None, at=NOW, version="1")
    with pytest.raises(CannotBackUp, match="No such file"):
        back_up(settings, tmp_path / "none" / "x.tar", None, at=NOW, version="1")
    (settings.audit_folder() / "x.jsonl").mkdir()
    with pytest.raises(CannotBackUp, match="Is a directory"):
        back_up(settings, tmp_path / "other.tar", None, at=NOW, version="1")
    assert archive.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} == {"data", "saved.tar"}


def test_a_copy_of_the_keyring_is_brought_up_to_date_and_another_installations_is_not(
    settings: Settings, tmp_path: Path
) -> None:
    copy, others = tmp_path / "copy", tmp_path / "others"
    back_up(settings, tmp_path / "1.tar", copy, at=NOW, version="1")
    keyrings.rotate(settings.keyring_file())
    back_up(settings, tmp_path / "2.tar", copy, at=NOW, version="1")
    assert keyrings.load(copy, create=False).names == ["k1", "k2"]
    keyrings.load(others, create=True)
    kept = others.read_bytes()
    with pytest.raises(CannotBackUp, match="isn't overwritten"):
        back_up(settings, tmp_path / "3.tar", others, at=NOW, version="1")
    assert others.read_bytes() == kept
    # The one of before the rotation is signed with a key that is still there.
    for number in (1, 2):
        restore(of(tmp_path / f"new{number}"), tmp_path / f"{number}.tar", copy, at=NOW)
    with pytest.raises(CannotRestore, match="was made with another keyring"):
        restore(of(tmp_path / "new3"), tmp_path / "1.tar", others, at=NOW)


def test_the_keyring_is_where_the_settings_say(settings: Settings, tmp_path: Path) -> None:
    archive, apart = saved(settings), tmp_path / "keyring"
    keyrings.copy(settings.keyring_file(), apart)
    with pytest.raises(CannotRestore, match="--keyring: is missing"):
        restore(of(tmp_path / "new"), archive, None, at=NOW)
    named = of(tmp_path / "new", keyring=str(apart))
    with pytest.raises(CannotRestore, match="isn't wanted"):
        restore(named, archive, apart, at=NOW)
    restore(named, archive, None, at=NOW)
    assert not (tmp_path / "new" / "keyring.json").exists()


def test_a_database_of_another_version_is_copied_as_it_is(tmp_path: Path) -> None:
    settings = of(tmp_path / "data")
    settings.data.mkdir()
    keyrings.load(settings.keyring_file(), create=True)

    async def older() -> None:
        store = Store(settings.data / "vardrum.db")
        async with store._database.writer.begin() as connection:
            await connection.run_sync(store_module._migrate, "0001")
        await store.stop()

    asyncio.run(older())
    archive = saved(settings)
    assert asyncio.run(Store.revision(settings.data / "vardrum.db")) == "0001"
    restore(of(tmp_path / "new"), archive, settings.keyring_file(), at=NOW)
    assert asyncio.run(Store.revision(tmp_path / "new" / "vardrum.db")) == Store.newest_revision()


# -- archives that aren't ours any more --

Member = tuple[tarfile.TarInfo, bytes]


def members(archive: Path) -> list[Member]:
    with tarfile.open(archive) as tar:
        return [(one, (tar.extractfile(one) or io.BytesIO()).read()) for one in tar.getmembers()]


def member(name: str, data: bytes = b"", **fields: Any) -> Member:
    found = tarfile.TarInfo(name)
    found.size = len(data)
    for field, value in fields.items():
        setattr(found, field, value)
    return found, data


def pack(archive: Path, listed: list[Member]) -> None:
    with tarfile.open(archive, "w") as tar:
        for one, data in listed:
            tar.addfile(one, io.BytesIO(data))


def signed(settings: Settings, listed: bytes, files: list[Member]) -> list[Member]:
    """As if whoever has the keyring had made it."""
    key = keyrings.load(settings.keyring_file(), create=False).signing_key(archives.PURPOSE)
    signature = base64.urlsafe_b64encode(key.sign(archives._SIGNED + listed))
    return [member(LIST, listed), member(SIGNATURE, signature), *files]


def listing(name: str, data: bytes) -> bytes:
    file = File.model_construct(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    return (
        Contents.model_construct(format=1, made_at=NOW, version="1", database="sqlite", files=(file,))
        .model_dump_json()
        .encode()
    )


def other_bytes(settings: Settings, archive: Path) -> None:
    found = members(archive)
    found[2] = (found[2][0], found[2][1][:-1] + b"x")
    pack(archive, found)


def another_list(settings: Settings, archive: Path) -> None:
    found = members(archive)
    found[0] = member(LIST, found[0][1].replace(b"2026", b"2027"))
    pack(archive, found)


def one_more_file(settings: Settings, archive: Path) -> None:
    pack(archive, [*members(archive), member("audit/x.jsonl", b"{}")])


def one_file_twice(settings: Settings, archive: Path) -> None:
    found = members(archive)
    pack(archive, [*found, found[-1]])


def one_file_less(settings: Settings, archive: Path) -> None:
    pack(archive, members(archive)[:-1])


def nothing_in_it(settings: Settings, archive: Path) -> None:
    pack(archive, [])


def a_link(settings: Settings, archive: Path) -> None:
    found = members(archive)
    pack(archive, [*found[:2], member("vardrum.db", type=tarfile.SYMTYPE, linkname="/etc/passwd")])


def outside(settings: Settings, archive: Path) -> None:
    pack(archive, signed(settings, listing("../outside", b"x"), [member("../outside", b"x")]))


def absolute(settings: Settings, archive: Path) -> None:
    name = str(archive.with_name("outside"))
    pack(archive, signed(settings, listing(name, b"x"), [member(name, b"x")]))


def no_database(settings: Settings, archive: Path) -> None:
    pack(archive, signed(settings, listing("vardrum.db", b"x" * 5000), [member("vardrum.db", b"x" * 5000)]))


def of_a_later_format(settings: Settings, archive: Path) -> None:
    listed = members(archive)[0][1].replace(b'"format":1', b'"format":2')
    pack(archive, signed(settings, listed, members(archive)[2:]))


def of_a_later_schema(settings: Settings, archive: Path) -> None:
    archive.unlink()
    with contextlib.closing(sqlite3.connect(settings.data / "vardrum.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    saved(settings)


def compressed(settings: Settings, archive: Path) -> None:
    archive.write_bytes(gzip.compress(archive.read_bytes()))


def cut_short(settings: Settings, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:20_000])


def a_header_of_gigabytes(settings: Settings, archive: Path) -> None:
    header = member("x", type=tarfile.XHDTYPE)[0]
    header.size = 8_000_000_000
    archive.write_bytes(header.tobuf() + archive.read_bytes())


CHANGES: dict[Callable[[Settings, Path], None], str] = {
    other_bytes: "was changed since it was made, or is damaged: vardrum.db",
    another_list: "was made with another keyring, or was changed since",
    one_more_file: "it has a file that it doesn't list",
    one_file_twice: "it has a file that it doesn't list",
    one_file_less: "is incomplete: vardrum.db is missing",
    nothing_in_it: "no backup of Vardrum",
    a_link: "it has a file that it doesn't list",
    outside: "was made by a newer version",
    absolute: "was made by a newer version",
    no_database: "the database in it can't be used",
    of_a_later_format: "was made by a newer version",
    of_a_later_schema: "was made by a newer version",
    compressed: "no backup of Vardrum",
    cut_short: "is damaged",
    a_header_of_gigabytes: "is damaged",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_an_archive_that_is_not_as_it_was_made_lays_nothing(
    change: Callable[[Settings, Path], None], settings: Settings, tmp_path: Path
) -> None:
    archive = saved(settings)
    change(settings, archive)
    with pytest.raises(CannotRestore) as refused:
        restore(of(tmp_path / "new"), archive, settings.keyring_file(), at=NOW)
    assert CHANGES[change] in str(refused.value)
    assert {one.name for one in tmp_path.iterdir()} == {"data", "saved.tar"}


def test_whatever_bytes_an_archive_has_it_is_refused_or_as_it_was(settings: Settings, tmp_path: Path) -> None:
    archive = saved(settings)
    keyring = keyrings.load(settings.keyring_file(), create=False)
    whole = archive.read_bytes()
    chance = random.Random(7)
    for number in range(100):
        changed = bytearray(whole)
        for _ in range(chance.choice((1, 4, 40))):
            # Mostly in the first headers, where there is most to be misread.
            changed[chance.randrange(chance.choice((3_000, len(changed))))] = chance.randrange(256)
        archive.write_bytes(changed)
        into = tmp_path / f"into{number}"
        into.mkdir()
        with contextlib.suppress(archives.BadArchive):
            found = archives.read(archive, keyring, into)
            assert [one.name for one in found.files] == ["vardrum.db"]
            assert (into / "vardrum.db").read_bytes() == dict(whole_files(whole))["vardrum.db"]


def whole_files(archive: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for one in tar.getmembers():
            yield one.name, (tar.extractfile(one) or io.BytesIO()).read()
