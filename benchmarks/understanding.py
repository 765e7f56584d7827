"""What reading queries gains and costs: `python -m benchmarks.understanding [--cache DIR]`.

Each collection is searched as typed and as understood (`engine/search/understood.py`), then again
with one slip of the finger in a word of each query. Times are of the same run, the two ways in
turns; only queries that are read as typed count for the cost. Results: results/understanding.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import Mapping
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
from engine.index.stopwords import STOPWORDS
from engine.search.evaluation import evaluate, load_beir
from engine.search.understanding import edits
from engine.search.understood import Understanding

COLLECTIONS = ("handbook", "xquad/en", "cranfield")
QUERIES_MAX = 250


def misspelt(query: str, pick: random.Random) -> str:
    """The query with one slip in one of its words of five letters and more."""
    words = [
        match
        for match in re.finditer(r"(?<!\w)[a-z]{5,}(?!\w)", query)
        if match.group() not in STOPWORDS["en"]
    ]
    if not words:
        return query
    chosen = pick.choice(words)
    slip = pick.choice(edits(chosen.group()))
    return f"{query[: chosen.start()]}{slip}{query[chosen.end() :]}"


async def compare(
    installation: Installation, kb: str, queries: Mapping[str, str], qrels: Mapping
) -> dict[str, object]:
    embedders = {installation.embedder.space.name: installation.embedder}
    ways = {
        "as_typed": installation.retriever(),
        "understood": Understanding(installation.db, installation.index, embedders),
    }
    audience, ids = gate.audience_of_asker(installation.owner), await installation.external_ids(kb)
    rankings: dict[str, dict[str, list[str]]] = {name: {} for name in ways}
    took: dict[str, list[float]] = {name: [] for name in ways}
    read = dict.fromkeys(("spelling", "acronym", "filter"), 0)
    for turn, (query, text) in enumerate(queries.items()):
        times, plain = {}, True
        for name in list(ways) if turn % 2 else list(ways)[::-1]:
            started = time.process_time()
            result = await ways[name].search(
                installation.owner,
                audience,
                text,
                kb_ids=[installation.kbs[kb]],
                limit=100,
                passages=1,
            )
            times[name] = (time.process_time() - started) * 1000
            rankings[name][query] = [ids[hit.document_id] for hit in result.hits]
            for step in result.steps:
                read[step.kind] += 1
                plain = False
        if plain:
            for name, value in times.items():
                took[name].append(value)
    measured: dict[str, object] = {
        name: evaluate(found, qrels).as_dict() for name, found in rankings.items()
    }
    medians = {name: statistics.median(values) for name, values in took.items()}
    return {
        **measured,
        "queries": len(queries),
        "read": read,
        "cost_of_reading_nothing": round(medians["understood"] / medians["as_typed"], 3),
    }


async def measure(installation: Installation, name: str) -> dict[str, object]:
    if name == "handbook":
        questions = jsonl(DATA / name / "questions.jsonl") + jsonl(OWN / "handbook_more.jsonl")
        await installation.add(name, list(handbook_texts()))
        chosen = {q["_id"]: q["question"] for q in questions if q["gold"]}
        qrels: Mapping = {q["_id"]: dict.fromkeys(q["gold"], 1) for q in questions if q["gold"]}
    else:
        beir = load_beir(DATA / name)
        await installation.add(name, list(beir_texts(DATA / name)))
        chosen, qrels = dict(list(beir.queries.items())[:QUERIES_MAX]), beir.qrels
        qrels = {query: qrels[query] for query in chosen if query in qrels}
    pick = random.Random(1)
    slips = {query: misspelt(text, pick) for query, text in chosen.items()}
    return {
        "as they are": await compare(installation, name, chosen, qrels),
        "misspelt": await compare(installation, name, slips, qrels),
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="keep vectors in this folder between runs")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the models folder")
    parser.add_argument("--only", help="one collection")
    options = parser.parse_args()
    for name in COLLECTIONS:
        if not (DATA / name).exists() or options.only not in {None, name}:
            continue
        with tempfile.TemporaryDirectory() as folder:
            async with open_installation(
                Path(folder), models=options.models, cache=options.cache
            ) as installation:
                measured = await measure(installation, name)
        print(name, json.dumps(measured))
        write_results("understanding", {name: measured})


if __name__ == "__main__":
    asyncio.run(main())
