"""Fusing and adjusting scores: pure functions over arrays, shared by every index adapter.

The two fusions follow Vespa's global phase to the digit (`normalize_linear`, `reciprocal_rank`),
so that both adapters order alike. The i'th element of every array is the i'th candidate, in an
order that does not depend on how the index is stored: ties keep it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.index.analysis import QueryTerm

Scores = NDArray[np.float64]

RRF_K = 60  # Cormack, Clarke and Buettcher, SIGIR 2009
TITLE_MOST = 6  # words of a query that may be a title
TITLE_EXTRA = 1  # words more that such a title may have: an article, a year
TITLED = 1.05  # what such a title adds to a fused score, which is 1 at most: it leads
RANKS_UP_TO = 0.3  # of exact terms in a query; beyond, fusion by rank drowns them


def normalize_linear(values: Scores) -> Scores:
    """Values stretched to [0, 1]: 0.5 + (v - (min + max) / 2) / (max - min); all equal gives 0.5.

    Missing ones (NaN) stay missing.
    """
    if not len(values) or np.isnan(values).all():
        return values.copy()
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if high <= low:
        return np.where(np.isnan(values), np.nan, 0.5)
    return 0.5 + (values - (low + high) / 2) / (high - low)


def reciprocal_rank(values: Scores, *, k: int = RRF_K) -> Scores:
    """1 / (k + rank) of each value, best first from rank 1, ties in the order given, NaN last."""
    order = np.argsort(-values, kind="stable")  # NaN sorts last
    ranks = np.empty(len(values))
    ranks[order] = np.arange(1, len(values) + 1)
    return 1.0 / (k + ranks)


def fuse(
    lexical: Scores | None,
    semantic: Scores | None,
    *,
    fusion: Literal["linear", "rrf"] = "linear",
    alpha: float = 0.5,
    across: NDArray[np.bool_] | None = None,
) -> Scores:
    """One score a candidate from two legs; a leg that is None, or NaN throughout, has no say.

    Linear: alpha · semantic + (1 - alpha) · lexical, each normalised over all candidates. RRF: the
    sum of reciprocal ranks. Where a candidate lacks one of them (NaN), the other is used for it:
    a document whose vectors are still on their way is neither favoured nor hidden meanwhile.

    `across` says which candidates are in another language than the query. They hold few of its words
    whatever they are about, so in linear fusion their words count no less than their meaning.
    """
    legs = [
        (leg, weight)
        for leg, weight in ((lexical, 1 - alpha), (semantic, alpha))
        if leg is not None and not np.isnan(leg).all()
    ]
    if not legs:
        size = next((len(leg) for leg in (lexical, semantic) if leg is not None), 0)
        return np.zeros(size)
    if fusion == "rrf":
        return np.sum(_each_known([reciprocal_rank(leg) for leg, _ in legs], legs), axis=0)  # type: ignore[no-any-return]
    if len(legs) == 1:
        return np.nan_to_num(normalize_linear(legs[0][0]), nan=0.0)
    normalised = _each_known([normalize_linear(leg) for leg, _ in legs], legs)
    if across is not None:
        words, meaning = normalised
        normalised[0] = np.where(across, np.maximum(words, meaning), words)
    return np.sum(  # type: ignore[no-any-return]
        [weight * leg for leg, (_, weight) in zip(normalised, legs, strict=True)], axis=0
    )


def _each_known(scores: Sequence[Scores], legs: Sequence[tuple[Scores, float]]) -> list[Scores]:
    """`scores` of each leg, taken from the other one where the leg itself has none."""
    if len(scores) == 1:
        return list(scores)
    filled = []
    for own, other in ((0, 1), (1, 0)):
        unknown = np.isnan(legs[own][0])
        filled.append(np.nan_to_num(np.where(unknown, scores[other], scores[own]), nan=0.0))
    return filled


def exact_share(terms: Sequence[QueryTerm], idf: Sequence[float], held: Sequence[bool]) -> float:
    """How much of what a query asks for are exact terms that the index holds, 0 to 1, by rarity.

    `idf` and `held` (whether any document has it) are each term's. "10.20.30.40", where it occurs,
    is all of itself; "what does PPR-9087 cost" is mostly that part; a common number is little.
    """
    exact = plain = 0.0
    for term, weight, found in zip(terms, idf, held, strict=True):
        if term.exact and found:
            exact += weight
        elif not (term.exact or term.compound or term.part):
            plain += weight
    return exact / (exact + plain) if exact else 0.0


def lean(
    fusion: Literal["linear", "rrf"], alpha: float, share: float
) -> tuple[Literal["linear", "rrf"], float]:
    """How to fuse a query of which `share` are exact terms that the index holds.

    Meaning has nothing to say about an identifier: its neighbours are noise, and normalised noise
    is as loud as a hit. So the semantic leg fades as (1 - share)², and ranks, which know no
    weights, give way to scores. A search by meaning alone (alpha 1) stays one.
    """
    if alpha >= 1 or share <= 0:
        return fusion, alpha
    if fusion == "rrf":
        return ("rrf", alpha) if share < RANKS_UP_TO else ("linear", 0.5 * (1 - share) ** 2)
    return fusion, alpha * (1 - share) ** 2


def term_masses(
    terms: Sequence[QueryTerm], idf: Sequence[float], held: Sequence[bool]
) -> list[float]:
    """What each term counts in coverage: its idf, once for each thing that is asked for.

    A compound repeats its parts and counts nothing, unless it is exact: then it stands for them
    where the index holds it, in the first form it holds; where it does not, it counts beside its
    parts, because they alone are another thing's ("PPR-9999" is not PPR-2000).
    """
    present = {t.token for t, found in zip(terms, held, strict=True) if t.exact and found}
    counted: set[int] = set()
    masses = []
    for term, weight, found in zip(terms, idf, held, strict=True):
        if term.exact and (found or not term.part):
            first = term.part or term.token not in counted
            counts = first and (found or (term.token not in present and _has_digit(term)))
            counted |= {term.token} if counts and not term.part else set()
        else:
            counts = not term.compound and not (term.part and term.token in present)
        masses.append(weight if counts else 0.0)
    return masses


def term_weights(
    terms: Sequence[QueryTerm], idf: Sequence[float], mass: Sequence[float]
) -> list[float]:
    """What each term weighs to those who look for words: its idf, and a compound its mass."""
    return [
        own if term.compound else weight for term, weight, own in zip(terms, idf, mass, strict=True)
    ]


def title_words(terms: Sequence[QueryTerm]) -> list[int]:
    """The places of the terms a title must hold to be what was asked for; none for a long query.

    "What is a zebra?" asks for what "Zebra" names. Whoever asks in more words wants an answer, and
    no document by its name.
    """
    plain = [place for place, term in enumerate(terms) if not term.compound]
    return plain if len(plain) <= TITLE_MOST else []


def _has_digit(term: QueryTerm) -> bool:
    return any(map(str.isdigit, term.terms[0]))


def freshness(ages_s: Scores, *, half_life_s: float | None, floor: float) -> Scores:
    """What a score is multiplied by for its age: 1 when new, falling by halves towards `floor`.

    A document without a date (NaN) or from the future keeps 1, as all do where there is no decay.
    """
    if half_life_s is None:
        return np.ones(len(ages_s))
    ages = np.maximum(np.nan_to_num(ages_s, nan=0.0), 0.0)
    return floor + (1 - floor) * np.power(0.5, ages / half_life_s)


def feature_score(features: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The weighted sum of a document's features; one without weight counts nothing."""
    return sum(weight * features.get(name, 0.0) for name, weight in weights.items())


def best_first(scores: Scores, limit: int) -> Sequence[int]:
    """The places of the highest scores, best first, ties in the order given."""
    order: list[int] = np.argsort(-scores, kind="stable")[:limit].tolist()
    return order
