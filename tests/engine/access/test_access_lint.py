"""No statement over tenant tables outside the engine, and inside it none around the gate.

Static, over the source: whoever adds a way to rows has to come past here and give a reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from engine.db import tables

ROOT = Path(__file__).parents[3]
DOORS = ("api", "bots", "cli", "ingestion", "mcp_server", "vespa_app")
STATEMENTS = {"delete", "exists", "get", "insert", "scalar_subquery", "select", "text", "update"}
GUARDED = {"Chunk", "Document", "Live", "Revision"}  # what an answer may rest on
GATE = {
    "answering",
    "get_visible_document",
    "get_writable_document",
    "get_visible_revision",
    "join_live",
    "select_answering",
    "select_chunks",
    "select_documents",
    "visible_document",
}
# Modules that read guarded rows for nobody in particular, or past the gate, and why they may.
ALLOWED = {
    "access/gate.py": "it is the gate",
    "access/index_filter.py": "it is the gate of the index: reads which tokens occur, shows nothing",
    "documents/addresses.py": "the worker's: settles the address of a page it fetched; shows nothing",
    "documents/attachments.py": "makes documents of a message's files for its job; shows nothing",
    "people/quotas.py": "counts a tenant's documents and their bytes; shows no row",
    "insight/day_counts.py": "counts runs by base and source; who may see is statistics.py's, of counts",
    "insight/day_tables.py": "counts documents by base and source for a job; shows no row",
    "operations/backup.py": "copies the whole database for the operator",
    "db/tables/__init__.py": "gathers them from the modules that define them",
    "chats/channel_changes.py": "reads which documents hold messages, for a job; shows nothing",
    "chats/derived.py": "makes documents of messages for a job; shows nothing",
    "chats/forgetting.py": "drops the words of what was deleted; shows nothing",
    "jobs/states.py": "ends the documents of jobs that gave up; shows nothing",
    "documents/knowledge_bases.py": "counts live rows; shows no row",
    "documents/lifecycle.py": "changes rows of a document that its caller got from the gate; shows nothing",
    "documents/component_outputs.py": "the worker's: drops what was made of a deleted document; shows nothing",
    "operations/reconcile.py": "compares and repairs for whoever holds kb:admin; shows ids and counts only",
    "documents/reembedding.py": "the worker's: moves vectors for whoever holds kb:admin; shows counts only",
    "documents/reindexing.py": "counts and queues for whoever holds kb:admin; shows ids and counts only",
    "chats/message_deletion.py": "drops the texts of deleted messages for a platform; shows nothing",
    "chats/sources.py": "counts and takes off documents of a channel for who holds kb:admin; shows none",
    "access/narrowing.py": "ids that pass a filter, for the index's own filter; shows nothing",
    "access/cited.py": "it is a part of the gate: which chunks an audience may still read",
    "documents/hiding.py": "hides what its caller got from the gate; the rest is the worker's",
    "operations/indexed_fields.py": "the worker's: what the index is to know; shows nothing",
    "documents/cleaning.py": "the worker's: deletes what no longer answers; shows nothing",
    "documents/reports.py": "the worker's: changes states of documents; shows nothing",
    "documents/revisions.py": "the worker's: it acts for a job, not for a principal",
    "operations/resources.py": "adds up what a tenant takes, for whoever holds kb:admin; shows counts only",
    "sources/source_documents.py": "the worker's: documents of what a source has; shows nothing",
    "sources/removing.py": "takes off what a removed source brought; shows nothing",
    "sources/reports.py": "counts documents by state for whoever holds kb:admin; shows reasons only",
    "documents/document_status.py": "says where a document stands that its caller was shown",
}
ALLOWED_FUNCTIONS = {
    "documents/adding.py:_accept": "what an addition replaces goes by KB and external id, whoever reads it",
}


def modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield str(path.relative_to(ROOT / folder)), ast.parse(path.read_text(encoding="utf-8"))


def imported_tables(tree: ast.Module) -> set[str]:
    """Tables a module imports by name, and `*` where it imports all of them."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("engine.db.tables."):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module == "engine.db":
            names |= {"*" for alias in node.names if alias.name == "tables"}
        if isinstance(node, ast.Import):
            names |= {"*" for alias in node.names if alias.name.startswith("engine.db.tables")}
    return names


def functions_around_the_gate(tree: ast.Module) -> list[str]:
    """Top-level functions and methods that query guarded tables for a principal, unguarded.

    A function that takes a principal and builds a statement over guarded tables must name the gate.
    """
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = {arg.arg for arg in [*node.args.args, *node.args.kwonlyargs]}
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        names |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        queries = names & STATEMENTS and names & GUARDED
        if "principal" in arguments and queries and not names & GATE:
            found.append(node.name)
    return found


def test_doors_touch_no_table():
    offenders = {
        f"{door}/{name}"
        for door in DOORS
        for name, tree in modules(door)
        if imported_tables(tree) & {*vars(tables), "*"}
    }
    assert offenders == set()


def test_inside_the_engine_guarded_rows_are_read_through_the_gate_or_for_a_stated_reason():
    offenders = set()
    for name, tree in modules("engine"):
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        used |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        if name in ALLOWED or not imported_tables(tree) & (GUARDED | {"*"}):
            continue
        if not used & GATE:
            offenders.add(name)
        offenders |= {f"{name}:{function}" for function in functions_around_the_gate(tree)}
    assert offenders == set(ALLOWED_FUNCTIONS)


def test_only_one_module_builds_filters():
    builders = {
        name
        for name, tree in modules("engine")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) == "Filter"
    }
    assert builders == {"access/index_filter.py"}


def test_every_exception_still_exists_and_gives_its_reason():
    assert {name for name in ALLOWED if not (ROOT / "engine" / name).exists()} == set()
    assert all(ALLOWED.values())


def test_the_lint_sees_what_it_is_for():
    around = ast.parse("async def show(session, principal): return select(Document)")
    through = ast.parse(
        "async def show(session, principal): return select(Document).where(visible_document())"
    )
    assert functions_around_the_gate(around) == ["show"]
    assert functions_around_the_gate(through) == []
    assert imported_tables(ast.parse("from engine.db.tables import Chunk")) == {"Chunk"}
    assert imported_tables(ast.parse("from engine.db.tables.documents import Chunk")) == {"Chunk"}
    assert imported_tables(ast.parse("from engine.db import tables")) == {"*"}
