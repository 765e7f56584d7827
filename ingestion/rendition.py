"""A parsed document as Markdown, HTML or JSON, for components that want it whole. Pure.

Parser calls it where a setup names an `output_format`. What is hidden or not taken is not in it.
Marks inside a line (`*bold*`, links) stay as the reader wrote them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from typing import Any, Literal

from ingestion.convert.document import Block, Converted

Format = Literal["html", "json", "markdown"]

_ATX = re.compile(r"#{1,6}\s+")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*\n?")
_ITEM = re.compile(r"([ \t]*)(?:[-*+]|(\d{1,9})[.)])[ \t]+(.*)")
_RULE = re.compile(r"\|?[\s:|-]+\|?")
_CELLS = re.compile(r"(?<!\\)\|")
_UNDERLINE = re.compile(r"([^\w\s])\1{2,}")  # of a heading in RST, or a line above it


def render(document: Converted, output_format: Format) -> str:
    """The document's content in one of the formats; JSON is `{"title": …, "blocks": [{…}]}`."""
    if output_format == "json":
        blocks = [_as_json(document.text, block) for block in _shown(document)]
        return json.dumps({"title": document.title, "blocks": blocks}, ensure_ascii=False)
    one = _as_html if output_format == "html" else _as_markdown
    between = "\n" if output_format == "html" else "\n\n"
    shown = (one(block, document.text[block.start : block.end]) for block in _shown(document))
    return between.join(shown) + "\n"


def _shown(document: Converted) -> Iterator[Block]:
    return (block for block in document.blocks if block.kind != "hidden")


def _as_json(text: str, block: Block) -> dict[str, Any]:
    known: dict[str, Any] = {
        "kind": block.kind,
        "level": block.level,
        "page": block.page,
        "path": list(block.heading_path),
        "place": asdict(block.place) if block.place else None,
        "start": block.start,
        "end": block.end,
        "text": text[block.start : block.end],
    }
    return {
        key: value for key, value in known.items() if value not in (None, [], 0) or key == "start"
    }


def _as_markdown(block: Block, text: str) -> str:
    if block.kind == "heading":
        return f"{'#' * min(block.level, 6)} {_title(text)}"
    if block.kind == "code" and not _FENCE.match(text):
        runs = [len(run) for run in re.findall(r"`{3,}", text)]
        fence = "`" * (max(runs, default=2) + 1)
        return f"{fence}\n{text}\n{fence}"
    return text


def _as_html(block: Block, text: str) -> str:
    match block.kind:
        case "heading":
            level = min(block.level, 6)
            return f"<h{level}>{escape(_title(text))}</h{level}>"
        case "code":
            return _code(text)
        case "table":
            return _table(text)
        case "list":
            return _list(text)
        case "quote":
            lines = [re.sub(r"^[ \t]*> ?", "", line) for line in text.splitlines()]
            said = escape("\n".join(lines))
            return f"<blockquote>{said}</blockquote>"
        case _:
            return f"<p>{escape(text)}</p>"


def _title(text: str) -> str:
    """A heading's words, however its format marks it."""
    lines = [line.strip() for line in text.splitlines()]
    words = " ".join(line for line in lines if line and not _UNDERLINE.fullmatch(line))
    return _ATX.sub("", words or text.strip(), count=1)


def _code(text: str) -> str:
    fence = _FENCE.match(text)
    language = ""
    if fence is not None:
        text = text[fence.end() :]
        last = text.rpartition("\n")
        if last[2].strip() == fence[1]:
            text = last[0]
        language = f' class="language-{escape(fence[2])}"' if fence[2] else ""
    return f"<pre><code{language}>{escape(text)}</code></pre>"


def _table(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not all("|" in line for line in lines):
        return f"<pre>{escape(text)}</pre>"  # drawn in another way than with pipes
    has_head = len(lines) > 1 and _RULE.fullmatch(lines[1]) is not None
    rows = [lines[0], *lines[2:]] if has_head else lines
    written = []
    for number, line in enumerate(rows):
        cell = "th" if has_head and number == 0 else "td"
        cells = _CELLS.split(line.removeprefix("|").removesuffix("|"))
        words = [escape(cell.strip().replace(r"\|", "|")) for cell in cells]
        written.append("<tr>" + "".join(f"<{cell}>{w}</{cell}>" for w in words) + "</tr>")
    return f"<table>{''.join(written)}</table>"


def _list(text: str) -> str:
    """Nested lists by their indent; a line that begins no item continues the one before."""
    out: list[str] = []
    stack: list[tuple[int, str]] = []
    for line in filter(str.strip, text.splitlines()):
        item = _ITEM.fullmatch(line)
        if item is None:
            out.append(f" {escape(line.strip())}")
            continue
        indent = len(item[1].expandtabs(4))
        kind, other = ("ol", "ul") if item[2] else ("ul", "ol")
        while stack and (stack[-1][0] > indent or stack[-1] == (indent, other)):
            out.append(f"</li></{stack.pop()[1]}>")
        if stack and stack[-1][0] == indent:
            out.append("</li>")
        else:
            out.append(f"<{kind}>")
            stack.append((indent, kind))
        out.append(f"<li>{escape(item[3])}")
    out += [f"</li></{kind}>" for _, kind in reversed(stack)]
    return "".join(out).strip()
