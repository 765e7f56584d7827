"""Payloads as Vespa's document reader takes them: the shapes of README.md, and what it refuses."""

from __future__ import annotations

import json

import pytest

from tests.vespa_oracle.judge import Judge
from tests.vespa_oracle.packages import package, tenants
from vespa_app.fields import EARLIEST, UNDATED, encode_value, requirement
from vespa_app.package import Package
from vespa_app.tenancy import BaseSchema

PACKAGE = package(tenants(1, BaseSchema(4)))
SCHEMA = PACKAGE.schemas[0].name
ID = f"id:scrubjay:{SCHEMA}::id.d.r.0"


def put(judge: Judge, fields: dict[str, object], package: Package = PACKAGE) -> dict[str, object]:
    """The document as Vespa understood it."""
    answer = judge.ask("document", package, kind="put", id=ID, body=json.dumps({"fields": fields}))
    assert answer["ok"], answer
    assert answer["fully_applied"]
    found: dict[str, object] = answer["document"]["fields"]
    return found


def refusal(judge: Judge, fields: dict[str, object], kind: str = "put") -> str:
    body = json.dumps({"fields": fields})
    return judge.refuses("document", PACKAGE, kind=kind, id=ID, body=body)


def test_every_field_is_read_as_it_was_written(judge: Judge) -> None:
    fields = {
        "tenant": "id",
        "doc_id": "d",
        "revision": "r",
        "part": 0,
        "kb_id": "kb",
        "acl": ["tenant", "u:1"],
        "acl_all": requirement(["g:a", "w:b"]),
        "branches": ["main"],
        "tags": [encode_value("a, 'b'"), encode_value("")],
        "source": encode_value("a wiki"),
        "language": "en",
        "hidden": False,
        "updated_at": 1_700_000_000_000_000,
        "features": {"pagerank": 0.5},
        "version": 7,
        "title_terms": "snake_case snake case",
        "chunk_terms": ["one two", "three"],
        "ordinals": [0, 1],
        "chunk_count": 2,
        "vector_count": 1,
    }
    found = dict(put(judge, fields))
    features = found.pop("features")
    predicate = found.pop("acl_all")
    assert found == {k: v for k, v in fields.items() if k not in {"features", "acl_all"}}
    assert features == {
        "type": "tensor(f{})",
        "cells": [{"address": {"f": "pagerank"}, "value": 0.5}],
    }
    assert predicate == "'acl_all' in ['g:a'] and 'acl_all' in ['w:b']"


@pytest.mark.parametrize("date", [UNDATED, EARLIEST, -62_135_596_800_000_000, 2**53 + 1])
def test_dates_keep_every_microsecond(judge: Judge, date: int) -> None:
    assert put(judge, {"updated_at": date})["updated_at"] == date


@pytest.mark.parametrize(("cells", "one"), [("bfloat16", "3f80"), ("float", "3f800000")])
def test_vectors_are_read_from_hex(judge: Judge, cells: str, one: str) -> None:
    kind = package(tenants(1, BaseSchema(4, cells)))  # type: ignore[arg-type]
    body = {"fields": {"embeddings": {"blocks": {"0": one * 4, "2": one * 4}}}}
    answer = judge.ask("document", kind, kind="put", id=ID, body=json.dumps(body))
    cells_read = answer["document"]["fields"]["embeddings"]
    assert [cell["value"] for cell in cells_read["cells"]] == [1.0] * 8
    assert {cell["address"]["chunk"] for cell in cells_read["cells"]} == {"0", "2"}


def test_updates_assign_attributes(judge: Judge) -> None:
    body = {
        "fields": {
            "acl": {"assign": ["u:2"]},
            "acl_all": {"assign": requirement([])},
            "hidden": {"assign": True},
            "features": {"assign": {"x": 1.0}},
        }
    }
    answer = judge.ask("document", PACKAGE, kind="update", id=ID, body=json.dumps(body))
    assert sorted(answer["updates"]) == [
        "'acl' [assign [u:2]]",
        "'acl_all' [assign true]",
        "'features' [assign tensor(f{}):{x:1.0}]",
        "'hidden' [assign true]",
    ]


def test_a_write_may_ask_that_nothing_newer_is_there(judge: Judge) -> None:
    body = json.dumps({"fields": {"part": 0}, "condition": f"{SCHEMA}.version < 42"})
    answer = judge.ask("document", PACKAGE, kind="put", id=ID, body=body)
    assert answer["condition"] == f"{SCHEMA}.version < 42"


def test_an_unknown_field_is_refused(judge: Judge) -> None:
    assert "colour" in refusal(judge, {"colour": "blue"})


def test_a_vector_of_another_length_is_refused(judge: Judge) -> None:
    assert refusal(judge, {"embeddings": {"blocks": {"0": "3f80" * 3}}})


def test_half_a_predicate_is_refused(judge: Judge) -> None:
    assert refusal(judge, {"acl_all": "acl_all in ["})


def test_another_tenants_schema_is_unknown(judge: Judge) -> None:
    body = json.dumps({"fields": {}})
    other = "id:scrubjay:t_other_minilm::id.d.r.0"
    assert "t_other_minilm" in judge.refuses("document", PACKAGE, kind="put", id=other, body=body)


@pytest.mark.parametrize("value", ["k", "k'\"\\", 'k" or true or "', "\u00fc\U0001f600"])
def test_a_selection_names_one_knowledge_base(judge: Judge, value: str) -> None:
    selection = f'{SCHEMA}.kb_id == "{encode_value(value)}"'
    for kb, verdict in ((value, "true"), ("other", "false")):
        body = json.dumps({"fields": {"kb_id": encode_value(kb)}})
        answer = judge.ask("selection", PACKAGE, selection=selection, id=ID, body=body)
        assert answer["matches"] == verdict
