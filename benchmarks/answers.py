"""How right, and how honest, answers without a model are: `python -m benchmarks.answers`.

    python -m benchmarks.answers [--cache DIR] [--models DIR] [--half held] [--only squad]

Asks the questions of `answer_sets.py` through the product (its chunks, index, retrieval and answers)
and counts, for each set: how many are claimed (`grounded`), how many of these are right, whether the
first quote holds the answer, whether further quotes do, and how far `confidence` is from the truth.
The half `held` was never fitted on and is what docs/explanation/ranking.md reports. Results go to
results/answers.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import answer_sets
from benchmarks.answer_sets import AnswerSet, Asked
from benchmarks.corpora import Installation, open_installation
from benchmarks.results import write_results
from engine.access import gate
from engine.access.index_filter import SearchFilters
from engine.domain import Answer

BINS = 10


@dataclass(frozen=True)
class Given:
    """An answer and what is true of it. `right`: its first quote answers the question."""

    asked: Asked
    answer: Answer
    right: bool
    further: Sequence[bool]  # of each further quote
    took_ms: float

    @property
    def claimed(self) -> bool:
        return self.answer.grounded


async def ask_all(installation: Installation, kb: str, questions: Sequence[Asked]) -> list[Given]:
    """Each question's answer, judged by its labels."""
    asker, ids = installation.asker(), await installation.external_ids(kb)
    audience = gate.audience_of_asker(installation.owner)
    given = []
    for asked in questions:
        filters = None
        if asked.without:
            rest = [id_ for id_, external in ids.items() if external not in asked.without]
            filters = SearchFilters(document_ids=rest)
        started = time.perf_counter()
        answer = await asker.answer(
            installation.owner, audience, asked.text, kb_ids=[installation.kbs[kb]], filters=filters
        )
        took_ms = (time.perf_counter() - started) * 1000
        rights = [asked.is_right(c.quote, ids[c.document_id]) for c in answer.citations]
        given.append(Given(asked, answer, any(rights[:1]), rights[1:], took_ms))
    return given


def calibration_error(given: Sequence[Given]) -> float:
    """Expected calibration error over ten bins of `confidence` (Naeini et al., AAAI 2015)."""
    sure = np.array([one.answer.confidence for one in given])
    right = np.array([one.right for one in given], float)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [
        (bins == place).sum() * abs(sure[bins == place].mean() - right[bins == place].mean())
        for place in range(BINS)
        if (bins == place).any()
    ]
    return float(sum(gaps) / len(given)) if given else 0.0


def reliability(given: Sequence[Given]) -> list[dict[str, float]]:
    """For each bin of confidence: how many, how sure on average, and the share that is right."""
    rows = []
    for place in range(BINS):
        inside = [one for one in given if min(int(one.answer.confidence * BINS), BINS - 1) == place]
        if inside:
            rows.append(
                {
                    "n": len(inside),
                    "said": round(statistics.mean(one.answer.confidence for one in inside), 3),
                    "true": round(statistics.mean(one.right for one in inside), 3),
                }
            )
    return rows


def summary(given: Sequence[Given]) -> dict[str, object]:
    """The figures of one set."""
    could = [one for one in given if one.asked.answerable]
    could_not = [one for one in given if not one.asked.answerable]
    claimed = [one for one in given if one.claimed]
    claimed_could = [one for one in could if one.claimed]
    wrongly = [one for one in could_not if one.claimed]
    further = [right for one in claimed_could for right in one.further]
    times = sorted(one.took_ms for one in given)
    return {
        "answerable": len(could),
        "unanswerable": len(could_not),
        "answerable_claimed": len(claimed_could),
        "of_these_first_quote_right": sum(one.right for one in claimed_could),
        "answerable_first_quote_right_or_closest": sum(one.right for one in could),
        "further_quotes": len(further),
        "further_quotes_right": sum(further),
        "unanswerable_claimed": len(wrongly),
        "highest_confidence_of_these": round(
            max((one.answer.confidence for one in wrongly), default=0.0), 3
        ),
        "claimed_that_are_right": round(
            sum(one.right for one in claimed) / max(1, len(claimed)), 3
        ),
        "calibration_error": round(calibration_error(given), 3),
        "reliability": reliability(given),
        "ms_p50": round(statistics.median(times), 1),
        "ms_p95": round(times[int(len(times) * 0.95)], 1),
    }


def measured_sets(half: answer_sets.Half, only: str | None) -> list[AnswerSet]:
    """What is measured by default: the sizes of the table in docs/explanation/ranking.md."""
    made = {
        "squad": lambda: answer_sets.squad(half, of_each=150),
        "selqa": lambda: answer_sets.selqa(half, questions=200, without=66),
        "handbook": lambda: answer_sets.handbook(half),
        "xquad-de": lambda: answer_sets.xquad("de", questions=60),
        "xquad-es": lambda: answer_sets.xquad("es", questions=60),
    }
    return [make() for name, make in made.items() if only in {None, name}]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="keep vectors in this folder between runs")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the models folder")
    parser.add_argument("--half", choices=["dev", "held"], default="held")
    parser.add_argument("--only", help="one set")
    parser.add_argument("--without-vectors", action="store_true", help="as while they are made")
    parser.add_argument("--as", dest="name", default="", help="the key of the results")
    parser.add_argument("--show", action="store_true", help="print what went wrong")
    options = parser.parse_args()
    for answers in measured_sets(options.half, options.only):
        with tempfile.TemporaryDirectory() as folder:
            async with open_installation(
                Path(folder), models=options.models, cache=options.cache
            ) as installation:
                await installation.add(
                    answers.name, answers.texts, vectors=not options.without_vectors
                )
                given = await ask_all(installation, answers.name, answers.questions)
        figures = summary(given)
        print(answers.name, json.dumps(figures))
        if options.show:
            show(given)
        name = f"{answers.name}{'-without-vectors' if options.without_vectors else ''}"
        write_results("answers", {options.name or name: figures})


def show(given: Sequence[Given]) -> None:
    """Print the claims that are wrong and the answers that were withheld."""
    for one in given:
        if one.claimed == one.asked.answerable and (one.right or not one.claimed):
            continue
        verdict = "CLAIMED" if one.claimed else "WITHHELD"
        said = one.answer.citations[0].quote if one.answer.citations else one.answer.text
        gold = [*one.asked.answers[:1], *one.asked.sentences[:1]]
        print(f"{verdict} {one.answer.confidence:.2f} right={one.right} {one.asked.text!r}")
        print(f"    said {' '.join(said.split())[:300]!r}\n    gold {gold}")


if __name__ == "__main__":
    asyncio.run(main())
