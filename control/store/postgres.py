"""PostgreSQL, where one machine's disk isn't enough: the same promises as on SQLite, kept by two advisory locks.

The driver is psycopg, since a `postgresql://` address then means what libpq's manual says of it: TLS and whom to trust,
password files, sockets, several hosts of which the one that takes writes is used.
"""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Any

from psycopg import Error, ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from .trouble import AWAY, SLOW, UNWRITABLE, Unusable

READERS = 8
EXPECTED = "expected one like postgresql://vardrum:PASSWORD@db.region.example/vardrum, or nothing for SQLite"
ESCAPED = "special characters in a user's name or password are written as %XX"
# A server that stops answering without a word is noticed in seconds by either side. The address may say otherwise.
PARAMETERS = {
    "application_name": "vardrum",
    "client_encoding": "utf8",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "target_session_attrs": "read-write",
}
OPTIONS = (
    "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
# Advisory locks have two numbers: ours ("vdrm"), and which it is. One is of whoever writes, for a transaction; one is
# of the server that serves this database, for as long as it is connected.
LOCKS, WRITES, SERVES = 0x7664726D, 1, 2


def parameters(address: str) -> dict[str, str]:
    """What libpq reads in a `postgresql://` address (its manual, "Connection URIs").

    Raises:
        ValueError: what is wrong with it. The message repeats nothing of the address, which has a password in it.
    """
    if not re.match(r"postgres(ql)?://", address) or not address.isprintable():
        raise ValueError(f"is not an address of PostgreSQL ({EXPECTED})")
    try:
        found = {key: str(value) for key, value in conninfo_to_dict(address).items() if value is not None}
    except ProgrammingError:
        raise ValueError(
            f"can't be read: a parameter that libpq doesn't know, or a % that stands alone ({ESCAPED})"
        ) from None
    # Where a / or @ of a password isn't escaped, its rest is read as a host, port or database.
    if any(mark in found.get("dbname", "") + found.get("host", "").replace("/", "") for mark in "@/"):
        raise ValueError(f"has an @ or / too many ({ESCAPED})")
    hosts, ports = found.get("host", "").split(","), found.get("port", "").split(",")
    if not all(port.isascii() and port.isdigit() and 0 < int(port) < 65536 for port in ports if port):
        raise ValueError(f"has a port that isn't a number from 1 to 65535 ({ESCAPED})")
    if len(ports) not in (1, len(hosts)):
        raise ValueError("has not as many ports as hosts (expected one for each, or one for all)")
    if "dbname" not in found:
        raise ValueError(f"names no database ({EXPECTED})")
    return found


def shown(address: str) -> str:
    """The address as it may be shown: no password, and no parameters, of which some are secret too."""
    found = parameters(address)
    user = f"{found['user']}:***@" if "password" in found else f"{found['user']}@" if "user" in found else ""
    hosts, ports = found.get("host", "").split(","), found.get("port", "").split(",")
    ports *= len(hosts) // len(ports)
    where = ",".join(f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=True))
    return f"postgresql://{user}{where}/{found['dbname']}"


class Postgres:
    """The database at `address`; `serves` also keeps it from every other server, for as long as this one is connected.

    Whoever writes takes one lock of the whole database first, for the time of the transaction: the store's promise of
    one writer at a time holds over processes, in READ COMMITTED, and every commit is ordered. It costs what SQLite's
    lock costs: writes of all tenants wait for each other, and each for its network and disk; a tenth of a second of
    trouble there delays all of them. Readers wait for nobody: each has a snapshot of its own (REPEATABLE READ).

    Attributes:
        taken: set once another server serves this database, because this one was cut off from it; it must end.
    """

    def __init__(self, address: str, *, serves: bool) -> None:
        self.name = shown(address)
        self.taken = asyncio.Event()
        given = parameters(address)
        self._connect = {**PARAMETERS, **given, "options": f"{OPTIONS} {given.get('options', '')}".strip()}
        self._serves = serves
        # Our connection as the server knows it: process and when it began, since process numbers come again.
        self._former: tuple[int, datetime] | None = None
        self.writer = self._engine(1, f"BEGIN READ WRITE; SELECT pg_advisory_xact_lock({LOCKS}, {WRITES})")
        self.readers = self._engine(READERS, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        event.listen(self.writer.sync_engine, "connect", self._writer_connected)

    async def scrub(self) -> None:
        """Nothing: PostgreSQL's own vacuum takes what was replaced, and its log goes with its archives."""

    def undone(self, connection: AsyncConnection) -> bool:
        """Never: what fails is undone to its savepoint, and a transaction ends with its connection."""
        return False

    def passes(self, error: DBAPIError) -> str | None:
        """Of an error that passes by itself, what to say meanwhile (codes: PostgreSQL's manual, appendix A)."""
        if error.connection_invalidated:
            return AWAY
        code: str | None = getattr(error.orig, "sqlstate", None)
        if code == "25006":
            # A standby that isn't promoted yet, or one that somebody has made read-only.
            return UNWRITABLE
        if not isinstance(error, OperationalError):
            return None
        # None: no server; 08: the connection; 53: no connection or memory left; 57P: it stops or starts.
        return AWAY if code is None or code.startswith(("08", "53", "57P")) else SLOW

    def _engine(self, size: int, begin_with: str) -> AsyncEngine:
        engine = create_async_engine(
            "postgresql+psycopg://",
            # The driver begins nothing by itself: both statements of "begin" travel together.
            connect_args={**self._connect, "autocommit": True},
            pool_size=size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=True,
            hide_parameters=True,
        )

        @event.listens_for(engine.sync_engine, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql(begin_with)

        @event.listens_for(engine.sync_engine, "commit")
        def commit(connection: Any) -> None:
            # PostgreSQL takes the COMMIT of a failed transaction for a rollback, and says so to nobody.
            if connection.connection.driver_connection.info.transaction_status == pq.TransactionStatus.INERROR:
                raise RuntimeError("a statement of this transaction has failed: it can't be committed")

        event.listen(engine.sync_engine, "handle_error", _without_values)
        return engine

    def _writer_connected(self, connection: Any, _: ConnectionPoolEntry) -> None:
        try:
            encoding = connection.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise Unusable(f"has the encoding {encoding} (expected UTF8)")
            # "off" would acknowledge what isn't on disk; how many standbys have it too is the operator's choice.
            _ask(
                connection,
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'",
            )
            if self._serves:
                self._claim(connection)
        except BaseException:
            connection.close()
            raise

    def _claim(self, connection: Any) -> None:
        """Takes the lock of the server that serves. Raises Unusable."""
        lock = f"({LOCKS}, {SERVES})"
        if self._former is not None and _ask(
            connection,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s",
            self._former,
        ):
            # What a network that was cut has left of us there; until it is gone it has the lock.
            _ask(connection, f"SELECT pg_advisory_lock{lock}")
        elif _ask(connection, f"SELECT pg_try_advisory_lock{lock}") != (True,):
            if self._former is not None:
                self.taken.set()
            raise Unusable("is in use by another server")
        self._former = _ask(connection, "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")


def _ask(connection: Any, statement: str, parameters: tuple[Any, ...] | None = None) -> Any:
    """The first row of the answer, or None."""
    cursor = connection.cursor()
    try:
        cursor.execute(statement, parameters)
        return cursor.fetchone()
    finally:
        cursor.close()


def _without_values(context: ExceptionContext) -> None:
    """Takes out of an error what the server says of rows: `Key (display_name)=(…)` must not come into the log."""
    original, shown = context.original_exception, context.sqlalchemy_exception
    if isinstance(original, Error) and original.sqlstate is not None and shown is not None:
        about = original.diag.constraint_name or original.diag.column_name or original.diag.table_name or ""
        original.args = (f"{original.sqlstate} {about}".strip(),)
        shown.args = (f"({type(original).__name__}) {original.args[0]}",)
