"""Questions that mean the same, by their vectors and words: no model beyond the embedder is needed.

Pure. Each question joins the cluster it is closest to on average, if that is close enough, else it
begins one; then each is placed once more, so that the order of asking matters little. The work is
bounded by `len(questions)` squared.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.index.analysis import analyse
from engine.index.stopwords import STOPWORDS

CLOSE = 0.42  # MiniLM: 24 questions in five planted gaps among 7 others, all found, none mixed
E5_CLOSE = 0.88  # e5, whose unrelated pairs are at 0.67 to 0.76: the same, one gap cut in two
WORDS_SHARE = 0.3  # how much shared words count beside the vectors
NAME_WORDS = 4
_WORD = re.compile(r"\w[\w'-]*")


def cluster(
    vectors: NDArray[np.float32], terms: Sequence[Mapping[str, str]], *, close: float = CLOSE
) -> list[list[int]]:
    """Groups of questions, by their position; the largest first."""
    likeness = _likeness(vectors, terms)
    groups: list[list[int]] = []
    for question in range(len(terms)):
        _place(question, groups, likeness, close)
    for question in range(len(terms)):
        for group in groups:
            if question in group:
                group.remove(question)
        groups = [group for group in groups if group]
        _place(question, groups, likeness, close)
    return sorted((sorted(group) for group in groups), key=lambda group: (-len(group), group[0]))


def _place(
    question: int, groups: list[list[int]], likeness: NDArray[np.float32], close: float
) -> None:
    means = [float(likeness[question, group].mean()) for group in groups]
    best = max(range(len(groups)), key=means.__getitem__, default=-1)
    if best >= 0 and means[best] >= close:
        groups[best].append(question)
    else:
        groups.append([question])


def _likeness(
    vectors: NDArray[np.float32], terms: Sequence[Mapping[str, str]]
) -> NDArray[np.float32]:
    """Cosine, raised towards 1 by the share of rare words that two questions have in common."""
    rare = _rarity(terms)
    cosine = np.asarray(vectors @ vectors.T, dtype=np.float32)
    for a, mine in enumerate(terms):
        for b in range(a):
            either = sum(rare[word] for word in mine.keys() | terms[b].keys())
            both = sum(rare[word] for word in mine.keys() & terms[b].keys())
            share = both / either if either else 0.0
            raised = cosine[a, b] + WORDS_SHARE * share * (1 - cosine[a, b])
            cosine[a, b] = cosine[b, a] = raised
    return cosine


def medoid(group: Sequence[int], vectors: NDArray[np.float32]) -> int:
    """The question of a group that is closest to all others of it."""
    some = vectors[list(group)]
    return group[int((some @ some.T).sum(axis=1).argmax())]


def terms_of(question: str, language: str = "en") -> dict[str, str]:
    """The words of a question by their stem, without those that every question has."""
    stop = STOPWORDS.get(language, frozenset())
    found: dict[str, str] = {}
    for word in _WORD.findall(question.lower()):
        stems = [] if word in stop or len(word) < 2 else analyse(word, language)
        found |= dict.fromkeys(stems[:1], word)
    return found


def name_of(group: Sequence[Mapping[str, str]], every: Sequence[Mapping[str, str]]) -> list[str]:
    """The words that tell a group from the others, the most telling first."""
    rare = _rarity(every)
    counts = Counter(stem for terms in group for stem in terms)
    spelt = {stem: word for terms in group for stem, word in terms.items()}
    best = sorted(counts, key=lambda stem: (-counts[stem] * rare[stem], stem))
    return [spelt[stem] for stem in best[:NAME_WORDS]]


def _rarity(every: Sequence[Mapping[str, str]]) -> dict[str, float]:
    counts = Counter(word for terms in every for word in terms)
    return {word: math.log(1 + len(every) / n) for word, n in counts.items()}
