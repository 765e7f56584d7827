"""Bring a database to the tables of this version, and say which version it has.

`scrubjay up` and the tests call `migrate`; every change of `tables/` has a file in `versions/`,
written by `python -m engine.db.migrations "Add what"` and then read by a person.
These functions block: call them in a thread.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from engine.db.faults import faults, place
from engine.db.session import parse_url
from engine.errors import ConfigurationError

LOCK_KEY = 0x5C2B_0001  # of PostgreSQL's advisory lock: any number that is ours
LOCK_TIMEOUT_S = 60  # how long a second process waits for the first one to migrate
WAL_PAUSE_S = 0.01

# Seven migrations of before the first release are now one, which makes the same tables. A database
# at the last of them therefore needs a new revision name and no other table: `migrate` backs it up
# as before any change, writes the name, and renames the kind of jobs that was renamed since. One at
# an earlier revision would need what is gone.
# No later migration may have any of these names.
RENAMED = {"0008_worker_figures": "0001_tables"}
TOO_OLD = {"0001", "0002_mcp", "0003_flows", "0005_reembed", "0006_bots", "0007_history"}


def migrate(
    url: str, *, before: Callable[[], None] | None = None, revision: str | None = None
) -> bool:
    """Create the database's tables or bring them up to date; says whether anything was to do.

    `revision` stops at an older version than this one's: a restored backup starts from its own.
    `before` is called when a database with data in it is about to change: the place for a backup.
    Two processes may call this at once; the second waits, and finds nothing to do.
    """
    parsed = parse_url(url)
    if revision is not None:
        refuse_unknown(revision, f"The data for {place(parsed)}")
    target = head_revision() if revision is None else present_name(revision)
    if parsed.get_backend_name() == "sqlite":
        _create_file(Path(parsed.database or ""))
    with _locked(parsed) as connection:
        recorded = _current(connection)
        if recorded == target:
            return False
        if recorded is not None:
            refuse_unknown(recorded, f"The database ({place(parsed)})")
        if before is not None and inspect(connection).get_table_names():
            before()
        if recorded in RENAMED:
            _rename_revision(connection, recorded)
        if _current(connection) != target:
            command.upgrade(config(connection), target)
            _check_references(connection)
    return True


def current_revision(url: str) -> str | None:
    """The revision a database is at; None where it has no tables, or no file."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists():
        return None
    with connected(parsed) as connection:
        return _current(connection)


def head_revision() -> str:
    """The revision this version of Scrubjay works with."""
    head = ScriptDirectory.from_config(config()).get_current_head()
    if head is None:
        raise ConfigurationError("This installation lacks its migrations; install it again.")
    return head


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, for our `env.py`; there is no alembic.ini."""
    made = Config(attributes={"connection": connection})
    made.set_main_option("script_location", "engine.db:migrations")
    made.set_main_option("path_separator", "os")
    return made


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def present_name(revision: str) -> str:
    """What this version calls a revision that a database or a backup recorded."""
    return RENAMED.get(revision, revision)


def refuse_unknown(revision: str, owner: str) -> None:
    """Raise `ConfigurationError` unless `revision`, which `owner` recorded, can be migrated."""
    if revision in TOO_OLD:
        (oldest,) = RENAMED
        raise ConfigurationError(
            f"{owner} is at revision {revision}, and this version of Scrubjay can only migrate "
            f"{oldest} and later. Install the version whose last revision is {oldest}, start it "
            "once with this data, then install this version again; or restore a backup made at "
            f"{oldest} or later."
        )
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if present_name(revision) not in known:
        raise ConfigurationError(
            f"{owner} is at revision {revision}, which this version of Scrubjay doesn't know: it "
            "was made by a newer Scrubjay. Install that version, or restore a backup made by this "
            "one."
        )


def _rename_revision(connection: Connection, recorded: str) -> None:
    # In SQL, as Alembic's own `stamp` looks for the script of the revision it starts from.
    connection.execute(
        text("UPDATE alembic_version SET version_num = :name"), {"name": present_name(recorded)}
    )
    _rename_interactions(connection)


def _rename_interactions(connection: Connection) -> None:
    """Jobs of the kind `errand:<platform>` are of the kind `interaction:<platform>` now.

    Their idempotency keys begin with the same word: a delivery that is repeated after the upgrade
    must find the job of the first.
    """
    for column in ("kind", "idempotency_key"):
        rest = f"substr({column}, length('errand:') + 1)"
        connection.exec_driver_sql(
            f"UPDATE job SET {column} = substr('interaction:' || {rest}, 1, 200)"  # noqa: S608 (our names)
            f" WHERE substr({column}, 1, length('errand:')) = 'errand:'"
        )


def _create_file(file: Path) -> None:
    """An empty file only its owner can read; SQLite gives its companions the same mode."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))


@contextmanager
def _locked(url: URL) -> Iterator[Connection]:
    """One transaction that keeps other migrations out until it ends."""
    with connected(url) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        yield connection
        connection.commit()


@contextmanager
def connected(url: URL, *, snapshot: bool = False) -> Iterator[Connection]:
    """A blocking connection for whole-database work: migrating, backing up, restoring.

    It writes under SQLite's only write lock; with `snapshot` it reads one state and blocks nobody.
    On SQLite foreign keys are not enforced: changing a table copies and drops it, which would
    cascade.
    """
    sqlite = url.get_backend_name() == "sqlite"
    engine = create_engine(
        url.set(drivername="sqlite") if sqlite else url,
        poolclass=NullPool,
        connect_args={"isolation_level": None, "timeout": LOCK_TIMEOUT_S} if sqlite else {},
    )
    if sqlite:
        event.listen(engine, "connect", _use_wal)
        event.listen(engine, "begin", _begin if snapshot else _begin_immediate)
    elif snapshot:
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with faults(url), engine.connect() as connection:
        yield connection


def _use_wal(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Switching a new file needs it alone, for a moment, and SQLite itself does not wait for that."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    cursor = connection.cursor()
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > deadline:
                raise
            time.sleep(WAL_PAUSE_S)
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _check_references(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        tables = ", ".join(sorted({row[0] for row in broken}))
        raise ConfigurationError(
            f"The migration would leave rows that refer to nothing, in {tables}; the database is "
            "unchanged. Please report this with `scrubjay doctor`'s output."
        )
