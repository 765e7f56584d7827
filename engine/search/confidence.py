"""How sure a hit is, 0 to 1, comparable between searches: every threshold applies to it.

It is made from absolute parts only. Scores normalised within one search say which hit is best,
never whether any is good. `benchmarks/fit.py` fits the numbers; docs/explanation/ranking.md has
the sets and how well what is said comes true.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.domain import Hit, ScoreParts
from engine.index.detection import detect_language

LEAD_MAX = 0.3  # a lead beyond it tells no more
# Where no hit reaches it, the reader is warned: of hits with 0.14, 6 % were right, with 0.76 all
# (docs/explanation/ranking.md).
LIKELY = 0.2

# A cosine means another thing in each model. The numbers below were fitted on these spaces; in the
# rest, words decide alone.
MINILM_SPACES = frozenset({"minilm_l6_v2_fp32", "minilm_l6_v2_int8"})
E5_SPACES = frozenset({"me5_small_int8"})
CALIBRATED_SPACES = MINILM_SPACES | E5_SPACES
# Cosines of multilingual-e5 lie between these: unrelated texts of XQuAD are at 0.70 to 0.78.
E5_LOW, E5_HIGH = 0.70, 0.90
E5_LEAD_MAX = 0.5


@dataclass(frozen=True, slots=True)
class Logistic:
    """1 / (1 + e^-(bias + weights · features)): a probability, when fitted on labels."""

    bias: float
    weights: Sequence[float]

    def __call__(self, features: Sequence[float]) -> float:
        """The probability of these features."""
        total = self.bias + math.fsum(
            weight * value for weight, value in zip(self.weights, features, strict=True)
        )
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


# Features: cosine, coverage, lead. See `evidence_features`.
WITH_MEANING = Logistic(-6.0, (2.7, 5.5, 5.7))
WORDS_ALONE = Logistic(-5.0, (6.0, 6.1))  # coverage, lead
# Features: see `e5_features`. Across languages, hardly a word can be shared.
E5_SAME_LANGUAGE = Logistic(-5.8, (2.9, 4.2, 4.3, 3.7))
E5_ACROSS = Logistic(-4.5, (5.5, 2.3, 10.7, 4.0))


def confidences(
    found: Sequence[ScoreParts],
    *,
    spaces: Sequence[str] | None = None,
    across: Sequence[bool] | None = None,
) -> list[float]:
    """How likely each hit of one search answers it, in the order given.

    `spaces` are those of the vectors, by name, a hit: MiniLM's where it is None. `across` says which
    hits are in another language than the query. Of a model whose cosines were never compared with
    labels, words decide.
    """
    named = spaces or ["minilm_l6_v2_fp32"] * len(found)
    foreign = across or [False] * len(found)
    sure = [0.0] * len(found)
    for space in dict.fromkeys(named):
        places = [i for i, name in enumerate(named) if name == space]
        some = _of_one_space([found[i] for i in places], space, [foreign[i] for i in places])
        for place, value in zip(places, some, strict=True):
            sure[place] = value
    return sure


def _of_one_space(found: Sequence[ScoreParts], space: str, across: Sequence[bool]) -> list[float]:
    if space not in CALIBRATED_SPACES:
        found = [replace(parts, cosine=None) for parts in found]
    by_words = [WORDS_ALONE(row[1:]) for row in evidence_features(found)]
    if space in E5_SPACES:
        by_meaning = [
            (E5_ACROSS if is_across else E5_SAME_LANGUAGE)(row)
            for row, is_across in zip(e5_features(found), across, strict=True)
        ]
    else:
        by_meaning = [WITH_MEANING(row) for row in evidence_features(found)]
    return [
        words if parts.cosine is None else meaning
        for parts, words, meaning in zip(found, by_words, by_meaning, strict=True)
    ]


def describe_unlikely(hits: Sequence[Hit]) -> str:
    """A notice where no hit is likely to answer; empty where one is, or where there are none."""
    best = max((hit.confidence for hit in hits), default=1.0)
    if best >= LIKELY:
        return ""
    return (
        f"No result is likely to answer this: the best has a confidence of {best:.2f}. Try other"
        " words; if the results don't say it, it is not here."
    )


def evidence_features(found: Sequence[ScoreParts]) -> list[tuple[float, float, float]]:
    """Cosine, coverage and lead of each hit: how far its evidence is before the best other's."""
    evidence = [_evidence(parts) for parts in found]
    best = sorted(evidence, reverse=True)[:2]
    rows = []
    for parts, own in zip(found, evidence, strict=True):
        rival = (best[1] if own == best[0] else best[0]) if len(best) > 1 else 0.0
        lead = max(-LEAD_MAX, min(LEAD_MAX, own - rival))
        rows.append((max(0.0, parts.cosine or 0.0), parts.coverage, lead))
    return rows


def e5_features(found: Sequence[ScoreParts]) -> list[tuple[float, float, float, float]]:
    """Of each hit: cosine within its range, coverage, and how far either is before the best other's."""
    near = [
        max(0.0, min(1.0, ((parts.cosine or 0.0) - E5_LOW) / (E5_HIGH - E5_LOW))) for parts in found
    ]
    said = [parts.coverage for parts in found]
    leads = zip(_leads(near, E5_LEAD_MAX), _leads(said, LEAD_MAX), strict=True)
    return [
        (cosine, coverage, ahead, ahead_in_words)
        for cosine, coverage, (ahead, ahead_in_words) in zip(near, said, leads, strict=True)
    ]


def _leads(values: Sequence[float], most: float) -> list[float]:
    """How far each is before the best other one."""
    best = [*sorted(values, reverse=True)[:2], 0.0, 0.0]
    rivals = [best[1] if value == best[0] else best[0] for value in values]
    return [max(-most, min(most, v - rival)) for v, rival in zip(values, rivals, strict=True)]


def is_across(language: str, hit: Hit, space: str) -> bool:
    """Whether a hit is in another language than the query, which only some models can bridge."""
    if not language or space not in E5_SPACES:
        return False
    told = detect_language(hit.text)
    return bool(told) and told != language


def _evidence(parts: ScoreParts) -> float:
    if parts.cosine is None:
        return parts.coverage
    return (max(0.0, parts.cosine) + parts.coverage) / 2
