"""A PostgreSQL server of the tests' own, from the distribution's package: a socket in a temporary folder, no port."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

# Debian keeps these out of PATH: several versions may be there.
DEBIAN = Path("/usr/lib/postgresql")
STARTS_WITHIN = 30.0
TEMPLATE = "vardrum_template"


def program(name: str) -> str:
    """Where one of its programs is, of the newest version."""
    versions = sorted(DEBIAN.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which(name)
    assert found, f"{name} of PostgreSQL isn't there: .ci/packages test installs it"
    return found


class PostgresServer:
    """`with PostgresServer() as server`: nobody else's, gone afterwards with all that is in it.

    Attributes:
        folder: where its socket is.
        address: of the database that every server has, for who makes others.
    """

    def __init__(self) -> None:
        # Not pytest's folder: the path of a socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="vardrum-pg-"))
        self._child: subprocess.Popen[bytes] | None = None
        self._count = itertools.count(1)
        # It refuses to run as root; any other user will do.
        self._as_user = _as_nobody_special() if os.getuid() == 0 else {}
        self.address = self.address_of("postgres")

    def address_of(self, database: str, **more: str) -> str:
        """For `database_url`, with more of libpq's parameters."""
        query = "&".join(f"{key}={value}" for key, value in {"host": str(self.folder), **more}.items())
        return f"postgresql://vardrum:unspoken@/{database}?{query}"

    def __enter__(self) -> Self:
        if self._as_user:
            shutil.chown(self.folder, self._as_user["user"])
        try:
            self._run(
                program("initdb"), "--pgdata", "data", "--username", "vardrum", "--auth", "trust",
                "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions",
            )  # fmt: skip
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._remove()

    def start(self) -> None:
        """Starts it, also again; returns when it answers."""
        deadline = time.monotonic() + STARTS_WITHIN
        # What is lost with the machine is only a test's.
        settings = {
            "listen_addresses": "", "unix_socket_directories": str(self.folder), "fsync": "off",
            "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": "60", "autovacuum": "off",
        }  # fmt: skip
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self._child = subprocess.Popen(
            [program("postgres"), "-D", "data", *options], cwd=self.folder, **self._as_user,
            stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("ab"),
        )  # fmt: skip
        while not self.answers():
            assert self._child.poll() is None, f"PostgreSQL ended:\n{(self.folder / 'log').read_text()}"
            assert time.monotonic() < deadline, "PostgreSQL didn't answer in time"
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            psycopg.connect(self.address, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def crash(self) -> None:
        """Ends it as a crash would: every connection is cut, and its start replays the log."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)
            self._child.wait(STARTS_WITHIN)
            self._child = None

    def freeze(self, frozen: bool) -> None:
        """Lets nobody new in, as if the network swallowed what is sent; or lets them in again."""
        assert self._child is not None
        self._child.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The address of a new database, a copy of `template`'s, that is dropped afterwards."""
        name = f"t{next(self._count)}"
        like = sql.SQL("TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        self.ask(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), like))
        try:
            yield self.address_of(name)
        finally:
            self.ask(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def ask(self, statement: sql.Composed | str, database: str = "postgres") -> None:
        """Runs one statement outside a transaction."""
        with psycopg.connect(self.address_of(database), autocommit=True) as connection:
            connection.execute(statement if isinstance(statement, sql.Composed) else sql.SQL(statement))

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(arguments, cwd=self.folder, capture_output=True, text=True, **self._as_user)
        assert done.returncode == 0, done.stderr

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def dump(address: str) -> bytes:
    """All that the tables hold, text and bytes as they are."""
    found = []
    with psycopg.connect(address) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            with connection.cursor().copy(
                sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(sql.Identifier(table))
            ) as copy:
                found += [bytes(part) for part in copy]
    return b"".join(found)


def _as_nobody_special() -> dict[str, Any]:
    users = {one.pw_name: one for one in pwd.getpwall()}
    user = users.get("postgres") or users["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
