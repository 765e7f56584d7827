"""Fits `engine/search/confidence.py`, and the judge where words decide alone: `python -m benchmarks.fit`.

Labels come from xquad-en: each question asked with its paragraph there, and once more with it taken
away, when the other paragraphs of the same article are all that is found. A hit is right when it is
the paragraph; a sentence when it holds the short answer and stands in it. What the fit can't know
(names are seldom missing where annotators wrote questions off the page) is set by hand, see
docs/explanation/ranking.md. Prints; changes no file. `judge_fit.py` fits the judge that reads word by word.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.corpora import DATA, beir_texts, open_installation
from engine.access import gate
from engine.access.search_filters import SearchFilters
from engine.answers.extraction import propose
from engine.answers.judge import EMBEDDED
from engine.search.confidence import evidence_features
from engine.search.query import read_question

NAMES = "in_sentence in_window in_passage elsewhere nowhere fits misses".split()  # noqa: SIM905


def fit_logistic(features: np.ndarray, labels: np.ndarray, *, l2: float = 1.0) -> np.ndarray:
    """Bias and weights by Newton's method; `l2` keeps correlated features from running away."""
    rows = np.c_[np.ones(len(features)), features]
    penalty = l2 * np.diag(np.r_[0.0, np.ones(rows.shape[1] - 1)])
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (labels - chance) - penalty @ weights
        curve = (rows * (chance * (1 - chance))[:, None]).T @ rows + penalty
        step = np.linalg.solve(curve + 1e-9 * np.eye(len(weights)), slope)
        weights += step
        if np.abs(step).max() < 1e-6:
            break
    return weights


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--questions", type=int, default=400)
    options = parser.parse_args()
    folder = DATA / "xquad" / "en"
    with gzip.open(folder / "qa.jsonl.gz", "rt", encoding="utf-8") as lines:
        questions = random.Random(2).sample([json.loads(line) for line in lines], options.questions)
    hits_x, hits_y, said_x, said_y = [], [], [], []
    with tempfile.TemporaryDirectory() as work:
        async with open_installation(
            Path(work), models=options.models, cache=options.cache
        ) as inst:
            await inst.add("xquad", list(beir_texts(folder)))
            ids, retriever = await inst.external_ids("xquad"), inst.retriever()
            audience = gate.audience_of_asker(inst.owner)
            for question in questions:
                gold = set(question["gold"])
                rest = [id_ for id_, external in ids.items() if external not in gold]
                for filters in (None, SearchFilters(document_ids=rest)):
                    found = await retriever.retrieve(
                        inst.owner, audience, question["question"], limit=8, filters=filters
                    )
                    hits = found.result.hits
                    rows = evidence_features([hit.scores for hit in hits])
                    hits_x += rows
                    hits_y += [float(ids[hit.document_id] in gold) for hit in hits]
                    asked = read_question(question["question"])
                    for item in propose(asked, hits, found.term_weights)[:EMBEDDED]:
                        right = ids[item.hit.document_id] in gold and any(
                            answer.lower() in item.words.lower() for answer in question["answers"]
                        )
                        said_x.append(item.features)
                        said_y.append(float(right))
    weights = fit_logistic(np.array(hits_x), np.array(hits_y))
    print(
        "confidence",
        dict(zip(["bias", "cosine", "coverage", "lead"], weights.round(2), strict=True)),
    )
    print_reliability(np.array(hits_x), np.array(hits_y), weights)
    words = np.array(hits_x)[:, 1:]
    print("words alone", fit_logistic(words, np.array(hits_y)).round(2))
    weights = fit_logistic(np.array(said_x), np.array(said_y))
    print("sentences", dict(zip(["bias", *NAMES], weights.round(2), strict=True)))


def print_reliability(features: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
    chance = 1 / (1 + np.exp(-(np.c_[np.ones(len(features)), features] @ weights)))
    for low in np.arange(0, 1, 0.1):
        inside = (chance >= low) & (chance < low + 0.1)
        if inside.any():
            print(f"  said {chance[inside].mean():.2f}, true {labels[inside].mean():.2f}"
                  f" ({inside.sum()} hits)")  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
