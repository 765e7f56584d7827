"""A short pipeline is completed so that it still ends in the index."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.flow.component import Component
from engine.flow.dsl import load_dsl, parse_flow
from engine.flow.pipeline import complete_pipeline
from engine.flow.registry import Registry
from tests.fakes.flow_components import flow


def made(name: str) -> type[Component[None]]:
    return type(name, (Component,), {"type": name, "__doc__": name})


REGISTRY = Registry(
    [
        made(n)
        for n in ["File", "Parser", "Extractor", "Splitter", "Tokenizer", "Embedder", "Indexer"]
    ]
)


def completed(dsl: Any) -> str:
    """The edges of the completed flow, after it has loaded."""
    graph = parse_flow(complete_pipeline(dsl), REGISTRY)
    return ", ".join(f"{e.source}>{e.target}" for e in sorted(graph.edges, key=str))


FULL = "embedder>indexer, file>parse, parse>splitter, splitter>tokenizer, tokenizer>embedder"


def test_a_lone_parser_gets_all_the_rest() -> None:
    assert completed(flow(parse="Parser")) == FULL
    assert completed(json.dumps(flow(parse="Parser"))) == FULL


def test_a_complete_pipeline_comes_back_untouched() -> None:
    whole = complete_pipeline(flow(parse="Parser"))

    assert complete_pipeline(whole) is whole
    text = json.dumps(whole, indent=3)
    assert complete_pipeline(text) is text


def test_the_flow_given_is_not_changed() -> None:
    dsl = flow("f > p", f="File", p="Parser")
    before = json.dumps(dsl)

    complete_pipeline(dsl)

    assert json.dumps(dsl) == before


def test_a_missing_stage_stands_before_the_next_that_is_there() -> None:
    dsl = flow("f > p > emb", f="File", p="Parser", emb="Embedder")

    assert completed(dsl) == "emb>indexer, f>p, p>splitter, splitter>tokenizer, tokenizer>emb"


def test_all_terminals_lead_to_what_is_appended_and_all_roots_follow_file() -> None:
    dsl = flow("p > a", "p > b", p="Parser", q="Parser", a="Extractor", b="Extractor")

    assert completed(dsl) == (
        "a>splitter, b>splitter, embedder>indexer, file>p, file>q, p>a, p>b, "
        "q>splitter, splitter>tokenizer, tokenizer>embedder"
    )


def test_a_taken_id_is_not_taken_again() -> None:
    dsl = flow(file="Parser", splitter="Extractor")
    _, loaded = load_dsl(complete_pipeline(dsl))  # type: ignore[arg-type]

    assert [c["id"] for c in loaded["components"]] == [
        "file_2", "file", "splitter", "indexer", "embedder", "tokenizer", "splitter_2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "broken",
    ["{", "[]", "{}", '{"components": [{"id": "a"}]}', '{"components": [3]}',
     '{"components": [{"id": "a", "type": "Parser"}], "edges": ["x"]}'],
)  # fmt: skip
def test_a_flow_too_broken_comes_back_as_it_is(broken: str) -> None:
    assert complete_pipeline(broken) is broken
