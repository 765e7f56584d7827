"""Delimited text: CSV with commas, semicolons, tabs or bars, in whatever encoding it came."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from ingestion.convert.document import ConversionLimits, Converted, TextWriter, clean
from ingestion.convert.encoding import decode_text, doubt
from ingestion.convert.sheets import Row, write_rows

MIME = "text/csv"

_DELIMITERS = ",;\t|"
_SAMPLE = 64 * 1024
_FIELD = 1_000_000  # characters of one cell
_NAMED = re.compile(r'"?sep=(.)"?\n', re.IGNORECASE)


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The rows as a table, its first row the header."""
    text, encoding = decode_text(data)
    text = clean(text)
    named = _NAMED.match(text)
    if named:
        text = text[named.end() :]
    delimiter = named[1] if named else sniff(text)
    rows = _Rows(text, delimiter, limits)
    writer = TextWriter(limits)
    write_rows(writer, rows, level=1)
    canonical, blocks = writer.finish()
    metadata: dict[str, str | int | float | bool | list[str]] = {}
    if encoding != "utf-8":
        metadata["encoding"] = encoding
    return Converted(
        text=canonical,
        blocks=blocks,
        mime="text/tab-separated-values" if delimiter == "\t" else MIME,
        metadata=metadata,
        notice=" ".join(filter(None, (rows.notice, doubt(data, encoding)))),
    )


def sniff(text: str) -> str:
    """The delimiter that cuts the first rows into the most even columns."""
    sample = text[:_SAMPLE]
    if len(text) > _SAMPLE:
        sample = sample[: sample.rfind("\n") + 1] or sample
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        if delimiter not in sample:
            continue
        try:
            widths = [
                len(row) for row in csv.reader(io.StringIO(sample), delimiter=delimiter) if row
            ]
        except csv.Error:
            continue
        if not widths:
            continue
        common = max(set(widths), key=lambda width: (widths.count(width), width))
        if common > 1:
            score = widths.count(common) / len(widths) * min(common, 4)
            if score > best_score:
                best, best_score = delimiter, score
    return best


class _Rows:
    """The rows of a file up to the limit, and what to say where it has more."""

    def __init__(self, text: str, delimiter: str, limits: ConversionLimits) -> None:
        self._text = text
        self._delimiter = delimiter
        self._limit = limits.rows
        self.notice = ""

    def __iter__(self) -> Iterator[Row]:
        csv.field_size_limit(_FIELD)
        number = 0
        for row in self._read():
            cells = [text.strip() for text in row]
            if not any(cells):
                continue
            number += 1
            if number > self._limit:
                self.notice = f"Only the first {self._limit:,} rows were read; split the file to get all of it."
                return
            yield number, cells

    def _read(self) -> Iterator[list[str]]:
        lines = io.StringIO(self._text, newline="\n")
        try:
            yield from csv.reader(lines, delimiter=self._delimiter)
        except csv.Error:  # a quote that is never closed: the rest is read line by line
            for line in lines:
                yield line.rstrip("\n").split(self._delimiter)
