"""The commands on a real engine: SQLite, the embedded index, the hashing embedder, a real worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cli import context
from cli.main import main
from engine.models.hashing import HashingEmbedder

PAGES = {
    "leave.md": "# Sick leave\n\nYou can request up to 240 hours of advanced sick leave.\n",
    "travel/hotels.md": "# Hotels\n\nBook hotels below the lodging rate of the city.\n",
    "notes.txt": "The backup of the shop runs at four in the morning.\n",
}
DOCUMENT_KEYS = ["id", "title", "state", "vectors", "error", "chunks_created"]

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pages")
    for name, text in PAGES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("home")
        patch.setenv("SCRUBJAY_HOME", str(root))
        patch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
        yield root


@pytest.fixture(scope="module")
def filled(home: Path, folder: Path) -> Path:
    """The data folder with the pages in the knowledge base `team`."""
    assert main(["add", str(folder), "--kb", "team"]) == 0
    return home


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with --json, expects it to succeed, and gives what it printed."""

    def run(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main([*arguments, "--json"]) == code, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


@pytest.mark.usefixtures("filled")
def test_added_documents_are_listed_and_found(run: Run, folder: Path) -> None:
    listed = run("docs", "list", "--kb", "team")["documents"]
    assert [list(document) for document in listed] == [DOCUMENT_KEYS] * 3
    assert {d["title"] for d in listed} == {"Sick leave", "Hotels", "notes.txt"}
    assert {(d["state"], d["vectors"], d["error"]) for d in listed} == {("ready", "complete", "")}
    hits = run("search", "advanced", "sick", "leave", "--kb", "team")["hits"]
    assert list(hits[0]) == [
        *("id", "document_id", "title", "url", "where", "text", "score", "confidence", "scores"),
        *("knowledge_base", "source", "author", "updated_at", "tags", "metadata"),
    ]
    assert hits[0]["title"] == "Sick leave"
    assert hits[0]["text"] in (folder / "leave.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("filled")
def test_an_answer_rests_on_what_the_page_says(run: Run) -> None:
    answer = run("ask", "How many hours of advanced sick leave can I request?", "--kb", "team")
    assert list(answer) == [
        *("answer", "grounded", "outcome", "confidence", "citations", "conversation_id"),
        *("searched", "steps", "choices"),
    ]
    assert "240 hours" in answer["answer"]
    citation = answer["citations"][0]
    assert list(citation) == ["n", "id", "document_id", "title", "url", "where", "quote"]
    assert (citation["n"], citation["title"]) == (1, "Sick leave")
    assert citation["quote"] in PAGES["leave.md"]


@pytest.mark.usefixtures("filled")
def test_a_question_continues_the_conversation_it_names(run: Run) -> None:
    first = run("ask", "How many hours of advanced sick leave can I request?", "--kb", "team")
    id_ = first["conversation_id"]
    assert run("ask", "And hotels?", "--conversation", id_)["conversation_id"] == id_


@pytest.mark.usefixtures("filled")
def test_a_question_nothing_answers_gets_told_so(run: Run) -> None:
    answer = run("ask", "What is the capital of Mongolia?", "--kb", "team")
    assert (answer["grounded"], answer["citations"]) == (False, [])
    assert "team" in answer["answer"]


@pytest.mark.usefixtures("filled")
def test_adding_a_changed_file_again_replaces_it(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Lunch\n\nLunch is at noon.\n", encoding="utf-8")
    [first] = run("add", str(page), "--kb", "menu")["documents"]
    page.write_text("# Lunch\n\nLunch is at one.\n", encoding="utf-8")
    [second] = run("add", str(page), "--kb", "menu")["documents"]
    assert second["id"] == first["id"]
    [hit] = run("search", "lunch", "--kb", "menu")["hits"]
    assert "at one" in hit["text"]


def test_what_an_upload_asks_for_is_shown_with_the_document(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "asked.md"
    page.write_text("---\nkind: heliotrope\n---\n# Asked\n\nLunch is at one.\n", encoding="utf-8")
    asked = ["--extraction-strategy", "comprehensive", "--quality-control"]
    [added] = run("add", str(page), "--kb", "asked", *asked)["documents"]
    details = run("docs", "show", added["id"])["details"]
    assert details["upload_options"] == {
        "extraction_strategy": "comprehensive",
        "quality_control": True,
    }
    assert details["extracted"]["quality"] == {"checked": 1, "flagged": 0}
    [hit] = run("search", "heliotrope", "--kb", "asked")["hits"]
    assert "heliotrope" in hit["text"]
    [refused] = run("add", str(page), "--kb", "asked", "--extraction-strategy", "x", code=5)[
        "documents"
    ]
    assert refused["error"] == "No extraction strategy 'x'. Allowed: standard, comprehensive."


def test_one_bad_file_does_not_stop_the_others(
    filled: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.md").write_text("# Good\n\nThis is fine.\n", encoding="utf-8")
    (tmp_path / "empty.md").write_bytes(b"")
    (tmp_path / "odd.xyz").write_bytes(b"\x00\x01\x02" * 50)
    assert main(["add", str(tmp_path), "--kb", "mixed"]) == context.INCOMPLETE
    said = capsys.readouterr().err
    assert "1 document ready, 1 passage" in said
    assert "2 documents failed:" in said
    failed = run("docs", "list", "--kb", "mixed", "--state", "failed")["documents"]
    assert {document["title"] for document in failed} == {"empty.md", "odd.xyz"}
    assert all(document["error"] for document in failed)
    assert run("docs", "why", failed[0]["id"])["why"]


@pytest.mark.usefixtures("filled")
def test_a_file_over_the_limit_is_told_with_the_limit(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRUBJAY_PROCESSING__MAX_FILE_SIZE", "100")
    (tmp_path / "small.md").write_text("# Small\n\nFits.\n", encoding="utf-8")
    (tmp_path / "large.md").write_text("x" * 101, encoding="utf-8")
    added = run("add", str(tmp_path), "--kb", "sizes", code=context.INCOMPLETE)["documents"]
    found = {document["title"]: document for document in added}
    assert found["Small"]["state"] == "ready"
    assert found["large.md"]["state"] == "failed"
    assert "processing.max_file_size" in found["large.md"]["error"]
    assert not run("docs", "list", "--kb", "sizes", "--state", "failed")["documents"]


@pytest.mark.usefixtures("filled")
def test_a_pipe_is_read_no_further_than_the_limit(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRUBJAY_PROCESSING__MAX_FILE_SIZE", "100")
    with Path("/dev/zero").open(encoding="ascii") as endless:
        monkeypatch.setattr("sys.stdin", endless)
        [added] = run("add", "-", "--name", "pipe.md", "--kb", "sizes", code=context.INCOMPLETE)[
            "documents"
        ]
    assert "pipe.md has 101 bytes and the limit is 100" in added["error"]


@pytest.mark.usefixtures("filled")
def test_standard_input_is_added_by_its_content(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = tmp_path / "in"
    text.write_text("# From a pipe\n\nThe answer came through a pipe.\n", encoding="utf-8")
    with text.open(encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        [added] = run("add", "-", "--name", "pipe.md", "--kb", "pipes")["documents"]
    assert (added["title"], added["state"]) == ("From a pipe", "ready")


@pytest.mark.usefixtures("filled")
def test_a_deleted_document_is_gone_from_the_next_search(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("# Zebra\n\nThe zebra leaves soon.\n", encoding="utf-8")
    [document] = run("add", str(tmp_path / "gone.md"), "--kb", "savanna")["documents"]
    assert len(run("search", "zebra", "--kb", "savanna")["hits"]) == 1
    run("docs", "delete", document["id"])
    assert run("search", "zebra", "--kb", "savanna")["hits"] == []
    assert main(["docs", "show", document["id"]]) == context.REFUSED


@pytest.mark.usefixtures("filled")
def test_a_hidden_passage_is_listed_with_its_document_until_it_is_shown(
    run: Run, tmp_path: Path
) -> None:
    page = tmp_path / "quay.md"
    page.write_text("# Quay\n\nThe quay has a pelican.\n", encoding="utf-8")
    [document] = run("add", str(page), "--kb", "team")["documents"]
    [hit] = run("search", "pelican", "--mode", "keyword")["hits"]
    run("docs", "hide", hit["id"])
    assert run("search", "pelican", "--mode", "keyword")["hits"] == []
    [hidden] = run("docs", "show", document["id"])["hidden_passages"]
    assert (hidden["id"], "pelican" in hidden["text"]) == (hit["id"], True)
    run("docs", "unhide", hit["id"])
    run("docs", "hide", document["id"])
    assert run("search", "pelican", "--mode", "keyword")["hits"] == []
    run("docs", "unhide", document["id"])
    assert [hit["title"] for hit in run("search", "pelican", "--mode", "keyword")["hits"]] == [
        "Quay"
    ]
    run("docs", "delete", document["id"])


def test_metadata_is_set_searched_by_and_changed(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "okapi.md"
    page.write_text("# Okapi\n\nThe okapi eats leaves.\n", encoding="utf-8")
    [document] = run(
        "add", str(page), "--kb", "zoo", "--tag", "Animal", "--meta", "legs_int=4", "--date", "2025"
    )["documents"]
    assert document["chunks_created"] == 1

    def found(*options: str) -> list[dict[str, Any]]:
        return run("search", "okapi", "--kb", "zoo", "--mode", "keyword", *options)["hits"]

    [hit] = found("--meta", "legs_int>=4", "--tag", "animal", "--since", "2025", "--sort", "newest")
    assert (hit["tags"], hit["metadata"]) == (["animal"], {"legs_int": 4})
    assert found("--meta", "legs_int>4") == []
    assert found("--until", "2024") == []
    assert found("--threshold", "1") == []
    run(
        "docs",
        "set",
        document["id"],
        "--meta",
        "legs_int=",
        "--tag",
        "mammal",
        "--feature",
        "pagerank=1",
    )
    assert found("--meta", "legs_int>=0") == []
    [hit] = found("--tag", "mammal")
    assert hit["scores"]["features"] == pytest.approx(0.1)
    assert main(["search", "okapi", "--meta", "legs_int=four"]) == context.REFUSED
    assert main(["add", str(page), "--kb", "zoo", "--meta", "legs_int=four"]) != 0


def test_a_knowledge_bases_search_settings_are_shown_set_and_reset(run: Run) -> None:
    run("kb", "create", "tuned")
    set_ = run(
        "kb", "search", "tuned", "alpha=0.5", "threshold=0.2", "feature_weights=pagerank=0.5"
    )
    assert set_["search"] == {
        "alpha": 0.5,
        "confidence_threshold": 0.2,
        "feature_weights": {"pagerank": 0.5},
    }
    assert run("kb", "search", "tuned", "--reset", "alpha")["search"].keys() == {
        "confidence_threshold",
        "feature_weights",
    }
    assert run("kb", "search", "tuned", "--reset", "all")["search"] == {}
    assert main(["kb", "search", "tuned", "alpha=loud"]) == context.REFUSED
    assert run("kb", "set", "tuned", "--formats", "md")["formats"] == ["md"]
    run("kb", "delete", "tuned", "--yes")


@pytest.mark.usefixtures("filled")
def test_the_text_of_a_hit_is_the_whole_document(run: Run) -> None:
    [hit, *_] = run("search", "advanced sick leave", "--kb", "team")["hits"]
    shown = run("docs", "show", hit["id"], "--text")
    assert shown == {"document_id": hit["document_id"], "text": PAGES["leave.md"]}
    assert run("docs", "show", hit["id"])["title"] == "Sick leave"


@pytest.mark.usefixtures("home")
def test_a_knowledge_base_is_created_listed_and_deleted(run: Run) -> None:
    made = run("kb", "create", "short-lived", "--description", "Soon gone.")
    assert (made["name"], made["description"]) == ("short-lived", "Soon gone.")
    assert "short-lived" in {kb["name"] for kb in run("kb", "list")["knowledge_bases"]}
    assert main(["kb", "create", "short-lived"]) == context.REFUSED
    assert run("kb", "delete", "short-lived", "--yes") == {"deleted": made["id"]}
    assert main(["kb", "show", "short-lived"]) == context.REFUSED


@pytest.mark.usefixtures("home")
def test_a_token_is_shown_once_and_ends_when_revoked(run: Run) -> None:
    made = run("token", "create", "laptop", "--scope", "kb:read", "--days", "7")
    [listed] = [t for t in run("token", "list")["tokens"] if t["id"] == made["id"]]
    assert listed["scopes"] == ["kb:read"]
    assert made["token"] not in json.dumps(listed)
    run("token", "revoke", made["id"])
    [listed] = [t for t in run("token", "list")["tokens"] if t["id"] == made["id"]]
    assert listed["revoked_at"] is not None
    assert main(["token", "create", "x", "--scope", "kb:everything"]) == context.REFUSED


@pytest.mark.usefixtures("home")
def test_a_personal_token_without_an_end_is_refused_with_what_to_give(run: Run) -> None:
    refused = run("token", "create", "x", "--days", "0", code=context.REFUSED)["error"]
    assert (refused["field"], refused["message"]) == (
        "days",
        (
            "A personal token needs an expiry: give --days 1 or more. Only a service key (--service)"
            " can be without one."
        ),
    )


@pytest.mark.usefixtures("home")
def test_a_file_with_documents_is_kept_until_it_is_said_what_becomes_of_them(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "rates.md").write_text("# Rates\n\nLodging.\n", encoding="utf-8")
    run("kb", "create", "of-files")
    run("file", "add", str(tmp_path / "rates.md"), "--kb", "of-files")
    refused = run("file", "remove", "rates.md", "--yes", code=context.REFUSED)["error"]
    assert (refused["code"], refused["message"]) == (
        "conflict",
        (
            "Documents were made of this, and answers may rest on them: say whether to delete them too,"
            " or to keep them in their knowledge bases. Give --with-documents or --keep-documents."
        ),
    )
    gone = run("file", "remove", "rates.md", "--yes", "--with-documents")
    assert gone["documents"] == 1
    run("kb", "delete", "of-files", "--yes")


@pytest.mark.usefixtures("home")
def test_tenants_are_created_and_listed(run: Run) -> None:
    run("tenant", "create", "acme", "--name", "Acme Ltd")
    assert ("acme", "Acme Ltd") in {(t["key"], t["name"]) for t in run("tenant", "list")["tenants"]}


@pytest.mark.usefixtures("home")
def test_acting_for_somebody_unknown_is_refused() -> None:
    assert main(["search", "x", "--as", "nobody@example.org"]) == context.REFUSED


def test_status_and_doctor_find_all_well(filled: Path, run: Run) -> None:
    status = run("status")
    [team] = [kb for kb in status["knowledge_bases"] if kb["name"] == "team"]
    assert (team["documents"], team["chunks"]) == (3, 3)
    checks = {check["name"]: check for check in run("doctor")["checks"]}
    assert checks["database"]["ok"]
    assert checks["index"]["ok"]
    assert checks["home"]["detail"] == str(filled)


@pytest.mark.usefixtures("filled")
def test_reconcile_leaves_nothing_to_do(run: Run) -> None:
    run("reconcile")  # what other commands deleted may still wait to be cleared away
    assert run("reconcile")["clean"] is True


def test_a_backup_restores_into_another_folder(filled: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar.gz"
    made = run("backup", str(file))
    assert made["blobs"] > 0
    assert filled != tmp_path / "new"
    there = ["--home", str(tmp_path / "new")]
    assert run(*there, "restore", str(file))["rows"] == made["rows"]
    [hit, *_] = run(*there, "search", "advanced sick leave", "--kb", "team")["hits"]
    assert hit["title"] == "Sick leave"
    assert run(*there, "reconcile", "--no-repair")["clean"] is True
    assert main([*there, "restore", str(file)]) == context.REFUSED


@pytest.mark.usefixtures("home")
def test_eval_measures_each_mode_and_leaves_the_data_alone(run: Run, tmp_path: Path) -> None:
    _write_collection(tmp_path, {"q": "zebra stripes"})
    before = run("kb", "list")
    measured = run("eval", str(tmp_path))
    assert list(measured) == ["keyword", "semantic", "hybrid"]
    assert {mode: found["ndcg@10"] for mode, found in measured.items()} == dict.fromkeys(
        measured, 1.0
    )
    assert run("kb", "list") == before


@pytest.mark.usefixtures("home")
def test_eval_goes_on_after_a_query_that_has_no_meaning_to_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(HashingEmbedder, "languages", frozenset({"en"}))
    _write_collection(
        tmp_path, {"q": "zebra stripes", "de": "Wie sieht das Zebra in der Zebra aus?"}
    )
    assert main(["eval", str(tmp_path), "--json"]) == 0
    shown = capsys.readouterr()
    assert {mode: found["ndcg@10"] for mode, found in json.loads(shown.out).items()} == {
        "keyword": 1.0,
        "semantic": 0.5,
        "hybrid": 1.0,
    }
    assert "1 query found nothing, the first is de" in shown.err


def _write_collection(folder: Path, asked: Mapping[str, str]) -> None:
    """Two documents in BEIR's layout, of which the first is right for every query."""
    corpus = [
        {"_id": "a", "title": "", "text": "The zebra has black and white stripes."},
        {"_id": "b", "title": "", "text": "The whale is a mammal of the sea."},
    ]
    queries = [{"_id": id_, "text": text} for id_, text in asked.items()]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    judged = "".join(f"{id_}\ta\t1\n" for id_ in asked)
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")
