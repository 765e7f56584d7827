"""Which sentences of the passages found answer a question, and how surely.

The answer without a model rests on it: `propose` lists the sentences with what their words tell,
`judge` adds what their meaning tells and gives each a probability. Abstaining is the hard half: a
sentence may share most words with a question and still not answer it. So names and numbers of the
question that stand nowhere near count against, and "how many" wants a number in the sentence.

The weights are fitted on labelled sets by `benchmarks/fit_answers.py`; docs/explanation/ranking.md
has the figures.
"""

# ruff: noqa: RUF001 (typography is part of what is matched)
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.confidence import CALIBRATED_SPACES, Logistic
from engine.domain import Hit, Passage
from engine.errors import EngineError
from engine.index.analysis import QueryTerm, analyse, analyse_query
from engine.index.port import Vector
from engine.markup.matching import has_number
from engine.markup.plain import plain
from engine.markup.sentences import Sentence, split_sentences
from engine.models.port import Embedder
from engine.query import AnswerKind, Question

HITS = 8  # documents whose sentences are weighed
PASSAGES = 2  # of each
EMBEDDED = 24  # sentences that are compared by meaning: about 60 ms on two cores
SENTENCE_MAX = 700  # characters; a longer "sentence" is a table or a log, shown as a quote at most
SENTENCE_MIN = 8

# 1 when a question counts as answered at all; fitted so that about 1 in 30 foreign questions passes
ANSWERS = 0.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may answer: passage.text[start:end], `lead` what introduces it.

    Shares are of the idf mass of the question's terms: in the sentence with its lead, in it with
    its neighbours and headings, in the whole passage with title and headings. `absent` is the mass
    of names and numbers the passage does not hold, against the heaviest term. `fits` says whether
    it holds the kind of thing that was asked for. `meaning` is its cosine to the question.
    """

    hit: Hit
    passage: Passage
    start: int
    end: int
    words: str
    lead: str
    in_sentence: float
    in_window: float
    in_passage: float
    absent: float
    fits: bool
    promise: float
    meaning: float | None = None

    @property
    def features(self) -> tuple[float, ...]:
        """As the models below take them; `meaning` first where it is known."""
        told = (self.in_sentence, self.in_window, self.in_passage, self.absent, float(self.fits))
        return told if self.meaning is None else (self.meaning, *told)


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate and the probability that it answers the question."""

    candidate: Candidate
    probability: float


# Features: meaning, in_sentence, in_window, in_passage, absent, fits.
WITH_MEANING = Logistic(-6.2, (5.5, 3.3, 1.45, 2.7, -1.5, 1.4))
WORDS_ALONE = Logistic(-6.5, (3.6, 2.4, 3.4, -1.5, 1.4))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A term of the question: its spellings, its weight, and whether it names or counts."""

    terms: frozenset[str]
    weight: float
    is_name: bool


def propose(
    question: Question, hits: Sequence[Hit], term_weights: Mapping[str, float]
) -> list[Candidate]:
    """Every sentence of the best passages that may answer, most promising first."""
    language = question.language or "en"
    asked = _asked(question.text, language, term_weights)
    found = []
    for hit in hits[:HITS]:
        for passage in hit.passages[:PASSAGES]:
            found.extend(_of_passage(question.kind, asked, language, hit, passage))
    return sorted(found, key=lambda candidate: -candidate.promise)


async def judge(
    question: Question,
    hits: Sequence[Hit],
    term_weights: Mapping[str, float],
    *,
    embedder: Embedder | None = None,
    vector: Vector | None = None,
) -> list[Judged]:
    """The sentences most likely to answer, best first.

    `vector` is the question's, made by `embedder`; without them, or with an embedder whose cosines
    nobody calibrated, words decide alone.
    """
    candidates = propose(question, hits, term_weights)[:EMBEDDED]
    if embedder is not None and vector is not None and embedder.space.name in CALIBRATED_SPACES:
        candidates = await _with_meaning(candidates, embedder, vector)
    judged = [Judged(candidate, _probability(candidate)) for candidate in candidates]
    return sorted(judged, key=lambda one: -one.probability)


def _probability(candidate: Candidate) -> float:
    model = WORDS_ALONE if candidate.meaning is None else WITH_MEANING
    return model(candidate.features)


async def _with_meaning(
    candidates: Sequence[Candidate], embedder: Embedder, vector: Vector
) -> list[Candidate]:
    if not candidates:
        return []
    texts = [f"{one.lead} {one.words}".strip() for one in candidates]
    sizes = embedder.count_tokens(texts)
    fitting = [place for place, size in enumerate(sizes) if size <= embedder.max_tokens]
    try:
        vectors = await embedder.embed_documents([texts[place] for place in fitting])
    except EngineError:
        return list(candidates)  # the model left meanwhile: words decide
    cosines = np.full(len(candidates), np.nan)
    cosines[fitting] = vectors @ vector
    return [
        candidate if np.isnan(cosine) else replace(candidate, meaning=float(cosine))
        for candidate, cosine in zip(candidates, cosines, strict=True)
    ]


# What the words tell


def _asked(text: str, language: str, weights: Mapping[str, float]) -> list[_Asked]:
    terms = [term for term in analyse_query(text, [language]) if not term.compound]
    names = _names(text, language)
    usual = max(weights.values(), default=1.0)
    return [
        _Asked(
            frozenset(term.terms), _weight(term, weights, usual), not names.isdisjoint(term.terms)
        )
        for term in terms
    ]


def _weight(term: QueryTerm, weights: Mapping[str, float], usual: float) -> float:
    known = [weights[spelling] for spelling in term.terms if spelling in weights]
    return max(known, default=usual)


_WORD = re.compile(r"[^\W_][\w'’.-]*")


def _names(text: str, language: str) -> set[str]:
    """Terms of words that name one thing: capitals inside a sentence, digits."""
    named: list[str] = []
    starts_sentence = True
    for match in _WORD.finditer(text):
        word = match.group()
        capital = word[0].isupper() and word not in {"I", "I'm", "I'd", "I've", "I'll"}
        inside = any(letter.isupper() for letter in word[1:])
        if any(letter.isdigit() for letter in word) or inside or (capital and not starts_sentence):
            named.append(word)
        starts_sentence = text[match.end() : match.end() + 1] in {".", "?", "!"}
    # German writes every noun with a capital: there they tell nothing.
    if language == "de":
        named = [word for word in named if any(letter.isdigit() for letter in word)]
    return {term for word in named for term in analyse(word, language)}


def _of_passage(
    kind: AnswerKind, asked: Sequence[_Asked], language: str, hit: Hit, passage: Passage
) -> list[Candidate]:
    text = passage.text
    sentences = split_sentences(text)
    words = [plain(text[one.start : one.end]) for one in sentences]
    terms = [set(analyse(said, language)) for said in words]
    around = set(analyse(f"{hit.title} {passage.context}", language))
    whole = around.union(*terms)
    in_passage = _share(asked, whole)
    absent = _absent(asked, whole)
    near = max(0.0, passage.cosine or 0.0)
    found = []
    for place, sentence in enumerate(sentences):
        if sentence.kind == "heading" or not _may_answer(words[place]):
            continue
        lead = _lead(sentences, words, place)
        own = terms[place] | (set(analyse(lead, language)) if lead else set())
        window = own.union(around, *terms[max(0, place - 1) : place + 2])
        in_sentence, in_window = _share(asked, own), _share(asked, window)
        fits = holds(kind, words[place])
        found.append(
            Candidate(
                hit=hit,
                passage=passage,
                start=sentence.start,
                end=sentence.end,
                words=words[place],
                lead=lead,
                in_sentence=in_sentence,
                in_window=in_window,
                in_passage=in_passage,
                absent=absent,
                fits=fits,
                promise=in_sentence + in_window / 2 + near + 0.3 * fits + 0.7 * hit.score,
            )
        )
    return found


def _may_answer(words: str) -> bool:
    return SENTENCE_MIN <= len(words) <= SENTENCE_MAX and not words.endswith("?")


def _lead(sentences: Sequence[Sentence], words: Sequence[str], place: int) -> str:
    """What a sentence leans on: the question before it, else the line or heading that leads it."""
    if place and words[place - 1].endswith("?") and len(words[place - 1]) < 200:
        return words[place - 1]
    lead = sentences[place].lead
    return words[lead][:200] if lead is not None else ""


def _share(asked: Sequence[_Asked], terms: set[str]) -> float:
    mass = sum(one.weight for one in asked)
    found = sum(one.weight for one in asked if not terms.isdisjoint(one.terms))
    return found / mass if mass else 0.0


def _absent(asked: Sequence[_Asked], terms: set[str]) -> float:
    heaviest = max((one.weight for one in asked), default=0.0)
    missing = sum(one.weight for one in asked if one.is_name and terms.isdisjoint(one.terms))
    return min(1.0, missing / heaviest) if heaviest else 0.0


# Whether a sentence holds the kind of thing that was asked for

_QUANTITY = re.compile(
    r"\b(?:one|once|twice|a few|several|half|always|never|no limit|unlimited|daily|weekly|monthly"
    r"|yearly|annually|quarterly|every)\b",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\b(?:\d{4}|\d{1,2}:\d\d|\d{1,2}\s?[ap]\.?m\b|(?:jan|febr)uary|march|april|may|june|july|august"
    r"|(?:sept|nov|dec)ember|october|(?:mon|tues|wednes|thurs|fri|satur|sun)days?"
    r"|(?:day|week|month|year|hour|minute|century|decade|quarter|season)s?|daily|weekly|monthly"
    r"|annual|before|after|until|once|when|during|now|immediately)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<=.)\b[A-Z][^\W\d_]+")
_PEOPLE = re.compile(
    r"\b(?:you|we|i|anyone|everyone|nobody|people|persons?|employees?|staff|teams?|supervisors?"
    r"|managers?|members?|users?|admins?|office|those|all)\b",
    re.IGNORECASE,
)
_PLACE = re.compile(r"\b(?:in|at|on|to|from|near|through|via|under|inside)\b", re.IGNORECASE)


def holds(kind: AnswerKind, words: str) -> bool:
    """Whether a sentence could answer a question of this kind at all."""
    if kind == "number":
        return has_number(words) or bool(_QUANTITY.search(words))
    if kind == "time":
        return has_number(words) or bool(_TIME.search(words))
    if kind == "person":
        return bool(_NAME.search(words) or _PEOPLE.search(words))
    if kind == "place":
        return bool(_NAME.search(words) or _PLACE.search(words))
    return True
