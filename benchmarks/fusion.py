"""Chooses the defaults of fusion: `python -m benchmarks.fusion [--cache DIR]`.

Every judged collection beside the checkout whose language the model knows is searched once through
the product's own chunks and index. Each candidate's absolute scores are kept, so any fusion can be
tried on them without asking again. A choice is judged on collections it was not made on: for each
one, a setting is chosen on all others (`choose`), and what it scores there is written down. Results go to results/fusion.json; docs/explanation/ranking.md shows them.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import re
import statistics
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora import (
    DATA,
    OWN,
    Installation,
    Text,
    beir_texts,
    handbook_texts,
    jsonl,
    open_installation,
)
from benchmarks.results import write_results
from engine.access import gate
from engine.access.search_scope import SearchDefaults
from engine.domain import Hit
from engine.index import ranking
from engine.search.evaluation import load_beir, ndcg

QUERIES = 300  # of a collection, drawn at random
PIECE = 1500  # characters of a long text that are one document
CANDIDATES = SearchDefaults().candidates
BEFORE = "linear 0.70"  # the default that was chosen on four collections
ALPHAS = (0.0, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 1.0)

Scores = NDArray[np.float64]
Judged = tuple[list[Text], dict[str, str], dict[str, dict[str, int]]]
Fusing = Callable[["Candidates"], Scores]


@dataclass(frozen=True)
class Candidates:
    """What both legs found for one query: scores in the order of the documents' names."""

    names: list[str]
    lexical: Scores
    cosine: Scores
    faded: float  # what is left of alpha for the exact terms in the query
    grades: Mapping[str, int]


# The collections


def beir(name: str) -> Judged:
    found = load_beir(DATA / name)
    return (
        list(beir_texts(DATA / name)),
        dict(found.queries),
        {k: dict(v) for k, v in found.qrels.items()},
    )


def handbook() -> Judged:
    asked = [*jsonl(DATA / "handbook" / "questions.jsonl"), *jsonl(OWN / "handbook_more.jsonl")]
    asked = [question for question in asked if question["gold"]]
    return (
        list(handbook_texts()),
        {question["_id"]: question["question"] for question in asked},
        {question["_id"]: dict.fromkeys(question["gold"], 1) for question in asked},
    )


def squad() -> Judged:
    """Paragraphs, and the questions each was written for that it answers."""
    texts, queries, qrels = [], {}, {}
    for number, row in enumerate(_rows("squad2-part/paragraphs.jsonl.gz")):
        texts.append(
            Text(f"p{number}", row["title"].replace("_", " "), "t.txt", row["context"].encode())
        )
        for qa in row["qas"]:
            if not qa["impossible"]:
                queries[qa["id"]] = qa["question"]
                qrels[qa["id"]] = {f"p{number}": 1}
    return texts, queries, qrels


def selqa() -> Judged:
    """Sections of articles, and the questions that a sentence in them answers."""
    texts: dict[tuple[str, str, str], Text] = {}
    queries, qrels = {}, {}
    for number, row in enumerate(_rows("selqa-dev/questions.jsonl.gz")):
        said = " ".join(row["candidates"])
        key = (row["article"], row["section"], said)
        if key not in texts:
            texts[key] = Text(
                f"s{len(texts)}", f"{row['article']}: {row['section']}", "t.txt", said.encode()
            )
        if row["answers"]:
            queries[f"q{number}"] = row["question"]
            qrels[f"q{number}"] = {texts[key].id: 1}
    return list(texts.values()), queries, qrels


def rag_chunks() -> Judged:
    """Five long texts cut at paragraphs into documents; those that hold a span answer."""
    texts, pieces = [], {}
    for path in sorted((DATA / "rag-chunks" / "corpora").glob("*.md.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            whole = file.read()
        name = path.name.removesuffix(".gz")
        for start, end in _cut(whole):
            id_ = f"{name}:{start}"
            pieces.setdefault(name, []).append((start, end, id_))
            texts.append(
                Text(
                    id_,
                    f"{name.removesuffix('.md')} {len(pieces[name])}",
                    "t.txt",
                    whole[start:end].encode(),
                )
            )
    queries, qrels = {}, {}
    for row in _rows("rag-chunks/questions.jsonl.gz"):
        gold = {
            id_: 1
            for span in row["references"]
            for start, end, id_ in pieces[row["corpus"]]
            if span["start"] < end and start < span["end"]
        }
        queries[row["_id"]], qrels[row["_id"]] = row["question"], gold
    return texts, queries, qrels


def meshcore() -> Judged:
    """Threads of a forum, a document each."""
    folder, texts = DATA / "discord-meshcore", []
    with zipfile.ZipFile(next(folder.glob("*.zip"))) as archive:
        for name in archive.namelist():
            if not name.endswith(".json"):
                continue
            thread = json.loads(archive.read(name))
            said = "\n\n".join(
                f"{m['author']['name']}: {m['content']}" for m in thread["messages"] if m["content"]
            )
            texts.append(Text(Path(name).name, thread["channel"]["name"], "t.txt", said.encode()))
    asked = [question for question in jsonl(folder / "questions.jsonl") if question["gold"]]
    return (
        texts,
        {question["_id"]: question["question"] for question in asked},
        {
            question["_id"]: {Path(g["file"]).name: 1 for g in question["gold"]}
            for question in asked
        },
    )


def houston() -> Judged:
    """Messages of a Slack export, a document for the ten around each other in a channel's day."""
    folder, texts, place = DATA / "slack-houstondatavis", [], {}
    with zipfile.ZipFile(next(folder.glob("*.zip"))) as archive:
        for name in sorted(archive.namelist()):
            day = re.fullmatch(r"(?:.*/)?([^/]+)/(\d{4}-\d\d-\d\d)\.json", name)
            if not day:
                continue
            messages = [m for m in json.loads(archive.read(name)) if m.get("text")]
            for start in range(0, len(messages), 10):
                id_, few = f"{day[1]}/{day[2]}/{start}", messages[start : start + 10]
                place |= {(day[1], m["ts"]): id_ for m in few}
                said = "\n\n".join(m["text"] for m in few)
                texts.append(Text(id_, f"#{day[1]}", "t.txt", said.encode()))
    asked = [question for question in jsonl(folder / "questions.jsonl") if question["gold"]]
    return (
        texts,
        {question["_id"]: question["question"] for question in asked},
        {q["_id"]: {place[g["channel"], g["ts"]]: 1 for g in q["gold"]} for q in asked},
    )


COLLECTIONS: Mapping[str, Callable[[], Judged]] = {
    "cranfield": lambda: beir("cranfield"),
    "irc-ubuntu-dev": lambda: beir("irc-ubuntu-dev"),
    "xquad/en": lambda: beir("xquad/en"),
    "handbook": handbook,
    "squad2-part": squad,
    "selqa-dev": selqa,
    "rag-chunks": rag_chunks,
    "2wiki-multihop": lambda: beir("2wiki-multihop"),
    "discord-meshcore": meshcore,
    "slack-houstondatavis": houston,
}


def _rows(name: str) -> Iterator[dict]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _cut(text: str) -> Iterator[tuple[int, int]]:
    """Spans of about `PIECE` characters that end at a blank line or a sentence."""
    start = 0
    while start < len(text):
        end = min(start + PIECE, len(text))
        if end < len(text):
            found = max(
                text.rfind("\n\n", start + PIECE // 2, end),
                text.rfind(". ", start + PIECE // 2, end),
            )
            end = found + 2 if found > 0 else end
        yield start, end
        start = end


# Asking


async def collect(installation: Installation, name: str, judged: Judged) -> list[Candidates]:
    """Every candidate of both legs with its absolute scores, for up to `QUERIES` queries."""
    texts, queries, qrels = judged
    await installation.add(name, texts)
    ids, retriever = await installation.external_ids(name), installation.retriever()
    audience = gate.audience_of_asker(installation.owner)
    chosen = sorted(queries)
    if len(chosen) > QUERIES:
        chosen = sorted(random.Random(3).sample(chosen, QUERIES))
    found = []
    for query in chosen:
        result = await retriever.search(
            installation.owner, audience, queries[query],
            kb_ids=[installation.kbs[name]], limit=2 * CANDIDATES, passages=1,
        )  # fmt: skip
        found.append(_candidates(result.hits, ids, qrels[query]))
    return found


def _candidates(
    hits: Sequence[Hit], ids: Mapping[str, str], grades: Mapping[str, int]
) -> Candidates:
    """The best of either leg, as a search by default takes them, in the order of their ids."""
    lexical = np.array([hit.scores.lexical for hit in hits])
    cosine = np.array([np.nan if h.scores.cosine is None else h.scores.cosine for h in hits])
    best = {i for i in np.argsort(-lexical, kind="stable")[:CANDIDATES].tolist() if lexical[i] > 0}
    best |= set(np.argsort(-cosine, kind="stable")[:CANDIDATES].tolist())
    kept = sorted(best, key=lambda i: hits[i].document_id)
    alpha = next((hit.scores.alpha for hit in hits if hit.scores.alpha is not None), None)
    return Candidates(
        [ids[hits[i].document_id] for i in kept],
        lexical[kept],
        cosine[kept],
        1.0 if alpha is None else alpha / SearchDefaults().alpha,
        grades,
    )


# Choosing


def settings() -> dict[str, Fusing]:
    """What may be chosen, by name."""
    found: dict[str, Fusing] = {
        f"linear {alpha:.2f}": partial(linear, alpha=alpha) for alpha in ALPHAS
    }
    found |= {
        f"by agreement {low:.2f}-{high:.2f}": partial(by_agreement, low=low, high=high)
        for low, high in ((0.4, 0.7), (0.5, 0.7), (0.5, 0.8), (0.7, 0.4), (0.7, 0.5))
    }
    found |= {
        f"linear {alpha:.2f}, ranks under {least:.1f} agreement": partial(
            ranks_where_legs_disagree, alpha=alpha, least=least
        )
        for alpha in (0.5, 0.6, 0.7)
        for least in (0.1, 0.3)
    }
    return found | {"ranks": ranks}


def linear(found: Candidates, *, alpha: float) -> Scores:
    """The product's fusion."""
    return ranking.fuse(found.lexical, found.cosine, alpha=alpha * found.faded)


def ranks(found: Candidates) -> Scores:
    """Reciprocal ranks, unless the query is mostly exact terms."""
    if found.faded < (1 - ranking.RANKS_UP_TO) ** 2:
        return linear(found, alpha=0.5)
    return ranking.fuse(found.lexical, found.cosine, fusion="rrf")


def by_agreement(found: Candidates, *, low: float, high: float) -> Scores:
    """Alpha between two bounds: `high` where the legs' best ten are the same."""
    return linear(found, alpha=low + (high - low) * agreement(found))


def ranks_where_legs_disagree(found: Candidates, *, alpha: float, least: float) -> Scores:
    return ranks(found) if agreement(found) < least else linear(found, alpha=alpha)


def agreement(found: Candidates, *, k: int = 10) -> float:
    """The share of the best k that both legs have."""
    legs = (set(np.argsort(-leg)[:k].tolist()) for leg in (found.lexical, found.cosine))
    return len(set.intersection(*legs)) / k


def score(found: Sequence[Candidates], fusing: Fusing) -> float:
    """The mean nDCG@10 of a collection."""
    return statistics.mean(
        ndcg([one.names[i] for i in ranking.best_first(fusing(one), 10)], one.grades)
        for one in found
    )


def choose(table: Mapping[str, Mapping[str, float]], collections: Sequence[str]) -> str:
    """The rule: what is lower on none of the collections than `BEFORE`, and best on their mean."""
    safe = [
        name for name, row in table.items() if all(row[c] >= table[BEFORE][c] for c in collections)
    ]
    return max(safe, key=lambda name: statistics.mean(table[name][c] for c in collections))


def leave_one_out(table: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, object]]:
    """For each collection what is chosen on all the others, and what that makes on it."""
    collections = list(table[BEFORE])
    chosen = {}
    for left_out in collections:
        setting = choose(table, [name for name in collections if name != left_out])
        chosen[left_out] = {
            "setting": setting,
            "ndcg@10": table[setting][left_out],
            "before": table[BEFORE][left_out],
        }
    return chosen


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="keep vectors in this folder between runs")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the models folder")
    parser.add_argument("--only", nargs="*", help="some collections; nothing is written then")
    options = parser.parse_args()
    table: dict[str, dict[str, float]] = {name: {} for name in settings()}
    for name, judged in COLLECTIONS.items():
        if options.only and name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            async with open_installation(
                Path(folder), models=options.models, cache=options.cache
            ) as installation:
                found = await collect(installation, name, judged())
        for setting, fusing in settings().items():
            table[setting][name] = round(score(found, fusing), 4)
        print(name, len(found), {setting: row[name] for setting, row in table.items()}, flush=True)
    if not options.only:
        means = {setting: round(statistics.mean(row.values()), 4) for setting, row in table.items()}
        chosen = leave_one_out(table)
        best = choose(table, list(table[BEFORE]))
        found = {"ndcg@10": table, "means": means, "leave_one_out": chosen, "chosen": best}
        print(json.dumps(found, indent=1))
        write_results("fusion", found)


if __name__ == "__main__":
    asyncio.run(main())
