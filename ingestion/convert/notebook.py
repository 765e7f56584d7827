"""Jupyter notebooks (.ipynb): Markdown as it is, code with its language, outputs in short."""

from __future__ import annotations

import json
import re
from typing import Any

from ingestion.convert import markdown
from ingestion.convert.archive import damaged
from ingestion.convert.document import BlockPlace, ConversionLimits, Converted, TextWriter, clean
from ingestion.convert.encoding import decode_text

MIME = "application/x-ipynb+json"

_OUTPUT = 4_000  # characters of one cell's output that are kept
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MARKS = (b'"cells"', b'"nbformat"')


def is_notebook(data: bytes) -> bool:
    """Whether `data` is JSON with the two names every notebook has."""
    return data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and all(
        mark in data for mark in _MARKS
    )


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The cells in their order."""
    try:
        book = json.loads(decode_text(data)[0])
        cells = book.get("cells")
        facts = book.get("metadata") or {}
        language = str((facts.get("kernelspec") or {}).get("language") or "")
        language = language or str((facts.get("language_info") or {}).get("name") or "")
    except (ValueError, AttributeError, RecursionError) as error:
        raise damaged() from error
    if not isinstance(cells, list):
        raise damaged()
    writer = TextWriter(limits)
    for number, cell in enumerate(cells, start=1):
        if isinstance(cell, dict):
            writer.place = BlockPlace("cell", number, number)
            _write_cell(cell, language, writer, limits)
    text, blocks = writer.finish()
    first = next((b for b in blocks if b.kind == "heading" and b.level == 1), None)
    title = facts.get("title")
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=title if isinstance(title, str) else first.heading_path[-1] if first else "",
        author=", ".join(_names(facts.get("authors"))),
        metadata={"programming_language": language} if language else {},
    )


def _write_cell(
    cell: dict[str, Any], language: str, writer: TextWriter, limits: ConversionLimits
) -> None:
    source = _joined(cell.get("source"))
    kind = cell.get("cell_type")
    if kind == "markdown":
        page = markdown.from_text(source, limits)
        if page.blocks:
            writer.include(page, place=writer.place)
    elif kind == "code" and source.strip():
        writer.add("code", fenced(source, language))
        for output in cell.get("outputs") or ():
            if isinstance(output, dict) and (said := _said(output)):
                writer.add("code", fenced(said, ""))
    else:
        writer.add("paragraph", source)


def fenced(code: str, language: str) -> str:
    """Code between fences that it does not hold itself."""
    code = clean(code).strip("\n")
    longest = max(map(len, re.findall(r"`+", code)), default=0) if "`" in code else 0
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{code}\n{ticks}"


def _said(output: dict[str, Any]) -> str:
    """An output's text: never its pictures, and of an error the last line."""
    if output.get("output_type") == "error":
        return f"{output.get('ename', 'Error')}: {output.get('evalue', '')}"[:500]
    data = output.get("data")
    text = _joined(output.get("text") or (data.get("text/plain") if isinstance(data, dict) else ""))
    text = _COLOURS.sub("", text).strip("\n")
    if text.startswith("<") and text.endswith(">") and "\n" not in text:
        return ""  # `<Figure size 640x480>`: the name of an object
    return text if len(text) <= _OUTPUT else f"{text[:_OUTPUT]}\n…"


def _joined(value: object) -> str:
    if isinstance(value, list):
        return "".join(str(item) for item in value)
    return value if isinstance(value, str) else ""


def _names(value: object) -> list[str]:
    if not isinstance(value, list):
        return []
    return [str(item.get("name") if isinstance(item, dict) else item) for item in value][:20]
