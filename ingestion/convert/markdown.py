"""Markdown, kept as people wrote it: this only marks where its blocks begin and end.

A scanner by line, not a CommonMark parser: what matters is where a text may be cut. Front matter
and templates' comments become `hidden` blocks. Lines that hold nothing but template tags (Liquid,
Jinja, Nunjucks, shortcodes) or `<br>` belong to no block; inside a sentence only tags that quote something stay (`residue.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from ingestion.convert.document import (
    Block,
    BlockKind,
    ConversionLimits,
    Converted,
    Outline,
    clean,
    too_many_blocks,
    too_much_text,
)
from ingestion.convert.encoding import decode_text, doubt
from ingestion.convert.residue import without_residue

MIME = "text/markdown"

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)(.*)")
_CLOSING = re.compile(r"(?:^|[ \t])#+[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r"([ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(`{3,}|~{3,})([^`]*)$")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)")
_DELIMITER_ROW = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_TAGS = re.compile(
    r"[ \t]*(?:\{%[^%]*%\}[ \t]*|\{#.*?#\}[ \t]*|\{\{[^{}]*\}\}[ \t]*|</?br[ ]*/?>[ \t]*)+$",
    re.IGNORECASE,
)
_TAG_OPENS = re.compile(r"[ \t]*\{%(?:(?!%\}).)*$")
_INLINE_TAG = re.compile(r"\{%-?\s*(\w+)?\s*(?:\"([^\"]*)\"|'([^']*)')?.*?%\}", re.DOTALL)
_COMMENT_BEGINS = re.compile(r"[ \t]*\{%-?\s*comment\b")
_COMMENT_ENDS = re.compile(r"\{%-?\s*endcomment\s*-?%\}")
_LINK = re.compile(r"!?\[([^\]\[]*)\](?:\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\]]*\])")
_EMPHASIS = re.compile(r"(\*{1,3}|(?<!\w)_{1,3}|`+|~~)(?=\S)(.+?)(?<=\S)\1(?!(?<=_)\w)")
_MARKED = re.compile(r"[\[*_`~<\\{]")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_HTML_TAG = re.compile(r"</?[A-Za-z][^<>]*>")

_FRONT_MATTER_LINES = 400
_TAG_LINES = 12  # lines one template tag may span


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The file's own text, decoded and with line feeds only, its blocks marked."""
    text, encoding = decode_text(data)
    document = from_text(text, limits, encoding=encoding)
    return replace(document, notice=doubt(data, encoding))


def from_text(text: str, limits: ConversionLimits, *, encoding: str = "utf-8") -> Converted:
    """Mark the blocks of Markdown that is text already."""
    text = clean(text)
    if len(text) > limits.text_chars:
        raise too_much_text(limits)
    facts, body = read_front_matter(text)
    text = without_residue(text, body)
    scanner = _MarkdownScanner(text, body, limits)
    blocks = scanner.scan()
    if body:
        blocks.insert(0, Block("hidden", 0, len(text[:body].rstrip()), 0, None, ()))
    title = facts.pop("title", "") or _first_title(blocks)
    author = facts.pop("author", "")
    language = facts.pop("lang", "") or facts.pop("language", "")
    metadata: dict[str, str | int | float | bool | list[str]] = {
        key: value for key, value in facts.items() if value not in ("", [])
    }
    if encoding != "utf-8":
        metadata["encoding"] = encoding
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=title if isinstance(title, str) else ", ".join(title),
        author=author if isinstance(author, str) else ", ".join(author),
        created_at=_moment(facts, "created", "created_at", "date"),
        updated_at=_moment(facts, "updated", "updated_at", "last_updated", "modified", "lastmod"),
        language=language.lower() if isinstance(language, str) else "",
        metadata=metadata,
    )


def plain_inline(text: str) -> str:
    """One line of Markdown as it reads: no emphasis, no link targets, no template tags."""
    if _MARKED.search(text):
        text = _INLINE_TAG.sub(lambda m: m[2] or m[3] or "", text)
        text = _LINK.sub(lambda m: m[1], text)
        for _ in range(2):  # emphasis within emphasis
            text = _EMPHASIS.sub(lambda m: m[2], text)
        text = _HTML_TAG.sub("", text)
        text = _ESCAPED.sub(lambda m: m[1], text)
    return " ".join(text.split())


def read_front_matter(text: str) -> tuple[dict[str, str | list[str]], int]:
    """The scalars and lists of YAML front matter, and the offset of what follows it.

    Only the first level is read and nothing is evaluated: anchors, tags and nesting are passed by.
    """
    if not text.startswith("---"):
        return {}, 0
    lines = text.split("\n", _FRONT_MATTER_LINES)[:_FRONT_MATTER_LINES]
    if lines[0].rstrip() != "---":
        return {}, 0
    end = next((i for i, line in enumerate(lines[1:], 1) if line.rstrip() in ("---", "...")), None)
    inner = lines[1:end]
    if end is None or not all(_FRONT_LINE.match(line) for line in inner):
        return {}, 0
    facts: dict[str, str | list[str]] = {}
    key = ""
    for line in inner:
        if match := _KEY.match(line):
            key, value = match[1].strip().lower(), (match[2] or "").strip()
            if value.startswith("[") and value.endswith("]"):
                facts[key] = [_unquote(v) for v in value[1:-1].split(",") if v.strip()]
            else:
                facts[key] = "" if value[:1] in ("|", ">", "&", "*", "!", "{") else _unquote(value)
        elif key and (match := _LIST_ITEM.match(line)):
            held = facts.get(key)
            facts[key] = [*(held if isinstance(held, list) else []), _unquote(match[1])]
    offset = sum(len(line) + 1 for line in lines[: end + 1])
    return facts, min(offset, len(text))


_FRONT_LINE = re.compile(r"\s|#|-|$|[^\s#:][^:]*:(?:\s|$)")
_KEY = re.compile(r"([^\s#:-][^:]*):(?:\s+(.*)|\s*)$")
_LIST_ITEM = re.compile(r"\s*-\s+(?!\w+:\s)(.*)$")


def _unquote(value: str | None) -> str:
    value = (value or "").strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return re.sub(r"\s+#.*$", "", value)


def _moment(facts: dict[str, str | list[str]], *keys: str) -> datetime | None:
    for key in keys:
        value = facts.get(key)
        if isinstance(value, str) and value:
            try:
                moment = datetime.fromisoformat(value.strip())
            except ValueError:
                continue
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    return None


def _first_title(blocks: list[Block]) -> str:
    first = next((b for b in blocks if b.kind == "heading"), None)
    return first.heading_path[-1] if first and first.level == 1 else ""


class _MarkdownScanner:
    """Walks the lines once; each method takes the line a block begins on and returns its end."""

    def __init__(self, text: str, offset: int, limits: ConversionLimits) -> None:
        self._limits = limits
        self._lines = text[offset:].split("\n")
        starts = [offset]
        for line in self._lines:
            starts.append(starts[-1] + len(line) + 1)
        self._starts = starts
        self._outline = Outline()
        self._blocks: list[Block] = []

    def scan(self) -> list[Block]:
        at = 0
        count = len(self._lines)
        while at < count:
            line = self._lines[at]
            at = at + 1 if not line or line.isspace() else self._block(at, line)
        return self._blocks

    def _block(self, at: int, line: str) -> int:  # noqa: PLR0911 (one return a kind of block)
        first = line.lstrip()[0]
        if first == "#" and (match := _ATX.match(line)):
            title = plain_inline(_CLOSING.sub("", match[2]) if "#" in match[2] else match[2])
            return self._heading(at, at + 1, len(match[1]), title)
        if ("```" in line or "~~~" in line) and (match := _FENCE.match(line)):
            return self._emit("code", at, self._fence_end(at, match[2]))
        if first == "{" and (end := self._template(at, line)) > at:
            return end
        if first == "<" and _TAGS.match(line):
            return at + 1
        if first == "<" and line.lstrip().startswith("<!--"):
            return self._emit("hidden", at, self._until(at, "-->"))
        if first in "-*_" and _RULE.match(line):
            return at + 1
        if self._is_table(at):
            return self._emit("table", at, self._table_end(at))
        if first == ">":
            return self._emit("quote", at, self._quote_end(at))
        if _ITEM.match(line):
            return self._emit("list", at, self._list_end(at))
        if line.startswith(("    ", "\t")):
            return self._emit("code", at, self._indented_end(at))
        return self._paragraph(at)

    def _emit(self, kind: BlockKind, at: int, end: int) -> int:
        last = end
        while last > at + 1 and not self._lines[last - 1].strip():
            last -= 1
        self._mark(
            Block(kind, self._starts[at], self._starts[last] - 1, 0, None, self._outline.path)
        )
        return end

    def _heading(self, at: int, end: int, level: int, title: str) -> int:
        path = self._outline.enter(level, title) if title else self._outline.path
        if title:
            start, stop = self._starts[at], self._starts[end] - 1
            self._mark(Block("heading", start, stop, level, None, path))
        return end

    def _mark(self, block: Block) -> None:
        if len(self._blocks) >= self._limits.blocks:
            raise too_many_blocks(self._limits)
        self._blocks.append(block)

    def _following(self, at: int) -> Iterator[tuple[int, str]]:
        for number in range(at + 1, len(self._lines)):
            yield number, self._lines[number]

    def _quote_end(self, at: int) -> int:
        for number, line in self._following(at):
            if line.lstrip()[:1] != ">":
                return number
        return len(self._lines)

    def _until(self, at: int, mark: str) -> int:
        for number in range(at, len(self._lines)):
            if mark in self._lines[number]:
                return number + 1
        return at + 1  # never closed: only this line is taken

    def _fence_end(self, at: int, fence: str) -> int:
        closing = re.compile(rf"[ \t]*{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$")
        for number, line in self._following(at):
            if closing.match(line):
                return number + 1
        return len(self._lines)

    def _template(self, at: int, line: str) -> int:
        """The end of template lines that begin here, or `at` where they are part of a sentence."""
        if _COMMENT_BEGINS.match(line):
            for number in range(at, len(self._lines)):
                if match := _COMMENT_ENDS.search(self._lines[number]):
                    if self._lines[number][match.end() :].strip():
                        return at  # text continues after it: a comment within a sentence
                    return self._emit("hidden", at, number + 1)
            return at
        if _TAGS.match(line):
            return at + 1
        if _TAG_OPENS.match(line):
            for number, later in self._following(at):
                if number - at > _TAG_LINES:
                    break
                if "%}" in later:
                    return number + 1 if not later.split("%}", 1)[1].strip() else at
        return at

    def _is_table(self, at: int) -> bool:
        if at + 1 >= len(self._lines) or "|" not in self._lines[at]:
            return False
        delimiter = self._lines[at + 1]
        return (
            "-" in delimiter
            and ("|" in delimiter or ":" in delimiter)
            and _DELIMITER_ROW.match(delimiter) is not None
        )

    def _table_end(self, at: int) -> int:
        for number, line in self._following(at):
            if not line.strip() or (number > at + 1 and "|" not in line):
                return number
        return len(self._lines)

    def _list_end(self, at: int) -> int:
        """Items and what is indented under them; ends before unindented text and before a fence."""
        lines, number, blank = self._lines, at + 1, False
        while number < len(lines):
            line = lines[number]
            if not line or line.isspace():
                blank = True
                number += 1
                continue
            if _FENCE.match(line):
                return number  # a block of its own, so that it is never cut within
            indented = line[0] in " \t"
            continues = indented or (_ITEM.match(line) and not _RULE.match(line))
            if not continues and (blank or self._interrupts(number, line)):
                return number
            blank = False
            number += 1
        return number

    def _indented_end(self, at: int) -> int:
        end = at + 1
        for number, line in self._following(at):
            if not line.strip():
                continue
            if not line.startswith(("    ", "\t")):
                break
            end = number + 1
        return end

    def _interrupts(self, number: int, line: str) -> bool:
        """Whether a line begins something else than the paragraph it follows."""
        first = line.lstrip()[:1]
        return (
            (first == "#" and _ATX.match(line) is not None)
            or (first in "`~" and _FENCE.match(line) is not None)
            or first == ">"
            or (
                first in {"{", "<"}
                and (_TAGS.match(line) or _COMMENT_BEGINS.match(line)) is not None
            )
            or (first in "*-_" and _RULE.match(line) is not None)
            or (first == "<" and line.lstrip().startswith("<!--"))
            or ("|" in line and self._is_table(number))
        )

    def _paragraph(self, at: int) -> int:
        for number, line in self._following(at):
            if not line or line.isspace():
                return self._emit("paragraph", at, number)
            if match := _SETEXT.match(line):
                title = plain_inline(" ".join(self._lines[at:number]))
                return self._heading(at, number + 1, 1 if match[1][0] == "=" else 2, title)
            if self._interrupts(number, line) or (_ITEM.match(line) and line.strip()[1:].strip()):
                return self._emit("paragraph", at, number)
        return self._emit("paragraph", at, len(self._lines))
