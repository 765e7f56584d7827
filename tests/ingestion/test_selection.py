"""What a parser's options leave out of what is found; the text itself never changes."""

from __future__ import annotations

import re

import pytest

from ingestion.chunking import Chunking, split
from ingestion.convert.document import ConversionLimits
from ingestion.convert.markdown import from_text
from ingestion.selection import Selection, select

TEXT = """# Guide

Plain words.

```
code here
```

| a | b |
| --- | --- |
| cell | cell |

![a picture](p.png)

- item one
- item two
"""


def words(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def found(**options: bool) -> str:
    document = select(from_text(TEXT, ConversionLimits()), Selection(**options))
    assert document.text == TEXT
    spans = split(document, Chunking(size=200), words)
    return "\n".join(document.text[span.start : span.end] for span in spans)


@pytest.mark.parametrize(
    ("option", "gone"),
    [("code_blocks", "code here"), ("tables", "cell"), ("images", "a picture")],
)
def test_each_option_leaves_its_own_out_and_nothing_else(option: str, gone: str) -> None:
    parts = ["Guide", "Plain words", "code here", "cell", "a picture", "item two"]
    assert [part for part in parts if part not in found(**{option: False})] == [gone]
    assert all(part in found() for part in parts)


def test_without_formatting_nothing_stands_under_a_heading() -> None:
    document = select(from_text(TEXT, ConversionLimits()), Selection(formatting=False))
    kinds = [block.kind for block in document.blocks]
    assert set(kinds) == {"paragraph", "code", "table"}
    assert all(block.heading_path == () for block in document.blocks)
