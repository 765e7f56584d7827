"""The formats Scrubjay reads, and `convert()`, which tells them apart by content.

A format is one module with `convert(data, limits)` and one line in `FORMATS`. What a file is
called only decides among the text formats, which have no signature of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ingestion.convert import markdown, text
from ingestion.convert.document import ConversionError, Converted, Limits


@dataclass(frozen=True, slots=True)
class Format:
    """A type of file: `is_it` looks at the first bytes, None where only the name can tell."""

    name: str
    suffixes: tuple[str, ...]
    mime: str
    is_it: Callable[[bytes], bool] | None
    convert: Callable[[bytes, Limits], Converted]
    samples: tuple[bytes, ...] = ()  # small files that make the reader load all it needs


FORMATS: tuple[Format, ...] = (
    Format(
        "Markdown", (".md", ".markdown", ".mdown", ".mdx"), markdown.MIME, None, markdown.convert
    ),
    Format(
        "plain text",
        (".txt", ".text", ".log"),
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
    if suffix and suffix not in found.suffixes:
        facts: Mapping[str, str | int | float | bool | list[str]] = {
            **document.metadata,
            "read_as": found.name,
        }
        document = replace(document, metadata=facts)
    return document


def detect(data: bytes, suffix: str) -> Format:
    """The format of `data`; a signature in the bytes goes before the name's ending."""
    for known in FORMATS:
        if known.is_it is not None and known.is_it(data):
            return known
    for known in FORMATS:
        if known.is_it is None and suffix in known.suffixes:
            return known
    return FORMATS[-1]
