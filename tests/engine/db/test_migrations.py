from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, NullPool, create_engine, insert, inspect, select, text

from engine.chats.post_rows import interaction_kind
from engine.clock import now
from engine.db import current, migrations
from engine.db.session import open_database, parse_url
from engine.db.tables import Base, Job, Tenant
from engine.errors import ConfigurationError, Unavailable
from engine.runtime import open_engine
from tests.fakes.databases import (
    DIALECTS,
    PostgresDatabases,
    old_sqlite_database,
    service_url,
)
from tests.fakes.homes import home_settings

OLD_HEAD, FIRST = "0008_worker_figures", "0001_tables"


def connect(url: str):
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        parsed = parsed.set(drivername="sqlite")
    return create_engine(parsed, poolclass=NullPool)


def record(url: str, revision: str) -> None:
    with connect(url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": revision})


def revision_of(url: str) -> str:
    """Read without the write lock, which whoever migrates holds."""
    with connect(url).connect() as connection:
        return connection.scalar(text("SELECT version_num FROM alembic_version"))


@contextmanager
def recorded(url: str, revision: str) -> Iterator[None]:
    """As if a database had this revision, for as long as it is looked at."""
    record(url, revision)
    try:
        yield
    finally:
        record(url, migrations.head_revision())


def rows(url: str, like: MetaData | None = None) -> dict[str, list]:
    """What each table holds, as the driver returns it; of the tables and columns of `like`."""
    with connect(url).connect() as connection:
        found = like or tables(url)
        return {
            name: connection.exec_driver_sql(
                f'SELECT {quoted(table)} FROM "{name}" ORDER BY 1, 2'
            ).all()
            for name, table in found.tables.items()
            if name != "alembic_version"
        }


def quoted(table) -> str:
    return ", ".join(f'"{column.name}"' for column in table.columns)


def tables(url: str) -> MetaData:
    """The tables that a database has now."""
    found = MetaData()
    with connect(url).connect() as connection:
        found.reflect(connection)
    return found


def schema(url: str) -> dict[str, dict]:
    """Tables as the database describes them: columns in order, the rest sorted."""
    with connect(url).connect() as connection:
        seen = inspect(connection)
        return {
            table: {
                "columns": [described(column) for column in seen.get_columns(table)],
                "key": described(seen.get_pk_constraint(table)),
                "references": sorted(map(described, seen.get_foreign_keys(table))),
                "unique": sorted(map(described, seen.get_unique_constraints(table))),
                "checks": sorted(map(described, seen.get_check_constraints(table))),
                "indexes": sorted(map(described, seen.get_indexes(table))),
            }
            for table in seen.get_table_names()
        }


def described(item: object) -> str:
    return json.dumps(item, default=str, sort_keys=True)


def test_the_migrations_lead_to_the_tables(database_url):
    with connect(database_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_head_is_known_without_the_migration_library(tmp_path):
    for name, before in (("0001", "None"), ("0002_z", '"0001"'), ("0002_a", '"0002_z"')):
        text_ = f'revision = "{name}"\ndown_revision = {before}\n'
        (tmp_path / f"{name}.py").write_text(text_, encoding="utf-8")
    assert current.head() == migrations.head_revision()
    assert current.head(tmp_path) == "0002_a"


def test_a_second_migration_finds_nothing_to_do(database_url):
    called = []
    assert not migrations.migrate(database_url, before=lambda: called.append(1))
    assert migrations.current_revision(database_url) == migrations.head_revision()
    assert called == []


def test_an_empty_database_needs_no_backup(tmp_path):
    called = []
    url = f"sqlite:///{tmp_path / 'new' / 'a.db'}"
    assert migrations.current_revision(url) is None
    assert migrations.migrate(url, before=lambda: called.append(1))
    assert called == []
    assert stat.S_IMODE((tmp_path / "new" / "a.db").stat().st_mode) == 0o600


def test_data_is_backed_up_before_it_migrates(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    migrations.migrate(url)
    ran = []
    monkeypatch.setattr(migrations, "head_revision", lambda: "0002")
    monkeypatch.setattr(migrations.command, "upgrade", lambda *_: ran.append("migrate"))
    assert migrations.migrate(url, before=lambda: ran.append("backup"))
    assert ran == ["backup", "migrate"]


def test_a_failed_migration_changes_nothing(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'a.db'}"

    def fail(connection) -> None:
        raise ConfigurationError("no")

    monkeypatch.setattr(migrations, "_check_references", fail)
    with pytest.raises(ConfigurationError):
        migrations.migrate(url)
    assert migrations.current_revision(url) is None


def test_processes_that_start_together_migrate_once(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(migrations.migrate(url))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    assert sorted(results) == [False, False, False, True]


def test_a_database_of_before_the_one_migration_keeps_every_row_and_equals_a_new_one(tmp_path):
    url, new = old_sqlite_database(tmp_path), f"sqlite:///{tmp_path / 'new.db'}"
    former = tables(url)
    before, ran = rows(url), []
    assert sum(map(bool, before.values())) >= 30
    assert not current.is_current(url)

    assert migrations.migrate(url, before=lambda: ran.append(revision_of(url)))
    assert ran == [OLD_HEAD]
    assert migrations.current_revision(url) == migrations.head_revision()
    assert current.is_current(url)
    assert rows(url, like=former) == before
    assert not migrations.migrate(url)

    migrations.migrate(new)
    assert schema(url) == schema(new)


async def test_an_installation_of_before_the_one_migration_opens_and_leaves_a_copy(tmp_path):
    url = old_sqlite_database(tmp_path)
    async with open_engine(home_settings(tmp_path)):
        pass
    (copy,) = tmp_path.glob("scrubjay-before-migration-*.db")
    assert migrations.current_revision(f"sqlite:///{copy}") == OLD_HEAD
    async with open_database(url) as database, database.read() as session:
        found = {
            table.name: (await session.execute(select(table))).all()
            for table in Base.metadata.sorted_tables
        }
    (tenant,) = (row for row in found["tenant"] if row.key == "acme")
    (chunk,) = found["chunk"]
    assert (tenant.name, tenant.settings) == ("Acme Café", {"answers": {"language": "de"}})
    assert chunk.text == "Parents get 16 weeks of leave \N{EN DASH} fully paid.\n"
    assert found["worker"][0].figures == {"done": 3}


@pytest.fixture(params=DIALECTS)
def first_url(request, tmp_path) -> Iterator[str]:
    """The URL of an empty database with the tables of the first migration."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'first.db'}"
        migrations.migrate(url, revision=FIRST)
        yield url
        return
    server = PostgresDatabases(service_url("SCRUBJAY_TEST_POSTGRES"))
    server.create()
    try:
        migrations.migrate(server.url, revision=FIRST)
        yield server.url
    finally:
        server.drop()


def test_the_last_revision_before_the_one_migration_is_renamed(first_url):
    tenant = {"id": "acme", "key": "acme", "name": "Acme", "settings": {}, "created_at": now()}
    with connect(first_url).begin() as connection:
        connection.execute(insert(Tenant.__table__).values(tenant))
    before, shape, ran = rows(first_url), schema(first_url), []
    record(first_url, OLD_HEAD)
    assert migrations.migrate(first_url, before=lambda: ran.append("backup"), revision=FIRST)
    assert migrations.current_revision(first_url) == FIRST
    assert ran == ["backup"]
    assert (rows(first_url), schema(first_url)) == (before, shape)
    assert migrations.migrate(first_url)
    assert migrations.current_revision(first_url) == migrations.head_revision()


def test_jobs_queued_before_their_kind_was_renamed_are_still_done_once(first_url):
    tenant = {"id": "acme", "key": "acme", "name": "Acme", "settings": {}, "created_at": now()}
    key = "T1:C1:171.5" + "0" * 200
    jobs = [
        {"id": "a", "kind": "errand:slack", "state": "queued", "idempotency_key": "errand:T1:press"},
        {"id": "b", "kind": "errand:discord", "state": "running", "idempotency_key": None},
        {"id": "c", "kind": "errand:slack", "state": "queued", "idempotency_key": f"errand:{key}"[:200]},
        {"id": "d", "kind": "answer:slack", "state": "queued", "idempotency_key": "answer:slack:errand:"},
    ]  # fmt: skip
    with connect(first_url).begin() as connection:
        connection.execute(insert(Tenant.__table__).values(tenant))
        connection.execute(insert(Job.__table__), [job | {"tenant_id": "acme"} for job in jobs])
    record(first_url, OLD_HEAD)
    assert migrations.migrate(first_url)
    table = Job.__table__
    with connect(first_url).connect() as connection:
        found = connection.execute(
            select(table.c.kind, table.c.state, table.c.idempotency_key).order_by(table.c.id)
        ).all()
    assert found == [
        ("interaction:slack", "queued", "interaction:T1:press"),
        ("interaction:discord", "running", None),
        ("interaction:slack", "queued", f"interaction:{key}"[:200]),
        ("answer:slack", "queued", "answer:slack:errand:"),
    ]
    assert found[0].kind == interaction_kind("slack")


@pytest.mark.parametrize("revision", sorted(migrations.TOO_OLD))
def test_a_database_of_an_older_version_is_refused(database_url, revision):
    with (
        recorded(database_url, revision),
        pytest.raises(ConfigurationError) as raised,
    ):
        migrations.migrate(database_url, before=pytest.fail)
    said = str(raised.value)
    assert said.startswith(f"The database ({place_of(database_url)}) is at revision {revision}, ")
    assert f"Install the version whose last revision is {OLD_HEAD}, start it once" in said
    assert f"restore a backup made at {OLD_HEAD} or later." in said


def test_a_database_of_a_newer_version_is_refused(database_url):
    with (
        recorded(database_url, "9999"),
        pytest.raises(ConfigurationError, match="newer Scrubjay") as raised,
    ):
        migrations.migrate(database_url, before=pytest.fail)
    said = str(raised.value)
    assert said.startswith(f"The database ({place_of(database_url)}) is at revision 9999, ")
    assert "Install that version, or restore a backup" in said


def test_what_is_refused_stays_as_it_is(tmp_path):
    url = old_sqlite_database(tmp_path)
    for revision in ("0007_history", "9999"):
        record(url, revision)
        before = rows(url)
        with pytest.raises(ConfigurationError):
            migrations.migrate(url)
        assert (migrations.current_revision(url), rows(url)) == (revision, before)


def test_no_migration_has_a_name_of_those_that_are_gone():
    scripts = migrations.ScriptDirectory.from_config(migrations.config())
    names = {script.revision for script in scripts.walk_revisions()}
    assert set(migrations.RENAMED.values()) <= names
    assert names & (migrations.TOO_OLD | set(migrations.RENAMED)) == set()


def place_of(url: str) -> str:
    parsed = parse_url(url)
    return f"{parsed.database} on {parsed.host}" if parsed.host else parsed.database


def test_an_unreachable_server_says_so():
    with pytest.raises(Unavailable, match="can't be reached"):
        migrations.migrate("postgresql://a@127.0.0.1:1/b")
