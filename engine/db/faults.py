"""What a driver's error means to the people who run Scrubjay: one sentence that says what to do.

`session.py` and `migrations/` wrap everything they do in `faults`. Errors that are a fault of
ours (bad SQL, a constraint) pass through unchanged.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from engine.errors import InvalidInput, Unavailable

# SQLite primary result codes, https://www.sqlite.org/rescode.html
_BUSY, _LOCKED = 5, 6
_FULL = 13
# A disk that fills up fails in other ways too, when a file beside the database can't grow.
_WHEN_FULL = {10, 11, 14}
LEAST_FREE_BYTES = 1 << 20
_SQLITE_ADVICE = {
    3: "check the permissions of the data folder",
    8: "it is read-only; check the permissions of the data folder",
    10: "the disk reports an error; check it, then restore a backup if the file is damaged",
    11: "the file is damaged; restore a backup with `scrubjay restore`",
    13: "the disk is full; free some space, nothing accepted so far is lost",
    14: "the file is missing or can't be opened; `scrubjay up` creates it",
    26: "the file is not a SQLite database; check the database.url setting",
}
# SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html
_PG_RETRY = {"40001", "40P01", "55P03", "53300", "57P01", "57P02", "57P03"}
_PG_ADVICE = {
    "28000": "it rejects the user; check the user and password in database.url",
    "28P01": "it rejects the password; check database.url",
    "3D000": "it does not exist; create it on the server, or check database.url",
    "53100": "its disk is full; free some space",
}


class Transient(Unavailable):
    """A fault after which the whole use case may be tried again: nothing of it was committed."""


@contextmanager
def faults(url: URL) -> Iterator[None]:
    """Raise what goes wrong with the database at `url` as `Unavailable`.

    A text that no database of ours can store, in an id or anywhere else, is `InvalidInput`.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise InvalidInput(
            "A text has half of a character (a lone surrogate): remove it."
        ) from error
    except PoolTimeoutError as error:
        raise Unavailable(
            message(
                url, "every connection was busy for too long; try again, or raise the pool size"
            )
        ) from error
    except DBAPIError as error:
        if "NUL (0x00)" in str(error.orig):
            raise InvalidInput("A text has a NUL character in it: remove it.") from error
        fault = _sqlite_fault(url, error) if _is_sqlite(url) else _pg_fault(url, error)
        if fault is None:
            raise
        raise fault from error


def message(url: URL, advice: str) -> str:
    """The sentence for a person; names the database without its password."""
    return f"The database ({place(url)}) is not available: {advice}."


def place(url: URL) -> str:
    """Where a database is: its file, or its name and server."""
    return str(url.database) if _is_sqlite(url) else f"{url.database} on {url.host or 'localhost'}"


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _sqlite_fault(url: URL, error: DBAPIError) -> Unavailable | None:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    if code in {_BUSY, _LOCKED}:
        return Transient(message(url, "another process is writing; try again"))
    if code in _WHEN_FULL and _is_full(url):
        code = _FULL
    if code in _SQLITE_ADVICE:
        return Unavailable(message(url, _SQLITE_ADVICE[code]))
    if "no such table" in str(error.orig):
        return Unavailable(message(url, "it has no tables yet; `scrubjay up` creates them"))
    return None


def _is_full(url: URL) -> bool:
    """Whether the disk of a SQLite file has no room left for a page and its journal."""
    try:
        return shutil.disk_usage(Path(url.database or ".").parent).free < LEAST_FREE_BYTES
    except OSError:
        return False


def _pg_fault(url: URL, error: DBAPIError) -> Unavailable | None:
    if not isinstance(error, OperationalError | InterfaceError):
        return None
    state = getattr(error.orig, "sqlstate", None)
    if state in _PG_RETRY:
        return Transient(message(url, "the server asks to try again"))
    if state in _PG_ADVICE:
        return Unavailable(message(url, _PG_ADVICE[state]))
    if error.connection_invalidated or state is None or state.startswith("08"):
        return Transient(message(url, "it can't be reached; check that it runs, and database.url"))
    return Unavailable(message(url, "it returned an error; see its log"))
