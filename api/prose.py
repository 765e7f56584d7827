"""Text of documents and answers as HTML: escaped, lightly formatted, with passages marked.

Only what Markdown shows of itself becomes structure: headings, lists, tables, code, emphasis.
Nothing is loaded and nothing can be clicked: a link shows its text and its address, an image its
description. Every character that is shown keeps its place in the source, so that a passage can be
marked by its offsets there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup, escape

_INLINE = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|!\[(?P<image>[^\]\n]{0,500}+)\]\([^)\n]{0,2000}+\)"
    r"|\[(?P<label>[^\]]{1,500}+)\]\((?P<address>[^)\s]{0,2000}+)[^)\n]{0,500}+\)"
    r"|\*\*(?P<strong>[^\n]+?)\*\*"
    r"|(?<![\w*])\*(?P<em>[^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])"
    r"|(?<![\w_])_(?P<i>[^\s_](?:[^_\n]*[^\s_])?)_(?![\w_])"
    r"|\[(?P<ref>\d{1,3})\]"
)
_HEADING = re.compile(r"(#{1,6})[ \t]+")
_ITEM = re.compile(r"([ \t]*)([-*+]|\d{1,9}[.)])[ \t]+")
_FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})")
_QUOTED = re.compile(r"[ \t]*>[ \t]?")
_RULE = re.compile(r"[ \t]*([-*_])([ \t]*\1){2,}[ \t]*$")
_MATTER = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|$)", re.DOTALL | re.MULTILINE)
_DIVIDER = re.compile(r"[\s|:-]+$")  # the line below a table's head


@dataclass(frozen=True, slots=True)
class Mark:
    """[start, end) of the source to be marked; a later mark lies over an earlier one."""

    start: int
    end: int
    kind: str = ""


@dataclass(slots=True)
class _ProseWriter:
    """Writes spans of the source; knows where marks begin and end."""

    text: str
    marks: Sequence[Mark]
    refs: Collection[int]
    anchor: str = "cite"
    out: list[str] = field(default_factory=list)
    is_marked: bool = False

    def plain(self, start: int, end: int) -> None:
        """The characters [start, end), escaped, marked where they are to be."""
        cuts = {start, end}
        for mark in self.marks:
            cuts |= {at for at in (mark.start, mark.end) if start < at < end}
        for left, right in pairwise(sorted(cuts)):
            shown = str(escape(self.text[left:right]))
            over = [mark for mark in self.marks if mark.start <= left and right <= mark.end]
            if not over:
                self.out.append(shown)
                continue
            first = "" if self.is_marked else ' id="passage" tabindex="-1"'
            kind = f' class="{over[-1].kind}"' if over[-1].kind else ""
            self.is_marked = True
            self.out.append(f"<mark{first}{kind}>{shown}</mark>")

    def inline(self, start: int, end: int) -> None:
        """The line or lines [start, end) with emphasis, code and links."""
        at = start
        for found in _INLINE.finditer(self.text, start, end):
            if found["ref"] is not None and int(found["ref"]) not in self.refs:
                continue
            self.plain(at, found.start())
            self._token(found)
            at = found.end()
        self.plain(at, end)

    def _token(self, found: re.Match[str]) -> None:
        if found["ref"] is not None:
            n = int(found["ref"])
            self.out.append(
                f'<a class="ref" href="#{self.anchor}-{n}" aria-label="Citation {n}">{n}</a>'
            )
            return
        kind = found.lastgroup or ""
        kind = "label" if kind == "address" else kind
        if kind == "label":
            self.out.append(f'<span class="link" title="{escape(found["address"])}">')
            self.inline(*found.span("label"))
            self.out.append("</span>")
        elif kind == "image":
            self.out.append('<span class="image">')
            self.plain(*found.span("image"))
            self.out.append("</span>")
        elif kind == "code":
            self.out.append("<code>")
            self.plain(*found.span("code"))
            self.out.append("</code>")
        else:
            self.out.append(f"<{kind}>")
            self.inline(*found.span(kind))
            self.out.append(f"</{kind}>")


def render_prose(
    text: str,
    *,
    marks: Sequence[Mark] = (),
    refs: Collection[int] = frozenset(),
    anchor: str = "cite",
) -> Markup:
    """`text` as HTML; `[n]` of a number in `refs` leads to the element `cite-n`, or `anchor`'s."""
    writer = _ProseWriter(text, marks, refs, anchor)
    lines = list(_lines(text))
    at = _matter(writer, lines)
    while at < len(lines):
        at = _block(writer, lines, at)
    return Markup("".join(writer.out))  # noqa: S704 (all text went through escape)


Line = tuple[int, int]


def _matter(writer: _ProseWriter, lines: Sequence[Line]) -> int:
    """Write a Markdown file's front matter, folded; returns the line after."""
    found = _MATTER.match(writer.text)
    if found is None:
        return 0
    writer.out.append("<details><summary>About this file</summary><pre><code>")
    writer.plain(*found.span(1))
    writer.out.append("</code></pre></details>")
    return sum(start < found.end() for start, _ in lines)


def _lines(text: str) -> Iterator[Line]:
    start = 0
    for line in text.splitlines(keepends=True):
        yield start, start + len(line.rstrip("\r\n"))
        start += len(line)


def _block(writer: _ProseWriter, lines: Sequence[Line], at: int) -> int:  # noqa: PLR0911 (a table)
    """Write the block that begins at a line; returns the line after it."""
    text = writer.text
    start, end = lines[at]
    line = text[start:end]
    if not line.strip():
        return at + 1
    if _FENCE.match(line):
        return _fence(writer, lines, at)
    if found := _HEADING.match(line):
        level = min(len(found[1]) + 1, 6)  # h1 is the page's own
        writer.out.append(f"<h{level}>")
        stripped = len(line.rstrip().rstrip("#").rstrip())
        writer.inline(start + found.end(), start + max(found.end(), stripped))
        writer.out.append(f"</h{level}>")
        return at + 1
    if _RULE.match(line):
        writer.out.append("<hr>")
        return at + 1
    if line.lstrip().startswith("|") and line.count("|") > 1:
        return _table(writer, lines, at)
    if _ITEM.match(line):
        return _list(writer, lines, at)
    if line.lstrip().startswith(">"):
        return _quotation(writer, lines, at)
    end_at = _paragraph_end(writer, lines, at)
    writer.out.append("<p>")
    writer.inline(start, lines[end_at - 1][1])
    writer.out.append("</p>")
    return end_at


def _paragraph_end(writer: _ProseWriter, lines: Sequence[Line], at: int) -> int:
    """The line after the one at `at` and those that continue its paragraph."""
    at += 1
    while at < len(lines) and not _starts_block(writer.text[slice(*lines[at])]):
        at += 1
    return at


def _starts_block(line: str) -> bool:
    return bool(
        not line.strip()
        or _FENCE.match(line)
        or _HEADING.match(line)
        or _ITEM.match(line)
        or line.lstrip().startswith(("|", ">"))
    )


def _quotation(writer: _ProseWriter, lines: Sequence[Line], at: int) -> int:
    """Consecutive lines of a quotation, each without its prefix."""
    writer.out.append("<blockquote>")
    first = at
    while at < len(lines):
        start, end = lines[at]
        found = _QUOTED.match(writer.text, start, end)
        if found is None:
            break
        if at > first:
            writer.out.append("\n")
        writer.inline(found.end(), end)
        at += 1
    writer.out.append("</blockquote>")
    return at


def _fence(writer: _ProseWriter, lines: Sequence[Line], at: int) -> int:
    found = _FENCE.match(writer.text[slice(*lines[at])])
    fence = found[1] if found else "```"
    writer.out.append('<pre tabindex="0"><code>')
    at += 1
    while at < len(lines):
        start, end = lines[at]
        at += 1
        if writer.text[start:end].strip().startswith(fence):
            break
        writer.plain(start, end)
        writer.out.append("\n")
    writer.out.append("</code></pre>")
    return at


def _list(writer: _ProseWriter, lines: Sequence[Line], at: int) -> int:
    """Items, nested by their indent; a line that begins no block belongs to the item above."""
    writer.out.append("<ul>")
    numbers: dict[int, int] = {}  # by depth: many write 1. before every item
    while at < len(lines):
        start, end = lines[at]
        found = _ITEM.match(writer.text[start:end])
        if found is None:
            break
        depth = min(len(found[1].expandtabs(4)) // 2, 4)
        numbers = {deep: number for deep, number in numbers.items() if deep <= depth}
        if found[2][0].isdigit():
            numbers[depth] = numbers.get(depth, int(found[2][:-1]) - 1) + 1
            writer.out.append(
                f'<li class="d{depth} numbered"><span class="number">{numbers[depth]}.</span> '
            )
        else:
            writer.out.append(f'<li class="d{depth}">')
        at = _paragraph_end(writer, lines, at)
        writer.inline(start + found.end(), lines[at - 1][1])
        writer.out.append("</li>")
    writer.out.append("</ul>")
    return at


def _table(writer: _ProseWriter, lines: Sequence[Line], at: int) -> int:
    text = writer.text
    writer.out.append('<div class="table" tabindex="0"><table>')
    first = at
    while at < len(lines):
        start, end = lines[at]
        line = text[start:end]
        if not line.lstrip().startswith("|"):
            break
        if not _DIVIDER.fullmatch(line):
            tag = "th" if at == first else "td"
            writer.out.append("<tr>")
            for left, right in _cells(text, start, end):
                writer.out.append(f"<{tag}>")
                writer.inline(left, right)
                writer.out.append(f"</{tag}>")
            writer.out.append("</tr>")
        at += 1
    writer.out.append("</table></div>")
    return at


def _cells(text: str, start: int, end: int) -> Iterator[Line]:
    """The cells of a table's line, without the white space around them."""
    bars = [at for at in range(start, end) if text[at] == "|" and text[at - 1 : at] != "\\"]
    edges = bars if len(text[bars[-1] + 1 : end].strip()) == 0 else [*bars, end]
    for bar, following in pairwise(edges):
        left, right = bar + 1, following
        while left < right and text[left].isspace():
            left += 1
        while right > left and text[right - 1].isspace():
            right -= 1
        yield left, right
