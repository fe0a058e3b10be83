"""The database of this installation: one writer at a time, any number of readers, every commit on disk.

SQLite is the embedded default (`sqlite`), PostgreSQL a setting (`postgres`); what holds here holds on both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol, Self, cast

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Table, bindparam, insert, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from .brief import briefly
from .models import Event, Tenant
from .sqlite import Sqlite
from .trouble import AWAY, SLOW, UNWRITABLE, Busy, Undone, Unusable
from .writers import Turn, Writers

__all__ = ["Busy", "Db", "Store", "Transaction", "Unusable"]

# More writers than this in the queue means that the disk can't keep up: better to say so than to let them all time out.
MAX_QUEUE = 500
# Seconds for telling what was written last, when the server stops.
TOLD_WITHIN = 5.0

MIGRATIONS = Path(__file__).parent / "migrations"

AfterCommit = Callable[[], Awaitable[None]]
Db = AsyncSession

log = structlog.get_logger(__name__)


class Database(Protocol):
    """What differs between the two.

    Attributes:
        name: what an operator knows it by, without a password.
        taken: set once another server has taken it over.
    """

    name: str
    taken: asyncio.Event
    writer: AsyncEngine
    readers: AsyncEngine

    async def scrub(self) -> None: ...

    def passes(self, error: DBAPIError) -> str | None: ...

    def undone(self, connection: AsyncConnection) -> bool: ...


class Transaction:
    """One open transaction: `db` to read and write with, and what is to be done once it is on disk."""

    def __init__(self, db: AsyncSession, heads: dict[str, tuple[int, bytes]] | None = None) -> None:
        self.db = db
        self.after_commit: list[AfterCommit] = []
        self.events: list[dict[str, Any]] = []
        # Awaited in the transaction when all else is done in it.
        self.before_commit: list[AfterCommit] = []
        # Entries of the audit trail, which is chained as the transaction commits: see `audit`.
        self.audited: list[dict[str, Any]] = []
        # Where each tenant's trail is thought to end, to save a question; whoever uses it makes sure.
        self.heads = {} if heads is None else heads

    def record(self, **event: Any) -> None:
        """Writes down what happened (columns of `Event`); it gets its `position` at the end, and isn't found before."""
        self.events.append(event)


_current: ContextVar[Transaction | None] = ContextVar("vardrum_transaction", default=None)


class Store:
    """Opens the database, and brings its schema up to date.

    Whatever reads and then writes in one `write` does so alone, in this process and beside every other: nobody has
    changed in between what it read. So no rule of a visit needs a lock, a version or a second try of its own, and
    events can be counted. The price is that all writes of an installation wait for each other (`postgres.Postgres`),
    though not each for a commit of its own (`writers`).

    When the database can't be reached, everything is refused with Busy, at once but for one who tries; it is used
    again as soon as it answers. A commit whose answer never came may have happened: who said it must look.
    """

    def __init__(self, where: Path | str, *, serves: bool = False) -> None:
        """
        Args:
            where: a file of SQLite, or a `postgresql://` address (checked by the settings).
            serves: keeps other servers off the database; of a file, the folder's lock does that.
        """
        self._database: Database = open_database(where, serves=serves)
        self._writers = Writers(self._database.writer, self._database.undone)
        self._telling: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._queue = 0
        # While it can't be reached one asks for all the others, who would wait out a timeout each.
        self._away = self._asking = self._unwritable = False
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._refused = 0
        # Histograms, for `Metrics.add`.
        self.collectors = (self._writers.commit_seconds, self._writers.wait_seconds)

    @property
    def taken(self) -> asyncio.Event:
        """Set once another server has taken the database over; this one can't go on."""
        return self._database.taken

    async def start(self) -> None:
        """Creates or migrates the tables. Of a file, the folder must exist. Raises Unusable."""
        await self._first(_migrate)

    @classmethod
    async def revision(cls, where: Path | str) -> str | None:
        """Of the tables that are there, which stay as they are; None where there are none. Raises Unusable."""
        store = cls(where)
        try:
            return cast(str | None, await store._first(_revision))
        finally:
            await store.stop()

    @staticmethod
    def newest_revision() -> str | None:
        """Of the tables that this version makes."""
        return ScriptDirectory.from_config(_migrations()).get_current_head()

    async def _first(self, ask: Callable[[Any], Any]) -> Any:
        name = self._database.name
        try:
            async with self._database.writer.begin() as connection:
                return await connection.run_sync(ask)
        except CommandError:
            raise Unusable(f"{name} was made by a newer version of Vardrum") from None
        except DBAPIError as error:
            raise Unusable(f"{name} can't be used: {sentence(error)}") from None
        except Unusable as error:
            raise Unusable(f"{name} {error}") from None

    async def stop(self) -> None:
        if self._telling:
            # Who listens reads, and a connection that is opened after the end would keep the process.
            await asyncio.wait(set(self._telling), timeout=TOLD_WITHIN)
        await self._writers.stop()
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=TOLD_WITHIN)
        await self._database.readers.dispose()
        await self._database.writer.dispose()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @asynccontextmanager
    async def write(self, *, brief: bool = False) -> AsyncIterator[Transaction]:
        """A transaction that writes: on disk when this ends, undone when the block raises.

        Inside another `write` of the same task it joins that one, so that an act and the record of its answer are on
        disk together or not at all. What is in `after_commit` is awaited after the outermost commit.

        Args:
            brief: a handful of rows by their keys, so that it may be done in the loop's own thread (`store.brief`).

        Raises:
            Busy: too many writers are waiting, or the database can't be reached.
        """
        outer = _current.get()
        if outer is not None:
            with briefly(brief):
                yield outer
            return
        if self._queue >= MAX_QUEUE:
            raise self._busy(SLOW)
        self._queue += 1
        try:
            with self._reaching():
                turn = Turn()
                async with self._writers.turn(turn, brief) as db:
                    transaction = Transaction(db, self._heads)
                    token = _current.set(transaction)
                    try:
                        yield transaction
                    finally:
                        _current.reset(token)
                    for callback in transaction.before_commit:
                        await callback()
                    await _count(transaction)
                # The task may be cancelled by a client that went away; who listens must still hear of what is on disk.
                telling = asyncio.create_task(_tell(turn, transaction.after_commit))
                self._telling.add(telling)
                telling.add_done_callback(self._told)
                await asyncio.shield(turn.committed)
                if transaction.events or transaction.audited:
                    self._written()
        finally:
            self._queue -= 1
        await asyncio.shield(telling)

    @asynccontextmanager
    async def read(self, *, brief: bool = False) -> AsyncIterator[AsyncSession]:
        """A session that reads one consistent state; inside `write`, that of the transaction. `brief` as for `write`.

        Raises Busy.
        """
        outer = _current.get()
        if outer is not None:
            with briefly(brief):
                await outer.db.flush()
                yield outer.db
            return
        with self._reaching(), briefly(brief):
            db = AsyncSession(self._database.readers, expire_on_commit=False, autoflush=False)
            try:
                yield db
            finally:
                # A task of its own, since a reader cancelled just now would cut off the connection on its way back,
                # and SQLAlchemy writes a page about that. `stop` waits for it.
                closing = asyncio.create_task(db.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
                await asyncio.shield(closing)

    def metrics(self) -> dict[str, float]:
        """For `Metrics.add`: gauges are `writers` (waiting or writing), `away`, `unwritable`; `refused` counts Busy."""
        away, unwritable = self._away, self._unwritable
        return {"writers": self._queue, "away": away, "unwritable": unwritable, "refused": self._refused}

    async def scrub(self) -> None:
        """Has the database forget what was replaced before it was told to, as far as it can."""
        await self._database.scrub()

    async def check(self) -> None:
        """Raises when the database can't be read, or could not be written the last time and still can't."""
        async with self.read() as db:
            await db.execute(text("SELECT 1 FROM tenants LIMIT 1"))
        await self.try_again()

    async def try_again(self) -> None:
        """Writes where it could not be written the last time; nobody else may write for hours. Raises Busy."""
        if self._unwritable:
            async with self.write() as transaction:
                await transaction.db.execute(text("UPDATE tenants SET last_event = last_event"))
            self._written()

    def _told(self, telling: asyncio.Task[None]) -> None:
        self._telling.discard(telling)
        if not telling.cancelled() and telling.exception() is not None:
            # Where the writer still waits it raises there as well.
            log.error("telling what was written failed", error=type(telling.exception()).__name__)

    def _busy(self, reason: str) -> Busy:
        self._refused += 1
        return Busy(reason)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        if self._away and self._asking:
            raise self._busy(AWAY)
        asks, self._asking = self._away, self._away
        try:
            yield
        except PoolTimeout:
            raise self._busy(SLOW) from None
        except (DBAPIError, Unusable, Undone) as error:
            match error:
                case DBAPIError():
                    meanwhile = self._database.passes(error)
                case Undone():
                    meanwhile = UNWRITABLE
                case _:
                    meanwhile = AWAY
            if meanwhile is None:
                raise
            if meanwhile == AWAY:
                self._lost(error)
            elif meanwhile == UNWRITABLE and not self._unwritable:
                self._unwritable = True
                log.error(UNWRITABLE, **_cause(error))
            raise self._busy(meanwhile) from None
        else:
            if self._away:
                self._away = False
                log.info("the database answers again")
        finally:
            if asks:
                self._asking = False

    def _written(self) -> None:
        if self._unwritable:
            self._unwritable = False
            log.info("the database can be written again")

    def _lost(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            log.warning(AWAY, **_cause(error))


def _cause(error: Exception) -> dict[str, str | None]:
    """For the log: not the driver's sentence, which names hosts."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return {"error": type(cause).__name__, "code": code}


def open_database(where: Path | str, *, serves: bool) -> Database:
    """Its engines; nothing is asked yet."""
    if isinstance(where, Path):
        return Sqlite(where)
    # Here and not above: only who uses it waits for its driver to be loaded.
    from .postgres import Postgres

    return Postgres(where, serves=serves)


def sentence(error: DBAPIError) -> str:
    """What the database says is wrong, in a line."""
    # PostgreSQL's own words; a driver's later lines are hints for who programs.
    said = getattr(getattr(error.orig, "diag", None), "message_primary", None) or str(error.orig).strip()
    return str(said).partition("\n")[0]


_TENANTS = cast(Table, Tenant.__table__)
_COUNT = (
    update(_TENANTS)
    .where(_TENANTS.c.id == bindparam("of"))
    .values(last_event=_TENANTS.c.last_event + bindparam("more"))
    .returning(_TENANTS.c.last_event)
)
_INSERT = insert(cast(Table, Event.__table__))


async def _count(transaction: Transaction) -> None:
    """Gives events their positions: gapless for each tenant, in the order of commits, since there is one writer."""
    by_tenant: dict[str, list[dict[str, Any]]] = {}
    for one in transaction.events:
        by_tenant.setdefault(one["tenant"], []).append(one)
    if not by_tenant:
        return
    # What they refer to comes first.
    await transaction.db.flush()
    # By table and not by class, as in `audit`: it is in every act.
    connection = await transaction.db.connection()
    for tenant, events in by_tenant.items():
        last = (await connection.execute(_COUNT, {"of": tenant, "more": len(events)})).scalar_one()
        for position, one in enumerate(events, last - len(events) + 1):
            one["position"] = position
        await connection.execute(_INSERT, events)


async def _tell(turn: Turn, callbacks: list[AfterCommit]) -> None:
    # Not inside the transaction's context: a listener that writes must begin its own.
    try:
        await turn.committed
    except Exception:
        # Told to the writer; nobody else has heard of it, and nobody shall.
        return
    for callback in callbacks:
        await callback()


def _migrate(connection: Any, revision: str = "head") -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    config = _migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _revision(connection: Any) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
