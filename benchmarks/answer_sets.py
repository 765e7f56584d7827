"""Questions with labelled answers, in two halves: one to fit on, one that is only reported.

`answers.py` measures on them, `judge_fit.py` fits on the half `dev`. Halves are cut by article, so
that no paragraph, section or fact of a held question was seen when fitting. The data is beside the
checkout (see each folder's README for where it is from); nothing of it is copied here.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.corpora import DATA, OWN, Text, handbook_texts, jsonl
from engine.markup.matching import fold

Half = Literal["dev", "held"]
# SQuAD's eight articles: four each, of about as many paragraphs.
SQUAD_DEV = frozenset({"Yuan dynasty", "Huguenot", "Scottish Parliament", "Packet switching"})
BLOCK = 5  # XQuAD has five paragraphs in a row of each article


@dataclass(frozen=True)
class Asked:
    """A question: `gold` are the documents that answer it, `answers` what a right quote contains.

    `sentences` are whole sentences that answer, where the set labels sentences. `without` are
    documents taken away before it is asked. It is answerable when `answers` or `gold` is not empty.
    """

    id: str
    text: str
    gold: frozenset[str] = frozenset()
    answers: Sequence[str] = ()
    sentences: Sequence[str] = ()
    without: frozenset[str] = frozenset()

    @property
    def answerable(self) -> bool:
        return bool(self.gold) and not self.without

    def is_right(self, quote: str, document: str) -> bool:
        """Whether a quote of a document answers."""
        if not self.answerable:
            return False
        folded = _folded(quote)
        if self.sentences:
            return any(_same(folded, _folded(sentence)) for sentence in self.sentences if sentence)
        if self.answers:
            return any(_folded(answer) in folded for answer in self.answers)
        return document in self.gold


@dataclass(frozen=True)
class AnswerSet:
    """A collection and what is asked of it."""

    name: str
    texts: Sequence[Text]
    questions: Sequence[Asked] = field(default_factory=tuple)


def _folded(text: str) -> str:
    return fold(text)[0].strip(" .")


def _same(quote: str, sentence: str) -> bool:
    """A sentence may be cut differently here and there: the quote holds it, or most of it."""
    return sentence in quote or (quote in sentence and len(quote) >= 0.5 * len(sentence))


def in_half(name: str, half: Half) -> bool:
    """Whether an article is of this half: by a hash of its name, so by nothing it says."""
    even = hashlib.blake2b(name.encode(), digest_size=2).digest()[0] % 2 == 0
    return even == (half == "dev")


def _lines(path: Path) -> Iterator[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def squad(half: Half, *, of_each: int | None = None) -> AnswerSet:
    """SQuAD 2.0: answerable questions, and ones the paragraph seems to answer and does not."""
    texts, answerable, impossible = [], [], []
    for number, row in enumerate(_lines(DATA / "squad2-part" / "paragraphs.jsonl.gz")):
        if (row["title"] in SQUAD_DEV) != (half == "dev"):
            continue
        id_ = f"squad-{number:03}"
        texts.append(Text(id_, row["title"], "text.txt", row["context"].encode()))
        for qa in row["qas"]:
            if qa["impossible"]:
                impossible.append(Asked(qa["id"], qa["question"]))
            else:
                said = [text for _, text in qa["answers"]]
                answerable.append(Asked(qa["id"], qa["question"], frozenset({id_}), said))
    draw = random.Random(12)
    if of_each is not None:
        answerable, impossible = (
            draw.sample(some, min(of_each, len(some))) for some in (answerable, impossible)
        )
    return AnswerSet(f"squad-{half}", texts, [*answerable, *impossible])


def selqa(half: Half, *, questions: int | None = None, without: int | None = None) -> AnswerSet:
    """SelQA: sections of articles; `without` questions are asked with their section taken away."""
    sections: dict[tuple[str, str], str] = {}
    texts, asked = [], []
    articles: dict[str, int] = {}
    for number, row in enumerate(_lines(DATA / "selqa-dev" / "questions.jsonl.gz")):
        if not in_half(row["article"], half):
            continue
        key = (row["article"], " ".join(row["candidates"]))
        if key not in sections:
            sections[key] = f"selqa-{half}-{len(sections):03}"
            articles[row["article"]] = articles.get(row["article"], 0) + 1
            title = f"{row['article']}: {row['section']}"
            texts.append(Text(sections[key], title, "text.txt", key[1].encode()))
        said = [row["candidates"][place] for place in row["answers"]]
        gold = frozenset({sections[key]})
        asked.append((row["article"], Asked(str(number), row["question"], gold, (), said)))
    draw = random.Random(12)
    chosen = [one for _, one in asked]
    siblings = [one for article, one in asked if articles[article] > 1]
    chosen = chosen if questions is None else draw.sample(chosen, min(questions, len(chosen)))
    siblings = siblings if without is None else draw.sample(siblings, min(without, len(siblings)))
    taken = [
        Asked(f"{one.id}-without", one.text, one.gold, (), one.sentences, one.gold)
        for one in siblings
    ]
    return AnswerSet(f"selqa-{half}", texts, [*chosen, *taken])


def xquad(language: str = "en", *, half: Half = "dev", questions: int | None = None) -> AnswerSet:
    """XQuAD in one language. English shares articles with SQuAD: blocks of a held one are left out."""
    folder = DATA / "xquad" / language
    rows = list(_lines(folder / "corpus.jsonl.gz"))
    english = list(_lines(DATA / "xquad" / "en" / "corpus.jsonl.gz"))
    held = {
        row["context"]
        for row in _lines(DATA / "squad2-part" / "paragraphs.jsonl.gz")
        if (row["title"] in SQUAD_DEV) != (half == "dev")
    }
    blocked = {number // BLOCK for number, row in enumerate(english) if row["text"].strip() in held}
    texts, kept = [], set()
    for number, row in enumerate(rows):
        if number // BLOCK not in blocked:
            kept.add(row["_id"])
            texts.append(Text(row["_id"], "", "text.txt", row["text"].encode()))
    asked = [
        Asked(f"{language}-{number}", row["question"], frozenset(row["gold"]), row["answers"])
        for number, row in enumerate(_lines(folder / "qa.jsonl.gz"))
        if kept.issuperset(row["gold"])
    ]
    if questions is not None:
        asked = random.Random(12).sample(asked, min(questions, len(asked)))
    return AnswerSet(f"xquad-{language}", texts, asked)


def rag_chunks(half: Half) -> AnswerSet:
    """Questions over long texts of five kinds, with the spans that answer."""
    folder = DATA / "rag-chunks"
    texts = [
        Text(path.name.removesuffix(".md.gz"), "", path.name.removesuffix(".gz"), _opened(path))
        for path in sorted((folder / "corpora").glob("*.md.gz"))
    ]
    asked = [
        Asked(
            row["_id"],
            row["question"],
            frozenset({row["corpus"]}),
            (),
            [span["text"] for span in row["references"]],
        )
        for row in _lines(folder / "questions.jsonl.gz")
        if in_half(row["question"], half)
    ]
    return AnswerSet(f"rag-chunks-{half}", texts, asked)


def _opened(path: Path) -> bytes:
    with gzip.open(path, "rb") as file:
        return file.read()


def handbook(half: Half) -> AnswerSet:
    """The handbook: ours (`handbook_more.jsonl`) to fit on, its own `questions.jsonl` to report."""
    path = OWN / "handbook_more.jsonl" if half == "dev" else DATA / "handbook" / "questions.jsonl"
    asked = [
        Asked(row["_id"], row["question"], frozenset(row["gold"]), (), [row.get("quote", "")])
        for row in jsonl(path)
    ]
    return AnswerSet(f"handbook-{half}", list(handbook_texts()), asked)
