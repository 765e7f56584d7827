"""The local embedding models beside each other: `python -m benchmarks.embedders [--cache DIR]`.

Quality (nDCG@10, hybrid and by meaning) on small judged sets in English; XQuAD questions in five
languages against English paragraphs; passages per second of processor, one thread, in one run; the
memory of a process that embeds; size on disk. docs/explanation/ranking.md shows the table. Collections
that are not beside the checkout are skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.corpora import DATA, beir_texts, handbook_texts, jsonl, open_installation
from benchmarks.quality import rank
from benchmarks.results import write_results
from engine.models.catalogue import MODELS, LocalModel
from engine.models.local import LocalEmbedder
from engine.search.evaluation import evaluate, load_beir

SETS = ("xquad/en", "irc-ubuntu-dev")
LANGUAGES = ("en", "es", "de", "zh", "ar")
EVERY = 6  # of XQuAD's questions
SPEED_TEXTS = 60


def ndcg(ranked, wanted) -> float:
    judged = {query: wanted[query] for query in ranked}  # those that were asked
    return round(evaluate(ranked, judged).ndcg_at_10.mean, 3)


async def quality(model: LocalModel, models: Path, cache: Path | None) -> dict[str, object]:
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as work:
        async with open_installation(Path(work), models=models, cache=cache, model=model) as inst:
            for name in SETS:
                folder = DATA / name
                data = load_beir(folder)
                step = EVERY if name.startswith("xquad") else 1
                queries = dict(list(data.queries.items())[::step])
                await inst.add(name, list(beir_texts(folder)))
                found[name] = {
                    mode: ndcg(await rank(inst, name, queries, mode), data.qrels)
                    for mode in ("semantic", "hybrid")
                }
            questions = [q for q in jsonl(DATA / "handbook" / "questions.jsonl") if q["gold"]]
            await inst.add("handbook", list(handbook_texts()))
            queries = {str(i): q["question"] for i, q in enumerate(questions)}
            wanted = {str(i): dict.fromkeys(q["gold"], 1) for i, q in enumerate(questions)}
            found["handbook"] = {
                mode: ndcg(await rank(inst, "handbook", queries, mode), wanted)
                for mode in ("semantic", "hybrid")
            }
            found["english_paragraphs"] = await across(inst)
    return found


async def across(inst) -> dict[str, float]:
    found = {}
    for language in LANGUAGES:
        data = load_beir(DATA / "xquad" / language)
        queries = dict(list(data.queries.items())[::EVERY])
        wanted = {
            query: {f"en-{document.split('-')[-1]}": grade for document, grade in grades.items()}
            for query, grades in data.qrels.items()
        }
        found[language] = ndcg(await rank(inst, "xquad/en", queries, "hybrid"), wanted)
    return found


def texts_for_speed() -> list[str]:
    corpus = load_beir(DATA / "xquad" / "en").corpus
    return [document.text[:900] for document in list(corpus.values())[:SPEED_TEXTS]]


async def speeds(models: Path) -> dict[str, float]:
    """Passages per second of processor, the models by turns: the ratios hold on a busy machine."""
    texts = texts_for_speed()
    embedders = {name: LocalEmbedder(models, m, threads=1) for name, m in MODELS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in embedders}
    for turn in range(4):
        for name, embedder in embedders.items():
            began = time.process_time()
            await embedder.embed_documents(texts)
            if turn:  # the first one loads
                seconds[name].append(time.process_time() - began)
    return {name: round(len(texts) / float(np.median(some)), 1) for name, some in seconds.items()}


def memory(name: str, models: Path) -> int:
    """MB that a process gains by embedding."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def embed() -> None:
        embedder = LocalEmbedder(models, MODELS[name], threads=1)
        await embedder.embed_documents(texts_for_speed()[:16])
        await embedder.embed_query("a question")

    asyncio.run(embed())
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--models", type=Path, default=Path("models"))
    options = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name, model in MODELS.items():
            found[name] = {
                "title": model.title,
                "installed_mb": model.installed_mb,
                "memory_mb": pool.apply(memory, (name, options.models)),
            }
    for name, rate in (await speeds(options.models)).items():
        found[name]["passages_per_cpu_s"] = rate
    print(json.dumps(found, indent=1), flush=True)
    for name, model in MODELS.items():
        found[name] |= await quality(model, options.models, options.cache)
        print(json.dumps({name: found[name]}, indent=1), flush=True)
    print(write_results("embedders", found).read_text(encoding="utf-8"))


if __name__ == "__main__":
    asyncio.run(main())
