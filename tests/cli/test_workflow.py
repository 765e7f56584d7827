"""`workflow`: from a file to a published version, a run, a question and its answer."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import main
from tests.fakes.flow_components import flow

Call = Callable[..., tuple[int, str, str]]
ASKING = flow(
    "b > a > s",
    b=("Begin", {"inputs": {"what": {"type": "string", "required": True}}}),
    a=("Ask", {"message": "{{b.what}}?", "fields": {"n": {"type": "integer"}}}),
    s=("Message", {"text": "{{a.n}} of {{b.what}}"}),
)


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Runs a command in a folder of its own: its code and what it printed, out and err."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    Path("asking.json").write_text(json.dumps(ASKING, indent=1), encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_a_workflow_goes_from_a_file_to_an_answered_question(call: Call) -> None:
    assert call("workflow", "validate", "asking.json")[:2] == (
        0,
        "asking is valid: Begin → Ask → Message\n",
    )
    assert call("workflow", "import", "asking.json")[0] == 0
    code, _, err = call("workflow", "run", "asking", "what=tea")
    assert (code, "never published" in err) == (1, True)
    assert call("workflow", "publish", "asking", "--note", "first")[0] == 0
    code, out, err = call("workflow", "run", "asking", "what=green tea")
    assert (code, out) == (0, "green tea?\n")
    run_id = json.loads(call("workflow", "runs", "--json")[1])["runs"][0]["id"]
    assert run_id in err

    code, out, err = call("workflow", "reply", run_id, "n=3")

    assert (code, out) == (0, "3 of green tea\n")
    steps = json.loads(call("workflow", "runs", run_id, "--json")[1])["runs"][0]["nodes"]
    assert [step["state"] for step in steps] == ["done", "done", "done"]
    assert call("workflow", "export", "asking", "copy.json")[0] == 0
    assert Path("copy.json").read_text() == Path("asking.json").read_text()
    assert "flowchart TD" in call("workflow", "draw", "asking")[1]


def test_a_replaced_draft_runs_only_once_it_is_published(call: Call) -> None:
    Path("say.json").write_text(json.dumps(flow(s=("Message", {"text": "one"}))))
    call("workflow", "import", "say.json")
    call("workflow", "publish", "say")
    Path("say.json").write_text(json.dumps(flow(s=("Message", {"text": "two"}))))

    assert call("workflow", "import", "say.json")[0] == 1
    assert call("workflow", "import", "say.json", "--replace")[0] == 0
    assert call("workflow", "run", "say")[1] == "one\n"
    assert call("workflow", "run", "say", "--draft")[1] == "two\n"


def test_every_fault_is_told_at_once(call: Call) -> None:
    Path("bad.json").write_text(json.dumps(flow("a > b", a=("Message", {}), b="Messages")))

    code, _, err = call("workflow", "validate", "bad.json")

    assert code == 1
    assert "bad has 2 faults:" in err


def test_components_name_their_effect(call: Call) -> None:
    found = json.loads(call("workflow", "components", "--json")[1])["components"]

    assert {"type", "effect", "writes", "param"} <= found[0].keys()


def test_a_secret_is_set_from_standard_input_and_never_shown(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("key-of-the-desk\n"))
    code, out, err = call("secret", "set", "desk", "--host", "*.desk.example")
    assert (code, "may send it to *.desk.example" in err) == (0, True)
    listed = call("secret", "list", "--json")
    assert json.loads(listed[1])["secrets"][0]["hosts"] == ["*.desk.example"]
    assert "key-of-the-desk" not in out + err + "".join(map(str, listed))
    assert call("secret", "remove", "desk")[0] == 0
    assert json.loads(call("secret", "list", "--json")[1]) == {"secrets": []}
