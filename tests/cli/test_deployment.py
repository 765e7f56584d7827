"""`apply` and `export`: an installation is made as a file describes it, and described as it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.fakes.flow_components import flow

Call = Callable[..., tuple[int, str, str]]

SAYS = flow(s=("Message", {"text": "hello"}))
KEY = "sk-test-0123456789abcdefghijklmnop"

WHOLE = """
[[members]]
email = "ada@example.com"
name = "Ada"
role = "curator"

[[members]]
email = "bob@example.com"

[[groups]]
name = "staff"
members = ["ada@example.com", "bob@example.com"]

[[identity_providers]]
key = "google"
kind = "google"
client_id = "client-1"
client_secret = { env = "GOOGLE_CLIENT_SECRET" }
allowed_domains = ["Example.com"]
groups = { engineers = "staff" }
join_as = "member"

[[language_models]]
name = "openai:*"
api_key = { env = "OPENAI_API_KEY" }

[[quotas]]
kind = "documents"
amount = 10000

[[quotas]]
subject = "user:bob@example.com"
kind = "requests-per-minute"
amount = 100

[[pipelines]]
name = "team"
file = "team.json"

[[knowledge_bases]]
name = "handbook"
description = "How we work"
pipeline = "team"
formats = ["PDF", ".md"]
search = { alpha = 0.4, rerank = false }
chunking = { strategy = "recursive", size = 256 }
grants = { "group:staff" = "read", "user:ada@example.com" = "manage", "user:Owner" = "write" }

[[knowledge_bases]]
name = "open"

[[assistants]]
name = "Travel help"
kbs = ["handbook"]
prompt = "Name the form that is needed."
visible_to = ["group:staff"]

[[search_apps]]
name = "Finder"
mode = "keyword"

[[workflows]]
name = "greet"
description = "Says hello"
file = "greet.json"

[[sources]]
name = "notes"
kind = "folder"
knowledge_base = "handbook"
every = "6h"
settings = { path = "FOLDER" }
"""


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Runs a command in a folder of its own: its code and what it printed, out and err."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    monkeypatch.setenv("SCRUBJAY_SOURCES__FOLDERS", str(tmp_path / "notes"))
    monkeypatch.setenv("SCRUBJAY_SERVER__PUBLIC_URL", "https://kb.example.com")
    monkeypatch.setenv("GOOGLE_CLIENT_SECRET", "its-secret-value")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "leave.md").write_text("# Leave\n\nTake 30 days.")
    Path("greet.json").write_text(json.dumps(SAYS, indent=1))
    main(["flow", "export", "general", "team.json"])
    Path("deployment.toml").write_text(WHOLE.replace("FOLDER", str(notes)))

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def plan_of(call: Call, *more: str) -> dict[str, Any]:
    code, out, err = call("apply", "deployment.toml", "--plan", "--json", *more)
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def said(changes: list[dict[str, Any]]) -> set[str]:
    return {f"{one['verb']} {one['kind']} {one['name']}" for one in changes}


def edit(old: str, new: str) -> None:
    path = Path("deployment.toml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_an_empty_installation_becomes_what_the_file_says_and_then_nothing_differs(
    call: Call,
) -> None:
    planned = said(plan_of(call)["changes"])
    assert {
        "create member ada@example.com",
        "create group staff",
        "create identity provider google",
        "create language model openai:*",
        "create quota documents of tenant",
        "create pipeline team",
        "create knowledge base handbook",
        "change grants of handbook",
        "create assistant travel-help",
        "create search app finder",
        "create workflow greet",
        "create source notes",
    } <= planned
    assert json.loads(call("kb", "list", "--json")[1]) == {"knowledge_bases": []}  # only planned

    code, out, err = call("apply", "deployment.toml", "--yes")

    assert code == 0, err
    assert "done: create source notes" in err
    assert KEY not in out + err
    assert plan_of(call) == {"changes": [], "unnamed": []}
    assert call("apply", ".", "--yes")[2].endswith("nothing to change\n")
    base = json.loads(call("kb", "show", "handbook", "--json")[1])
    assert (base["pipeline"], base["formats"], base["search"]["alpha"]) == (
        "team",
        ["md", "pdf"],
        0.4,
    )
    grants = json.loads(call("kb", "grants", "handbook", "--json")[1])["grants"]
    assert {(one["name"], one["level"]) for one in grants} == {
        ("group staff", "read"),
        ("user Ada", "manage"),
        ("user Owner", "write"),
    }
    assert call("workflow", "run", "greet")[1] == "hello\n"


def test_only_what_differs_is_changed(call: Call) -> None:
    assert call("apply", "deployment.toml", "--yes")[0] == 0
    edit("alpha = 0.4", "alpha = 0.6")
    edit('role = "curator"', 'role = "admin"')
    edit('"group:staff" = "read", ', "")
    edit('members = ["ada@example.com", "bob@example.com"]', 'members = ["ada@example.com"]')
    edit('every = "6h"', 'every = "1d"')
    edit("Name the form", "Name each form")
    edit("amount = 10000", "amount = 20000")
    edit('join_as = "member"', 'join_as = "guest"')
    Path("greet.json").write_text(json.dumps(flow(s=("Message", {"text": "good day"}))))

    planned = plan_of(call)["changes"]

    assert {(one["verb"], one["kind"], one["name"], *one["differences"]) for one in planned} == {
        ("change", "member", "ada@example.com", "role: curator → admin"),
        ("change", "group", "staff", "remove bob@example.com"),
        ("change", "identity provider", "google", "join_as: member → guest"),
        ("change", "quota", "documents of tenant", "amount: 10000 → 20000"),
        (
            "change",
            "knowledge base",
            "handbook",
            "search: {'alpha': 0.4, 'rerank': False} → {'alpha': 0.6, 'rerank': False}",
        ),
        ("change", "grants of", "handbook", "revoke group:staff"),
        (
            "change",
            "assistant",
            "travel-help",
            "prompt: Name the form that is needed. → Name each form that is needed.",
        ),
        ("change", "workflow", "greet", "its graph", "publish it"),
        ("change", "source", "notes", "every_s: 21600 → 86400"),
    }
    assert call("apply", "deployment.toml", "--yes")[0] == 0
    assert plan_of(call)["changes"] == []
    assert call("workflow", "run", "greet")[1] == "good day\n"


def test_a_changed_key_is_set_and_never_shown(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("apply", "deployment.toml", "--yes")[0] == 0
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-0123456789abcdefghijkl")

    [change] = plan_of(call)["changes"]

    assert (change["name"], change["differences"]) == ("openai:*", ["api_key: another one"])
    assert call("apply", "deployment.toml", "--yes")[0] == 0
    assert plan_of(call)["changes"] == []


def test_what_the_file_does_not_name_is_kept_until_pruning_is_asked_for(call: Call) -> None:
    assert call("apply", "deployment.toml", "--yes")[0] == 0
    call("kb", "create", "old")
    call("member", "add", "eve@example.com")

    planned = plan_of(call)
    assert planned["changes"] == []
    assert {(one["kind"], one["name"]) for one in planned["unnamed"]} == {
        ("knowledge base", "old"),
        ("member", "eve@example.com"),
    }
    pruned = plan_of(call, "--prune")
    assert said(pruned["changes"]) == {
        "remove knowledge base old",
        "remove member eve@example.com",
    }
    assert call("apply", "deployment.toml", "--prune", "--yes")[0] == 0
    names = [kb["name"] for kb in json.loads(call("kb", "list", "--json")[1])["knowledge_bases"]]
    assert sorted(names) == ["handbook", "open"]
    assert plan_of(call, "--prune") == {"changes": [], "unnamed": []}


def test_kinds_that_the_file_has_no_table_for_are_never_pruned(call: Call) -> None:
    call("kb", "create", "kept")
    Path("deployment.toml").write_text('[[members]]\nemail = "ada@example.com"\n')

    assert said(plan_of(call, "--prune")["changes"]) == {"create member ada@example.com"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[members]\n", "is not TOML"),
        ('[[members]]\nemail = "a@b.c"\nrole = "boss"\n', 'members "a@b.c".role'),
        ('[[knowledge_bases]]\nname = "x"\nsize = 3\n', 'knowledge_bases "x".size'),
        ('[[knowledge_bases]]\nname = "x"\nsearch = { alpha = 7 }\n', "x: alpha"),
        ('[[pipelines]]\nname = "x"\n', "give either file or graph"),
        ('[[pipelines]]\nname = "x"\nfile = "none.json"\n', "none.json can't be read"),
        ('[[groups]]\nname = "x"\n\n[[groups]]\nname = "X"\n', "x stands there twice"),
        (
            '[[language_models]]\nname = "openai:*"\napi_key = { env = "NOT_SET_HERE" }\n',
            "NOT_SET_HERE is not set",
        ),
        (
            '[[language_models]]\nname = "openai:*"\napi_key = "sk-in-the-file"\n',
            'language_models "openai:*".api_key',
        ),
        (
            '[[sources]]\nname = "x"\nkind = "web"\nknowledge_base = "y"\nevery = "often"\n',
            "'often' is no time between syncs",
        ),
        (
            '[[workflows]]\nname = "x"\ngraph = { components = [{ id = "a" }] }\n',
            "The workflow x is invalid",
        ),
    ],
)
def test_a_faulty_file_changes_nothing_and_says_where_it_is_wrong(
    call: Call, text: str, told: str
) -> None:
    Path("deployment.toml").write_text('[[groups]]\nname = "first"\n\n' + text)

    code, _, err = call("apply", "deployment.toml", "--yes")

    assert code == 1
    assert told in err
    assert "sk-in-the-file" not in err
    assert json.loads(call("group", "list", "--json")[1])["groups"] == []


def test_an_exported_installation_can_be_made_anew(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("apply", "deployment.toml", "--yes")[0] == 0

    assert call("export", "described")[0] == 0

    written = Path("described/deployment.toml").read_text()
    assert KEY not in written
    assert "its-secret-value" not in written
    assert call("apply", "described", "--plan")[2].endswith("nothing to change\n")
    assert call("export", "described")[0] == 1  # nothing is overwritten unasked
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path / "second"))
    code, _, err = call("apply", "described", "--yes")
    assert code == 0, err
    assert plan_of(call) == {"changes": [], "unnamed": []}


def test_killed_in_the_middle_the_rest_is_made_by_the_next_run(call: Call, tmp_path: Path) -> None:
    bases = "\n".join(f'[[knowledge_bases]]\nname = "base-{n}"\n' for n in range(20))
    Path("deployment.toml").write_text(bases)
    command = [sys.executable, "-m", "cli.main", "apply", "deployment.toml", "--yes"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "base-5" in line:
                process.send_signal(signal.SIGKILL)
                break

    left = plan_of(call)["changes"]
    assert 0 < len(left) < 20
    assert call("apply", "deployment.toml", "--yes")[0] == 0
    assert plan_of(call)["changes"] == []
    names = [kb["name"] for kb in json.loads(call("kb", "list", "--json")[1])["knowledge_bases"]]
    assert len(names) == len(set(names)) == 20
