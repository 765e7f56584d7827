"""What the engine's adapter sends, judged: every query it makes, and every document and update.

The adapter talks to the fake server, which notes what it was asked; Vespa's own parser and document
reader then say what they understood.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import clock
from engine.db.session import Database, open_database
from engine.db.tables import Tenant
from engine.index.port import FieldUpdate, Filter, RevisionRef, SearchRequest, Space
from engine.index.vespa import VespaIndex
from engine.index.vespa_feed import render_document, render_update
from engine.index.vespa_requests import (
    HITS_MAX,
    analysed,
    candidates_body,
    passages_body,
    words_body,
)
from tests.contracts.search_index import X, Y, document
from tests.fakes.databases import SqliteDatabases
from tests.fakes.vespa_index import build_index
from tests.fakes.vespa_server import FakeVespa
from tests.vespa_oracle.judge import Judge
from tests.vespa_oracle.packages import package, placed
from vespa_app.tenancy import BaseSchema

TENANT = "t1"
SPACE = Space("judged", 4)
PLACEMENT = placed("t1", space=SPACE.name, base=BaseSchema(4, "float"))
PACKAGE = package([PLACEMENT])
SCHEMA = PLACEMENT.schema.name
NOW = datetime(2026, 11, 26, tzinfo=UTC)
EVERYTHING = Filter(
    tokens=frozenset({"tenant", "u:1", "g:a"}),
    kb_ids=frozenset({"kb", "kb2"}),
    document_ids=frozenset({"d-a", "d 'b', c"}),
    languages=frozenset({"en", ""}),
    sources=frozenset({"a wiki", '"; drop'}),
    tags=frozenset({"x,y", "ü"}),
    updated_from=NOW,
    updated_before=NOW,
)
OWN = Filter(tokens=frozenset({"tenant", "u:1"}), kb_ids=frozenset({"kb"}))


def asking(text: str, where: Filter = OWN, **fields: Any) -> SearchRequest:
    return SearchRequest(TENANT, SPACE, where, text, language="en", **fields)


# The filter of `OWN` in Vespa's tree; a list is a set there, in no order.
KEPT = re.compile(
    r' STRING_IN tenant\{"t1"\} STRING_IN acl\{(?:"tenant","u:1"|"u:1","tenant")\} '
    r"PREDICATE_QUERY_ITEM acl_all=tenant, acl_all=u:1 "
    r'STRING_IN kb_id\{"kb"\} STRING_IN branches\{"main"\} hidden:false'
)

REQUESTS = [
    asking("red foxes in snake_case", vector=X, fusion="linear"),
    asking("red foxes", vector=X, fusion="rrf", feature_weights={"pagerank": 0.5}),
    asking("red foxes", decay_half_life_s=3600.0),
    asking("", vector=X),
    asking("red fox", EVERYTHING, vector=X),
    asking("x) or true or (y; select * from sources *", vector=X, limit=1000, candidates=5000),
]


@pytest.fixture
async def index(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[VespaIndex, FakeVespa]]:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    databases = SqliteDatabases(tmp_path_factory.mktemp("judged"))
    async with open_database(databases.new(tmp_path)) as db:
        await _tenant(db)
        server = FakeVespa()
        yield build_index(server, db), server


async def _tenant(db: Database) -> None:
    async with db.write() as session:
        session.add(Tenant(id=TENANT, key=TENANT, name=TENANT))


async def test_every_query_is_understood_and_keeps_its_filter(
    index: tuple[VespaIndex, FakeVespa], judge: Judge
) -> None:
    vespa, server = index
    await vespa.feed(
        TENANT,
        SPACE,
        [document(name, ("red fox", X), ("hare", Y), acl=["u:1"]) for name in "abcd"],
    )
    for request in REQUESTS:
        await vespa.search(request)
    refs = [RevisionRef("d-a", "r-a"), RevisionRef("d-b", "r-b")]
    await vespa.get(TENANT, SPACE, refs, EVERYTHING)
    await vespa.update_fields(TENANT, SPACE, [FieldUpdate("d-a", "r-a", hidden=True)])
    await vespa.remove(TENANT, SPACE, refs)
    await vespa.stats(TENANT, SPACE)
    assert server.package["services.xml"] == PACKAGE.files["services.xml"]

    asked = {json.dumps(_without_time(query), sort_keys=True) for query in server.queries}
    assert len(asked) > 25
    for text in sorted(asked):
        query = json.loads(text)
        answer = judge.ask("query", PACKAGE, schema=SCHEMA, request=query)
        assert answer["ok"], (query["yql"], answer)
        assert answer["restrict"] == [SCHEMA]
        tree = answer["tree"]
        assert 'STRING_IN tenant{"t1"}' in tree
        if "acl in" in query["yql"]:
            held = re.search(r" STRING_IN acl\{(.+?)\} PREDICATE_QUERY_ITEM acl_all=", tree)
            assert held is not None
            tokens = set(held[1].replace('"', "").split(","))
            assert tokens in (set(OWN.tokens), set(EVERYTHING.tokens))


async def test_every_document_and_update_is_read(judge: Judge) -> None:
    documents = [
        document("plain", "red fox"),
        document("empty"),
        document(
            "all",
            ("snake_case im Wald", X),
            "no vector",
            title="Füchse",
            language="de",
            acl=["u:1", "tenant"],
            acl_all=["g:a", "g:b"],
            tags=["x,y", "", "ü"],
            source='"; drop',
            updated_at=NOW,
            features={"pagerank": 0.5, "quality of it": -1.0},
            hidden=True,
        ),
    ]
    for item in documents:
        fields = render_document(TENANT, SPACE, item, cells="float", version=7)
        answer = judge.ask(
            "document",
            PACKAGE,
            kind="put",
            id=f"id:scrubjay:{SCHEMA}::{item.document_id}",
            body=json.dumps({"fields": fields}),
        )
        assert answer["ok"], answer
        assert answer["fully_applied"]
        found = answer["document"]["fields"]
        for name in ("acl", "tags", "source", "chunk_terms", "ordinals", "updated_at"):
            assert found.get(name, []) == fields[name]
    update = FieldUpdate(
        "d",
        "r",
        acl=["u:1"],
        acl_all=["g:a"],
        branches=["main", "draft"],
        hidden=False,
        tags=[],
        features={"pagerank": 1.0},
    )
    changes = {name: {"assign": value} for name, value in render_update(update).items()}
    answer = judge.ask(
        "document",
        PACKAGE,
        kind="update",
        id=f"id:scrubjay:{SCHEMA}::d",
        body=json.dumps({"fields": changes}),
    )
    assert answer["ok"], answer
    assert answer["fully_applied"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(max_size=300)
    | st.text("\"'\\(){}[]@;:*%\0\x1b\u202e \u2028", max_size=50)
    | st.sampled_from(["x" * 100_000, '") or true or acl contains ("', "\U0010fffd" * 9])
)
def test_no_query_of_anyones_moves_the_filter(live: Judge, text: str) -> None:
    request = asking(text, vector=np.array([1, 0, 0, 0], np.float32))
    asked = analysed(request, SCHEMA, ["en", "de"])
    for body in (
        candidates_body(asked),
        words_body(asked, [RevisionRef("d", "r")]) if asked.terms else None,
        passages_body(asked, [RevisionRef("d", "r")]),
    ):
        if body is None:
            continue
        answer = live.wonder("query", PACKAGE, schema=SCHEMA, request=_without_time(body))
        assert answer["ok"], answer
        tree = answer["tree"]
        assert tree.startswith(("AND ", "RANK (AND "))
        (kept,) = KEPT.finditer(tree)
        inside = tree[: kept.start()]
        assert inside.count("(") - inside.count(")") in {0, 1}  # in no branch of an OR
        assert answer["restrict"] == [SCHEMA]


def _without_time(body: dict[str, Any]) -> dict[str, Any]:
    """A request without what depends on how fast the machine is."""
    left = {name: value for name, value in body.items() if name != "timeout"}
    return left | ({"input.query(now_s)": 0.0} if "input.query(now_s)" in left else {})


def test_the_adapter_asks_for_no_more_hits_than_the_package_allows() -> None:
    profile = PACKAGE.files["search/query-profiles/default.xml"]
    assert f'<field name="maxHits">{HITS_MAX}</field>' in profile
