"""Documents in Vespa's JSON."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from engine.errors import InvalidInput
from engine.index.port import FieldUpdate, IndexChunk, IndexDocument, Space
from engine.index.vespa_feed import encode_vector, key_of, render_document, render_update

SPACE = Space("minilm", 2)
DOCUMENT = IndexDocument(
    document_id="doc 1",
    revision_id="rev",
    part=1,
    kb_id="kb",
    acl=["tenant", "u:1", "tenant"],
    title="The Foxes",
    chunks=[
        IndexChunk(7, "Red foxes sleep.", "Forest", np.array([1.0, -2.0], np.float32)),
        IndexChunk(8, "snake_case"),
    ],
    acl_all=["g:b", "g:a"],
    updated_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    features={"pagerank": 0.5},
    tags=["a,b", ""],
    source="it's; here",
)


def test_a_document_is_spelt_out() -> None:
    assert key_of("t1", DOCUMENT) == snapshot("t1.doc%201.rev.1")
    assert render_document("t1", SPACE, DOCUMENT, cells="bfloat16", version=3) == snapshot(
        {
            "tenant": "t1",
            "doc_id": "doc%201",
            "revision": "rev",
            "part": 1,
            "kb_id": "kb",
            "acl": ["tenant", "u:1"],
            "acl_all": "acl_all in ['g:a'] and acl_all in ['g:b']",
            "branches": ["main"],
            "tags": ["a%2Cb", "%"],
            "source": "it%27s%3B%20here",
            "language": "en",
            "hidden": False,
            "updated_at": 1767323045000006,
            "features": {"cells": [{"address": {"f": "pagerank"}, "value": 0.5}]},
            "version": 3,
            "title_terms": "the fox",
            "chunk_terms": ["forest red fox sleep", "snake_case snake case"],
            "ordinals": [7, 8],
            "chunk_count": 2,
            "vector_count": 1,
            "embeddings": {"blocks": {"0": "3f80c000"}},
        }
    )


def test_an_update_holds_what_changes() -> None:
    assert render_update(FieldUpdate("d", "r")) == {}
    assert render_update(FieldUpdate("d", "r", acl=[], acl_all=[], hidden=True, tags=["x y"])) == {
        "acl": [],
        "acl_all": "true",
        "hidden": True,
        "tags": ["x%20y"],
    }


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=16))
def test_vectors_come_back_from_their_digits(values: list[float]) -> None:
    vector = np.array(values, np.float32)
    whole = np.frombuffer(bytes.fromhex(encode_vector(vector, "float")), ">f4")
    np.testing.assert_array_equal(whole, vector)
    upper = np.frombuffer(bytes.fromhex(encode_vector(vector, "bfloat16")), ">u2")
    halved = (upper.astype("<u4") << 16).view("<f4")
    np.testing.assert_allclose(halved, vector, rtol=2**-8, atol=1e-38)


@pytest.mark.parametrize("token", ["", "U:1", "u:1,admin", "u 1", "u'1", 'u"1', "ü", "u" * 101])
def test_a_token_outside_the_alphabet_is_refused_before_anything_is_sent(token: str) -> None:
    for bad in (replace(DOCUMENT, acl=[token]), replace(DOCUMENT, acl_all=[token])):
        with pytest.raises(InvalidInput, match="not an ACL token"):
            render_document("t1", SPACE, bad, cells="float", version=1)
    with pytest.raises(InvalidInput, match="not an ACL token"):
        render_update(FieldUpdate("d", "r", acl=[token]))


@pytest.mark.parametrize("vector", [[1.0], [1.0, 2.0, 3.0], [1.0, float("nan")], [[1.0, 2.0]]])
def test_a_vector_that_does_not_fit_is_refused(vector: list[float]) -> None:
    chunk = IndexChunk(0, "fox", vector=np.array(vector, np.float32))
    with pytest.raises(InvalidInput, match="takes 2 finite numbers"):
        render_document("t1", SPACE, replace(DOCUMENT, chunks=[chunk]), cells="float", version=1)
