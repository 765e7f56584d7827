"""What a converter returns: canonical text, blocks as offsets into it, and what the file says of itself.

Converters that make their own text (PDF, Word, HTML) write it through `TextWriter`; Markdown and plain
text keep what people wrote and only mark the blocks. `encode` and `decode` carry a document across
the pipe from a child process: JSON and UTF-8, nothing that could run when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, get_args

BlockKind = Literal["heading", "paragraph", "list", "table", "code", "quote", "hidden"]

PlaceUnit = Literal["cell", "line", "row", "slide"]

KINDS: tuple[str, ...] = get_args(BlockKind)
UNITS: tuple[str, ...] = get_args(PlaceUnit)

HEADING_MAX = 500  # characters of a heading that are kept

Metadata = Mapping[str, str | int | float | bool | list[str]]


class ConversionError(Exception):
    """A file can't be read. The message is one sentence for the person who added it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)  # both, so that a copy made from `args` is whole
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class NoText(ConversionError):
    """A file whose words are pictures: a reader of pictures may find them (`ocr.py`)."""

    def __init__(self, message: str) -> None:
        super().__init__("no_text", message)
        self.args = (message,)


@dataclass(frozen=True, slots=True)
class ConversionLimits:
    """How much one document may be. Over it a conversion ends with an error.

    Rows, scanned pages and attachments are the exception: the document is read without the rest,
    and its `notice` says so.
    """

    size_bytes: int = 100 * 1024 * 1024
    unpacked_bytes: int = 400 * 1024 * 1024  # of what an archive holds, all members that are read
    text_chars: int = 40_000_000
    pages: int = 10_000
    blocks: int = 1_000_000
    rows: int = 100_000  # of all sheets of a file; what follows is left out, and the file says so
    ocr_pages: int = 200  # likewise, of a scan
    attachments: int = 100  # of one message
    attachment_bytes: int = 100 * 1024 * 1024  # of all of them together


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where something is in a file that has no pages: slides, rows, lines or cells, from 1.

    `name` is the sheet's; `columns` are the letters of its first and last column.
    """

    unit: PlaceUnit
    first: int
    last: int
    name: str = ""
    columns: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class EmbeddedFile:
    """A file within a file, to become a document of its own."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """[start, end) of the text, and what it is.

    `level` is a heading's depth from 1, else 0. `page` counts from 1. `heading_path` names the
    headings above the block, outermost first; a heading's own path ends with itself.
    A `hidden` block (front matter, a template's comment) is kept in the text but never indexed.
    """

    kind: BlockKind
    start: int
    end: int
    level: int = 0
    page: int | None = None
    heading_path: tuple[str, ...] = ()
    place: BlockPlace | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """One document as text. Blocks are in order and don't overlap; text between them is not content.

    `notice` is a sentence for the person who added it, where something was left out.
    """

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
    notice: str = ""
    attachments: Sequence[EmbeddedFile] = ()


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


class TextWriter:
    """Canonical text in the making: blocks one under the other with an empty line between."""

    def __init__(self, limits: ConversionLimits) -> None:
        self._limits = limits
        self._pieces: list[str] = []
        self._blocks: list[Block] = []
        self._length = 0
        self._outline = Outline()
        self.place: BlockPlace | None = None  # of what is added without one

    def add(
        self,
        kind: BlockKind,
        text: str,
        *,
        page: int | None = None,
        place: BlockPlace | None = None,
        tight: bool = False,
    ) -> None:
        """Append a block; `tight` puts it on the next line instead of after an empty one."""
        text = clean(text).strip("\n")
        if not text.strip():
            return
        self._append(kind, text, 0, page, place or self.place, self._outline.path, tight=tight)

    def heading(
        self, level: int, title: str, *, page: int | None = None, place: BlockPlace | None = None
    ) -> None:
        """Append a heading; what follows belongs to it."""
        title = " ".join(clean(title).split())[:HEADING_MAX]
        if not title:
            return
        level = max(1, min(level, 6))
        path = self._outline.enter(level, title)
        place = place or self.place
        self._append("heading", f"{'#' * level} {title}", level, page, place, path, tight=False)

    def include(self, document: Converted, *, place: BlockPlace | None = None) -> None:
        """Append another document's text as it is, its headings under those above."""
        outer = self._outline.path
        for block in document.blocks:
            if block.kind == "heading":
                self._outline.enter(block.level, block.heading_path[-1])
        self._start(document.text, tight=False)
        offset = self._length
        self._take(document.text, len(document.blocks))
        for block in document.blocks:
            self._blocks.append(
                replace(
                    block,
                    start=block.start + offset,
                    end=block.end + offset,
                    heading_path=block.heading_path or outer,
                    place=place or block.place,
                )
            )

    def _append(
        self,
        kind: BlockKind,
        text: str,
        level: int,
        page: int | None,
        place: BlockPlace | None,
        path: tuple[str, ...],
        *,
        tight: bool,
    ) -> None:
        self._start(text, tight=tight)
        start = self._length
        self._take(text, 1)
        self._blocks.append(Block(kind, start, self._length, level, page, path, place))

    def _start(self, text: str, *, tight: bool) -> None:
        if self._pieces and text:
            gap = "\n" if tight else "\n\n"
            self._pieces.append(gap)
            self._length += len(gap)

    def _take(self, text: str, blocks: int) -> None:
        if self._length + len(text) > self._limits.text_chars:
            raise too_much_text(self._limits)
        if len(self._blocks) + blocks > self._limits.blocks:
            raise too_many_blocks(self._limits)
        self._pieces.append(text)
        self._length += len(text)

    def finish(self) -> tuple[str, list[Block]]:
        """The text and its blocks."""
        return "".join(self._pieces), self._blocks


def too_much_text(limits: ConversionLimits) -> ConversionError:
    return ConversionError(
        "too_large",
        f"the document contains more than {limits.text_chars:,} characters of text: split it into"
        " smaller files and add those",
    )


def too_many_blocks(limits: ConversionLimits) -> ConversionError:
    return ConversionError(
        "too_large",
        f"the document contains more than {limits.blocks:,} paragraphs: split it into smaller files"
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


def render_place(place: BlockPlace) -> str:
    """A place as people name it: `slide 3`, `lines 4-9`, `Sales!A2:F40`."""
    if place.unit == "row" and place.columns is not None:
        left, right = place.columns
        cells = f"{left}{place.first}:{right}{place.last}"
        return f"{place.name}!{cells}" if place.name else cells
    if place.first == place.last:
        return f"{place.unit} {place.first}"
    return f"{place.unit}s {place.first}\u2013{place.last}"


def join_places(first: BlockPlace | None, last: BlockPlace | None) -> BlockPlace | None:
    """From the one to the other where they count the same things, else the first."""
    if first is None or last is None or (first.unit, first.name) != (last.unit, last.name):
        return first
    columns = first.columns
    if columns is not None and last.columns is not None:
        widest = max(columns[1], last.columns[1], key=lambda name: (len(name), name))
        columns = (min(columns[0], last.columns[0], key=lambda n: (len(n), n)), widest)
    return replace(first, last=max(first.last, last.last), columns=columns)


def encode(document: Converted) -> bytes:
    """`document` as bytes: one line of JSON, then its text in UTF-8, then what is attached."""
    paths: dict[tuple[str, ...], int] = {}
    names: dict[tuple[str, ...], int] = {}
    kinds = {kind: number for number, kind in enumerate(KINDS)}
    blocks = [
        (
            kinds[block.kind],
            block.start,
            block.end,
            block.level,
            block.page or 0,
            paths.setdefault(block.heading_path, len(paths)),
            *_encode_place(block.place, names),
        )
        for block in document.blocks
    ]
    text = document.text.encode("utf-8")
    head = {
        "mime": document.mime,
        "title": document.title,
        "author": document.author,
        "created_at": document.created_at.isoformat() if document.created_at else None,
        "updated_at": document.updated_at.isoformat() if document.updated_at else None,
        "page_count": document.page_count,
        "language": document.language,
        "metadata": dict(document.metadata),
        "notice": document.notice,
        "attachments": [
            (attachment.name, len(attachment.data)) for attachment in document.attachments
        ],
        "text_bytes": len(text),
        "paths": [list(path) for path in paths],
        "names": [list(name) for name in names],
        "blocks": blocks,
    }
    line = json.dumps(head, ensure_ascii=True, separators=(",", ":"))
    parts = [
        line.encode("ascii"),
        b"\n",
        text,
        *(attachment.data for attachment in document.attachments),
    ]
    return b"".join(parts)


def _encode_place(place: BlockPlace | None, names: dict[tuple[str, ...], int]) -> tuple[int, ...]:
    if place is None:
        return ()
    name = names.setdefault((place.name, *(place.columns or ())), len(names))
    return UNITS.index(place.unit), place.first, place.last, name


def decode(data: bytes) -> Converted:
    """The document that `encode` wrote; `ValueError` where `data` is anything else.

    The bytes come from a process that has read hostile files, so every field is checked.
    """
    line, newline, body = data.partition(b"\n")
    if not newline:
        raise ValueError("no header line")
    head = json.loads(line)
    try:
        size = int(head["text_bytes"])
        if not 0 <= size <= len(body):
            raise ValueError("the text is not all there")
        text = body[:size].decode("utf-8")
        names = [tuple(str(part) for part in name) for name in head["names"]]
        paths = [tuple(str(name) for name in path) for path in head["paths"]]
        return Converted(
            text=text,
            blocks=_decode_blocks(head["blocks"], paths, names, len(text)),
            mime=str(head["mime"]),
            title=str(head["title"]),
            author=str(head["author"]),
            created_at=_decode_time(head["created_at"]),
            updated_at=_decode_time(head["updated_at"]),
            page_count=None if head["page_count"] is None else int(head["page_count"]),
            language=str(head["language"]),
            metadata=_decode_metadata(head["metadata"]),
            notice=str(head["notice"])[:1000],
            attachments=_decode_attachments(head["attachments"], body, size),
        )
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"not an encoded document: {error!r}") from error


def _decode_blocks(
    rows: list[list[int]],
    paths: list[tuple[str, ...]],
    names: list[tuple[str, ...]],
    length: int,
) -> list[Block]:
    blocks = []
    last = 0
    for kind, start, end, level, page, path, *place in rows:
        if not (last <= start <= end <= length and kind >= 0 and path >= 0):
            raise ValueError(f"block [{start}, {end}) does not fit its text")
        last = end
        called: BlockKind = KINDS[kind]  # type: ignore[assignment]  # an index into the closed set
        where = _decode_place(place, names) if place else None
        blocks.append(Block(called, start, end, int(level), int(page) or None, paths[path], where))
    return blocks


def _decode_place(row: list[int], names: list[tuple[str, ...]]) -> BlockPlace:
    unit, first, last, name = row
    if unit < 0 or name < 0:
        raise ValueError("a place of no kind")
    called, *columns = names[name]
    known: PlaceUnit = UNITS[unit]  # type: ignore[assignment]  # an index into the closed set
    bounds = (columns[0], columns[1]) if columns else None
    return BlockPlace(known, int(first), int(last), called, bounds)


def _decode_attachments(rows: list[list[object]], body: bytes, at: int) -> tuple[EmbeddedFile, ...]:
    attachments = []
    for name, size in rows:
        if not isinstance(size, int) or not 0 <= size <= len(body) - at:
            raise ValueError("an attachment is not all there")
        attachments.append(EmbeddedFile(str(name), body[at : at + size]))
        at += size
    if at != len(body):
        raise ValueError("bytes that nothing names")
    return tuple(attachments)


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
            kept[str(key)] = [str(entry) for entry in item]
    return kept
