"""An answer from passages that somebody else found: what workflows answer with.

`ask.py` searches, answers and stores a turn; this only answers, from passages by their ids, read
again under the rights of this moment. The checks are the same: `answer.py` keeps what the passages
carry, and without a model `composition.py` quotes them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from engine.answers.agent import Budget, Draft, Style, write
from engine.answers.answer import Unsupported
from engine.answers.composition import compose_answer
from engine.answers.judge import judge
from engine.answers.support import CitableSource, support
from engine.domain import Citation, Delta, Hit, Outcome, ScoreParts
from engine.errors import Unavailable
from engine.index.analysis import analyse, analyse_query
from engine.markup.plain import plain
from engine.markup.sentences import split_sentences
from engine.models.port import Embedder, LanguageModel
from engine.search.passages import Visibility, recall_hits
from engine.search.query import read_question

NOTHING = "I found no answer to this in what was searched."
_MARKS = re.compile(r"[ \t]*(?:\[\d{1,3}\])+")


@dataclass(frozen=True, slots=True)
class Written:
    """A checked answer from given passages."""

    text: str
    citations: Sequence[Citation]
    grounded: bool
    confidence: float
    model: str = ""

    @property
    def outcome(self) -> Outcome:
        """As of `domain.Answer`."""
        if self.grounded:
            return "answered"
        return "maybe" if self.citations else "not_found"

    @property
    def without_marks(self) -> str:
        """The text without its citation marks."""
        return _MARKS.sub("", self.text)


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A chunk by its id, and what the search that found it said of it and of its document.

    What judges sentences goes by these; without them a passage counts as one that words alone found.
    """

    id: str
    confidence: float = 0.0
    score: float = 0.0
    cosine: float | None = None
    scores: ScoreParts | None = None


async def recalled(
    session: AsyncSession, gate: Visibility, found: Sequence[ScoredPassage]
) -> list[Hit]:
    """The hits these chunks were found in, best first, as far as `gate` may see them now."""
    hits = await recall_hits(session, gate, [item.id for item in found], confidence=0.0)
    known = {item.id: item for item in found}
    return [_as_found(hit, known) for hit in hits]


def _as_found(hit: Hit, known: Mapping[str, ScoredPassage]) -> Hit:
    passages = [replace(item, cosine=known[item.id].cosine) for item in hit.passages]
    best = max((known[item.id] for item in hit.passages), key=lambda item: item.confidence)
    return replace(
        hit,
        passages=passages,
        confidence=best.confidence,
        score=best.score,
        scores=best.scores or replace(hit.scores, cosine=0.0),
    )


async def answer_from(
    question: str,
    hits: Sequence[Hit],
    *,
    model: LanguageModel | None = None,
    embedder: Embedder | None = None,
    term_weights: Mapping[str, float] | None = None,
    max_tokens: int = 1024,
    language: str = "",
    unsupported: Unsupported = "drop",
) -> AsyncIterator[Delta | Written]:
    """The answer as it is written; `Written` comes last. A model that is away is done without.

    `term_weights` says what each term of the question weighs where the passages were found.
    """
    if model is not None and hits:
        draft: Draft | None = None
        budget = Budget(searches=0, tool_calls=0, max_tokens=max_tokens)
        style = Style(language=language, unsupported=unsupported)
        try:
            async for event in write(model, question, (), hits, None, budget, style=style):
                if isinstance(event, Draft):
                    draft = event
                elif isinstance(event, Delta):
                    yield event
        except (Unavailable, TimeoutError):
            draft = None
        if draft is not None:
            yield _of_draft(draft, hits, model.name)
            return
    quoted = await _quoted(question, hits, embedder, term_weights or {})
    yield Delta(quoted.text)
    yield quoted


def _of_draft(draft: Draft, hits: Sequence[Hit], model: str) -> Written:
    checked = draft.checked
    if draft.refused or not checked.text:
        return Written(NOTHING, (), grounded=False, confidence=0.0, model=model)
    cited = {citation.document_id for citation in checked.citations}
    confidence = max((hit.confidence for hit in hits if hit.document_id in cited), default=0.0)
    return Written(
        checked.text,
        checked.citations,
        grounded=checked.grounded,
        confidence=confidence,
        model=model,
    )


async def _quoted(
    question: str, hits: Sequence[Hit], embedder: Embedder | None, weights: Mapping[str, float]
) -> Written:
    if not question.strip() or not hits:
        return Written(NOTHING, (), grounded=False, confidence=0.0)
    asked = read_question(question)
    judged = await judge(asked, hits, weights, embedder=embedder)
    checked = compose_answer(asked, judged)
    best = judged[0].probability if judged else 0.0
    if checked is None:
        return Written(NOTHING, (), grounded=False, confidence=best)
    return Written(checked.text, checked.citations, grounded=checked.grounded, confidence=best)


@dataclass(frozen=True, slots=True)
class AnswerSupport:
    """How well passages carry an answer, and how far it responds to its question, 0 to 1.

    `claims` is how many sentences of it state something.
    """

    carried: float
    responds: float
    claims: int
    reasons: Sequence[str]


def support_of(question: str, answer: str, hits: Sequence[Hit]) -> AnswerSupport:
    """What can be measured of an answer without a model, sentence by sentence."""
    passages = [passage.text for hit in hits for passage in hit.passages]
    sources = [
        CitableSource(number, hit, passage)
        for number, (hit, passage) in enumerate(
            ((hit, passage) for hit in hits for passage in hit.passages), start=1
        )
    ]
    claims, reasons = 0, []
    carried = 0
    for sentence in split_sentences(answer):
        said = plain(_MARKS.sub("", answer[sentence.start : sentence.end])).strip()
        if sentence.kind == "heading" or len(analyse_query(said, ["en"])) < 2:
            continue
        claims += 1
        if support(said, (), sources) is not None:
            carried += 1
        else:
            reasons.append(f"No passage states: {said[:200]}")
    if answer.strip() in {"", NOTHING} or not claims:
        return AnswerSupport(0.0, 0.0, 0, ("There is no answer to check.",))
    asked = {term for item in analyse_query(question, ["en"]) for term in item.terms}
    said_terms = set(analyse(f"{answer} {' '.join(h.title for h in hits)}", "en"))
    responds = len(asked & said_terms) / len(asked) if asked else 1.0
    # Answers leave words of the question out that their passage has: "up to 240 hours".
    shown = set(analyse(" ".join(passages), "en"))
    responds = max(responds, 0.9 * len(asked & (said_terms | shown)) / len(asked) if asked else 1.0)
    if responds < 0.5:
        reasons.append("The answer shares few words with the question.")
    return AnswerSupport(carried / claims, min(1.0, responds), claims, tuple(reasons))
