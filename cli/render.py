"""What people read: hits, answers and tables as styled text. Pure; `output.py` prints it.

Text of documents is other people's: `plain` takes out what could steer a terminal.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.text import Text

from engine.domain import Answer, Citation, Hit, ScoreParts, SearchResult
from engine.markup.plain import plain as without_marks
from engine.search.query_steps import describe_steps

INDENT = "   "
CELL_MAX, LAST_CELL_MIN = 40, 20  # columns of a table that has to fit a terminal
PASSAGE_LINES = 4  # of a hit; `scrubjay docs show` has the rest
RULE = re.compile(r"^[ \t]*\|(?:[ \t:-]+\|)+[ \t]*$", re.MULTILINE)  # under a table's header
# C0 and C1 controls but newline and tab, and the characters that turn the direction of text.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """`text` without control characters, so that a document can't move the cursor or hide words."""
    return CONTROL.sub("", text.replace("\r\n", "\n").expandtabs(4))


def one_line(text: str) -> str:
    """`plain` text with all white space folded to single blanks."""
    return " ".join(plain(text).split())


def _words(text: str) -> str:
    """A passage as it is read, without the marks of Markdown; `--json` has it to the letter."""
    return one_line(without_marks(RULE.sub("", plain(text))))


def hits(result: SearchResult, *, explain: bool = False, width: int = 80) -> Text:
    """The hits of a search, numbered, each with its best passage, address and certainty."""
    out = Text()
    for number, hit in enumerate(result.hits, start=1):
        out.append(f"{number}. ", style="dim").append(one_line(hit.title) or hit.id, style="bold")
        out.append(f"  {hit.kb_name} · {certainty(hit.confidence)}\n", style="dim")
        out.append(_wrapped(_words(hit.text), width, lines=PASSAGE_LINES))
        out.append(f"{INDENT}{address(hit)}", style="blue")
        out.append(_where(hit.passages[0].where, hit.title) + "\n", style="dim")
        if known := _known(hit, explain=explain):
            out.append(f"{INDENT}{known}\n", style="dim")
        if explain:
            out.append(f"{INDENT}{explained(hit.scores)}\n", style="dim")
        out.append("\n")
    if read := describe_steps(result.steps):
        out.append(one_line(read) + "\n", style="dim")
    if result.notice:
        out.append(plain(result.notice) + "\n")
    elif not result.hits:
        out.append(f"Nothing found in {searched(result.searched_kbs)}.\n")
    else:
        found = f"{len(result.hits)} of {result.searched_documents:,} documents"
        out.append(f"{found} in {result.took_ms:.0f} ms\n", style="dim")
    return out


def _known(hit: Hit, *, explain: bool) -> str:
    """Tags and own fields of a hit's document; with `explain` author, date and source too."""
    said = [f"#{tag}" for tag in hit.tags]
    said += [f"{name}={value}" for name, value in hit.fields.items()]
    if explain:
        dated = f"{hit.updated_at:%Y-%m-%d}" if hit.updated_at else ""
        said = [*filter(None, (hit.source, hit.author, dated)), *said]
    return one_line(" · ".join(said))


def answer(value: Answer, *, width: int = 80) -> Text:
    """An answer, then its numbered citations with their quotes."""
    out = Text()
    for paragraph in plain(value.text).strip().split("\n"):
        out.append(textwrap.fill(paragraph, width) + "\n")
    for citation in value.citations:
        out.append("\n").append(_cited(citation, width))
    if read := describe_steps(value.steps):
        out.append("\n" + textwrap.fill(one_line(read), width) + "\n", style="dim")
    return out


def answer_text(value: Answer, *, width: int = 80) -> str:
    """`answer` without styles."""
    return answer(value, width=width).plain


def _cited(citation: Citation, width: int) -> Text:
    out = Text().append(f"[{citation.n}] ", style="dim")
    out.append(one_line(citation.title) + "\n", style="bold")
    if citation.author:
        who = one_line(f"{citation.author} · {citation.posted_at[:10]}")
        out.append(f"    {who}\n", style="dim")
    out.append(_wrapped(f"“{_words(citation.quote)}”", width, indent="    "))
    address = one_line(citation.url) or f"scrubjay docs show {citation.document_id}"
    if not citation.document_id:
        address = "from a tool of another server, as it answered now"
    out.append(f"    {address}", style="blue")
    return out.append(_where(citation.where, citation.title) + "\n", style="dim")


def _where(place: str, title: str) -> str:
    """Where in the document, after its address; empty if it only repeats the title."""
    return f"  {one_line(place)}" if place and place != title else ""


def certainty(confidence: float) -> str:
    """A confidence in a word and its figure."""
    word = "sure" if confidence >= 0.75 else "likely" if confidence >= 0.4 else "unsure"
    return f"{word} ({confidence:.2f})"


def explained(parts: ScoreParts) -> str:
    """Every part of a score, for `--explain`."""
    titles = f"title {parts.bm25_title:.2f}, passage {parts.bm25_chunk:.2f}"
    said = [
        f"keyword {parts.lexical:.2f} ({titles})",
        "semantic not compared" if parts.cosine is None else f"semantic {parts.cosine:.2f}",
        f"fused {parts.fused:.2f}" + ("" if parts.alpha is None else f" (alpha {parts.alpha:.2f})"),
        f"matches {parts.coverage:.0%} of the query's weight",
    ]
    if parts.freshness != 1.0:
        said.append(f"age reduces it to {parts.freshness:.0%}")
    if parts.features:
        said.append(f"features add {parts.features:.2f}")
    if parts.titled:
        said.append(f"its title adds {parts.titled:.2f}")
    if parts.rerank is not None:
        said.append(f"reranker {parts.rerank:.2f}")
    return "; ".join(said)


def address(hit: Hit) -> str:
    """Where a hit can be read: its URL, or the command that shows it."""
    return one_line(hit.url) or f"scrubjay docs show {hit.document_id}"


def searched(names: Sequence[str]) -> str:
    """The knowledge bases a search looked through, for people."""
    return ", ".join(one_line(name) for name in names) or "no knowledge base"


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None = None
) -> Text:
    """Columns as wide as their longest cell, heads dim; cells are single lines.

    With a `width`, cells are cut to `CELL_MAX` columns and the last one to what is left.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    if width is not None:
        cells = [[*(_cut(cell, CELL_MAX) for cell in row[:-1]), row[-1]] for row in cells]
        taken = sum(
            max(len(columns[i]), *(len(row[i]) for row in cells), 0) + 2
            for i in range(len(columns) - 1)
        )
        left = max(width - taken, LAST_CELL_MIN)
        cells = [[*row[:-1], _cut(row[-1], left)] for row in cells]
    widths = [max(len(head), *(len(row[i]) for row in cells), 0) for i, head in enumerate(columns)]
    out = Text()
    out.append(_row(columns, widths), style="dim")
    for row in cells:
        out.append(_row(row, widths))
    return out


def facts(values: Mapping[str, object]) -> Text:
    """Names and values under one another, what is empty left out."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": str(deep) for inner, deep in value.items()}
        else:
            flat[name] = (
                f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else str(value)
            )
    shown = {name: one_line(value) for name, value in flat.items() if value not in {"", "None"}}
    widest = max(map(len, shown), default=0)
    out = Text()
    for name, value in shown.items():
        out.append(f"{name.ljust(widest)}  ", style="dim").append(f"{value}\n")
    return out


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return line.rstrip() + "\n"


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _wrapped(text: str, width: int, *, indent: str = INDENT, lines: int | None = None) -> str:
    filled = textwrap.fill(
        text,
        max(width, 40),
        initial_indent=indent,
        subsequent_indent=indent,
        max_lines=lines,
        placeholder=" …",
    )
    return filled + "\n"
