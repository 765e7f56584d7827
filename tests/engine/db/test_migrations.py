from __future__ import annotations

import stat
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import NullPool, create_engine, text

from engine.db import current, migrations
from engine.db.session import parse_url
from engine.db.tables import Base
from engine.errors import ConfigurationError, Unavailable


def connect(url: str):
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        parsed = parsed.set(drivername="sqlite")
    return create_engine(parsed, poolclass=NullPool)


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


def test_a_database_of_a_newer_version_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    migrations.migrate(url)
    with connect(url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer Scrubjay"):
        migrations.migrate(url)


def test_an_unreachable_server_says_so():
    with pytest.raises(Unavailable, match="can't be reached"):
        migrations.migrate("postgresql://a@127.0.0.1:1/b")
