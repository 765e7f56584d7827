"""How sure a hit is, 0 to 1, comparable between searches: every threshold applies to it.

It is made from absolute parts only. Scores normalised within one search say which hit is best,
never whether any is good. `benchmarks/fit_confidence.py` fits the numbers; docs/explanation/
ranking.md has the sets and the reliability table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.domain import ScoreParts

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


# Features: cosine, coverage, their product, and how far the next document's evidence lies behind.
WITH_MEANING = Logistic(-5.2, (5.0, 1.6, 4.0, 4.0))
WORDS_ALONE = Logistic(-4.2, (6.0, 2.0))  # coverage, its lead


def confidences(found: Sequence[ScoreParts]) -> list[float]:
    """How likely each hit of one search answers it, in the order given."""
    evidence = [_evidence(parts) for parts in found]
    sure = []
    for position, parts in enumerate(found):
        others = evidence[:position] + evidence[position + 1 :]
        lead = max(-0.3, min(0.3, evidence[position] - max(others, default=0.0)))
        if parts.cosine is None:
            sure.append(WORDS_ALONE((parts.coverage, lead)))
        else:
            cosine = max(0.0, parts.cosine)
            sure.append(WITH_MEANING((cosine, parts.coverage, cosine * parts.coverage, lead)))
    return sure


def _evidence(parts: ScoreParts) -> float:
    if parts.cosine is None:
        return parts.coverage
    return (max(0.0, parts.cosine) + parts.coverage) / 2
