"""What Vespa computes for a hit, as its sources say: BM25, closeness, profiles, both phases.

Written apart from `engine.ranking`, so that the two can disagree. Statistics are Vespa's: a word's
rarity counts documents (parts), a chunk's length is compared with the mean chunk's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fakes.vespa_yql import Term

NAN = math.nan
UNDATED = -(2**61)


class Words:
    """BM25 of one text field over all documents of a schema."""

    def __init__(self, texts: Sequence[Sequence[Sequence[str]]]) -> None:
        self.count = len(texts)
        self.frequency = Counter(
            term for elements in texts for term in {t for element in elements for t in element}
        )
        lengths = [len(element) for elements in texts for element in elements]
        self.mean = sum(lengths) / len(lengths) if lengths else 0.0

    def score(self, terms: Sequence[Term], element: Sequence[str]) -> float:
        counts, whole = Counter(element), 0.0
        for term in terms:
            said = counts[term.text]
            if not said:
                continue
            given = term.frequency is not None
            count = max(term.count if given else self.count, 1)
            n = term.frequency if given else self.frequency[term.text]
            n = min(max(n or 0, 1), count)
            idf = math.log(1 + (count - n + 0.5) / (n + 0.5))
            norm = 1.2 * (1 - 0.75 + 0.75 * len(element) / self.mean)
            whole += idf * said * 2.2 / (said + norm)
        return whole


@dataclass
class Scored:
    """A document that matched, and everything its profile computes."""

    document: Any
    title: float = 0.0
    chunks: Mapping[int, float] = ()  # type: ignore[assignment]  # BM25 by place; absent without
    closeness: float = 0.0
    cosines: Mapping[int, float] = ()  # type: ignore[assignment]
    freshness: float = 1.0
    features: float = 0.0
    relevance: float = 0.0

    @property
    def text(self) -> float:
        return max(self.chunks.values(), default=0.0)

    @property
    def semantic(self) -> float:
        return 2 - 1 / self.closeness if self.closeness > 0 else NAN

    def lexical(self, inputs: Mapping[str, Any]) -> float:
        weight = inputs["title_weight"]
        return float(weight * self.title + (1 - weight) * self.text)

    def passages(self, inputs: Mapping[str, Any]) -> dict[int, float]:
        """The best chunks by place: of both legs' labels, not only of those both have."""
        alpha = inputs["alpha"]
        scores = {place: alpha * cosine for place, cosine in self.cosines.items()}
        for place, words in self.chunks.items():
            scores[place] = scores.get(place, 0.0) + (1 - alpha) * words / (words + 10)
        best = sorted(scores, key=lambda place: -scores[place])[: int(inputs["passages"])]
        return {place: scores[place] for place in sorted(best)}


def normalize_linear(values: Sequence[float]) -> list[float]:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return list(values)
    low, high = min(known), max(known)
    if high == low:
        return [v if math.isnan(v) else 0.5 for v in values]
    return [0.5 + (v - (low + high) / 2) / (high - low) for v in values]


def reciprocal_rank(values: Sequence[float]) -> list[float]:
    # NaN sorts last; equal ones keep the order they came in, that of the first phase.
    order = sorted(
        range(len(values)),
        key=lambda i: (math.isnan(values[i]), -values[i] if values[i] == values[i] else 0),
    )
    ranks = [0.0] * len(values)
    for place, i in enumerate(order):
        ranks[i] = 1 / (60 + 1 + place)
    return ranks


def _candidate(hit: Scored, inputs: Mapping[str, Any]) -> float:
    words, meaning = hit.lexical(inputs), hit.semantic
    alpha = inputs["alpha"]
    known = 0.0 if math.isnan(meaning) else meaning
    return float(alpha * known + (1 - alpha) * words / (words + 10))


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


FIRST: Mapping[str, Callable[[Scored, Mapping[str, Any]], float]] = {
    "hybrid_linear": _candidate,
    "hybrid_rrf": _candidate,
    "keyword_only": lambda hit, inputs: hit.lexical(inputs),
    "semantic_only": lambda hit, inputs: _or_zero(hit.semantic),
    "unranked": lambda hit, inputs: 0.0,
}


def rank(
    profile: str, hits: Sequence[Scored], inputs: Mapping[str, Any], rerank_count: int
) -> list[Scored]:
    """The hits in order: first phase, then the global phase over the best `rerank_count`."""
    first = FIRST[profile]
    ordered = sorted(hits, key=lambda hit: -first(hit, inputs))
    if profile == "unranked":
        return ordered
    head, rest = ordered[:rerank_count], ordered[rerank_count:]
    words = [hit.lexical(inputs) for hit in head]
    meaning = [hit.semantic for hit in head]
    alpha = inputs["alpha"]
    match profile:
        case "keyword_only":
            fused = normalize_linear(words)
        case "semantic_only":
            fused = [_or_zero(value) for value in normalize_linear(meaning)]
        case "hybrid_linear":
            by_words, by_meaning = normalize_linear(words), normalize_linear(meaning)
            fused = [
                alpha * (w if math.isnan(m) else n) + (1 - alpha) * w
                for w, n, m in zip(by_words, by_meaning, meaning, strict=True)
            ]
        case _:
            by_words, by_meaning = reciprocal_rank(words), reciprocal_rank(meaning)
            fused = [
                w + (w if math.isnan(m) else n)
                for w, n, m in zip(by_words, by_meaning, meaning, strict=True)
            ]
    for hit, score in zip(head, fused, strict=True):
        hit.relevance = score * hit.freshness + hit.features
    lowest = min((hit.relevance for hit in head), default=0.0)
    for hit in rest:
        hit.relevance = lowest - 1
    return [*sorted(head, key=lambda hit: -hit.relevance), *rest]
