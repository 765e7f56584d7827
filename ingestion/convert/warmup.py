"""Runs every reader once, so that nothing is left to import when a file comes.

A child that parses can open no file any more: tables of encodings and modules that load on first
use must be there before.
"""

from __future__ import annotations

import codecs

from ingestion.convert.document import ConversionError, Limits
from ingestion.convert.encoding import GUESSED
from ingestion.convert.formats import FORMATS

_ENCODINGS = (
    *GUESSED,
    *("ascii", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"),
    *("latin-1", "iso8859-2", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8", "iso8859-9"),
    *(
        "iso8859-15",
        "cp437",
        "cp850",
        "cp866",
        "cp874",
        "cp1257",
        "cp1258",
        "mac-roman",
        "big5hkscs",
    ),
    *(
        "gb2312",
        "gbk",
        "hz",
        "johab",
        "koi8_u",
        "tis_620",
        "euc_jis_2004",
        "idna",
        "unicode_escape",
    ),
)


def warm_up() -> None:
    """Load what the readers load late."""
    for name in _ENCODINGS:
        codecs.lookup(name)
    for known in FORMATS:
        for sample in known.samples:
            try:
                known.convert(sample, Limits())
            except ConversionError:
                continue
