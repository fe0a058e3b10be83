"""Numbers of people: recognized, and not kept."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from vardrum.control.keyring import Keyring
from vardrum.control.store.migrations.versions import v0004_identity
from vardrum.control.store.store import Store
from vardrum.control.visits.subjects import Subjects

OLD = Keyring({"k1": b"1" * 32}, "k1")
ROTATED = Keyring({"k1": b"1" * 32, "k2": b"2" * 32}, "k2")
WITHOUT_OLD = Keyring({"k2": b"2" * 32}, "k2")


def test_a_number_is_recognized_with_and_without_its_separator() -> None:
    subjects = Subjects(OLD)
    mark = subjects.mark("north", "197001012384")
    assert "1970" not in mark
    for same in ("197001012384", "19700101-2384", " 19700101-2384 ", "19700101 2384"):
        assert subjects.expected("north", mark, same) is True
    for other in ("198001012384", "7001012384", ""):
        assert subjects.expected("north", mark, other) is False
    assert subjects.expected("north", None, "197001012384") is None


def test_other_subjects_are_compared_as_they_are() -> None:
    subjects = Subjects(OLD)
    mark = subjects.mark("north", "https://idp.example/u-1")
    assert subjects.expected("north", mark, "https://idp.example/u-1") is True
    assert subjects.expected("north", mark, "https://idp.example/u1") is False


def test_marks_of_two_tenants_have_nothing_in_common() -> None:
    subjects = Subjects(OLD)
    assert subjects.mark("north", "1") != subjects.mark("south", "1")
    assert subjects.expected("south", subjects.mark("north", "1"), "1") is False


def test_a_mark_outlives_a_new_key_and_matches_nobody_without_its_own() -> None:
    mark = Subjects(OLD).mark("north", "1")
    assert Subjects(ROTATED).expected("north", mark, "1") is True
    assert Subjects(WITHOUT_OLD).expected("north", mark, "1") is False


def _migrate(connection: Any) -> None:
    with Operations.context(MigrationContext.configure(connection)):
        v0004_identity._forget_subjects()


async def test_the_migration_forgets_numbers_that_were_kept_with_sessions(tmp_path: Path) -> None:
    identity = {"method": "bankid", "level": "loa3", "subject": "197001012384", "by": {"id": "p", "name": "p"}}
    async with Store(tmp_path / "x.db") as store:
        with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as by_hand, by_hand:
            by_hand.execute(
                "INSERT INTO sessions (id, tenant, room, participant, token, resume, state, since, vouched, "
                "admitted_browser, identity, connection, created_at) VALUES "
                "('s', 'n', 'r', 'p', x'01', x'02', 'left', 0, 1, 0, ?, 'none', 0)",
                [json.dumps(identity)],
            )
        async with store.write() as transaction:
            await (await transaction.db.connection()).run_sync(_migrate)
        with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as by_hand:
            (kept,) = by_hand.execute("SELECT identity FROM sessions").fetchone()
    del identity["subject"]
    assert json.loads(kept) == identity
