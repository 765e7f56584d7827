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

LEAD_MAX = 0.3  # a lead beyond it tells no more
# Where no hit reaches it, the reader is warned: of hits with 0.14, 6 % were right, with 0.76 all
# (docs/explanation/ranking.md).
LIKELY = 0.2

# Spaces whose cosines the numbers below were fitted on. A cosine means another thing in each model:
# for the rest, words decide alone.
CALIBRATED_SPACES = frozenset({"minilm_l6_v2_fp32", "minilm_l6_v2_int8"})


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


def confidences(found: Sequence[ScoreParts], *, calibrated: bool = True) -> list[float]:
    """How likely each hit of one search answers it, in the order given.

    `calibrated` False, for a model whose cosines were never compared with labels, lets words decide.
    """
    if not calibrated:
        found = [replace(parts, cosine=None) for parts in found]
    features = evidence_features(found)
    return [
        WORDS_ALONE(row[1:]) if parts.cosine is None else WITH_MEANING(row)
        for parts, row in zip(found, features, strict=True)
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


def _evidence(parts: ScoreParts) -> float:
    if parts.cosine is None:
        return parts.coverage
    return (max(0.0, parts.cosine) + parts.coverage) / 2
