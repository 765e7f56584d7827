"""What of a document is taken: code, tables, images, formatting. Pure; Parser calls it.

The text stays as it is, so that offsets hold; what is not taken is marked hidden, which is neither
indexed nor cited. What a reader hides by itself (front matter, comments) are `asides`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ingestion.convert.document import Block, Converted

_IMAGES_ALONE = re.compile(r"(?:\s*!\[[^\]]*\]\([^)]*\)\s*)+")


@dataclass(frozen=True, slots=True)
class Selection:
    """What is taken of a document.

    Without `formatting` headings, lists and quotes count as plain paragraphs: nothing is cut along
    them, and no heading is above a passage.
    """

    code_blocks: bool = True
    tables: bool = True
    images: bool = True
    formatting: bool = True
    asides: bool = False


ALL = Selection()


def select(document: Converted, selection: Selection) -> Converted:
    """The same text with what is not selected hidden or plain."""
    if selection == ALL:
        return document
    return replace(
        document, blocks=[_selected(document.text, block, selection) for block in document.blocks]
    )


def _selected(text: str, block: Block, selection: Selection) -> Block:
    if block.kind == "hidden" and selection.asides:
        return replace(block, kind="paragraph")
    unwanted = (
        (block.kind == "code" and not selection.code_blocks)
        or (block.kind == "table" and not selection.tables)
        or (not selection.images and _is_images(text[block.start : block.end]))
    )
    if unwanted:
        return replace(block, kind="hidden")
    if not selection.formatting and block.kind != "hidden":
        kind = block.kind if block.kind in {"code", "table"} else "paragraph"
        return replace(block, kind=kind, level=0, heading_path=())
    return block


def _is_images(text: str) -> bool:
    return len(text) < 10_000 and _IMAGES_ALONE.fullmatch(text) is not None
