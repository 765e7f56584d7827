"""The formats Scrubjay reads, and `convert()`, which tells them apart by content.

A format is one module with `convert(data, limits)` and one line in `FORMATS`. What a file is
called only decides among the text formats, which have no signature of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ingestion.convert import docx, html, markdown, pdf, text
from ingestion.convert.document import ConversionError, Converted, Limits
from ingestion.convert.refusals import refuse


@dataclass(frozen=True, slots=True)
class Format:
    """A type of file: `is_it` looks at the first bytes, None where only the name can tell."""

    name: str
    suffixes: tuple[str, ...]
    mime: str
    is_it: Callable[[bytes], bool] | None
    convert: Callable[[bytes, Limits], Converted]
    samples: tuple[bytes, ...] = ()  # small files that make the reader load all it needs


_PAGE = b"<!doctype html><title>A</title><h1>A</h1><p>B <a href='http://c/'>c</a><table></table>"
_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>"
    b"endobj 3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F"
    b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj 4 0 obj<</Length 32>>stream\n"
    b"BT /F 9 Tf 9 9 Td (Warm up) Tj ET\nendstream endobj trailer<</Root 1 0 R>>"
)

# One line a format. Those with a signature are asked in this order; the last one takes what text
# is left over.
FORMATS: tuple[Format, ...] = (
    Format("PDF", (".pdf",), pdf.MIME, pdf.is_pdf, pdf.convert, (_PDF,)),
    Format(
        "Word", (".docx", ".docm", ".dotx"), docx.MIME, docx.is_docx, docx.convert, (docx.sample(),)
    ),
    Format("HTML", (".html", ".htm", ".xhtml"), html.MIME, html.is_html, html.convert, (_PAGE,)),
    Format(
        "Markdown",
        (".md", ".markdown", ".mdown", ".mdx"),
        markdown.MIME,
        None,
        markdown.convert,
        (b"# A",),
    ),
    Format(
        "plain text",
        (".txt", ".text", ".log", ".rst", ".csv", ".tsv", ".adoc", ".org", ""),
        text.MIME,
        None,
        text.convert,
        (b"A", "ähnlich wäre es möglich".encode("cp1252")),
    ),
)


def convert(data: bytes, filename: str, limits: Limits | None = None) -> Converted:
    """The document in `data`; raises `ConversionError` with one sentence that says what to do.

    A page of nothing but front matter is no error: it has only hidden blocks, and so no chunks.
    """
    limits = limits or Limits()
    suffix = PurePosixPath(filename.replace("\\", "/")).suffix.lower()
    if not data:
        raise ConversionError("empty", "the file is empty: add one with content")
    if len(data) > limits.size_bytes:
        raise ConversionError(
            "too_large",
            f"the file has {len(data):,} bytes and the limit is {limits.size_bytes:,}: split it, or"
            " raise the limit in the settings",
        )
    found = detect(data, suffix)
    document = found.convert(data, limits)
    if not document.blocks:
        raise ConversionError("empty", "the file holds no text: add one with content")
    if suffix not in found.suffixes:
        facts: Mapping[str, str | int | float | bool | list[str]] = {
            **document.metadata,
            "read_as": found.name,
        }
        document = replace(document, metadata=facts)
    return document


def detect(data: bytes, suffix: str) -> Format:
    """The format of `data`; a signature in the bytes goes before the name's ending.

    Raises `ConversionError` on a type that is known and not read, and on what is no text.
    """
    for known in FORMATS:
        if known.is_it is not None and known.is_it(data):
            return known
    refuse(data, suffix)
    for known in FORMATS:
        if suffix in known.suffixes and known.is_it in {None, html.is_html}:
            return known
    return FORMATS[-1]
