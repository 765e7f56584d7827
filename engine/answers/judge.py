"""How likely each sentence found is to answer the question: the judge of answers without a model.

`judge` reads question and sentence together. With the model that ships it weighs what `evidence.py`
measures word by word, with the numbers in `judge.json`; with other embedders, and in languages the
model does not know, words decide alone. Abstaining is the hard half: a sentence may share most
words with a question and still not answer it.

The numbers are fitted on labelled sets by `benchmarks/judge_fit.py`; docs/explanation/ranking.md
has the figures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import anyio.to_thread
import numpy as np

from engine.answers.agreement import missing_identifiers, missing_years
from engine.answers.evidence import FEATURES, Floats, read_evidence
from engine.answers.extraction import CandidateSentence, propose
from engine.domain import Hit
from engine.errors import EngineError
from engine.models.port import Embedder, TokenEmbedder
from engine.search.confidence import MINILM_SPACES, Logistic
from engine.search.query import Question

EMBEDDED = 20  # sentences that are read word by word: about 100 ms of a processor
WEIGHTS = Path(__file__).with_name("judge.json")

# From the first probability on a question counts as answered, from the second on a passage is shown
# as the closest without a claim. Less than one half, for the odds are those of a collection in which
# half of the questions have no answer and every second of these is a near miss.
ANSWERS = 0.38
MAY_BE = 0.15
# What opens a thread shares most words with a question like it, and is a third as likely to answer:
# measured on the sets of `benchmarks/chat.py`, docs/explanation/chats.md.
OPENING_ODDS = 3.0
OTHER_THING, OTHER_YEAR, OTHER_NAME = 0.1, 0.3, 0.5
AHEAD_MAX = 3.0  # a lead beyond it tells no more

# Features: in_sentence, in_window, in_passage, elsewhere, nowhere, fits, misses.
WORDS_ALONE = Logistic(-5.3, (3.6, 1.4, 3.2, -3.2, -0.7, 1.3, -1.5))


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate and the probability that it answers the question."""

    candidate: CandidateSentence
    probability: float


@dataclass(frozen=True, slots=True)
class Judge:
    """A logistic model over `evidence.FEATURES`, and what makes its best sentence's odds honest."""

    mean: Floats
    spread: Floats
    weights: Floats
    bias: float
    calibration: Sequence[float]  # bias, own logit, lead over the next best, structured

    def logits(self, evidence: Floats) -> Floats:
        """How much speaks for each candidate."""
        scaled: Floats = (evidence - self.mean) / self.spread
        return scaled @ self.weights + np.float32(self.bias)

    def probabilities(self, evidence: Floats, structured: Sequence[bool]) -> list[float]:
        """For each candidate of one question, how likely it answers.

        Platt's scaling: a sentence far ahead of the next best is likelier right than its own logit
        says, and so is one of a page with headings and lists. There a question seldom has the
        page's words, and few pages nearly answer it.
        """
        logits = self.logits(evidence)
        bias, own, ahead, page = self.calibration
        best, second = [*np.sort(logits)[::-1], logits.max() - AHEAD_MAX][:2]
        lead = np.clip(logits - np.where(logits == best, second, best), -AHEAD_MAX, AHEAD_MAX)
        odds = bias + own * logits + ahead * lead + page * np.array(structured, float)
        return [_sigmoid(float(value)) for value in odds]


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, value))))


@cache
def load_judge() -> Judge:
    """The judge that ships."""
    kept = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    rows = [kept["features"][name] for name in FEATURES]
    mean, spread, weights = np.array(rows, np.float32).T
    return Judge(mean, spread, weights, kept["bias"], kept["calibration"])


async def judge(
    question: Question,
    hits: Sequence[Hit],
    term_weights: Mapping[str, float],
    *,
    embedder: Embedder | None = None,
    spaces: Collection[str] = (),
) -> list[Judged]:
    """The sentences most likely to answer, best first.

    `embedder` reads the sentences; without it, or with one the judge was not fitted on, words decide
    alone. Cosines of `spaces` that are not its own say nothing to it: what it reads takes their place.
    """
    if _is_known(embedder) and not MINILM_SPACES.issuperset(spaces):
        hits = [_without_cosines(hit) for hit in hits]
    candidates = propose(question, hits, term_weights)[:EMBEDDED]
    sure: Sequence[float] | None = None
    if candidates and _is_known(embedder) and isinstance(embedder, TokenEmbedder):
        sure = await _read(question, term_weights, candidates, embedder)
    if sure is None:
        sure = [WORDS_ALONE(candidate.features) for candidate in candidates]
    judged = [
        Judged(candidate, _after_vetoes(question, candidate, probability))
        for candidate, probability in zip(candidates, sure, strict=True)
    ]
    return sorted(judged, key=lambda item: -item.probability)


def _without_cosines(hit: Hit) -> Hit:
    passages = [replace(passage, cosine=None) for passage in hit.passages]
    return replace(hit, scores=replace(hit.scores, cosine=None), passages=passages)


def _is_known(embedder: Embedder | None) -> bool:
    return embedder is not None and embedder.space.name in MINILM_SPACES


async def _read(
    question: Question,
    term_weights: Mapping[str, float],
    candidates: Sequence[CandidateSentence],
    embedder: TokenEmbedder,
) -> list[float] | None:
    try:
        asked, *said = await embedder.embed_tokens(
            [question.text, *(candidate.text for candidate in candidates)]
        )
    except EngineError:
        return None  # the model is gone by now: words decide

    def weigh() -> list[float]:
        evidence = read_evidence(question, term_weights, candidates, asked, said)
        return load_judge().probabilities(
            evidence, [candidate.structured for candidate in candidates]
        )

    return await anyio.to_thread.run_sync(weigh)


def _after_vetoes(question: Question, candidate: CandidateSentence, probability: float) -> float:
    """What counts against a sentence whatever it shares with the question.

    An identifier, a year or a name that its passage lacks is another thing's, year's or person's.
    """
    passage = f"{candidate.hit.title}\n{candidate.passage.context}\n{candidate.passage.text}"
    if missing_identifiers(question.text, passage):
        probability *= OTHER_THING
    if missing_years(question.text, passage):
        probability *= OTHER_YEAR
    if candidate.elsewhere or candidate.nowhere:
        probability *= OTHER_NAME
    if candidate.opens:
        return probability / (probability + (1 - probability) * OPENING_ODDS)
    return probability
