"""What a converter returns: canonical text, blocks as offsets into it, and what the file says of itself.

Converters that make their own text (PDF, Word, HTML) write it through `Writer`; Markdown and plain
text keep what people wrote and only mark the blocks. `encode` and `decode` carry a document across
the pipe from a child process: JSON and UTF-8, nothing that could run when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, get_args

BlockKind = Literal["heading", "paragraph", "list", "table", "code", "quote", "hidden"]

KINDS: tuple[str, ...] = get_args(BlockKind)

Metadata = Mapping[str, str | int | float | bool | list[str]]


class ConversionError(Exception):
    """A file can't be read. The message is one sentence for the person who added it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)  # both, so that a copy made from `args` is whole
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one document may be. Over it a conversion ends with an error, never cut short."""

    size_bytes: int = 100 * 1024 * 1024
    unpacked_bytes: int = 400 * 1024 * 1024  # of what an archive holds, all members that are read
    text_chars: int = 40_000_000
    pages: int = 10_000
    blocks: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Block:
    """[start, end) of the text, and what it is.

    `level` is a heading's depth from 1, else 0. `page` counts from 1. `heading_path` names the
    headings the block stands under, outermost first; a heading's own path ends with itself.
    A `hidden` block (front matter, a template's comment) is kept in the text but never indexed.
    """

    kind: BlockKind
    start: int
    end: int
    level: int = 0
    page: int | None = None
    heading_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Converted:
    """One document as text. Blocks are in order and don't overlap; text between them is not content."""

    text: str
    blocks: Sequence[Block]
    mime: str
    title: str = ""
    author: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    page_count: int | None = None
    language: str = ""  # as the file declares it, a BCP 47 tag in lower case
    metadata: Metadata = field(default_factory=dict)


class Outline:
    """The headings above the present place in a document."""

    def __init__(self) -> None:
        self._stack: list[tuple[int, str]] = []
        self.path: tuple[str, ...] = ()

    def enter(self, level: int, title: str) -> tuple[str, ...]:
        """The path once a heading of this level has been passed."""
        while self._stack and self._stack[-1][0] >= level:
            self._stack.pop()
        self._stack.append((level, title))
        self.path = tuple(name for _, name in self._stack)
        return self.path


class Writer:
    """Canonical text in the making: blocks one under the other with an empty line between."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pieces: list[str] = []
        self._blocks: list[Block] = []
        self._length = 0
        self._outline = Outline()

    def add(
        self, kind: BlockKind, text: str, *, page: int | None = None, tight: bool = False
    ) -> None:
        """Append a block; `tight` puts it on the next line instead of after an empty one."""
        text = clean(text).strip("\n")
        if not text.strip():
            return
        self._append(kind, text, 0, page, self._outline.path, tight=tight)

    def heading(self, level: int, title: str, *, page: int | None = None) -> None:
        """Append a heading; what follows stands under it."""
        title = " ".join(clean(title).split())
        if not title:
            return
        level = max(1, min(level, 6))
        path = self._outline.enter(level, title)
        self._append("heading", f"{'#' * level} {title}", level, page, path, tight=False)

    def _append(
        self,
        kind: BlockKind,
        text: str,
        level: int,
        page: int | None,
        path: tuple[str, ...],
        *,
        tight: bool,
    ) -> None:
        if self._pieces:
            gap = "\n" if tight else "\n\n"
            self._pieces.append(gap)
            self._length += len(gap)
        start, end = self._length, self._length + len(text)
        if end > self._limits.text_chars:
            raise too_much_text(self._limits)
        if len(self._blocks) >= self._limits.blocks:
            raise too_many_blocks(self._limits)
        self._pieces.append(text)
        self._blocks.append(Block(kind, start, end, level, page, path))
        self._length = end

    def finish(self) -> tuple[str, list[Block]]:
        """The text and its blocks."""
        return "".join(self._pieces), self._blocks


def too_much_text(limits: Limits) -> ConversionError:
    return ConversionError(
        "too_large",
        f"the document holds more than {limits.text_chars:,} characters of text: split it into"
        " smaller files and add those",
    )


def too_many_blocks(limits: Limits) -> ConversionError:
    return ConversionError(
        "too_large",
        f"the document holds more than {limits.blocks:,} paragraphs: split it into smaller files"
        " and add those",
    )


# Control characters and lone surrogates have no business in text, and the latter have no UTF-8.
_UNWANTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufeff\ufffe\uffff]")


def clean(text: str) -> str:
    """`text` with line feeds only and without control characters or lone surrogates."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNWANTED.sub("", text)


def cell(text: str) -> str:
    """`text` fit for one cell of a pipe table: on one line, its pipes escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def render_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a pipe table, the first row its header; rows are filled up to one width."""
    width = max((len(row) for row in rows), default=0)
    if not width:
        return ""
    lines = ["| " + " | ".join([*row, *[""] * (width - len(row))]) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def encode(document: Converted) -> bytes:
    """`document` as bytes: one line of JSON, then its text in UTF-8."""
    paths: dict[tuple[str, ...], int] = {}
    kinds = {kind: number for number, kind in enumerate(KINDS)}
    blocks = [
        (
            kinds[block.kind],
            block.start,
            block.end,
            block.level,
            block.page or 0,
            paths.setdefault(block.heading_path, len(paths)),
        )
        for block in document.blocks
    ]
    head = {
        "mime": document.mime,
        "title": document.title,
        "author": document.author,
        "created_at": document.created_at.isoformat() if document.created_at else None,
        "updated_at": document.updated_at.isoformat() if document.updated_at else None,
        "page_count": document.page_count,
        "language": document.language,
        "metadata": dict(document.metadata),
        "paths": [list(path) for path in paths],
        "blocks": blocks,
    }
    line = json.dumps(head, ensure_ascii=True, separators=(",", ":"))
    return line.encode("ascii") + b"\n" + document.text.encode("utf-8")


def decode(data: bytes) -> Converted:
    """The document that `encode` wrote; `ValueError` where `data` is anything else.

    The bytes come from a process that has read hostile files, so every field is checked.
    """
    line, newline, body = data.partition(b"\n")
    if not newline:
        raise ValueError("no header line")
    head = json.loads(line)
    try:
        text = body.decode("utf-8")
        paths = [tuple(str(name) for name in path) for path in head["paths"]]
        return Converted(
            text=text,
            blocks=_decode_blocks(head["blocks"], paths, len(text)),
            mime=str(head["mime"]),
            title=str(head["title"]),
            author=str(head["author"]),
            created_at=_decode_time(head["created_at"]),
            updated_at=_decode_time(head["updated_at"]),
            page_count=None if head["page_count"] is None else int(head["page_count"]),
            language=str(head["language"]),
            metadata=_decode_metadata(head["metadata"]),
        )
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"not an encoded document: {error!r}") from error


def _decode_blocks(rows: list[list[int]], paths: list[tuple[str, ...]], length: int) -> list[Block]:
    blocks = []
    last = 0
    for kind, start, end, level, page, path in rows:
        if not (last <= start <= end <= length and kind >= 0 and path >= 0):
            raise ValueError(f"block [{start}, {end}) does not fit its text")
        last = end
        name: BlockKind = KINDS[kind]  # type: ignore[assignment]  # an index into the closed set
        blocks.append(Block(name, start, end, int(level), int(page) or None, paths[path]))
    return blocks


def _decode_time(value: str | None) -> datetime | None:
    if value is None:
        return None
    time = datetime.fromisoformat(value)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _decode_metadata(value: Mapping[str, object]) -> Metadata:
    kept: dict[str, str | int | float | bool | list[str]] = {}
    for key, item in value.items():
        if isinstance(item, str | int | float):
            kept[str(key)] = item
        elif isinstance(item, list):
            kept[str(key)] = [str(one) for one in item]
    return kept
