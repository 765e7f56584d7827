"""The database: sessions over SQLite and PostgreSQL behind one class.

`open_database` is called by `engine/runtime.py`; everybody else is handed a `Database` and opens
one short transaction a use case: `async with db.read()` or `async with db.write()`. Migrations
are in `migrations/`.

SQLite: readers share a pool, and one separate connection does all writing. Writers of this
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

import aiosqlite
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry

from engine.db.faults import Transient, faults, message
from engine.db.grouping import Grouping
from engine.db.sqlite_driver import BEGIN_WRITE, OneHopDriver
from engine.db.tables import Base
from engine.errors import ConfigurationError, Unavailable

T = TypeVar("T")

BUSY_TIMEOUT_MS = 5_000  # how long SQLite waits for another process to commit
IN_LOOP_TIMEOUT_MS = 100  # the same of a wait that stops the loop
WAL_LIMIT_BYTES = 64 * 2**20  # the write-ahead log is cut back to this at checkpoints
RETRIES = 5
FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 1.0


class Database:
    """Short transactions on one database. Get one from `open_database`."""

    def __init__(self, url: URL, readers: AsyncEngine, writers: AsyncEngine) -> None:
        self.url = url
        self.dialect = url.get_backend_name()  # "sqlite" or "postgresql"
        self._readers = async_sessionmaker(readers, expire_on_commit=False)
        self._writers = async_sessionmaker(writers, expire_on_commit=False)
        self._writing: asyncio.Task[Any] | None = None
        self._grouping = Grouping(self.run_write)

    def __repr__(self) -> str:
        return f"Database({self.url.render_as_string(hide_password=True)!r})"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A read-only transaction over one snapshot; writing in it fails."""
        with faults(self.url):
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
        with faults(self.url):
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

    async def run_grouped(self, use_case: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """`run_write`, in one transaction with other use cases that come at the same moment.

        For what somebody waits for and many do at once. What a use case returned counts from the
        commit on, for all of a group; it runs again where another of its group failed.
        """
        return await self._grouping.run(use_case)

    async def aclose(self) -> None:
        """Wait for grouped use cases that are under way."""
        await self._grouping.aclose()

    async def health(self) -> str:
        """An empty text when well, else one sentence that says what to do."""
        try:
            async with self.read() as session:
                await session.execute(text("SELECT 1"))
        except Unavailable as error:
            return str(error)
        # Open connections continue in a file that was removed; what they write is lost.
        file = self.url.database or ""
        if self.dialect == "sqlite" and not await asyncio.to_thread(Path(file).exists):
            return message(self.url, "its file was removed; stop everything, put it back")
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
            except Transient:
                await asyncio.sleep(backoff_s)
        async with begin() as session:
            return await use_case(session)

    @contextmanager
    def _commit_faults(self) -> Iterator[None]:
        """A connection lost during COMMIT leaves open what happened: not to be tried again."""
        try:
            yield
        except OperationalError as error:
            if error.connection_invalidated:
                raise Unavailable(
                    message(
                        self.url, "a commit was interrupted; check what was done before you retry"
                    )
                ) from error
            raise


@asynccontextmanager
async def open_database(
    url: str,
    *,
    pool_size: int = 20,
    max_overflow: int = 30,
    pool_timeout_s: float = 30,
    in_loop: bool = False,
) -> AsyncIterator[Database]:
    """A `Database` with its connections, all closed on exit.

    `in_loop` lets SQLite work in the loop's thread: quicker for many small transactions, and only
    for a process in whose loop nobody waits for an answer.

    Opens nothing until the first transaction, and never creates a database: `migrate` does.
    """
    parsed = parse_url(url)
    pool: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": max_overflow,
        "pool_timeout": pool_timeout_s,
    }
    if parsed.get_backend_name() == "sqlite":
        readers = _sqlite_engine(parsed, pool, query_only=True, in_loop=in_loop)
        one = {**pool, "pool_size": 1, "max_overflow": 0}
        writers = _sqlite_engine(parsed, one, query_only=False, in_loop=in_loop)
    else:
        # Connections to a server go stale; the ping on checkout replaces those that did.
        writers = create_async_engine(parsed, pool_pre_ping=True, pool_recycle=1800, **pool)
        readers = writers.execution_options(postgresql_readonly=True)
    db = Database(parsed, readers, writers)
    try:
        yield db
    finally:
        await asyncio.shield(_close(db, readers, writers))


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
                raise ConfigurationError("database.url has no file name: write sqlite:///path.")
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


def _sqlite_engine(
    url: URL, pool: Mapping[str, Any], *, query_only: bool, in_loop: bool
) -> AsyncEngine:
    # A URI with mode=rw: a missing file is an error instead of a new, empty database.
    file = f"{Path(url.database or '').absolute().as_uri()}?mode=rw"
    timeout_ms = min(IN_LOOP_TIMEOUT_MS, BUSY_TIMEOUT_MS) if in_loop else BUSY_TIMEOUT_MS
    driver = OneHopDriver(in_loop=in_loop, busy_timeout_s=BUSY_TIMEOUT_MS / 1000)

    async def connect() -> aiosqlite.Connection:
        # The driver must not begin transactions by itself; the `begin` hook below does.
        opening = aiosqlite.connect(
            file,
            uri=True,
            isolation_level=None,
            timeout=timeout_ms / 1000,
            check_same_thread=not in_loop,
        )
        thread = opening._thread  # noqa: SLF001 (there is no other way to it)
        thread.daemon = True  # a loop that ends without closing us must not hang the process
        try:
            return await opening
        except BaseException:
            # It reports to this loop once more, which may be about to close.
            await asyncio.shield(asyncio.to_thread(thread.join, 1))
            raise

    engine = create_async_engine(url, async_creator=connect, module=driver, **pool)
    pragmas = [f"busy_timeout={timeout_ms}", "foreign_keys=ON", "synchronous=NORMAL"]
    if query_only:
        pragmas += ["query_only=ON"]
    else:
        pragmas += ["journal_mode=WAL", f"journal_size_limit={WAL_LIMIT_BYTES}"]

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        try:
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
        except BaseException:
            connection.close()  # the pool never saw it
            raise

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if query_only else BEGIN_WRITE)

    return engine


async def _close(db: Database, *engines: AsyncEngine) -> None:
    await db.aclose()
    for engine in engines:
        await engine.dispose()
