"""`flow` and `kb set`: pipelines as files, from being checked to being used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import main

PIPELINE = """{
  "components": [
    {"id": "read", "type": "Parser"},
    {"id": "cut", "type": "Splitter", "param": {"strategy": "sliding_window", "overlap": 10}}
  ],
  "edges": [{"source": "read", "target": "cut"}]
}
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Runs a command in a folder of its own: its code and what it printed, out and err."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    Path("mine.json").write_text(PIPELINE, encoding="utf-8")
    Path("page.md").write_text("# Leave\n\nTwenty quokkas.\n", encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_a_pipeline_goes_from_a_file_into_use_and_back_to_a_file(call: Call) -> None:
    code, out, _ = call("flow", "validate", "mine.json")
    assert (code, out) == (
        0,
        "mine is valid: File → Parser → Splitter → Tokenizer → Embedder → Indexer\n",
    )
    assert call("flow", "import", "mine.json", "--name", "windows")[0] == 0
    assert call("kb", "create", "team")[0] == 0
    code, _, err = call("kb", "set", "team", "--pipeline", "windows", "--size", "100")
    own = "strategy sliding_window (the pipeline's own), overlap 10 (the pipeline's own)"
    assert (code, err) == (0, f"team uses the pipeline windows, split by size 100, {own}\n")
    assert call("add", "page.md", "--kb", "team")[0] == 0
    flows = json.loads(call("flow", "list", "--json")[1])["flows"]
    own = {flow["name"]: flow["knowledge_bases"] for flow in flows if not flow["is_template"]}
    assert own == {"windows": ["team"]}
    assert call("flow", "export", "windows", "copy.json")[0] == 0
    assert Path("copy.json").read_text(encoding="utf-8") == PIPELINE
    assert call("flow", "show", "windows")[1] == PIPELINE
    code, _, err = call("flow", "delete", "windows")
    assert code == 1
    assert "is the pipeline of team" in err


def test_every_fault_is_told_at_once(call: Call) -> None:
    Path("bad.json").write_text(
        json.dumps(
            {
                "components": [
                    {"id": "a", "type": "Parsr"},
                    {"id": "b", "type": "Splitter", "param": {"size": 3}},
                    {"id": "b", "type": "QualityControl"},
                ],
                "edges": [{"source": "a", "target": "z"}],
            }
        ),
        encoding="utf-8",
    )
    code, out, err = call("flow", "validate", "bad.json")
    assert (code, out) == (1, "")
    assert err.splitlines()[0] == "bad has 5 faults:"
    for part in (
        "did you mean 'Parser'",
        "used 2 times",
        "`size`",
        "nothing is checked",
        "no component 'z'",
    ):
        assert part in err
    sound = json.loads(call("flow", "validate", "bad.json", "--json")[1])
    assert (sound["sound"], len(sound["faults"])) == (False, 5)
    code, _, err = call("flow", "import", "bad.json")
    assert code == 1
    assert err.count("\n  ") == 5


def test_a_pipeline_that_needs_a_model_is_refused_where_there_is_none(call: Call) -> None:
    dsl = '{"components": [{"id": "p", "type": "Parser"}, {"id": "x", "type": "Extractor"}],'
    Path("x.json").write_text(dsl + '"edges": [{"source": "p", "target": "x"}]}', encoding="utf-8")
    code, _, err = call("flow", "import", "x.json")
    assert code == 1
    assert "needs a language model, and none is configured: set llm.model" in err
    assert call("flow", "draw", "x.json")[0] == 0  # it may be looked at


def test_a_trial_shows_the_chunks_and_keeps_nothing(call: Call) -> None:
    code, out, err = call("flow", "run", "mine.json", "page.md")
    assert code == 0
    assert "Twenty quokkas." in out
    assert err.splitlines()[-1].startswith("END")
    trial = json.loads(call("flow", "run", "technical_docs", "page.md", "--json")[1])
    assert [chunk["text"] for chunk in trial["chunks"]] == ["# Leave\n\nTwenty quokkas."]
    assert trial["details"]["extracted"]["quality"]["checked"] == 1
    assert json.loads(call("docs", "list", "--json")[1]) == {"documents": []}
    Path("bad.pdf").write_bytes(b"%PDF-1.7 nothing")
    code, _, err = call("flow", "run", "general", "bad.pdf")
    assert code == 1
    assert "parser" in err
    assert "error: " in err


def test_pictures_are_written_where_they_are_wanted(call: Call) -> None:
    assert call("flow", "draw", "general")[1].startswith("flowchart TD\n")
    assert call("flow", "draw", "laws", "--format", "svg")[1].startswith("<svg ")
    assert call("flow", "draw", "laws", "--to", "laws.svg")[0] == 0
    assert Path("laws.svg").read_text(encoding="utf-8").endswith("</svg>\n")
    code, _, err = call("flow", "draw", "laws", "--to", "nowhere/laws.svg")
    assert (code, err) == (1, "error: nowhere/laws.svg: No such file or directory.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("flow", "show", "nothing"), "No pipeline 'nothing'. There are: book, "),
        (("flow", "validate", "nothing.json"), "nothing.json: No such file"),
        (("flow", "import", "mine.json", "--name", "general"), "is a template that ships"),
        (("flow", "import", "mine.json", "--name", "No Name"), "lowercase letters"),
        (("flow", "run", "general", "nothing.md"), "nothing.md is not a file."),
        (("kb", "set", "team"), "Give something to set"),
    ],
)
def test_what_is_wrong_is_named(call: Call, arguments: tuple[str, ...], says: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    assert says in err


def test_components_are_listed_with_what_they_take(call: Call) -> None:
    found: list[dict[str, Any]] = json.loads(call("flow", "components", "--json")[1])["components"]
    by_type = {item["type"]: item for item in found}
    assert "Splitter" in by_type
    assert "percentile" in by_type["Splitter"]["param"]["properties"]
    assert "HierarchicalMerger" in call("flow", "components")[1]


def test_the_doctor_names_plugins_and_pipelines_that_can_not_be_used(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("plugins/late").mkdir(parents=True)
    Path("plugins/late/plugin.toml").write_text(
        'name = "late"\nversion = "1"\nrequires = ">=99"\ncomponents = ["late:Late"]\n',
        encoding="utf-8",
    )
    Path("plugins/words").mkdir()
    Path("plugins/words/plugin.toml").write_text(
        'name = "words"\nversion = "2"\ncomponents = ["words:Words"]\n', encoding="utf-8"
    )
    Path("plugins/words/words.py").write_text(
        "from engine.flow.component import Component\n\n\n"
        'class Words(Component):\n    """Counts."""\n\n    type = "Words"\n',
        encoding="utf-8",
    )
    dsl = '{"components": [{"id": "p", "type": "Parser"}, {"id": "w", "type": "Words"}],'
    Path("w.json").write_text(dsl + '"edges": [{"source": "p", "target": "w"}]}', encoding="utf-8")
    monkeypatch.setenv("SCRUBJAY_PROCESSING__PLUGINS", "plugins")
    assert call("flow", "import", "w.json")[0] == 0
    assert call("kb", "create", "team", "--pipeline", "w")[0] == 0
    checks = json.loads(call("doctor", "--json")[1])["checks"]
    found = {check["name"]: (check["detail"], check["todo"]) for check in checks}
    assert found["plugins"] == ("words 2", "")
    detail, todo = found["plugin"]
    assert detail.startswith("late (")
    assert "needs Scrubjay >=99" in todo
    assert found["pipelines"] == ("w", "")
    monkeypatch.delenv("SCRUBJAY_PROCESSING__PLUGINS")
    checks = json.loads(call("doctor", "--json")[1])["checks"]
    found = {check["name"]: (check["detail"], check["todo"]) for check in checks}
    assert found["pipelines"][0] == "w, used by team, can't be loaded"
    assert "unknown type 'Words'" in found["pipelines"][1]
