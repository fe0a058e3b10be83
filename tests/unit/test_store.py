"""The database: its schema is the models', what is written is on disk, writers take turns; on both."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from structlog.testing import capture_logs
from vardrum.control.store import keys, queries
from vardrum.control.store import store as module
from vardrum.control.store.models import Base, Room, Tenant
from vardrum.control.store.postgres import LOCKS, WRITES
from vardrum.control.store.store import Busy, Db, Store, Unusable
from vardrum.tests.support.postgres import PostgresServer
from vardrum.tests.support.wait import wait_until

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def where(tmp_path: Path, database: str) -> Path | str:
    """An empty database."""
    return database or tmp_path / "x.db"


@contextmanager
def another_process_writes(where: Path | str) -> Iterator[None]:
    """As `vardrum keys create` does beside a server."""
    if isinstance(where, Path):
        file = sqlite3.connect(where, isolation_level=None)
        file.execute("BEGIN IMMEDIATE")
        yield
        file.execute("ROLLBACK")
        file.close()
    else:
        with psycopg.connect(where) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCKS, WRITES))
            yield


@pytest.mark.both_databases
async def test_the_migrations_make_what_the_models_say(where: Path | str) -> None:
    async with Store(where):
        pass
    # Again: nothing is left to do.
    async with Store(where) as store, store.write() as transaction:
        connection = await transaction.db.connection()
        assert await connection.run_sync(_differences) == []


def _differences(connection: Any) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": _same_type})
    return list(compare_metadata(context, Base.metadata))


def _same_type(*arguments: object) -> bool | None:
    # Times are kept as numbers, which is all that the database can know of them.
    return False if "BIGINT" in str(arguments[3]) else None


async def test_sqlite_writes_ahead_and_waits_for_the_disk(tmp_path: Path) -> None:
    async with Store(tmp_path / "x.db") as store, store.write() as transaction:
        connection = await transaction.db.connection()
        found = {}
        for name in ("journal_mode", "synchronous", "foreign_keys"):
            found[name] = (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_postgresql_waits_for_the_disk_whatever_the_database_was_told(postgres: PostgresServer) -> None:
    with postgres.database() as where:
        async with Store(f"{where}&options=-c%20synchronous_commit%3Doff") as store, store.write() as transaction:
            connection = await transaction.db.connection()
            assert (await connection.exec_driver_sql("SHOW synchronous_commit")).scalar() == "on"


@pytest.mark.both_databases
async def test_a_block_that_raises_leaves_nothing_and_tells_nobody(where: Path | str) -> None:
    told = []

    async def tell() -> None:
        told.append(1)

    async with Store(where) as store:

        async def fails() -> None:
            async with store.write() as transaction:
                transaction.after_commit.append(tell)
                await keys.create_tenant(store, "a", "A", NOW)  # joins this transaction
                raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await fails()
        assert (await keys.tenants(store), told) == ([], [])
        async with store.write() as transaction:
            transaction.after_commit.append(tell)
            await keys.create_tenant(store, "a", "A", NOW)
            assert told == []
            assert [one.id for one in await keys.tenants(store)] == ["a"]  # reading inside sees it
        assert told == [1]


@pytest.mark.both_databases
async def test_writers_take_turns_also_with_another_process(where: Path | str) -> None:
    async with Store(where) as store:
        with another_process_writes(where):
            many = asyncio.gather(*(keys.create_tenant(store, f"t{n}", "T", NOW) for n in range(20)))
            await asyncio.sleep(0)
            assert await keys.tenants(store) == []  # readers don't wait
            assert not many.done()
        await many
        assert len(await keys.tenants(store)) == 20


@pytest.mark.both_databases
async def test_what_is_read_and_then_written_is_not_changed_in_between(where: Path | str) -> None:
    async with Store(where) as first, Store(where) as second:
        await keys.create_tenant(first, "a", "0", NOW)

        async def counts(store: Store) -> None:
            async with store.write() as transaction:
                tenant = await transaction.db.get_one(Tenant, "a")
                tenant.name = str(int(tenant.name) + 1)

        await asyncio.gather(*(counts(store) for store in (first, second) * 20))
        [tenant] = await keys.tenants(first)
        assert tenant.name == "40"


@pytest.mark.both_databases
async def test_a_reader_sees_one_state(where: Path | str) -> None:
    async with Store(where) as store:
        await keys.create_tenant(store, "a", "A", NOW)
        async with store.read() as db:
            before = [one.id for one in await queries.tenants(db)]
            await asyncio.create_task(keys.create_tenant(store, "b", "B", NOW))
            db.expire_all()
            assert [one.id for one in await queries.tenants(db)] == before == ["a"]
        assert len(await keys.tenants(store)) == 2


@pytest.mark.both_databases
async def test_a_queue_that_is_too_long_is_refused(where: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_QUEUE", 2)
    async with Store(where) as store:
        writers = [asyncio.create_task(keys.create_tenant(store, f"t{n}", "T", NOW)) for n in range(5)]
        done = await asyncio.gather(*writers, return_exceptions=True)
        assert [type(one) for one in done] == [type(None)] * 2 + [Busy] * 3
        await keys.create_tenant(store, "later", "T", NOW)


def _room(tenant: str) -> Room:
    more: dict[str, Any] = {"state": "open", "form": "video", "care_unit": {"name": "W"}, "care_unit_key": "W"}
    times = dict.fromkeys(("starts_at", "ends_at", "opens_at", "closes_at", "created_at", "updated_at"), NOW)
    policy: dict[str, Any] = {"identity_policy": {}, "max_participants": 8, "language": "sv", "time_zone": "UTC"}
    return Room(id=f"room_{tenant}", tenant=tenant, **more, **times, **policy)


def _event(number: int, tenant: str) -> dict[str, Any]:
    return {
        "id": f"evt_{number}",
        "tenant": tenant,
        "room": f"room_{tenant}",
        "participant": None,
        "type": "t",
        "occurred_at": NOW,
        "data": {},
    }


@pytest.mark.both_databases
async def test_events_are_counted_for_each_tenant_and_one_that_is_undone_leaves_no_gap(where: Path | str) -> None:
    async with Store(where) as store:
        for tenant in "ab":
            async with store.write() as transaction:
                transaction.db.add(Tenant(id=tenant, name=tenant, created_at=NOW))
                await transaction.db.flush()
                transaction.db.add(_room(tenant))

        async def happens(*events: dict[str, Any], fails: bool = False) -> None:
            async with store.write() as transaction:
                for one in events:
                    transaction.record(**one)
                if fails:
                    raise ValueError("no")

        await happens(_event(1, "a"), _event(2, "b"), _event(3, "a"))
        with pytest.raises(ValueError, match="no"):
            await happens(_event(4, "a"), fails=True)
        await happens(_event(5, "a"))
        async with store.read() as db:
            found = {tenant: await queries.events(db, tenant, 0, 10) for tenant in "ab"}
        assert [(one.position, one.id) for one in found["a"]] == [(1, "evt_1"), (2, "evt_3"), (3, "evt_5")]
        assert [(one.position, one.id) for one in found["b"]] == [(1, "evt_2")]


async def test_events_of_before_keep_their_order_and_lose_their_names(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    former = Store(file)
    async with former._database.writer.begin() as connection:
        await connection.run_sync(module._migrate, "0001")
    await former.stop()
    by = '{"by": {"id": "n-1", "name": "Nils", "care_unit": "W"}, "reason": "Nils said so", "session": "s"}'
    with sqlite3.connect(file) as old:
        for tenant in "ab":
            old.execute(f"INSERT INTO tenants VALUES ('{tenant}', 'A', 0)")
            old.execute(
                "INSERT INTO rooms (id, tenant, state, form, training, care_unit, care_unit_key, starts_at, ends_at,"
                " opens_at, closes_at, time_zone, language, max_participants, locked, identity_policy, created_at,"
                f" updated_at, version) VALUES ('room_{tenant}', '{tenant}', 'open', 'video', 0, '{{}}', 'W', 0, 0, 0,"
                " 0, 'UTC', 'sv', 8, 0, '{}', 0, 0, 1)"
            )
        for position, tenant, data in ((3, "a", "{}"), (4, "b", "{}"), (9, "a", by), (11, "a", '{"reason": "silent"}')):
            old.execute(
                "INSERT INTO events (position, id, tenant, room, type, occurred_at, data)"
                " VALUES (?, ?, ?, ?, 't', 0, ?)",
                (position, f"evt_{position}", tenant, f"room_{tenant}", data),
            )
    old.close()
    async with Store(file) as store:
        async with store.read() as db:
            found = await queries.events(db, "a", 0, 10)
            assert [(one.position, one.id) for one in found] == [(1, "evt_3"), (2, "evt_9"), (3, "evt_11")]
            assert found[1].data == {"by": {"id": "n-1", "care_unit": "W"}, "session": "s"}
            assert found[2].data == {"reason": "silent"}
        async with store.write() as transaction:
            transaction.record(**_event(12, "a"))
        async with store.read() as db:
            assert [one.position for one in await queries.events(db, "a", 3, 10)] == [4]


@pytest.mark.both_databases
async def test_who_came_while_another_wrote_shares_a_commit_and_none_goes_on_before_it(where: Path | str) -> None:
    told: list[str] = []
    async with Store(where) as store:

        async def writes(name: str) -> None:
            async def tell() -> None:
                assert name in [one.id for one in await keys.tenants(store)]
                told.append(name)

            async with store.write() as transaction:
                transaction.after_commit.append(tell)
                await keys.create_tenant(store, name, "T", NOW)
            assert name in told

        await asyncio.gather(*(writes(f"t{n}") for n in range(40)))
        assert len(told) == len(await keys.tenants(store)) == 40
        assert store._writers.commits < 20


@pytest.mark.both_databases
@pytest.mark.parametrize("failing", [{0}, {1}, {0, 1, 2}, {2, 4}])
async def test_who_fails_takes_nothing_of_the_others_with_it(where: Path | str, failing: set[int]) -> None:
    async with Store(where) as store:
        await keys.create_tenant(store, "taken", "T", NOW)

        async def writes(number: int) -> None:
            async with store.write() as transaction:
                transaction.db.add(Tenant(id=f"t{number}", name="T", created_at=NOW))
                await transaction.db.flush()
                if number in failing:
                    transaction.db.add(Tenant(id="taken", name="T", created_at=NOW))

        done = await asyncio.gather(*(writes(number) for number in range(5)), return_exceptions=True)
        assert {at for at, one in enumerate(done) if isinstance(one, queries.IntegrityError)} == failing
        there = {one.id for one in await keys.tenants(store)}
        assert there == {"taken", *(f"t{number}" for number in range(5) if number not in failing)}


@pytest.mark.both_databases
async def test_who_is_cancelled_while_waiting_writes_nothing_and_holds_up_nobody(where: Path | str) -> None:
    async with Store(where) as store:
        inside, go = asyncio.Event(), asyncio.Event()

        async def writes(name: str) -> None:
            async with store.write():
                await keys.create_tenant(store, name, "T", NOW)
                if name == "first":
                    inside.set()
                    await go.wait()

        first, *others = [asyncio.create_task(writes(name)) for name in ("first", "second", "third")]
        await inside.wait()
        others[0].cancel()
        await asyncio.sleep(0)
        go.set()
        done = await asyncio.gather(first, *others, return_exceptions=True)
        assert [type(one) for one in done] == [type(None), asyncio.CancelledError, type(None)]
        assert {one.id for one in await keys.tenants(store)} == {"first", "third"}


@pytest.mark.both_databases
async def test_who_is_cancelled_at_the_commit_has_written_and_is_told_of(
    where: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store(where) as store:
        told, committing, cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        serve = store._writers._serve

        async def serves(*arguments: Any) -> None:
            await serve(*arguments)
            committing.set()
            await cancelled.wait()

        monkeypatch.setattr(store._writers, "_serve", serves)

        async def tell() -> None:
            told.set()

        async def writes() -> None:
            async with store.write() as transaction:
                transaction.after_commit.append(tell)
                await keys.create_tenant(store, "a", "T", NOW)

        writer = asyncio.create_task(writes())
        await committing.wait()
        writer.cancel()
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await writer
        await asyncio.wait_for(told.wait(), 5)
        assert [one.id for one in await keys.tenants(store)] == ["a"]


async def test_a_connection_that_goes_in_the_middle_fails_all_who_share_its_commit(postgres: PostgresServer) -> None:
    with postgres.database() as where:
        async with Store(where) as store:

            async def writes(name: str) -> None:
                async with store.write():
                    await keys.create_tenant(store, name, "T", NOW)
                    if name == "second":
                        await asyncio.to_thread(_cut, where)
                        await keys.create_tenant(store, "after", "T", NOW)

            names = ("first", "second", "third")
            done = await asyncio.gather(*(writes(name) for name in names), return_exceptions=True)
            assert [type(one) for one in done[:2]] == [Busy, Busy]
            there = {one.id for one in await keys.tenants(store)}
            assert there == ({"third"} if done[2] is None else set())
            await keys.create_tenant(store, "later", "T", NOW)


async def test_two_servers_do_not_serve_one_database(postgres: PostgresServer) -> None:
    with postgres.database() as where:
        async with Store(where, serves=True):
            with pytest.raises(Unusable, match="is in use by another server"):
                await Store(where, serves=True).start()
            async with Store(where) as beside:  # a command beside it
                await keys.create_tenant(beside, "a", "A", NOW)
        async with Store(where, serves=True):
            pass


def _cut(where: str) -> None:
    """Ends every connection to this database but the one that asks."""
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_a_server_that_is_cut_off_goes_on_unless_another_has_taken_over(postgres: PostgresServer) -> None:
    with postgres.database() as where:
        async with Store(where, serves=True) as first:
            await asyncio.to_thread(_cut, where)
            await keys.create_tenant(first, "a", "A", NOW)  # nobody has noticed anything
            assert not first.taken.is_set()
            await asyncio.to_thread(_cut, where)
            async with Store(where, serves=True) as second:
                with pytest.raises(Busy):
                    await keys.create_tenant(first, "b", "B", NOW)
                assert first.taken.is_set()
                await keys.create_tenant(second, "c", "C", NOW)
            assert [one.id for one in await keys.tenants(first)] == ["a", "c"]


async def test_what_a_cut_network_has_left_of_a_server_does_not_lock_it_out(postgres: PostgresServer) -> None:
    with postgres.database() as where:
        async with Store(where, serves=True) as store:
            # Its connection is gone on this side only: as PostgreSQL sees it, it is still there and has the lock.
            connection = await store._database.writer.raw_connection()
            ghost: Any = connection.driver_connection
            connection.detach()
            await keys.create_tenant(store, "a", "A", NOW)
            assert not store.taken.is_set()
            with pytest.raises(psycopg.OperationalError):
                await ghost.execute("SELECT 1")
            await ghost.close()


async def test_while_it_does_not_answer_one_tries_and_the_others_are_refused_at_once() -> None:
    with PostgresServer() as server, server.database() as where:
        async with Store(f"{where}&connect_timeout=2") as store:
            await keys.create_tenant(store, "a", "A", NOW)
            await asyncio.to_thread(_cut, where)
            server.freeze(True)
            try:
                with capture_logs() as said:
                    began = time.monotonic()
                    asked = [keys.create_tenant(store, f"t{n}", "T", NOW) for n in range(30)]
                    done = await asyncio.gather(*asked, return_exceptions=True)
                    assert {type(one) for one in done} == {Busy}
                    read = await asyncio.gather(*(keys.tenants(store) for _ in range(30)), return_exceptions=True)
                    assert {type(one) for one in read} == {Busy}
                    assert time.monotonic() - began < 15  # 2 s each would be two minutes
            finally:
                server.freeze(False)

            async def answers() -> bool:
                try:
                    return len(await keys.tenants(store)) == 1
                except Busy:
                    return False

            with capture_logs() as later:
                await wait_until(answers, deadline=20, what="the database to be used again")
            assert [one["event"] for one in said] == ["the database can't be reached"]
            assert [one["event"] for one in later] == ["the database answers again"]


async def test_an_error_of_the_database_says_no_value(postgres: PostgresServer) -> None:
    with postgres.database() as where:
        async with Store(where) as store:
            await keys.create_tenant(store, "unmistakable", "A", NOW)

            async def twice() -> None:
                async with store.write() as transaction:
                    transaction.db.add(Tenant(id="unmistakable", name="B", created_at=NOW))

            with pytest.raises(queries.IntegrityError) as caught:
                await twice()
        chain = [caught.value, caught.value.orig, caught.value.__cause__, caught.value.__context__]
        assert "unmistakable" not in " ".join(str(one) for one in chain)
        assert "23505 tenants_pkey" in str(caught.value)


async def test_a_transaction_in_which_a_statement_failed_is_not_taken_for_written(postgres: PostgresServer) -> None:
    with postgres.database() as where:
        async with Store(where) as store:

            async def swallows() -> None:
                async with store.write() as transaction:
                    transaction.db.add(Tenant(id="a", name="A", created_at=NOW))
                    await transaction.db.flush()
                    connection = await transaction.db.connection()
                    with pytest.raises(Exception, match="22012"):
                        await connection.exec_driver_sql("SELECT 1 / 0")

            with pytest.raises(RuntimeError, match="can't be committed"):
                await swallows()
            assert await keys.tenants(store) == []


async def test_a_database_that_is_somebody_elses_or_of_another_encoding_is_said(postgres: PostgresServer) -> None:
    postgres.ask("CREATE ROLE stranger LOGIN")
    denied = "can't be used: permission denied for schema public"
    with postgres.database() as where, pytest.raises(Unusable, match=denied):
        await Store(where.replace("vardrum:unspoken", "stranger:unspoken")).start()
    postgres.ask("CREATE DATABASE old ENCODING LATIN1 TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(Unusable, match=r"/old has the encoding LATIN1 \(expected UTF8\)"):
        await Store(postgres.address_of("old")).start()


async def test_who_waits_too_long_for_another_process_is_told_to_come_again(postgres: PostgresServer) -> None:
    with postgres.database() as where:
        async with Store(f"{where}&options=-c%20lock_timeout%3D200") as store:
            with another_process_writes(where), pytest.raises(Busy, match="can't keep up"):
                await keys.create_tenant(store, "a", "A", NOW)
            await keys.create_tenant(store, "b", "B", NOW)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dbname": "none"}, 'database "none" does not exist'),
        ({"host": "/nonexistent"}, "connection is bad: "),
        ({"host": "127.0.0.1", "port": "9"}, "port 9 failed: Connection refused"),
    ],
)
async def test_a_server_that_is_not_there_is_said_without_its_password(
    postgres: PostgresServer, change: dict[str, str], sentence: str
) -> None:
    wanted = {"dbname": "postgres", "host": str(postgres.folder), **change}
    port = f"&port={wanted['port']}" if "port" in wanted else ""
    with pytest.raises(Unusable) as caught:
        await Store(f"postgresql://vardrum:unspoken@/{wanted['dbname']}?host={wanted['host']}{port}").start()
    assert sentence in str(caught.value)
    assert "unspoken" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def _thread(db: Db) -> int:
    """Where a statement runs; `thread()` is made by the test."""
    return int((await (await db.connection()).exec_driver_sql("SELECT thread()")).scalar_one())


async def test_short_questions_are_answered_in_the_loops_thread_and_only_they(tmp_path: Path) -> None:
    here, ran = threading.get_ident(), dict[str, bool]()
    async with Store(tmp_path / "x.db") as store:
        for brief in (True, False):
            async with store.write(brief=brief) as transaction:
                connection = await transaction.db.connection()
                raw: Any = (await connection.get_raw_connection()).driver_connection
                raw._conn.set_trace_callback(
                    lambda statement: ran.update({statement.split()[0]: threading.get_ident() == here})
                )
                transaction.db.add(Tenant(id=f"t{brief}", name="T", created_at=NOW))
                await transaction.db.flush()
            raw._conn.set_trace_callback(None)
            # A commit waits for the disk, whoever it is for.
            assert (ran["INSERT"], ran["COMMIT"]) == (brief, False)
            async with store.read(brief=brief) as db:
                connection = await db.connection()
                raw = (await connection.get_raw_connection()).driver_connection
                raw._conn.create_function("thread", 0, threading.get_ident)
                assert (await _thread(db) == here) == brief


async def test_a_long_question_inside_a_short_act_leaves_the_loop_alone(tmp_path: Path) -> None:
    here = threading.get_ident()
    async with Store(tmp_path / "x.db") as store, store.write(brief=True) as transaction:
        connection = await transaction.db.connection()
        raw: Any = (await connection.get_raw_connection()).driver_connection
        raw._conn.create_function("thread", 0, threading.get_ident)
        async with store.read() as db:
            assert await _thread(db) != here
        assert await _thread(transaction.db) == here


@pytest.mark.both_databases
async def test_readers_who_are_cancelled_leave_no_page_in_the_log(
    where: Path | str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Store(where) as store:
        for steps in range(0, 900, 3):
            reading = asyncio.create_task(_check_again_and_again(store))
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait({reading})
        await store.check()
    assert caplog.records == []


async def _check_again_and_again(store: Store) -> None:
    while True:
        await store.check()


async def test_a_database_that_cannot_be_written_is_read_on_and_written_again_when_it_can(tmp_path: Path) -> None:
    async with Store(tmp_path / "x.db") as store:
        await _set(store, "query_only=ON")
        with capture_logs() as logs:
            for _ in range(2):
                with pytest.raises(Busy, match="can't be written"):
                    await keys.create_tenant(store, "north", "North", NOW)
            # Whoever is asked whether all is well tries again.
            with pytest.raises(Busy, match="can't be written"):
                await store.check()
            async with store.read() as db:
                assert await queries.room(db, "room_none", None) is None
        assert [(one["event"], one["code"]) for one in logs] == [("the database can't be written", "SQLITE_READONLY")]
        assert store.metrics()["unwritable"]
        await _set(store, "query_only=OFF")
        await store.check()
        assert not store.metrics()["unwritable"]


async def test_what_was_acknowledged_before_the_disk_was_full_is_there_and_nothing_else(tmp_path: Path) -> None:
    # SQLite undoes a whole transaction then, of which those before in the queue have been part.
    async with Store(tmp_path / "x.db") as store:
        await keys.create_tenant(store, "first", "First", NOW)
        # As large as it is now: whether some of those that come still fit, their pace decides.
        await _set(store, "max_page_count=1")
        names = [f"t{number}" for number in range(300)]
        created = (keys.create_tenant(store, name, "T" * 200, NOW) for name in names)
        said = dict(zip(names, await asyncio.gather(*created, return_exceptions=True), strict=True))
        assert {Busy} <= {type(answer) for answer in said.values()} <= {type(None), Busy}
        assert all("can't be written" in str(answer) for answer in said.values() if answer is not None)
        there = {one.id for one in await keys.tenants(store)}
        assert there == {"first"} | {name for name, answer in said.items() if answer is None}
        await _set(store, "max_page_count=1000000")
        await keys.create_tenant(store, "last", "Last", NOW)


async def _set(store: Store, pragma: str) -> None:
    async with store._database.writer.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        await raw.execute_fetchall(f"PRAGMA {pragma}")  # type: ignore[union-attr]
