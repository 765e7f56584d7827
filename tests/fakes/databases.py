"""Real databases for tests: an empty, migrated one each, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from engine.clock import new_id
from engine.db.migrations import migrate

DIALECTS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))
OLD_DATABASE = Path(__file__).parents[1] / "data" / "revision-0008.sql"


def service_url(variable: str) -> str:
    """The address of a service tests need: without one they skip, in CI they fail."""
    url = os.environ.get(variable, "")
    if not url:
        if os.environ.get("CI"):
            pytest.fail(f"{variable} is not set, and in CI every contract runs")
        pytest.skip(f"{variable} is not set")
    return url


REDIS_DATABASES = 16  # as many as a server has unless told otherwise


def redis_url() -> str:
    """A Redis database that only this process of a test run uses, on the server tests were given."""
    server = make_url(service_url("SCRUBJAY_TEST_REDIS"))
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    number = (int(server.database or 0) + process) % REDIS_DATABASES
    return server.set(database=str(number)).render_as_string(hide_password=False)


def old_sqlite_database(folder: Path) -> str:
    """The URL of a database in `folder` as the last version before the one migration left it."""
    file = folder / "scrubjay.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(OLD_DATABASE.read_text(encoding="utf-8"))
    return f"sqlite:///{file}"


class SqliteDatabases:
    """Copies of one migrated file: migrating takes longer than most tests."""

    def __init__(self, folder: Path) -> None:
        self.template = folder / "template.db"
        migrate(f"sqlite:///{self.template}")

    def new(self, folder: Path) -> str:
        """The URL of an empty database in `folder`."""
        file = folder / "scrubjay.db"
        shutil.copy(self.template, file)
        return f"sqlite:///{file}"


class PostgresDatabases:
    """A database of its own a test run, emptied for every test."""

    def __init__(self, server_url: str) -> None:
        self.server_url = make_url(server_url).set(drivername="postgresql+psycopg")
        self.name = f"scrubjay_test_{new_id()}"
        self.url = self.server_url.set(database=self.name).render_as_string(hide_password=False)

    def create(self) -> None:
        """Make the database, still without tables."""
        self._on_server(f'CREATE DATABASE "{self.name}"')

    def drop(self) -> None:
        """Remove it with everything in it."""
        self._on_server(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')

    def empty(self) -> str:
        """The URL of the database, now without rows."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(
                text('TRUNCATE tenant, "user", worker, setting, embedding, ephemeral CASCADE')
            )
        return self.url

    def _on_server(self, statement: str) -> None:
        engine = create_engine(self.server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))


@contextmanager
def postgres_databases() -> Iterator[PostgresDatabases]:
    """A test run's database on the server that SCRUBJAY_TEST_POSTGRES names."""
    databases = PostgresDatabases(service_url("SCRUBJAY_TEST_POSTGRES"))
    databases.create()
    try:
        migrate(databases.url)
        yield databases
    finally:
        databases.drop()
