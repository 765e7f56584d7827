"""Sixty questions to the language model that is configured: `make live`.

The sample handbook is answered with the model of the settings (`llm.model` and the rest, from the
environment or scrubjay.toml), through the product's own search, loop and checks. The report says how
many answers were right, claimed or not found, how many sentences no source carried, what it took in
tokens and seconds. It costs money where the model does; nothing else starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.access.gate import audience_of_asker
from engine.answers.agent import Budget
from engine.answers.ask import Asker
from engine.config import load_settings
from engine.domain import Answer, Principal
from engine.errors import EngineError
from engine.markup.matching import fold
from engine.runtime import build_language_model
from engine.search.understood import Understanding
from engine.settings import Settings

QUESTIONS = Path(__file__).parent / "data" / "live_questions.jsonl"
SAMPLE = Path(__file__).parents[1] / "samples" / "handbook" / "pages"


@dataclass(frozen=True)
class Question:
    """`expected`: texts of which an answer must hold one; none where nothing answers it."""

    question: str
    expected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """What came of a question."""

    question: str
    outcome: str
    right: bool
    left_out: int
    input_tokens: int
    output_tokens: int
    seconds: float
    error: str = ""


def load_questions(path: Path = QUESTIONS) -> list[Question]:
    """The questions, in their order."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [Question(row["question"], tuple(row["expected"])) for row in rows]


def judge(question: Question, answer: Answer, seconds: float) -> Told:
    """Right is an answer that holds what was expected, or none where none can be given."""
    said = fold(answer.text)[0]
    holds = any(fold(text)[0] in said for text in question.expected)
    right = answer.grounded and holds if question.expected else not answer.grounded
    return Told(
        question.question,
        answer.outcome,
        right,
        answer.left_out,
        answer.input_tokens,
        answer.output_tokens,
        seconds,
    )


async def ask_all(
    asker: Asker, principal: Principal, questions: Sequence[Question], say: Callable[[str], None]
) -> list[Told]:
    """Every question once, one after the other; one that fails is told as such."""
    audience = audience_of_asker(principal)
    told = []
    for number, question in enumerate(questions, start=1):
        started = time.perf_counter()
        try:
            answer = await asker.answer(principal, audience, question.question, door="live")
            result = judge(question, answer, time.perf_counter() - started)
        except EngineError as error:
            seconds = time.perf_counter() - started
            result = Told(question.question, "failed", False, 0, 0, 0, seconds, str(error))
        told.append(result)
        mark = "right" if result.right else "wrong"
        say(f"{number:2}/{len(questions)} {mark:5} {result.outcome:9} {question.question}")
    return told


def report(model: str, told: Sequence[Told]) -> dict[str, object]:
    """The figures of a run; seconds are those of the answers that came."""
    came = sorted(item.seconds for item in told if not item.error) or [0.0]
    return {
        "model": model,
        "questions": len(told),
        "right": sum(item.right for item in told),
        "claimed": sum(item.outcome == "answered" for item in told),
        "claimed_and_right": sum(item.outcome == "answered" and item.right for item in told),
        "not_found": sum(item.outcome == "not_found" for item in told),
        "failed": sum(bool(item.error) for item in told),
        "unsupported_sentences_left_out": sum(item.left_out for item in told),
        "input_tokens": sum(item.input_tokens for item in told),
        "output_tokens": sum(item.output_tokens for item in told),
        "p50_seconds": round(quantile(came, 0.5), 2),
        "p95_seconds": round(quantile(came, 0.95), 2),
    }


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of the values do not exceed (nearest rank)."""
    place = max(1, -(-int(share * 100) * len(ordered) // 100))
    return ordered[min(place, len(ordered)) - 1]


async def run(
    settings: Settings, folder: Path, cache: Path | None, say: Callable[[str], None]
) -> tuple[dict[str, object], list[Told]]:
    """Build the sample in a folder, ask everything, and report."""
    from benchmarks.corpora import Text, open_installation

    model = build_language_model(settings)
    if model is None:
        raise SystemExit("llm.model is not set: export SCRUBJAY_LLM__MODEL and its key first.")
    pages = [
        Text(str(path.relative_to(SAMPLE)), "", path.name, path.read_bytes())
        for path in sorted(SAMPLE.rglob("*.md"))
    ]
    say(f"Reading {len(pages)} pages of the sample handbook; this takes some minutes.")
    async with open_installation(folder, models=settings.home / "models", cache=cache) as opened:
        await opened.add("handbook", pages)
        embedders = {opened.embedder.space.name: opened.embedder}
        asker = Asker(
            opened.db,
            Understanding(opened.db, opened.index, embedders),
            model=model,
            budget=Budget(max_tokens=settings.llm.max_tokens),
            unsupported=settings.llm.unsupported,
            native=settings.llm.tools == "auto",
        )
        told = await ask_all(asker, opened.owner, load_questions(), say)
    await model.aclose()
    return report(settings.llm.model, told), told


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Ask and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", type=Path, help="write the report and every answer's figures here"
    )
    parser.add_argument("--home", type=Path, help="the data folder whose settings are used")
    parser.add_argument("--cache", type=Path, help="keep vectors in this folder between runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(home=options.home or Path(folder))
        figures, told = asyncio.run(run(settings, Path(folder), options.cache, _say))
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):32} {value}")
    if options.json:
        full = {**figures, "answers": [asdict(item) for item in told]}
        options.json.write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
