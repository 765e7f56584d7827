"""What is found and how well it is answered: `python -m benchmarks.quality [--cache DIR]`.

Runs test collections through the product's own chunks, index, retrieval and answers, with the
default settings for all of them, and no language model. Results go to results/quality.json;
docs/explanation/ranking.md shows them. Collections that are not beside the checkout are skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.corpora import (
    DATA,
    OWN,
    Installation,
    beir_texts,
    handbook_texts,
    jsonl,
    open_installation,
)
from benchmarks.results import write_results
from engine.access import gate
from engine.errors import Unavailable
from engine.index.detection import detect_language
from engine.search.evaluation import evaluate, load_beir

FOREIGN = 200
# nDCG@10 of BM25 as the data's README gives it (bm25s, English stemmer or character bigrams).
BM25 = {
    "cranfield": 0.376,
    "irc-ubuntu-dev": 0.700,
    "xquad/en": 0.965,
    "xquad/de": 0.944,
    "xquad/es": 0.962,
    "xquad/ar": 0.935,
    "xquad/zh": 0.902,
    "handbook": 0.808,
}
MODES = ("keyword", "semantic", "hybrid")


async def rank(
    installation: Installation, kb: str, queries: Mapping[str, str], mode: str
) -> dict[str, list[str]]:
    """The external ids of the documents found for each query."""
    retriever, ids = installation.retriever(), await installation.external_ids(kb)
    audience = gate.audience_of_asker(installation.owner)
    found = {}
    for query, text in queries.items():
        found[query] = []
        with suppress(Unavailable):  # a semantic search in a language the model does not know
            result = await retriever.search(
                installation.owner,
                audience,
                text,
                kb_ids=[installation.kbs[kb]],
                limit=100,
                mode=mode,
                passages=1,
            )
            found[query] = [ids[hit.document_id] for hit in result.hits]
    return found


async def measure_ranking(
    installation: Installation, kb: str, queries: Mapping[str, str], qrels, *, modes: Sequence[str]
) -> dict[str, object]:
    measured = {}
    for mode in modes:
        started = time.perf_counter()
        rankings = await rank(installation, kb, queries, mode)
        measured[mode] = evaluate(rankings, qrels).as_dict()
        measured[mode]["ms_a_query"] = round(
            (time.perf_counter() - started) * 1000 / max(1, len(queries)), 1
        )
    measured["bm25_to_beat"] = BM25.get(kb)
    return measured


async def measure_answers(
    installation: Installation, kb: str, questions: Sequence[Mapping]
) -> dict[str, object]:
    """How often the gold page is in the first five, and cited by a grounded answer."""
    asker, ids = installation.asker(), await installation.external_ids(kb)
    audience = gate.audience_of_asker(installation.owner)
    counts = dict.fromkeys(("answerable", "in_top_5", "grounded", "cited_gold"), 0)
    wrong, took = [], []
    unanswerable = grounded_without = 0
    for question in questions:
        started = time.perf_counter()
        answer = await asker.answer(
            installation.owner, audience, question["question"], kb_ids=[installation.kbs[kb]]
        )
        took.append((time.perf_counter() - started) * 1000)
        if not question["gold"]:
            unanswerable += 1
            grounded_without += answer.grounded
            wrong += [question["_id"]] if answer.grounded else []
            continue
        cited = {ids[citation.document_id] for citation in answer.citations}
        counts["answerable"] += 1
        counts["in_top_5"] += any(ids[h.document_id] in question["gold"] for h in answer.hits[:5])
        counts["grounded"] += answer.grounded
        good = answer.grounded and not cited.isdisjoint(question["gold"])
        counts["cited_gold"] += good
        wrong += [] if good else [question["_id"]]
    return {
        **counts,
        "unanswerable": unanswerable,
        "grounded_without_answer": grounded_without,
        "wrong": wrong,
        "ms_p50": round(statistics.median(took)),
    }


async def measure_foreign(installation: Installation, kb: str, questions: Sequence[str]) -> float:
    """The share of questions about something else that are answered all the same."""
    asker, audience = installation.asker(), gate.audience_of_asker(installation.owner)
    answers = [
        await asker.answer(installation.owner, audience, text, kb_ids=[installation.kbs[kb]])
        for text in questions
    ]
    return sum(answer.grounded for answer in answers) / len(answers)


def xquad_questions() -> list[str]:
    path = DATA / "xquad" / "en" / "qa.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["question"] for line in lines]


async def measure_collection(installation: Installation, name: str) -> dict[str, object]:
    folder = DATA / name
    beir = load_beir(folder)
    sample = " ".join(list(beir.queries.values())[:20])
    known = detect_language(sample) in installation.embedder.languages
    await installation.add(name, list(beir_texts(folder)))
    modes = MODES if known else ("keyword", "hybrid")
    return await measure_ranking(installation, name, beir.queries, beir.qrels, modes=modes)


async def measure_handbook(installation: Installation) -> dict[str, object]:
    questions = jsonl(DATA / "handbook" / "questions.jsonl")
    own = jsonl(OWN / "handbook_more.jsonl")
    await installation.add("handbook", list(handbook_texts()))
    answerable = [question for question in questions + own if question["gold"]]
    measured = await measure_ranking(
        installation,
        "handbook",
        {question["_id"]: question["question"] for question in answerable},
        {question["_id"]: dict.fromkeys(question["gold"], 1) for question in answerable},
        modes=MODES,
    )
    measured["answers"] = await measure_answers(installation, "handbook", questions)
    measured["answers_own_questions"] = await measure_answers(installation, "handbook", own)
    foreign = xquad_questions()
    chosen = random.Random(1).sample(foreign[FOREIGN:], FOREIGN)
    measured["foreign_first_200"] = await measure_foreign(
        installation, "handbook", foreign[:FOREIGN]
    )
    measured["foreign_random_200"] = await measure_foreign(installation, "handbook", chosen)
    return measured


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="keep vectors in this folder between runs")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the models folder")
    parser.add_argument("--only", help="one collection")
    options = parser.parse_args()
    for name in BM25:
        if not (DATA / name).exists() or options.only not in {None, name}:
            continue
        with tempfile.TemporaryDirectory() as folder:
            async with open_installation(
                Path(folder), models=options.models, cache=options.cache
            ) as installation:
                if name == "handbook":
                    measured = await measure_handbook(installation)
                else:
                    measured = await measure_collection(installation, name)
        print(name, json.dumps(measured))
        write_results("quality", {name: measured})


if __name__ == "__main__":
    asyncio.run(main())
