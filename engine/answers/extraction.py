"""Which sentences of the passages found answer a question, and how surely.

The answer without a model rests on it: `propose` lists the sentences with what their words tell,
`judge` adds what their meaning tells and gives each a probability. Abstaining is the hard half: a
sentence may share most words with a question and still not answer it. So names and numbers of the
question that are nowhere near count against, and "how many" wants a number in the sentence.

The weights are fitted on labelled sets by `benchmarks/fit.py`; docs/explanation/ranking.md
has the figures.
"""

# ruff: noqa: RUF001 (typography is part of what is matched)
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.domain import Hit, Passage
from engine.errors import EngineError
from engine.index.analysis import QueryTerm, analyse, analyse_query
from engine.index.port import Vector
from engine.markup.matching import has_number
from engine.markup.plain import plain
from engine.markup.sentences import Sentence, split_sentences
from engine.models.port import Embedder
from engine.search.confidence import CALIBRATED_SPACES, Logistic
from engine.search.query import AnswerKind, Question

HITS = 8  # documents whose sentences are weighed
PASSAGES = 2  # of each
EMBEDDED = 20  # sentences that are compared by meaning: about 60 ms on two cores
SENTENCE_MAX = 700  # characters; a longer "sentence" is a table or a log, shown as a quote at most
SENTENCE_MIN = 8
FRAGMENT_WORDS = 4  # spaces; with fewer it names something rather than saying something

# 1 when a question counts as answered at all; fitted so that about 1 in 30 foreign questions passes
ANSWERS = 0.5
# What opens a thread shares most words with a question like it, and is a third as likely to answer:
# measured on the sets of `benchmarks/chat.py`, docs/explanation/chats.md.
OPENING_ODDS = 3.0


@dataclass(frozen=True, slots=True)
class CandidateSentence:
    """A sentence that may answer: passage.text[start:end], `lead` what introduces it.

    Shares are of the idf mass of the question's terms: in the sentence with its lead, in it with
    its neighbours and headings, in the whole passage with title and headings. `elsewhere` is the
    mass, against the heaviest term, of names that other passages found hold and this one does not:
    it is about something else; `nowhere` that of names no passage holds. `fits` says whether the
    sentence holds the kind of thing that was asked for, `misses` that it does not say the very
    thing ("what is the *password* …"). `meaning` is its cosine to the question.
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
    elsewhere: float
    nowhere: float
    fits: bool
    misses: bool
    promise: float
    meaning: float | None = None
    opens: bool = False

    @property
    def features(self) -> tuple[float, ...]:
        """As the models below take them; `meaning` first where it is known."""
        known = (
            self.in_sentence,
            self.in_window,
            self.in_passage,
            self.elsewhere,
            self.nowhere,
            float(self.fits),
            float(self.misses),
        )
        return known if self.meaning is None else (self.meaning, *known)


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate and the probability that it answers the question."""

    candidate: CandidateSentence
    probability: float


# Features: meaning, in_sentence, in_window, in_passage, elsewhere, nowhere, fits, misses.
WITH_MEANING = Logistic(-6.7, (5.4, 3.3, 1.3, 2.7, -3.2, -0.7, 1.4, -1.5))
WORDS_ALONE = Logistic(-4.9, (3.6, 1.4, 3.2, -3.2, -0.7, 1.3, -1.5))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A term of the question: its spellings, its weight, and whether it names one thing."""

    terms: frozenset[str]
    weight: float
    is_name: bool
    is_focus: bool


def propose(
    question: Question, hits: Sequence[Hit], term_weights: Mapping[str, float]
) -> list[CandidateSentence]:
    """Every sentence of the best passages that may answer, most promising first."""
    language = question.language or "en"
    asked = _asked(question, language, term_weights)
    read = [
        _Read.of(hit, passage, language)
        for hit in hits[:HITS]
        for passage in hit.passages[:PASSAGES]
    ]
    known = set[str]().union(*(item.whole for item in read))
    found = [
        candidate for item in read for candidate in item.candidates(question.kind, asked, known)
    ]
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
    return sorted(judged, key=lambda item: -item.probability)


def _probability(candidate: CandidateSentence) -> float:
    model = WORDS_ALONE if candidate.meaning is None else WITH_MEANING
    probability = model(candidate.features)
    if candidate.opens:
        return probability / (probability + (1 - probability) * OPENING_ODDS)
    return probability


async def _with_meaning(
    candidates: Sequence[CandidateSentence], embedder: Embedder, vector: Vector
) -> list[CandidateSentence]:
    if not candidates:
        return []
    texts = [f"{candidate.lead} {candidate.words}".strip() for candidate in candidates]
    sizes = embedder.count_tokens(texts)
    fitting = [place for place, size in enumerate(sizes) if size <= embedder.max_tokens]
    try:
        vectors = await embedder.embed_documents([texts[place] for place in fitting])
    except EngineError:
        return list(candidates)  # the model is gone by now: words decide
    cosines = np.full(len(candidates), np.nan)
    cosines[fitting] = vectors @ vector
    return [
        candidate if np.isnan(cosine) else replace(candidate, meaning=float(cosine))
        for candidate, cosine in zip(candidates, cosines, strict=True)
    ]


# What the words tell


def _asked(question: Question, language: str, weights: Mapping[str, float]) -> list[_Asked]:
    terms = [term for term in analyse_query(question.text, [language]) if not term.compound]
    names = _names(question.text, language)
    focus = set(analyse(question.focus, language))
    usual = max(weights.values(), default=1.0)
    return [
        _Asked(
            frozenset(term.terms),
            _weight(term, weights, usual),
            is_name=not names.isdisjoint(term.terms),
            is_focus=not focus.isdisjoint(term.terms),
        )
        for term in terms
    ]


def _weight(term: QueryTerm, weights: Mapping[str, float], usual: float) -> float:
    known = [weights[spelling] for spelling in term.terms if spelling in weights]
    return max(known, default=usual)


_WORD = re.compile(r"[^\W_](?:[\w'’.-]*\w)?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_NOT_NAMES = frozenset({"I", "I'm", "I'd", "I've", "I'll", "I’m", "I’d", "I’ve", "I’ll"})
_POINTER = re.compile(
    r"^\W*(?:see|refer to|visit|check(?: out)?|read|learn more|find out more|more information"
    r"|for (?:more|further|additional|other) (?:information|details?|help|questions))\b.{0,120}$",
    re.IGNORECASE,
)


def _names(text: str, language: str) -> set[str]:
    """Terms of words that name one thing: capitals inside a sentence, and years.

    Other numbers are not names: the answer to "15,000 dollars" speaks of "over 10,000".
    """
    named: list[str] = []
    starts_sentence = True
    for match in _WORD.finditer(text):
        word = match.group()
        capital = word[0].isupper() and word not in _NOT_NAMES and not starts_sentence
        inside = any(letter.isupper() for letter in word[1:])
        # German writes every noun with a capital: there they tell nothing.
        if _YEAR.fullmatch(word) or inside or (capital and language != "de"):
            named.append(word)
        starts_sentence = text[match.end() : match.end() + 1] in {".", "?", "!"}
    return {term for word in named for term in analyse(word, language)}


@dataclass(frozen=True, slots=True)
class _Read:
    """A passage cut into sentences: the words and terms of each, and what is around them."""

    hit: Hit
    passage: Passage
    sentences: Sequence[Sentence]
    words: Sequence[str]
    terms: Sequence[set[str]]
    around: set[str]
    whole: set[str]
    language: str

    @classmethod
    def of(cls, hit: Hit, passage: Passage, language: str) -> _Read:
        sentences = split_sentences(passage.text)
        words = [plain(passage.text[sentence.start : sentence.end]) for sentence in sentences]
        terms = [set(analyse(said, language)) for said in words]
        around = set(analyse(f"{hit.title} {passage.context}", language))
        whole = around.union(*terms)
        return cls(hit, passage, sentences, words, terms, around, whole, language)

    def candidates(
        self, kind: AnswerKind, asked: Sequence[_Asked], known: set[str]
    ) -> Iterator[CandidateSentence]:
        """Its sentences that may answer; `known` are the terms of all passages found."""
        in_passage = _share(asked, self.whole)
        absent = [item for item in asked if item.is_name and self.whole.isdisjoint(item.terms)]
        elsewhere = _against_heaviest(asked, [a for a in absent if not known.isdisjoint(a.terms)])
        nowhere = _against_heaviest(asked, [a for a in absent if known.isdisjoint(a.terms)])
        near = max(0.0, self.passage.cosine or 0.0)
        opening_end = self.hit.metadata.get("opening_end")
        opened = opening_end - self.passage.start if isinstance(opening_end, int) else 0
        for place, sentence in enumerate(self.sentences):
            words = self.words[place]
            if sentence.kind == "heading" or not _may_answer(words, kind):
                continue
            lead = _lead(self.sentences, self.words, place)
            own = self.terms[place] | (set(analyse(lead, self.language)) if lead else set())
            window = own.union(self.around, *self.terms[max(0, place - 1) : place + 2])
            in_sentence, in_window = _share(asked, own), _share(asked, window)
            fits = holds(kind, words)
            yield CandidateSentence(
                hit=self.hit,
                passage=self.passage,
                start=sentence.start,
                end=sentence.end,
                words=words,
                lead=lead,
                in_sentence=in_sentence,
                in_window=in_window,
                in_passage=in_passage,
                elsewhere=elsewhere,
                nowhere=nowhere,
                fits=fits,
                misses=any(item.is_focus and own.isdisjoint(item.terms) for item in asked),
                promise=in_sentence + in_window / 2 + near + 0.3 * fits + 0.7 * self.hit.score,
                opens=sentence.start < opened,
            )


def _may_answer(words: str, kind: AnswerKind) -> bool:
    """Long enough to say something, no question, and no mere pointer to another page.

    A fragment ("Annual Leave", the name of a link) answers only who, where and when, or a number.
    """
    if words.endswith("?") or _POINTER.match(words):
        return False
    if kind not in {"person", "place", "time"} and words.isascii() and not has_number(words):
        return words.count(" ") >= FRAGMENT_WORDS and len(words) <= SENTENCE_MAX
    return SENTENCE_MIN <= len(words) <= SENTENCE_MAX


def _lead(sentences: Sequence[Sentence], words: Sequence[str], place: int) -> str:
    """What a sentence leans on: the question before it, else the line or heading that leads it."""
    if place and words[place - 1].endswith("?") and len(words[place - 1]) < 200:
        return words[place - 1]
    lead = sentences[place].lead
    return words[lead][:200] if lead is not None else ""


def _share(asked: Sequence[_Asked], terms: set[str]) -> float:
    mass = sum(item.weight for item in asked)
    found = sum(item.weight for item in asked if not terms.isdisjoint(item.terms))
    return found / mass if mass else 0.0


def _against_heaviest(asked: Sequence[_Asked], missing: Sequence[_Asked]) -> float:
    heaviest = max((item.weight for item in asked), default=0.0)
    return min(1.0, sum(item.weight for item in missing) / heaviest) if heaviest else 0.0


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
