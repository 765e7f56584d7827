"""How well talk is found and answered: `python -m benchmarks.chat [--homes DIR] [--only NAME]`.

Imports exports of Slack and Discord as `scrubjay add` does, into one installation each, and asks
their labelled questions. `found` counts questions whose gold conversation is among the first five
hits; `resolved` citations whose link, author and words are those of one message of the export.
The curve says, for each confidence a bot in auto mode might ask for, how many foreign questions
(of xquad-en and of the handbook) it would still answer, and how many of the labelled ones.
`--homes` keeps the installations between runs. Nothing of the data goes into the results.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks.corpora import DATA, jsonl
from benchmarks.results import write_results
from cli.exports import bring_in, settle
from engine.config import load_settings
from engine.db.tables import Channel, Message
from engine.domain import Principal
from engine.engine import Engine
from engine.markup.matching import find_quote
from engine.runtime import open_engine
from ingestion.threads import body

FOREIGN = 200
THRESHOLDS = [round(0.05 * step, 2) for step in range(21)]
SETS = {
    "slack-houstondatavis": ("houstondatavis-slack-export-2016-07-31.zip", "https://a.slack.com"),
    "slack-haskell-jp": ("haskell-jp-slice-slack-export.zip", "https://b.slack.com"),
    "discord-meshcore": ("meshcore-discord-export.zip", ""),
}


@dataclass(frozen=True)
class Opened:
    """An installation that holds one export."""

    engine: Engine
    owner: Principal
    import_s: float


@asynccontextmanager
async def open_set(name: str, home: Path) -> AsyncIterator[Opened]:
    file, url = SETS[name]
    await asyncio.to_thread(home.mkdir, parents=True, exist_ok=True)
    async with open_engine(load_settings(home, None, {}, environ={})) as engine:
        owner = await engine.people.owner()
        started = time.perf_counter()
        if not [
            kb for kb in await engine.knowledge_bases.list_readable(owner) if kb.name == "chat"
        ]:
            kb = await engine.knowledge_bases.create(owner, "chat")
            owner = await engine.people.owner()
            imported = await bring_in(engine, owner, kb.id, DATA / name / file, url)
            await settle(engine, owner, [imported])
        yield Opened(engine, await engine.people.owner(), time.perf_counter() - started)


async def gold_of(opened: Opened, question: dict[str, Any], files: dict[str, str]) -> set[str]:
    """The documents that hold the gold messages of a question."""
    found: set[str] = set()
    async with opened.engine.db.read() as session:
        for gold in question["gold"]:
            id_ = gold.get("message") or gold.get("ts") or gold.get("thread_ts")
            query = select(Message.document_id).where(Message.external_id == id_)
            if "channel" in gold:
                query = query.join(Channel, Channel.id == Message.channel_id).where(
                    Channel.name == gold["channel"]
                )
            found |= {row for row in await session.scalars(query) if row}
    return found


async def resolves(opened: Opened, citation: Any) -> bool:
    """Whether a citation leads to one message that has its author, time and words."""
    external_id = citation.url.partition("?")[0].rpartition("/")[2].removeprefix("p")
    async with opened.engine.db.read() as session:
        rows = list(await session.scalars(select(Message).where(Message.deleted_at.is_(None))))
    hits = [row for row in rows if row.external_id.replace(".", "") == external_id]
    for row in hits:
        same = row.posted_at.isoformat() == citation.posted_at
        said = body(row, {})
        words = citation.quote
        if same and citation.author and (find_quote(words, said) or _mentions(words, said)):
            return True
    return False


def _mentions(quote: str, said: str) -> bool:
    """A quote with names where the message has ids: most of its words stand there."""
    words = [word for word in quote.split() if not word.startswith("@")]
    return sum(word in said for word in words) >= 0.8 * len(words)


def ndcg(ranks: Sequence[int], gold: int) -> float:
    """Discounted gain of hits at these ranks, as a share of the best there could be."""
    ideal = sum(1 / math.log2(n + 1) for n in range(1, min(gold, 10) + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks) / ideal if ideal else 0.0


async def measure_set(opened: Opened, name: str) -> tuple[dict[str, Any], list[tuple[float, bool]]]:
    questions = jsonl(DATA / name / "questions.jsonl")
    counts = dict.fromkeys(("answerable", "found", "grounded", "cited_gold"), 0)
    misses, wrong, took, answered = [], [], [], []
    cited = resolved = unanswerable = 0
    reciprocal: list[float] = []
    gains: list[float] = []
    for question in questions:
        gold = await gold_of(opened, question, {})
        started = time.perf_counter()
        answer = await opened.engine.answers.answer(opened.owner, question["question"], kb="chat")
        took.append((time.perf_counter() - started) * 1000)
        cited += len(answer.citations)
        resolved += sum([await resolves(opened, citation) for citation in answer.citations])
        if not question["gold"]:
            unanswerable += 1
            wrong += [question["_id"]] if answer.grounded else []
            continue
        result = await opened.engine.search.find(
            opened.owner, question["question"], kb="chat", limit=10
        )
        ranks = [n for n, hit in enumerate(result.hits, start=1) if hit.document_id in gold]
        found = any(rank <= 5 for rank in ranks)
        reciprocal.append(1 / ranks[0] if ranks else 0.0)
        gains.append(ndcg(ranks, len(gold)))
        misses += [] if found else [question["_id"]]
        counts["answerable"] += 1
        counts["found"] += found
        counts["grounded"] += answer.grounded
        good = answer.grounded and any(
            citation.document_id in gold for citation in answer.citations
        )
        counts["cited_gold"] += good
        if answer.grounded:
            answered.append((answer.confidence, good))
    progress = await opened.engine.chats.history.coverage(opened.owner)
    return {
        **counts,
        "mrr_at_10": round(statistics.mean(reciprocal), 3),
        "ndcg_at_10": round(statistics.mean(gains), 3),
        "missed": misses,
        "unanswerable": unanswerable,
        "grounded_without_answer": wrong,
        "citations": cited,
        "citations_resolved": resolved,
        "ms_p50": round(statistics.median(took)),
        "channels": len(progress),
        "messages": sum(item.messages for item in progress),
        "conversations": sum(item.conversations for item in progress),
        "import_s": round(opened.import_s, 1),
    }, answered


def foreign_questions() -> list[str]:
    """Questions that no chat of these answers: 200 of xquad-en, the handbook's."""
    with gzip.open(DATA / "xquad" / "en" / "qa.jsonl.gz", "rt", encoding="utf-8") as lines:
        asked = [json.loads(line)["question"] for line in lines]
    handbook = [item["question"] for item in jsonl(DATA / "handbook" / "questions.jsonl")]
    return random.Random(1).sample(asked, FOREIGN) + handbook


async def measure_foreign(opened: Opened, questions: Sequence[str]) -> list[float]:
    """The confidence of each answer that was given although there is none."""
    given = []
    for question in questions:
        answer = await opened.engine.answers.answer(opened.owner, question, kb="chat")
        if answer.grounded and answer.citations:
            given.append(answer.confidence)
    return given


def curve(
    foreign: Sequence[float], asked: int, answered: Sequence[tuple[float, bool]], answerable: int
) -> list[dict[str, float]]:
    """By threshold: the share of foreign questions answered, of labelled ones, and of those right."""
    return [
        {
            "threshold": threshold,
            "foreign_answered": round(sum(c >= threshold for c in foreign) / asked, 4),
            "labelled_answered": round(
                sum(c >= threshold for c, _ in answered) / max(1, answerable), 4
            ),
            "labelled_right": round(
                sum(c >= threshold and good for c, good in answered) / max(1, answerable), 4
            ),
        }
        for threshold in THRESHOLDS
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--homes", type=Path, help="keep the installations in this folder")
    parser.add_argument("--only", choices=list(SETS), help="one set")
    parser.add_argument("--no-curve", action="store_true", help="leave the foreign questions out")
    options = parser.parse_args()
    measured: dict[str, Any] = {}
    foreign: list[float] = []
    answered: list[tuple[float, bool]] = []
    asked = answerable = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            if not (DATA / name).exists() or options.only not in {None, name}:
                continue
            home = (options.homes or Path(folder)) / name
            async with open_set(name, home) as opened:
                measured[name], given = await measure_set(opened, name)
                print(name, json.dumps(measured[name]))
                answered += given
                answerable += measured[name]["answerable"]
                if not options.no_curve:
                    questions = foreign_questions()
                    found = await measure_foreign(opened, questions)
                    measured[name]["foreign_answered"] = f"{len(found)} of {len(questions)}"
                    foreign += found
                    asked += len(questions)
    if asked and options.only is None:
        measured["auto_mode_curve"] = curve(foreign, asked, answered, answerable)
    write_results("chat", measured)


if __name__ == "__main__":
    asyncio.run(main())
