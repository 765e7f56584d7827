"""The database: sessions over SQLite and PostgreSQL behind one class.

`open_database` is called by `engine/runtime.py`; everybody else is handed a `Database` and opens
one short transaction a use case: `async with db.read()` or `async with db.write()`. Migrations
are in `migrations/`.

SQLite: readers share a pool, and one connection of its own does all writing. Writers of this
process so queue up in order on that pool instead of racing for the file's lock; SQLite's busy
timeout only arbitrates between processes. `synchronous=NORMAL` is enough for "accepted work is
not lost": in WAL mode a commit is in the operating system's hands when it returns, so killing a
process loses nothing. A power cut may lose the last commits, never the file's consistency.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry

from engine.db.tables import Base
from engine.errors import ConfigurationError, Unavailable

T = TypeVar("T")

BUSY_TIMEOUT_MS = 5_000  # how long SQLite waits for another process to commit
WAL_LIMIT_BYTES = 64 * 2**20  # the write-ahead log is cut back to this at checkpoints
RETRIES = 5
FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 1.0

# SQLite primary result codes, https://www.sqlite.org/rescode.html
_BUSY, _LOCKED = 5, 6
_SQLITE_ADVICE = {
    3: "check the permissions of the data folder",
    8: "it is read-only: check the permissions of the data folder",
    10: "the disk reports an error: check it, then restore a backup if the file is damaged",
    11: "the file is damaged: restore a backup with `scrubjay restore`",
    13: "the disk is full: free some space, nothing accepted so far is lost",
    14: "the file is missing or can't be opened: `scrubjay up` creates it",
    26: "the file is not a SQLite database: check the database.url setting",
}
# SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html
_PG_RETRY = {"40001", "40P01", "55P03", "53300", "57P01", "57P02", "57P03"}


class _Transient(Unavailable):
    """A fault after which the whole use case may be tried again: nothing of it was committed."""


class Database:
    """Short transactions on one database. Get one from `open_database`."""

    def __init__(self, url: URL, readers: AsyncEngine, writers: AsyncEngine) -> None:
        self.url = url
        self.dialect = url.get_backend_name()  # "sqlite" or "postgresql"
        self._readers = async_sessionmaker(readers, expire_on_commit=False)
        self._writers = async_sessionmaker(writers, expire_on_commit=False)
        self._writing: asyncio.Task[Any] | None = None

    def __repr__(self) -> str:
        return f"Database({self.url.render_as_string(hide_password=True)!r})"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A read-only transaction over one snapshot; writing in it fails."""
        with self._faults():
            async with self._readers() as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A write transaction: commits on exit, rolls back on any error.

        On SQLite it holds the only write lock from the start, so inside it await nothing but the
        database, and never open a second one: that raises `RuntimeError`.
        """
        task = asyncio.current_task()
        if self.dialect == "sqlite" and task is not None and self._writing is task:
            raise RuntimeError("a write transaction inside a write transaction waits for itself")
        with self._faults():
            async with self._writers() as session:
                await session.connection()  # BEGIN now, so that what is read here is not stale
                self._writing = task
                try:
                    yield session
                finally:
                    self._writing = None
                with self._commit_faults():
                    await session.commit()

    async def run_read(self, use_case: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `use_case` in a read transaction, again after a transient fault."""
        return await self._retried(self.read, use_case)

    async def run_write(self, use_case: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run `use_case` in a write transaction, the whole of it again after a transient fault.

        A connection lost while committing is not retried: it may have been committed.
        """
        return await self._retried(self.write, use_case)

    async def health(self) -> str:
        """An empty text when well, else one sentence that says what to do."""
        try:
            async with self.read() as session:
                await session.execute(text("SELECT 1"))
        except Unavailable as error:
            return str(error)
        return ""

    async def _retried(
        self,
        begin: Callable[[], AbstractAsyncContextManager[AsyncSession]],
        use_case: Callable[[AsyncSession], Awaitable[T]],
    ) -> T:
        for backoff_s in _backoffs():
            try:
                async with begin() as session:
                    return await use_case(session)
            except _Transient:
                await asyncio.sleep(backoff_s)
        async with begin() as session:
            return await use_case(session)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeoutError as error:
            raise Unavailable(
                "Every database connection was busy for too long; try again, or raise "
                "database.pool_size."
            ) from error
        except (OperationalError, InterfaceError) as error:
            fault = self._translate(error)
            if fault is None:
                raise
            raise fault from error
        except OSError as error:  # psycopg's name resolution, a socket that is gone
            if self.dialect == "sqlite" or not isinstance(error, ConnectionError):
                raise
            raise _Transient(self._message("it can't be reached")) from error

    @contextmanager
    def _commit_faults(self) -> Iterator[None]:
        """A connection lost during COMMIT leaves open what happened: not to be tried again."""
        try:
            yield
        except OperationalError as error:
            if error.connection_invalidated:
                raise Unavailable(
                    self._message("the connection broke while committing; look before you repeat")
                ) from error
            raise

    def _translate(self, error: DBAPIError) -> Unavailable | None:
        """What a driver's error means, or None where it is a fault of ours (bad SQL)."""
        return self._sqlite_fault(error) if self.dialect == "sqlite" else self._pg_fault(error)

    def _sqlite_fault(self, error: DBAPIError) -> Unavailable | None:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if code in {_BUSY, _LOCKED}:
            return _Transient(self._message("another process is writing; try again"))
        if code in _SQLITE_ADVICE:
            return Unavailable(self._message(_SQLITE_ADVICE[code]))
        if "no such table" in str(error.orig):
            return Unavailable(self._message("it has no tables yet: `scrubjay up` makes them"))
        return None

    def _pg_fault(self, error: DBAPIError) -> Unavailable:
        state = getattr(error.orig, "sqlstate", None)
        if state in _PG_RETRY:
            return _Transient(self._message("the server asks to try again"))
        if error.connection_invalidated or state is None or state.startswith("08"):
            return _Transient(
                self._message("it can't be reached: check that it runs, and database.url")
            )
        if state == "53100":
            return Unavailable(self._message("its disk is full: free some space"))
        return Unavailable(self._message("it refuses to work: see its log"))

    def _message(self, advice: str) -> str:
        place = self.url.database if self.dialect == "sqlite" else self.url.host
        return f"The database ({place}) is not available: {advice}."


@asynccontextmanager
async def open_database(
    url: str, *, pool_size: int = 20, max_overflow: int = 30, pool_timeout_s: float = 30
) -> AsyncIterator[Database]:
    """A `Database` with its connections, all closed on exit.

    Opens nothing until the first transaction, and never creates a database: `migrate` does.
    """
    parsed = parse_url(url)
    pool: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": max_overflow,
        "pool_timeout": pool_timeout_s,
    }
    if parsed.get_backend_name() == "sqlite":
        readers = _sqlite_engine(parsed, pool, query_only=True)
        writers = _sqlite_engine(
            parsed, {**pool, "pool_size": 1, "max_overflow": 0}, query_only=False
        )
    else:
        # Connections to a server go stale; the ping on checkout replaces those that did.
        writers = create_async_engine(parsed, pool_pre_ping=True, pool_recycle=1800, **pool)
        readers = writers.execution_options(postgresql_readonly=True)
    try:
        yield Database(parsed, readers, writers)
    finally:
        await asyncio.shield(_dispose(readers, writers))


def parse_url(url: str) -> URL:
    """`sqlite:///path` or `postgresql://…` with the asynchronous driver Scrubjay uses."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(
            "database.url is not a URL; write sqlite:///path or postgresql://user@host/name."
        ) from error
    match parsed.drivername:
        case "sqlite" | "sqlite+aiosqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise ConfigurationError("database.url names no file: write sqlite:///path.")
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ConfigurationError(
                f"database.url: {other!r} is not supported; allowed are sqlite and postgresql."
            )


def upsert(session: AsyncSession, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that takes `on_conflict_do_nothing` or `on_conflict_do_update` on both dialects."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def _backoffs() -> Iterator[float]:
    for attempt in range(RETRIES - 1):
        bound = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2**attempt)
        yield bound * random.uniform(0.5, 1.0)  # noqa: S311 (spreads retries, guards nothing)


def _sqlite_engine(url: URL, pool: Mapping[str, Any], *, query_only: bool) -> AsyncEngine:
    # A URI with mode=rw: a missing file is an error instead of a new, empty database.
    file = Path(url.database or "").absolute().as_uri()
    engine = create_async_engine(
        url.set(database=file, query={"mode": "rw", "uri": "true"}),
        # The driver must not begin transactions by itself; the `begin` hook below does.
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_MS / 1000},
        **pool,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=NORMAL")
        if query_only:
            cursor.execute("PRAGMA query_only=ON")
        else:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if query_only else "BEGIN IMMEDIATE")

    return engine


async def _dispose(*engines: AsyncEngine) -> None:
    for engine in engines:
        await engine.dispose()
