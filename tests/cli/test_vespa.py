"""`scrubjay vespa` on a real engine, against a config server on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from cli import context
from cli.main import main
from engine.config import load_settings
from engine.db.session import open_database
from engine.db.tables import IndexPlacement
from engine.runtime import open_engine
from tests.fakes.config_server import ConfigServer

Run = Callable[..., Any]


@pytest.fixture
def server() -> ConfigServer:
    return ConfigServer()


@pytest.fixture
def address(server: ConfigServer) -> Iterator[str]:
    """The config server, listening."""
    config = uvicorn.Config(server.app, host="127.0.0.1", port=0, log_level="critical")
    listening = uvicorn.Server(config)
    thread = threading.Thread(target=listening.run)
    thread.start()
    while not listening.started:
        thread.join(0.01)
        assert thread.is_alive()
    yield f"http://127.0.0.1:{listening.servers[0].sockets[0].getsockname()[1]}"
    listening.should_exit = True
    thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> Path:
    """A data folder whose Vespa is the config server above."""
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    monkeypatch.setenv("SCRUBJAY_VESPA__CONFIG_URL", address)
    monkeypatch.setenv("SCRUBJAY_VESPA__URL", address)
    monkeypatch.setenv("SCRUBJAY_VESPA__DEPLOY_TIMEOUT_S", "60")
    return tmp_path / "home"


@pytest.fixture
def place(home: Path) -> Callable[[str], None]:
    """Places a tenant of this key, as its first document would."""

    async def write(key: str, state: str) -> None:
        settings = load_settings(None, None, {})
        async with open_engine(settings) as engine:
            tenant = await engine.people.create_tenant(await engine.people.owner(), key)
        async with open_database(settings.database_url) as db, db.write() as session:
            session.add(
                IndexPlacement(
                    tenant_id=tenant.id,
                    space="hashing_test_384",
                    dimension=384,
                    cells="bfloat16",
                    kind="dedicated",
                    state=state,
                )
            )

    return lambda key, state="placed": asyncio.run(write(key, state))  # type: ignore[misc]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command and gives its exit code, its answer and what it told beside."""

    def run(*arguments: str) -> Any:
        capsys.readouterr()
        code = main(["vespa", *arguments])
        told = capsys.readouterr()
        answer = json.loads(told.out) if "--json" in arguments and told.out else told.out
        return code, answer, told.err

    return run


def test_render_writes_the_package_without_a_vespa(
    place: Callable[..., None],
    run: Run,
    tmp_path: Path,
    server: ConfigServer,
) -> None:
    place("acme")
    code, answer, _ = run("render", str(tmp_path / "package"), "--json")
    assert code == context.DONE
    assert answer["schemas"] == ["t_acme_hashing_test_384"]
    written = (p for p in (tmp_path / "package").rglob("*") if p.is_file())
    assert {str(p.relative_to(tmp_path / "package")) for p in written} == set(answer["files"])
    assert not server.log
    assert run("render", str(tmp_path / "package"))[0] == context.DONE  # and anew over it


def test_render_touches_nobody_elses_folder(home: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "work" / "schemas").mkdir(parents=True)
    (tmp_path / "work" / "schemas" / "mine.sd").write_text("mine", encoding="utf-8")
    code, _, told = run("render", str(tmp_path / "work"))
    assert code == context.USAGE
    assert "contains other files" in told
    assert (tmp_path / "work" / "schemas" / "mine.sd").read_text(encoding="utf-8") == "mine"


def test_render_refuses_a_file(home: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    code, _, told = run("render", str(tmp_path / "taken"))
    assert code == context.USAGE
    assert "is a file" in told


def test_plan_shows_and_deploy_does(
    place: Callable[..., None], run: Run, server: ConfigServer
) -> None:
    place("acme")
    code, answer, _ = run("plan")
    assert code == context.DONE
    assert answer.splitlines() == [
        "Nothing is deployed yet.",
        "+ t_acme_hashing_test_384",
        "A deploy would go ahead: `scrubjay vespa deploy`",
    ]
    assert not server.generation
    code, answer, _ = run("deploy")
    assert code == context.DONE
    assert answer.splitlines() == ["+ t_acme_hashing_test_384", "Deployed and in use."]
    assert "t_acme_hashing_test_384" in server.types
    assert run("plan")[1] == "Nothing would change.\n"


def test_status_shows_where_tenants_are(place: Callable[..., None], run: Run) -> None:
    place("acme")
    code, answer, told = run("status")
    assert code == context.REFUSED
    assert "placed" in answer
    assert "nothing is deployed" in told
    run("deploy")
    code, answer, told = run("status", "--json")
    assert code == context.DONE
    assert [(s["tenant"], s["kind"], s["state"]) for s in answer["spaces"]] == [
        ("acme", "dedicated", "deployed")
    ]


def test_a_tenant_nobody_here_knows_is_not_removed(
    place: Callable[..., None], run: Run, server: ConfigServer
) -> None:
    server.files = {"services.xml": '<document type="t_stranger_minilm" mode="index"/>'}
    server.generation = 1
    place("acme")
    code, answer, _ = run("plan")
    assert code == context.REFUSED
    assert "! t_stranger_minilm  would be removed, but no removal was requested" in answer
    code, _, told = run("deploy")
    assert code == context.MISCONFIGURED
    assert "t_stranger_minilm" in told
    assert server.generation == 1
    code, _, told = run("status")
    assert code == context.REFUSED
    assert "t_stranger_minilm exists in Vespa but not in this installation" in told


def test_a_dropped_tenant_goes_and_its_row_with_it(
    place: Callable[..., None], run: Run, server: ConfigServer
) -> None:
    place("acme")
    place("zebra")
    run("deploy")
    place("other", "dropping")  # a row whose schema never came to be
    code, answer, _ = run("deploy", "--json")
    assert code == context.DONE
    assert answer["removed"] == []
    _, answer, _ = run("status", "--json")
    assert [space["tenant"] for space in answer["spaces"]] == ["acme", "zebra"]


def test_work_left_to_do_waits_for_consent(
    place: Callable[..., None], run: Run, server: ConfigServer
) -> None:
    place("acme")
    server.actions = {
        "restart": [
            {
                "clusterName": "kb",
                "messages": ["Field 'part' changed: add attribute 'fast-search'"],
                "services": [{"serviceName": "searchnode", "hostName": "vespa"}],
            }
        ]
    }
    code, answer, _ = run("plan")
    assert code == context.REFUSED
    assert answer.splitlines()[-2:] == [
        "! restart kb (searchnode): Field 'part' changed: add attribute 'fast-search'",
        "A deploy waits for your consent: `scrubjay vespa deploy --accept restart`",
    ]
    assert run("deploy")[0] == context.MISCONFIGURED
    code, answer, _ = run("deploy", "--accept", "restart")
    assert code == context.DONE
    assert "left to do: restart kb" in answer


def test_a_vespa_that_is_away_is_named(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRUBJAY_VESPA__CONFIG_URL", "http://127.0.0.1:1")
    for command in ("plan", "deploy", "status"):
        code, _, told = run(command)
        assert code == context.UNAVAILABLE
        assert "http://127.0.0.1:1 does not answer" in told
