"""Settings: precedence, faults with a cure, origins, and no secret shown anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import load_settings, masked, origins, setting_names, variable
from engine.errors import ConfigurationError

KEY = "0123456789abcdef0123456789abcdef"


def write(home: Path, text: str) -> Path:
    file = home / "scrubjay.toml"
    file.write_text(text, encoding="utf-8")
    return file


def faults(home: Path, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(home, environ=environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("file", "environ", "overrides", "port", "origin"),
    [
        ("", {}, {}, 7337, "default"),
        ("[server]\nport = 1\n", {}, {}, 1, "{home}/scrubjay.toml:2"),
        ("[server]\nport = 1\n", {"SCRUBJAY_SERVER__PORT": "2"}, {}, 2, "SCRUBJAY_SERVER__PORT"),
        ("[server]\nport = 1\n", {"SCRUBJAY_SERVER__PORT": "2"}, {"server.port": 3}, 3, "argument"),
    ],
)
def test_the_stronger_layer_wins_and_is_named(
    tmp_path: Path,
    file: str,
    environ: dict[str, str],
    overrides: dict[str, object],
    port: int,
    origin: str,
) -> None:
    write(tmp_path, file)
    settings = load_settings(tmp_path, overrides=overrides, environ=environ)
    assert settings.server.port == port
    named = {o.name: o.origin for o in origins(settings)}
    assert named["server.port"] == origin.format(home=tmp_path)
    assert named["server.host"] == "default"


def test_the_data_folder_is_the_one_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path / "here"))
    settings = load_settings()
    assert settings.home == tmp_path / "here"
    assert settings.database_url == f"sqlite:///{tmp_path}/here/scrubjay.db"
    assert settings.blob_folder == tmp_path / "here" / "blobs"


def test_the_server_listens_on_loopback_only_by_default(tmp_path: Path) -> None:
    server = load_settings(tmp_path, environ={}).server
    assert (server.host, server.port) == ("127.0.0.1", 7337)


def test_all_faults_are_told_at_once_with_place_and_cure(tmp_path: Path) -> None:
    file = write(
        tmp_path, "[searching]\nalpha = 0.4\n\n[search]\nfusion = 'sum'\n[database]\npool = 3\n"
    )
    said = faults(tmp_path, SCRUBJAY_SEARCH__ALPHA="3", SCRUBJAY_SERVER__PRT="80")
    assert said.splitlines() == [
        "5 invalid settings:",
        f"  searching.alpha ({file}:2): unknown setting; did you mean search.alpha?",
        f"  database.pool ({file}:7): unknown setting; did you mean database.pool_size?",
        "  server.prt (SCRUBJAY_SERVER__PRT): unknown setting; did you mean server.port?",
        '  search.alpha = "3" (SCRUBJAY_SEARCH__ALPHA): give a number from 0 to 1',
        f'  search.fusion = "sum" ({file}:5): give one of "linear", "rrf"',
    ]


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("server.port", "70000", "a whole number from 0 to 65535"),
        ("server.port", "web", "a whole number from 0 to 65535"),
        ("system.debug", "perhaps", "true or false"),
        ("processing.max_file_size", "lots", "a size, such as 100MB"),
        ("llm.model", "gpt", "<provider>:<name>, such as openai:gpt-5.4, or an empty text"),
        (
            "llm.base_url",
            "localhost",
            "a URL that starts with http:// or https://, or an empty text",
        ),
        ("jobs.broker", "rabbit://x", '"memory" or redis://<host>:<port>/<number>'),
        ("jobs.broker", "redis://x:port/0", '"memory" or redis://<host>:<port>/<number>'),
        ("jobs.lease_s", "0", "a number from 2 to 3600"),
        ("database.pool_timeout_s", "0", "a number above 0 to 600"),
        ("embedding.model", "", "a non-empty text"),
        ("search.engine", "elastic", 'one of "embedded", "vespa"'),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(
    tmp_path: Path, name: str, value: str, cure: str
) -> None:
    said = faults(tmp_path, **{variable(name): value})
    assert said == f'invalid setting: {name} = "{value}" ({variable(name)}): give {cure}'


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"SCRUBJAY_EMBEDDING__BASE_URL": "http://x/v1"}, "embedding.dimension = 0"),
        ({"SCRUBJAY_EMBEDDING__MODEL": "e5"}, "embedding.base_url"),
        ({"SCRUBJAY_PROCESSING__CHUNK_OVERLAP": "200"}, "at most half of processing.chunk_size"),
        ({"SCRUBJAY_DATABASE__URL": "postgresql+psycopg://u:p@h/d"}, "system.secret_key is empty"),
        ({"SCRUBJAY_SYSTEM__SECRET_KEY": "short"}, "32 random characters"),
    ],
)
def test_settings_that_need_one_another_are_checked_together(
    tmp_path: Path, environ: dict[str, str], says: str
) -> None:
    assert says in faults(tmp_path, **environ)


def test_a_size_is_read_as_people_write_it(tmp_path: Path) -> None:
    for written, size_bytes in [("100MB", 100_000_000), ("1 GiB", 1 << 30), ("512", 512)]:
        settings = load_settings(tmp_path, environ={"SCRUBJAY_PROCESSING__MAX_FILE_SIZE": written})
        assert settings.processing.max_file_size == size_bytes


@pytest.mark.parametrize("text", ["[server\n", "port", "a = [1,\n"])
def test_a_file_that_is_not_toml_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, text)
    assert f"{file} is not TOML" in faults(tmp_path)


def test_a_settings_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_settings(tmp_path, tmp_path / "none.toml", environ={})


def test_no_secret_is_shown_in_origins_repr_or_faults(tmp_path: Path) -> None:
    environ = {
        "SCRUBJAY_DATABASE__URL": f"postgresql+psycopg://me:{KEY}@db/scrubjay",
        "SCRUBJAY_JOBS__BROKER": f"redis://:{KEY}@cache:6379/0",
        **{
            variable(name): KEY
            for name in setting_names()
            if name.endswith(("api_key", "secret_key"))
        },
    }
    settings = load_settings(tmp_path, environ=environ)
    shown = {o.name: o.value for o in origins(settings)}
    assert shown["database.url"] == "postgresql+psycopg://me:****@db/scrubjay"
    assert shown["jobs.broker"] == "redis://:****@cache:6379/0"
    assert shown["llm.api_key"] == "****"
    assert shown["embedding.api_key"] == "****"
    for text in (str(shown), repr(settings), str(settings)):
        assert KEY not in text
    bad = {
        **environ,
        "SCRUBJAY_DATABASE__URL": f"mysql://me:{KEY}@db/x",
        "SCRUBJAY_LLM__APIKEY": KEY,
    }
    said = faults(tmp_path, **bad)
    assert KEY not in said
    assert "mysql://me:****@db/x" in said


def test_a_password_in_something_that_is_no_url_is_masked_whole() -> None:
    assert masked("database.url", "postgres://u:p@[h/x") == "****"
