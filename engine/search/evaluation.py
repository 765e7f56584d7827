"""How good a ranking is: nDCG, recall and MRR over distinct documents, with their uncertainty.

Pure but for `load_beir`, which reads a folder. `scrubjay eval` and `benchmarks/quality.py` use it.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class BeirDocument:
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Beir:
    """A test collection: documents and queries by id, `qrels[query][document]` = grade > 0."""

    corpus: Mapping[str, BeirDocument]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its bootstrap 95 % interval [low, high]."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RetrievalMetrics:
    """`ndcg_at_10` takes the grades as gains; a judgement of 1 is the binary case."""

    queries: int
    ndcg_at_10: Estimate
    recall_at_100: Estimate
    mrr_at_10: Estimate

    def as_dict(self) -> dict[str, object]:
        """As `--json` prints it: {"queries", "ndcg@10", "recall@100", "mrr@10", "intervals"}."""
        named = {
            "ndcg@10": self.ndcg_at_10,
            "recall@100": self.recall_at_100,
            "mrr@10": self.mrr_at_10,
        }
        return {
            "queries": self.queries,
            **{name: round(value.mean, 4) for name, value in named.items()},
            "intervals": {
                name: [round(value.low, 4), round(value.high, 4)] for name, value in named.items()
            },
        }


def distinct(ranking: Sequence[str]) -> list[str]:
    """The documents of a ranking, each once, at its first rank."""
    return list(dict.fromkeys(ranking))


def ndcg(ranking: Sequence[str], grades: Mapping[str, int], *, k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k; gain = grade, discount log2(rank + 1).

    As trec_eval's ndcg_cut (Jaervelin and Kekaelaeinen, TOIS 2002); 0 without relevant documents.
    """
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:k]
    best = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(ideal, start=1))
    if not best:
        return 0.0
    gains = (max(0, grades.get(document, 0)) for document in distinct(ranking)[:k])
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1)) / best


def recall(ranking: Sequence[str], grades: Mapping[str, int], *, k: int = 100) -> float:
    """The share of the relevant documents that are among the first k."""
    relevant = {document for document, grade in grades.items() if grade > 0}
    return len(relevant & set(distinct(ranking)[:k])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], grades: Mapping[str, int], *, k: int = 10) -> float:
    """1 / rank of the first relevant document, 0 where none is among the first k."""
    for rank, document in enumerate(distinct(ranking)[:k], start=1):
        if grades.get(document, 0) > 0:
            return 1.0 / rank
    return 0.0


def bootstrap(values: Sequence[float], *, rounds: int = 2000, seed: int = 0) -> Estimate:
    """The mean of `values` with the 95 % percentile interval of means over resampled queries."""
    if not values:
        return Estimate(0.0, 0.0, 0.0)
    sample = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(0, len(sample), size=(rounds, len(sample)))
    low, high = np.percentile(sample[picks].mean(axis=1), [2.5, 97.5])
    return Estimate(float(sample.mean()), float(low), float(high))


def evaluate(
    rankings: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]
) -> RetrievalMetrics:
    """Metrics over every judged query; a query without a ranking counts as having found nothing."""
    judged = [query for query, grades in qrels.items() if any(g > 0 for g in grades.values())]
    pairs = [(rankings.get(query, ()), qrels[query]) for query in judged]
    return RetrievalMetrics(
        queries=len(pairs),
        ndcg_at_10=bootstrap([ndcg(ranking, grades) for ranking, grades in pairs]),
        recall_at_100=bootstrap([recall(ranking, grades) for ranking, grades in pairs]),
        mrr_at_10=bootstrap([reciprocal_rank(ranking, grades) for ranking, grades in pairs]),
    )


def load_beir(path: Path) -> Beir:
    """Read `corpus.jsonl`, `queries.jsonl` (plain or .gz) and `qrels.tsv` or `qrels/test.tsv`.

    Raises `InvalidInput` that names the file and line. Queries without a judgement are left out.
    """
    corpus = {
        _text(row, "_id", where): BeirDocument(
            str(row.get("title") or ""), _text(row, "text", where)
        )
        for row, where in _jsonl(_find(path, "corpus.jsonl"))
    }
    queries = {
        _text(row, "_id", where): _text(row, "text", where)
        for row, where in _jsonl(_find(path, "queries.jsonl"))
    }
    qrels: dict[str, dict[str, int]] = {}
    for query, document, grade in _judgements(_find(path, "qrels.tsv", "qrels/test.tsv")):
        if query in queries and grade > 0:
            qrels.setdefault(query, {})[document] = grade
    if not qrels:
        raise InvalidInput(f"{path}: no judgement names a query of queries.jsonl", field="path")
    return Beir(corpus, {query: queries[query] for query in qrels}, qrels)


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    raise InvalidInput(
        f"{folder} has no {names[0]} (nor {names[0]}.gz): a BEIR folder contains corpus.jsonl, "
        "queries.jsonl and qrels.tsv",
        field="path",
    )


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as lines
        ):
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield line, f"{path.name} line {number}"
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InvalidInput(f"{path} can't be read: {error}", field="path") from error


def _jsonl(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    for line, where in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InvalidInput(f"{where} is not JSON: {error}", field="path") from error
        if not isinstance(row, dict):
            raise InvalidInput(f"{where} is not a JSON object", field="path")
        yield row, where


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, (str, int)):
        raise InvalidInput(f'{where} has no "{key}"', field="path")
    return str(value)


def _judgements(path: Path) -> Iterator[tuple[str, str, int]]:
    rows = [line.rstrip("\r\n") for line, _ in _lines(path)]
    reader = csv.reader(rows, delimiter="\t", quoting=csv.QUOTE_NONE)
    for number, cells in enumerate(reader, start=1):
        # four cells are TREC's own form: query, iteration, document, grade
        row = [cells[0], cells[2], cells[3]] if len(cells) == 4 else cells
        if len(row) != 3:
            raise InvalidInput(
                f"{path.name} line {number}: expected query-id, corpus-id and score, tab-separated",
                field="path",
            )
        try:
            yield row[0], row[1], int(float(row[2]))
        except ValueError:
            if number > 1:  # the first line may be a header
                raise InvalidInput(
                    f"{path.name} line {number}: {row[2]!r} is not a number", field="path"
                ) from None
