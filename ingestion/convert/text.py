"""Plain text, kept as people wrote it: paragraphs are what empty lines part."""

from __future__ import annotations

import re

from ingestion.convert.document import (
    Block,
    ConversionLimits,
    Converted,
    clean,
    too_many_blocks,
    too_much_text,
)
from ingestion.convert.encoding import decode_text, doubt

MIME = "text/plain"

# From the beginning of a line alone: a megabyte of blanks would be tried from each of them.
_LINE = r"(?=[^\S\n]*+\S)[^\n]++"
_PARAGRAPH = re.compile(rf"^{_LINE}(?:\n{_LINE})*+", re.MULTILINE)


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The file's own text, decoded and with line feeds only."""
    text, encoding = decode_text(data)
    text = clean(text)
    if len(text) > limits.text_chars:
        raise too_much_text(limits)
    blocks = [Block("paragraph", m.start(), m.end()) for m in _PARAGRAPH.finditer(text)]
    if len(blocks) > limits.blocks:
        raise too_many_blocks(limits)
    metadata = {} if encoding == "utf-8" else {"encoding": encoding}
    return Converted(
        text=text, blocks=blocks, mime=MIME, metadata=metadata, notice=doubt(data, encoding)
    )
