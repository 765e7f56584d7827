"""What can be measured between a question and a sentence, word by word: the judge's input.

`read_evidence` aligns the words of a question with those of each candidate by their vectors (late
interaction: each word of the question takes the sentence's word nearest to it, after Khattab and
Zaharia, ColBERT, SIGIR 2020) and by their terms, and adds what must agree. `judge.py` weighs it;
`benchmarks/judge_fit.py` fits the weights on exactly these arrays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.answers.agreement import contradicts, is_negated, missing_identifiers, missing_years
from engine.answers.extraction import Asked, CandidateSentence, Surroundings, read_asked
from engine.index.analysis import analyse
from engine.models.port import TokenVectors
from engine.search.confidence import confidences
from engine.search.query import AnswerKind, Question

Floats = NDArray[np.float32]

WORDS_MAX = 64  # of a question, and of a sentence: the rest is not looked at
KINDS: tuple[AnswerKind, ...] = (
    "number", "time", "person", "place", "yesno", "reason", "way", "other",
)  # fmt: skip
_WORD = re.compile(r"\w+(?:['’.,:/-]\w+)*")  # noqa: RUF001 (an apostrophe)
_DATE = re.compile(
    r"(?:1[0-9]|20)\d\d(?:s|-\d\d?(?:-\d\d?)?)?|\d{1,2}(?:st|nd|rd|th)|(?:jan|febr)uary|march|april"
    r"|may|june|july|august|(?:sept|nov|dec)ember|october|(?:mon|tues|wednes|thurs|fri|satur|sun)days?"
    r"|century|today|tomorrow|yesterday|noon|midnight|\d{1,2}:\d\d",
    re.IGNORECASE,
)
_NUMBER_WORD = re.compile(
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty"
    r"|fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|millions?|billions?|half|dozens?|once"
    r"|twice|third|quarter)(?:-\w+)?",
    re.IGNORECASE,
)
_ASKS = re.compile(r"\b(?:what|which|who|whom|whose|when|where|why|how)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """A word of a text with its terms; none where it is a function word."""

    text: str
    terms: frozenset[str]
    start: int
    end: int


# What is measured of a candidate, in the order of the rows that `read_evidence` gives.
FEATURES = (
    "meaning", "in sentence", "in window", "in passage", "elsewhere", "nowhere", "fits", "misses",
    "denies alone", "asks denied", "contradicts", "identifiers missing", "years missing",
    "years not near", "hit confidence", "passage cosine", "hit rank", "hit score",
    "length", "opens", "heavy word missing", "names found",
    *KINDS,
    "aligned", "aligned near", "heaviest unaligned", "heaviest unaligned near", "farthest",
    "farthest near", "words unaligned", "words not in passage", "names not near",
    "numbers not near", "mean nearest", "mean nearest of all", "least nearest", "words",
    "said nearest", "new number", "new date", "new quantity", "new name", "new names",
    "quantity for a number", "number for a number", "date for a time", "names for a person",
    "names for a place",
)  # fmt: skip
_COUNTED = FEATURES.index("aligned")
# Columns about a word of the sentence: asked for too, nearest of the question's, digit, date, number
# word, capital, function word.
_SAID = 7
NAMES_MAX = 4  # more new names tell no more


def read_words(text: str, language: str) -> list[AlignedWord]:
    """The first words of a text."""
    found = []
    for match in _WORD.finditer(text):
        terms = frozenset(analyse(match.group(), language))
        found.append(AlignedWord(match.group(), terms, match.start(), match.end()))
        if len(found) == WORDS_MAX:
            break
    return found


def word_vectors(words: Sequence[AlignedWord], tokens: TokenVectors) -> Floats:
    """The unit vector of each word, the mean of its tokens'; zeros for one beyond the model's end."""
    begins = np.array([offset[0] for offset in tokens.offsets], np.int64)
    ends = np.array([offset[1] for offset in tokens.offsets], np.int64)
    first = np.searchsorted(ends, [word.start for word in words], side="right")
    last = np.searchsorted(begins, [word.end for word in words], side="left")
    sums = np.zeros((len(begins) + 1, tokens.vectors.shape[1]), np.float32)
    np.cumsum(tokens.vectors, axis=0, dtype=np.float32, out=sums[1:])
    vectors: Floats = sums[np.maximum(first, last)] - sums[first]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.divide(vectors, norms, out=vectors, where=norms > 0)
    return vectors


def read_evidence(
    question: Question,
    term_weights: Mapping[str, float],
    candidates: Sequence[CandidateSentence],
    asked_tokens: TokenVectors,
    said_tokens: Sequence[TokenVectors],
) -> Floats:
    """The evidence of each candidate, [candidates, FEATURES]; `said_tokens` are those of its `text`."""
    reader = _Reader(question, term_weights, asked_tokens, candidates)
    meanings = [float(tokens.pooled @ asked_tokens.pooled) for tokens in said_tokens]
    reader.compare(candidates, meanings)
    rows = []
    for candidate, tokens, meaning in zip(candidates, said_tokens, meanings, strict=True):
        words = read_words(candidate.text, reader.language)
        rows.append((candidate, words, word_vectors(words, tokens), meaning))
    nearest = {
        (candidate.passage.id, candidate.place): reader.nearest(vectors)
        for candidate, _, vectors, _ in rows
    }
    return np.stack(
        [
            reader.evidence(candidate, words, vectors, meaning, nearest)
            for candidate, words, vectors, meaning in rows
        ]
    )


class _Reader:
    """A question, ready to be held against candidates."""

    def __init__(
        self,
        question: Question,
        term_weights: Mapping[str, float],
        tokens: TokenVectors,
        candidates: Sequence[CandidateSentence],
    ) -> None:
        self.question = question
        self.language = question.language or "en"
        self.asked = read_asked(question, self.language, term_weights)
        self.words = read_words(question.text, self.language)
        self.vectors = word_vectors(self.words, tokens)
        self.terms = set[str]().union(*(word.terms for word in self.words))
        self.negated = is_negated(question.text)
        heaviest = max((item.weight for item in self.asked), default=1.0) or 1.0
        by_term = {term: item for item in self.asked for term in item.terms}
        self.items = [
            next((by_term[term] for term in word.terms if term in by_term), None)
            for word in self.words
        ]
        self.base = np.array(
            [
                self._base(word, item, heaviest)
                for word, item in zip(self.words, self.items, strict=True)
            ],
            np.float32,
        ).reshape(len(self.words), 6)
        # A score orders the hits of a search: of one alone it says nothing.
        self.compared = len({candidate.hit.id for candidate in candidates}) > 1
        self.elsewhere = [candidate.surroundings.whole for candidate in candidates]

    def compare(self, candidates: Sequence[CandidateSentence], meanings: Sequence[float]) -> None:
        """Take what the index could not compare yet from the sentences: a passage's cosine.

        While a document's vectors are being made it is found by its words; its best sentence
        stands in for it, and its hit's confidence follows.
        """
        self.cosines: dict[str, float] = {}
        best: dict[str, float] = {}
        for candidate, meaning in zip(candidates, meanings, strict=True):
            passage, hit = candidate.passage, candidate.hit
            known = self.cosines.get(passage.id, 0.0)
            cosine = meaning if passage.cosine is None else passage.cosine
            self.cosines[passage.id] = max(known, cosine)
            best[hit.id] = max(best.get(hit.id, 0.0), meaning)
        hits = list({candidate.hit.id: candidate.hit for candidate in candidates}.values())
        self.confidences = {hit.id: hit.confidence for hit in hits}
        if any(hit.scores.cosine is None for hit in hits):
            parts = [
                replace(hit.scores, cosine=best[hit.id])
                if hit.scores.cosine is None
                else hit.scores
                for hit in hits
            ]
            sure = confidences(parts)
            self.confidences = {hit.id: value for hit, value in zip(hits, sure, strict=True)}

    @staticmethod
    def _base(word: AlignedWord, item: Asked | None, heaviest: float) -> tuple[float, ...]:
        return (
            item.weight / heaviest if item else 0.0,
            float(item is not None and item.is_name),
            float(any(map(str.isdigit, word.text))),
            float(item is not None and item.is_focus),
            float(item is None),
            float(bool(_ASKS.fullmatch(word.text))),
        )

    def nearest(self, vectors: Floats) -> Floats:
        """For each word of the question, the cosine of the nearest among `vectors`."""
        if not len(vectors) or not len(self.vectors):
            return np.zeros(len(self.vectors), np.float32)
        best: Floats = (self.vectors @ vectors.T).max(axis=1)
        return best

    def evidence(
        self,
        candidate: CandidateSentence,
        words: Sequence[AlignedWord],
        vectors: Floats,
        meaning: float,
        nearest: Mapping[tuple[str, int], Floats],
    ) -> Floats:
        around = candidate.surroundings
        own = nearest[candidate.passage.id, candidate.place]
        near = own
        for step in (-1, 1):
            near = np.maximum(
                near, nearest.get((candidate.passage.id, candidate.place + step), own)
            )
        found = np.array([self._found(word, around) for word in self.words], np.float32).reshape(
            len(self.words), 5
        )
        asked = np.column_stack([self.base, found, own, near]).astype(np.float32)
        whole = np.array(self._whole(candidate, meaning, found), np.float32)
        kinds = whole[-len(KINDS) :]
        summed = _summed(asked, self._said(words, vectors), kinds)
        return np.concatenate([whole, summed])

    def _found(self, word: AlignedWord, around: Surroundings) -> tuple[float, ...]:
        terms = word.terms
        return (
            float(not terms.isdisjoint(around.own)),
            float(not terms.isdisjoint(around.near)),
            float(not terms.isdisjoint(around.above)),
            float(not terms.isdisjoint(around.whole)),
            float(any(not terms.isdisjoint(other) for other in self.elsewhere if other is not around.whole)),
        )  # fmt: skip

    def _said(self, words: Sequence[AlignedWord], vectors: Floats) -> Floats:
        said = np.zeros((len(words), _SAID), np.float32)
        if not words:
            return said
        if len(self.vectors):
            said[:, 1] = (vectors @ self.vectors.T).max(axis=1)
        for row, word in zip(said, words, strict=True):
            row[0] = not word.terms.isdisjoint(self.terms)
            row[2] = any(map(str.isdigit, word.text))
            row[3] = bool(_DATE.fullmatch(word.text))
            row[4] = bool(_NUMBER_WORD.fullmatch(word.text))
            row[5] = word.text[0].isupper() and word.start > 0
            row[6] = word.text.islower() and len(word.text) <= 3
        return said

    def _whole(
        self, candidate: CandidateSentence, meaning: float, found: Floats
    ) -> tuple[float, ...]:
        text, whole = candidate.words, candidate.passage.text
        around = candidate.surroundings
        context = f"{candidate.hit.title} {candidate.passage.context}"
        denied = is_negated(text)
        heavy = self.base[:, 0] * (1 - found[:, 1])
        names = self.base[:, 1]
        return (
            meaning,
            *candidate.features,
            float(denied and not self.negated),
            float(self.negated and not denied),
            float(contradicts(self.terms, set(around.own), set(around.near))),
            float(bool(missing_identifiers(self.question.text, f"{context} {whole}"))),
            float(bool(missing_years(self.question.text, f"{context} {whole}"))),
            float(bool(missing_years(self.question.text, f"{context} {candidate.text}"))),
            self.confidences[candidate.hit.id],
            max(0.0, self.cosines[candidate.passage.id]),
            1 / (1 + candidate.rank),
            candidate.hit.score if self.compared else 1.0,
            min(1.0, len(text) / 300),
            float(candidate.opens),
            float(heavy.max(initial=0.0)),
            float((names * found[:, 1]).sum() / names.sum()) if names.any() else 1.0,
            *(float(self.question.kind == kind) for kind in KINDS),
        )


def _summed(asked: Floats, said: Floats, kinds: Floats) -> Floats:
    """What the words tell together: how much of the question is met, and what the sentence adds.

    Columns of `asked`: weight, name, digit, focus, function word, question word; found in the
    sentence, near it, above it, in the passage, in others; nearest in the sentence, nearest near.
    """
    if not len(asked) or not len(said):
        return np.zeros(len(FEATURES) - _COUNTED, np.float32)
    weight, name, digit, content = asked[:, 0], asked[:, 1], asked[:, 2], 1 - asked[:, 4]
    own = np.maximum(asked[:, 6], asked[:, 11])
    near = asked[:, [6, 7, 8, 12]].max(axis=1)
    mass = weight.sum() + 1e-6
    new = 1 - said[:, 0]
    number, date = (new * said[:, 2]).max(), (new * said[:, 3]).max()
    quantity = (new * said[:, [2, 4]].max(axis=1)).max()
    names = min((new * said[:, 5]).sum(), NAMES_MAX) / NAMES_MAX
    return np.array(
        [
            (weight * own).sum() / mass,
            (weight * near).sum() / mass,
            (weight * (1 - own)).max(),
            (weight * (1 - near)).max(),
            (content * (1 - asked[:, 11])).max(),
            (content * (1 - near)).max(),
            (content * (1 - near)).sum(),
            (content * (1 - asked[:, 9])).sum(),
            (name * (1 - asked[:, 7])).sum(),
            (digit * (1 - asked[:, 7])).sum(),
            (content * asked[:, 11]).sum() / max(1.0, content.sum()),
            asked[:, 11].mean(),
            np.where(asked[:, 4] > 0, 1.0, asked[:, 11]).min(),
            np.log1p(content.sum()),
            said[:, 1].mean(),
            number,
            date,
            quantity,
            (new * said[:, 5]).max(),
            names,
            kinds[0] * quantity,
            kinds[0] * number,
            kinds[1] * date,
            kinds[2] * names,
            kinds[3] * names,
        ],
        np.float32,
    )
