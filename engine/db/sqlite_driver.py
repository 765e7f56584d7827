"""aiosqlite for SQLAlchemy with one thread hop a statement, where the stock adapter takes four.

A statement of ours runs in microseconds; waking the connection's thread for its cursor, its
execution, its rows and its end each costs more than that. Here all four are one call.

`in_loop` takes none: statements run in the loop's own thread. That is for the worker, whose loop
nobody waits for, and it saves a third of what a small document costs. Waiting for another
process's commit still happens in the loop's time.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_dbapi,
)
from sqlalchemy.util.concurrency import await_

T = TypeVar("T")

BEGIN_WRITE = "BEGIN IMMEDIATE"
BUSY_PAUSE_S = 0.002  # between two tries for the write lock


class OneHopCursor:
    """A DBAPI cursor that has read everything by the time `execute` returns."""

    server_side = False
    arraysize = 1

    def __init__(self, connection: _Connection) -> None:
        self._adapted = connection
        self._in_loop = connection.in_loop
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self._rows: deque[Any] = deque()

    def execute(self, operation: str, parameters: Any = ()) -> None:  # noqa: ANN401
        """Run one statement and fetch all of its rows."""
        if self._in_loop and operation == BEGIN_WRITE:
            self._begin_write()
        else:
            self._run(lambda connection: connection.execute(operation, parameters or ()))

    def executemany(self, operation: str, seq_of_parameters: Sequence[Any]) -> None:
        """Run one statement for each row of parameters."""
        self._run(lambda connection: connection.executemany(operation, seq_of_parameters))

    def _run(self, statement: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> None:
        driver: aiosqlite.Connection = self._adapted._connection  # type: ignore[assignment]  # noqa: SLF001

        def work() -> tuple[Any, int, int | None, list[Any]]:
            cursor = statement(driver._conn)  # noqa: SLF001 (aiosqlite's own thread runs this)
            try:
                rows = cursor.fetchall() if cursor.description else []
                return cursor.description, cursor.rowcount, cursor.lastrowid, rows
            finally:
                cursor.close()

        async def hop() -> tuple[Any, int, int | None, list[Any]]:
            if self._in_loop:
                return work()
            async with self._adapted._execute_mutex:  # noqa: SLF001
                return await driver._execute(work)  # type: ignore[no-any-return, no-untyped-call]  # noqa: SLF001

        try:
            self.description, self.rowcount, self.lastrowid, rows = await_(hop())
        except Exception as error:  # noqa: BLE001 (the adapter turns it into SQLAlchemy's)
            self._adapted._handle_exception(error)  # noqa: SLF001
        self._rows = deque(rows)

    def _begin_write(self) -> None:
        """Take the write lock; while another process has it, the loop continues with other things."""
        deadline = time.monotonic() + self._adapted.busy_timeout_s
        while True:
            try:
                self._adapted.driver.execute(BEGIN_WRITE)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    self._adapted._handle_exception(error)  # noqa: SLF001
                await_(asyncio.sleep(BUSY_PAUSE_S))
            else:
                return

    def fetchone(self) -> Any:  # noqa: ANN401 (a row)
        """The next row, or None."""
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Some rows."""
        count = min(size or self.arraysize, len(self._rows))
        return [self._rows.popleft() for _ in range(count)]

    def fetchall(self) -> list[Any]:
        """All that is left."""
        rows = list(self._rows)
        self._rows.clear()
        return rows

    def __iter__(self) -> Iterator[Any]:
        while self._rows:
            yield self._rows.popleft()

    def close(self) -> None:
        """Forget the rows; the driver's cursor is closed already."""
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """SQLAlchemy asks for this before it hands rows to synchronous code; nothing is open."""

    def setinputsizes(self, *sizes: Any) -> None:  # noqa: ANN401
        """SQLite has no use for it."""


class _Connection(AsyncAdapt_aiosqlite_connection):
    _cursor_cls = OneHopCursor  # type: ignore[assignment]
    in_loop = False
    busy_timeout_s = 0.0

    @property
    def driver(self) -> sqlite3.Connection:
        """The connection itself, which in the loop's thread is used as it is."""
        connection: sqlite3.Connection = self._connection._conn  # noqa: SLF001
        return connection


class _LoopConnection(_Connection):
    in_loop = True

    def commit(self) -> None:
        """End the transaction."""
        try:
            self.driver.commit()
        except Exception as error:  # noqa: BLE001 (the adapter turns it into SQLAlchemy's)
            self._handle_exception(error)

    def rollback(self) -> None:
        """Undo the transaction."""
        try:
            self.driver.rollback()
        except Exception as error:  # noqa: BLE001 (the adapter turns it into SQLAlchemy's)
            self._handle_exception(error)


class OneHopDriver(AsyncAdapt_aiosqlite_dbapi):
    """What `create_async_engine(..., module=)` takes as the driver."""

    def __init__(self, *, in_loop: bool = False, busy_timeout_s: float = 0.0) -> None:
        super().__init__(aiosqlite, sqlite3)
        self._connection_type = _LoopConnection if in_loop else _Connection
        self._busy_timeout_s = busy_timeout_s

    def connect(self, *arg: Any, **kw: Any) -> AsyncAdapt_aiosqlite_connection:  # noqa: ANN401
        """A connection made by `async_creator_fn`."""
        creator = kw.pop("async_creator_fn")
        connection = self._connection_type(self, await_(creator(*arg, **kw)))
        connection.busy_timeout_s = self._busy_timeout_s
        return connection
