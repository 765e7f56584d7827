"""A model to which a language is part of the meaning: its documents are compared within their language."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.index.embedded import EmbeddedIndex
from engine.index.legs import LANGUAGE_LEAST
from engine.index.port import Filter, IndexChunk, IndexDocument, SearchRequest, Space, Vector

SPACE = Space("balanced", 3)


def unit(*values: float) -> Vector:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


def document(name: str, language: str, vector: Vector) -> IndexDocument:
    return IndexDocument(
        document_id=name,
        revision_id=name,
        part=0,
        kb_id="kb",
        acl=["t"],
        title=name,
        chunks=[IndexChunk(0, name, vector=vector)],
        language=language,
    )


QUERY = unit(1.0, 0.0, 0.0)  # in Spanish: what is Spanish is near to it, whatever it is about
REQUEST = SearchRequest(
    tenant_id="t",
    space=SPACE,
    filter=Filter(frozenset({"t"}), frozenset({"kb"})),
    text="",
    vector=QUERY,
    limit=5,
    balance_languages=True,
)


@pytest.fixture
async def index(tmp_path: Path):
    index = EmbeddedIndex(tmp_path)
    await index.ensure_space("t", SPACE)
    spanish = [
        document(f"es{i}", "es", unit(1.0, 0.6 + i / 100, 0.1)) for i in range(LANGUAGE_LEAST)
    ]
    english = [
        document(f"en{i}", "en", unit(0.5, 1.0 + i / 100, 0.1)) for i in range(LANGUAGE_LEAST)
    ]
    answer = document("answer", "en", unit(0.9, 1.0, 0.0))
    await index.feed("t", SPACE, [*spanish, *english, answer])
    yield index
    await index.aclose()


async def test_the_page_that_answers_is_found_before_any_page_of_the_questions_language(index):
    found = await index.search(REQUEST)

    assert found.hits[0].document_id == "answer"
    assert found.hits[0].parts.cosine == pytest.approx(float(QUERY @ unit(0.9, 1.0, 0.0)), abs=1e-3)
    plain = await index.search(replace(REQUEST, balance_languages=False))
    assert plain.hits[0].document_id.startswith("es")


async def test_few_pages_of_a_language_are_compared_as_they_are(index):
    kept = frozenset({"answer", *(f"es{i}" for i in range(LANGUAGE_LEAST))})
    where = replace(REQUEST.filter, document_ids=kept)

    found = await index.search(replace(REQUEST, filter=where))

    assert found.hits[0].document_id.startswith("es")
