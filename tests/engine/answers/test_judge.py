"""Answered or not, with the model that ships: the judge reads question and sentence together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.judge_data import Rows
from benchmarks.judge_fit import fit
from engine.answers.evidence import FEATURES
from engine.answers.judge import WEIGHTS, Judge
from engine.db.session import Database
from engine.models.local import LocalEmbedder
from tests.fakes.library import Library

PARTS = """The pump seal has part number PPR-9087 and costs 14 euros.

The gasket has part number PPR-2000 and costs 3 euros.

Error 0x80070057 means that a parameter is wrong."""
HARBOUR = """The harbour of Lindvik was dredged in 1964 by the Halvorsen company.

Before that, ships of more than four metres draught had to anchor in the bay.

The lighthouse keeper, Marta Nygaard, did not sign the petition against the new pier."""


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> LocalEmbedder:
    return LocalEmbedder(tmp_path_factory.mktemp("models"), threads=1)


@pytest.fixture
async def library(database: Database, tmp_path: Path, minilm: LocalEmbedder):
    made = await Library.create(database, tmp_path)
    made.embedder = minilm
    yield made
    await made.index.aclose()


async def ask(library: Library, kb: str, question: str):
    return await library.asker().answer(*library.reader(kb), question)


async def test_another_part_or_error_is_not_the_one_asked_for(library):
    kb = await library.add_kb("parts")
    await library.add(kb, "Spare parts", PARTS)
    for question in ("What does error 0x80070058 mean?", "What does part PPR-9999 cost?"):
        assert (await ask(library, kb, question)).outcome != "answered", question
    found = await ask(library, kb, "What does PPR 9087 cost?")
    assert found.outcome == "answered"
    assert "14 euros" in found.text


async def test_what_a_page_nearly_says_is_not_claimed(library):
    kb = await library.add_kb("harbour")
    await library.add(kb, "Lindvik", HARBOUR)
    answered = await ask(library, kb, "When was the harbour of Lindvik dredged?")
    assert (answered.outcome, answered.grounded) == ("answered", True)
    for near_miss in (
        "Who dredged the harbour of Lindvik in 1987?",
        "When was the harbour of Bergen dredged?",
        "How much did the new lighthouse lamp cost?",
    ):
        given = await ask(library, kb, near_miss)
        assert given.outcome != "answered", near_miss
        assert not given.grounded
        assert given.confidence < answered.confidence


async def test_the_first_minute_without_vectors_answers_as_well(library, monkeypatch):
    kb = await library.add_kb("harbour")
    feed = library.index.feed

    async def without_vectors(tenant_id, space, documents):
        bare = [
            replace(document, chunks=[replace(chunk, vector=None) for chunk in document.chunks])
            for document in documents
        ]
        await feed(tenant_id, space, bare)

    monkeypatch.setattr(library.index, "feed", without_vectors)
    await library.add(kb, "Lindvik", HARBOUR)
    answered = await ask(library, kb, "When was the harbour of Lindvik dredged?")
    assert answered.outcome == "answered"
    assert "1964" in answered.text


def test_the_numbers_are_those_of_the_features_that_are_measured():
    kept = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    assert tuple(kept["features"]) == FEATURES


def test_a_fit_tells_right_from_wrong_and_says_how_often():
    draw = np.random.default_rng(1)
    right = np.arange(800) % 4 == 0  # of each question's four sentences the first
    evidence = draw.normal(size=(800, len(FEATURES))).astype(np.float32)
    evidence[:, 0] += 2.5 * right
    names = np.array([f"set-{number % 2}" for number in range(200)])
    rows = Rows(
        evidence, right, right, np.zeros(800, bool), np.arange(0, 801, 4), names,
        np.ones(200, bool), np.array([str(number) for number in range(200)]),
    )  # fmt: skip
    made = fit(rows)
    features = made["features"]
    columns = np.array([features[name] for name in FEATURES], np.float32).T
    judge = Judge(*columns, made["bias"], made["calibration"])
    best, true = [], []
    for start in range(0, 800, 4):
        sure = judge.probabilities(evidence[start : start + 4], [False] * 4)
        best.append(max(sure))
        true.append(sure[0] == max(sure))
    assert np.mean(true) > 0.8
    assert abs(np.mean(best) - np.mean(true)) < 0.1
