"""What the judge is fitted on: the half `dev` of the labelled sets, found by the product's own search.

Questions are asked as they are; of those with an answer, some are asked once more with their
document taken away, so that the nearest others are all that is found. What was found is kept in a
folder, for searching is most of the work and the same for every fit.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import answer_sets
from benchmarks.answer_sets import AnswerSet, Asked
from benchmarks.corpora import open_installation
from engine.access import gate
from engine.access.index_filter import SearchFilters
from engine.answers.evidence import read_evidence
from engine.answers.extraction import propose
from engine.answers.judge import EMBEDDED
from engine.domain import Hit
from engine.models.local import LocalEmbedder
from engine.models.port import TokenVectors
from engine.search.query import read_question


@dataclass(frozen=True)
class FoundFor:
    """A question and what was found for it; `documents` are external ids by document id."""

    set_name: str
    asked: Asked
    hits: Sequence[Hit]
    term_weights: Mapping[str, float]
    documents: Mapping[str, str]


def without_gold(asked: Sequence[Asked], number: int) -> list[Asked]:
    """Some of the questions, asked with the documents that answer them taken away."""
    draw = random.Random(7)
    some = [one for one in asked if one.gold and not one.without]
    return [
        Asked(f"{one.id}-without", one.text, one.gold, one.answers, one.sentences, one.gold)
        for one in draw.sample(some, min(number, len(some)))
    ]


def fitting_sets() -> list[AnswerSet]:
    """The sets of the half that is fitted on."""
    squad, selqa = answer_sets.squad("dev"), answer_sets.selqa("dev")
    xquad, chunks = answer_sets.xquad(questions=400), answer_sets.rag_chunks("dev")
    return [
        answer_sets.handbook("dev"),
        squad,
        selqa,
        AnswerSet(xquad.name, xquad.texts, [*xquad.questions, *without_gold(xquad.questions, 300)]),
        chunks,
    ]


async def find_all(
    answers: AnswerSet, *, work: Path, models: Path, cache: Path | None
) -> list[FoundFor]:
    """What the product finds for each question, from `work` where it was found before."""
    kept = work / f"{answers.name}.pickle"
    if kept.exists():
        found: list[FoundFor] = pickle.loads(kept.read_bytes())
        return found
    folder = work / answers.name
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    async with open_installation(folder, models=models, cache=cache) as installation:
        await installation.add(answers.name, answers.texts)
        ids, retriever = await installation.external_ids(answers.name), installation.retriever()
        audience = gate.audience_of_asker(installation.owner)
        for asked in answers.questions:
            rest = [id_ for id_, external in ids.items() if external not in asked.without]
            filters = SearchFilters(document_ids=rest) if asked.without else None
            retrieved = await retriever.retrieve(
                installation.owner, audience, asked.text, limit=8, filters=filters
            )
            hits = retrieved.result.hits
            documents = {hit.document_id: ids[hit.document_id] for hit in hits}
            found.append(
                FoundFor(answers.name, asked, hits, dict(retrieved.term_weights), documents)
            )
    kept.write_bytes(pickle.dumps(found))
    return found


# Their questions name the page that answers, and one sentence of it; others of it may answer too.
LABELLED_BY_PAGE = frozenset({"handbook-dev"})


@dataclass(frozen=True)
class Rows:
    """The evidence of every candidate, by question: `first` says where a question's rows begin."""

    evidence: np.ndarray  # [candidates, FEATURES]
    right: np.ndarray  # of each candidate
    usable: np.ndarray  # of each: right, or where only pages are labelled, on a right page
    structured: np.ndarray  # of each
    first: np.ndarray  # [questions + 1]
    sets: np.ndarray  # of each question
    answerable: np.ndarray
    groups: np.ndarray  # the document a question is about: questions of one stay together


async def read_rows(sets: Sequence[AnswerSet], *, work: Path, models: Path, cache: Path) -> Rows:
    """What the product sees of every question of `sets`, with what is right."""
    embedder = LocalEmbedder(models)
    tokens: dict[str, TokenVectors] = {}
    usable, structured = [], []
    evidence, right, sizes, names, answerable, groups = [], [], [], [], [], []
    for answers in sets:
        for found in await find_all(answers, work=work, models=models, cache=cache):
            question = read_question(found.asked.text)
            candidates = propose(question, found.hits, found.term_weights)[:EMBEDDED]
            if not candidates:
                continue
            texts = [question.text, *(candidate.text for candidate in candidates)]
            missing = [text for text in dict.fromkeys(texts) if text not in tokens]
            for text, made in zip(missing, await embedder.embed_tokens(missing), strict=True):
                tokens[text] = replace(made, vectors=made.vectors.astype(np.float16))
            asked, *said = [tokens[text] for text in texts]
            evidence.append(read_evidence(question, found.term_weights, candidates, asked, said))
            for candidate in candidates:
                document = found.documents[candidate.hit.document_id]
                quote = candidate.passage.text[candidate.start : candidate.end]
                on_page = document in found.asked.gold
                right.append(on_page and found.asked.is_right(quote, document))
                by_page = answers.name in LABELLED_BY_PAGE and found.asked.answerable and on_page
                usable.append(right[-1] or by_page)
                structured.append(candidate.structured)
            sizes.append(len(candidates))
            names.append(answers.name)
            answerable.append(found.asked.answerable)
            groups.append(min(found.asked.gold, default=found.asked.id))
    await embedder.aclose()
    return Rows(
        np.concatenate(evidence),
        np.array(right),
        np.array(usable),
        np.array(structured),
        np.r_[0, np.cumsum(sizes)],
        np.array(names),
        np.array(answerable),
        np.array(groups),
    )
