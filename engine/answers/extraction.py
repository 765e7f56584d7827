"""Which sentences of the passages found may answer a question, and what their words tell.

The answer without a model rests on it: `propose` lists the sentences, most promising first, and
`judge.py` says which of them answer. Names and numbers of the question that are nowhere near count
against a sentence, and "how many" wants a number in it.
"""

# ruff: noqa: RUF001 (typography is part of what is matched)
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from engine.domain import Hit, Passage
from engine.index.analysis import QueryTerm, analyse, analyse_query
from engine.markup.matching import has_number
from engine.markup.plain import plain
from engine.markup.sentences import Kind as SentenceKind
from engine.markup.sentences import Sentence, split_sentences
from engine.search.query import AnswerKind, Question

HITS = 8  # documents whose sentences are weighed
PASSAGES = 2  # of each
SENTENCE_MAX = 700  # characters; a longer "sentence" is a table or a log, shown as a quote at most
SENTENCE_MIN = 8
FRAGMENT_WORDS = 4  # spaces; with fewer it names something rather than saying something


@dataclass(frozen=True, slots=True)
class CandidateSentence:
    """A sentence that may answer: passage.text[start:end], `lead` what introduces it.

    Shares are of the idf mass of the question's terms: in the sentence with its lead, in it with
    its neighbours and headings, in the whole passage with title and headings. `elsewhere` is the
    mass, against the heaviest term, of names that other passages found hold and this one does not:
    it is about something else; `nowhere` that of names no passage holds. `fits` says whether the
    sentence holds the kind of thing that was asked for, `misses` that it does not say the very
    thing ("what is the *password* …"). `structured` tells a passage with headings, lists, tables or
    links, as teams write them, from plain text. `rank` is its hit's place, from 0; `promise` orders candidates before anything is embedded.
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
    opens: bool
    place: int
    kind: SentenceKind
    rank: int
    structured: bool
    surroundings: Surroundings = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """What is read: the line that introduces the sentence, then the sentence."""
        return f"{self.lead} {self.words}".strip()

    @property
    def features(self) -> tuple[float, ...]:
        """What its words tell, in the order of `WORDS_ALONE`."""
        return (
            self.in_sentence,
            self.in_window,
            self.in_passage,
            self.elsewhere,
            self.nowhere,
            float(self.fits),
            float(self.misses),
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Terms of a sentence with its lead, of its neighbours, of title and headings, of the passage."""

    own: AbstractSet[str]
    near: AbstractSet[str]
    above: AbstractSet[str]
    whole: AbstractSet[str]


@dataclass(frozen=True, slots=True)
class Asked:
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
    asked = read_asked(question, language, term_weights)
    read = [
        _Read.of(hit, passage, language, rank)
        for rank, hit in enumerate(hits[:HITS])
        for passage in hit.passages[:PASSAGES]
    ]
    known = set[str]().union(*(item.whole for item in read))
    found = [
        candidate for item in read for candidate in item.candidates(question.kind, asked, known)
    ]
    return sorted(found, key=lambda candidate: -candidate.promise)


# What the words tell


def read_asked(question: Question, language: str, weights: Mapping[str, float]) -> list[Asked]:
    """The terms of a question with what each weighs in what was searched."""
    terms = [term for term in analyse_query(question.text, [language]) if not term.compound]
    names = _names(question.text, language)
    focus = set(analyse(question.focus, language))
    usual = max(weights.values(), default=1.0)
    return [
        Asked(
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

_TEMPLATE = re.compile(r"\{[{%#]|[}%#]\}|^\W*(?:include|endif|endfor|assign)\b.{0,40}$")
_ONLY_LINK = re.compile(r"!?\[[^\[\]]{0,300}+\]\([^()\s]{0,2000}+\)\W?|<?https?://\S+>?")
# A question as it is typed in a chat, without its mark: "how do i reset my badge"
_ASKS = re.compile(
    r"^\W*(?:(?:hi|hey|hello)\b[\w ,!]{0,30})?(?:how (?:do|does|can|to|should|did|would|many|much)"
    r"|what(?:'s| is| are| do| does| should)|where (?:is|are|do|can)|when (?:is|do|does|will)"
    r"|why (?:is|are|do|does|did)|who (?:is|can|has|knows)|(?:does|has|is) any(?:one|body)|any idea"
    r"|can (?:i|we|you|someone|anyone)|could (?:i|we|you|someone)|is there (?:a|any)|is it possible"
    r"|do (?:i|we|you))\b",
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
    rank: int

    @classmethod
    def of(cls, hit: Hit, passage: Passage, language: str, rank: int) -> _Read:
        sentences = split_sentences(passage.text)
        words = [plain(passage.text[sentence.start : sentence.end]) for sentence in sentences]
        terms = [set(analyse(said, language)) for said in words]
        around = set(analyse(f"{hit.title} {passage.context}", language))
        whole = around.union(*terms)
        return cls(hit, passage, sentences, words, terms, around, whole, language, rank)

    def candidates(
        self, kind: AnswerKind, asked: Sequence[Asked], known: set[str]
    ) -> Iterator[CandidateSentence]:
        """Its sentences that may answer; `known` are the terms of all passages found."""
        in_passage = _share(asked, self.whole)
        absent = [item for item in asked if item.is_name and self.whole.isdisjoint(item.terms)]
        elsewhere = _against_heaviest(asked, [a for a in absent if not known.isdisjoint(a.terms)])
        nowhere = _against_heaviest(asked, [a for a in absent if known.isdisjoint(a.terms)])
        near = max(0.0, self.passage.cosine or 0.0)
        opening_end = self.hit.metadata.get("opening_end")
        in_chat = isinstance(opening_end, int)
        structured = (
            self.passage.context.strip() not in {"", self.hit.title.strip()}
            or "](" in self.passage.text
            or any(sentence.kind != "prose" for sentence in self.sentences)
        )
        opened = opening_end - self.passage.start if isinstance(opening_end, int) else 0
        for place, sentence in enumerate(self.sentences):
            words = self.words[place]
            if sentence.kind == "heading" or not _may_answer(words, kind, sentence.kind):
                continue
            if _is_residue(self.passage.text[sentence.start : sentence.end], words):
                continue
            if in_chat and _ASKS.match(words):
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
                place=place,
                kind=sentence.kind,
                rank=self.rank,
                structured=structured,
                surroundings=Surroundings(own, window, self.around, self.whole),
            )


def _is_residue(raw: str, words: str) -> bool:
    """Whether it is a template with holes or its marks, or nothing but the label of a link."""
    return bool("{{" in raw or _TEMPLATE.search(words) or _ONLY_LINK.fullmatch(raw.strip(" *_")))


def _may_answer(words: str, kind: AnswerKind, form: SentenceKind) -> bool:
    """Long enough to say something, no question, and no mere pointer to another page.

    A fragment ("Annual Leave", the name of a link) answers only who, where and when, or a number;
    a step of a list may be short, and so may a table's row.
    """
    if words.endswith("?") or _POINTER.match(words):
        return False
    short = kind in {"person", "place", "time"} or form == "row" or (kind, form) == ("way", "item")
    if not short and words.isascii() and not has_number(words):
        return words.count(" ") >= FRAGMENT_WORDS and len(words) <= SENTENCE_MAX
    return SENTENCE_MIN <= len(words) <= SENTENCE_MAX


def _lead(sentences: Sequence[Sentence], words: Sequence[str], place: int) -> str:
    """What a sentence leans on: the question before it, else the line or heading that leads it."""
    if place and words[place - 1].endswith("?") and len(words[place - 1]) < 200:
        return words[place - 1]
    lead = sentences[place].lead
    return words[lead][:200] if lead is not None else ""


def _share(asked: Sequence[Asked], terms: set[str]) -> float:
    mass = sum(item.weight for item in asked)
    found = sum(item.weight for item in asked if not terms.isdisjoint(item.terms))
    return found / mass if mass else 0.0


def _against_heaviest(asked: Sequence[Asked], missing: Sequence[Asked]) -> float:
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
