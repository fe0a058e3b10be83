"""The database: its schema is the models', what is written is on disk, writers take turns."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from vardrum.control.store import keys
from vardrum.control.store import store as module
from vardrum.control.store.models import Base
from vardrum.control.store.store import Busy, Store

NOW = datetime(2026, 3, 2, tzinfo=UTC)


async def test_the_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    async with Store(tmp_path / "x.db"):
        pass
    # Again: nothing is left to do.
    async with Store(tmp_path / "x.db") as store, store.write() as transaction:
        connection = await transaction.db.connection()
        assert await connection.run_sync(_differences) == []


def _differences(connection: Any) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": _same_type})
    return list(compare_metadata(context, Base.metadata))


def _same_type(*arguments: object) -> bool | None:
    # Times are kept as numbers, which is all that the database can know of them.
    return False if "BIGINT" in str(arguments[3]) else None


async def test_it_writes_ahead_and_waits_for_the_disk(tmp_path: Path) -> None:
    async with Store(tmp_path / "x.db") as store, store.write() as transaction:
        connection = await transaction.db.connection()
        found = {}
        for name in ("journal_mode", "synchronous", "foreign_keys"):
            found[name] = (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_a_block_that_raises_leaves_nothing_and_tells_nobody(tmp_path: Path) -> None:
    told = []

    async def tell() -> None:
        told.append(1)

    async with Store(tmp_path / "x.db") as store:

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


async def test_writers_take_turns_also_with_another_process(tmp_path: Path) -> None:
    async with Store(tmp_path / "x.db") as store:
        other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        many = asyncio.gather(*(keys.create_tenant(store, f"t{n}", "T", NOW) for n in range(20)))
        await asyncio.sleep(0)
        assert await keys.tenants(store) == []  # readers don't wait
        other.execute("ROLLBACK")
        other.close()
        await many
        assert len(await keys.tenants(store)) == 20


async def test_a_queue_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_QUEUE", 2)
    async with Store(tmp_path / "x.db") as store:
        writers = [asyncio.create_task(keys.create_tenant(store, f"t{n}", "T", NOW)) for n in range(5)]
        done = await asyncio.gather(*writers, return_exceptions=True)
        assert [type(one) for one in done] == [type(None)] * 2 + [Busy] * 3
        await keys.create_tenant(store, "later", "T", NOW)
