"""Runs every reader once, so that nothing is left to import when a file comes.

A child that parses can open no file any more: tables of encodings and modules that load on first
use must be there before.
"""

from __future__ import annotations

import codecs
import contextlib
import encodings
import pkgutil

from ingestion.convert.document import ConversionError, ConversionLimits
from ingestion.convert.formats import FORMATS


def warm_up() -> None:
    """Load what the readers load late."""
    for module in pkgutil.iter_modules(encodings.__path__):  # any may be declared by a file
        with contextlib.suppress(LookupError, ImportError):  # mbcs is Windows' own
            codecs.lookup(module.name)
    for known in FORMATS:
        for sample in known.samples:
            with contextlib.suppress(ConversionError):
                known.convert(sample, ConversionLimits())
