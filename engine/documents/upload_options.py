"""How one upload is to be read, beside what the pipeline says: kept with the document. Pure.

Doors put the two choices into `NewDocument`; they stay in the document's details, so that whatever
reads it again does so in the same way. `ingestion/upload_pipeline.py` makes them come true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from engine.errors import InvalidInput

KEY = "upload_options"  # in a document's details; what a file says of itself never goes under it


class ExtractionStrategy(StrEnum):
    """How much of a file is taken.

    `standard`: what the pipeline takes. `comprehensive`: all that was read, so also code, tables,
    images' captions and structure where the pipeline leaves them out, front matter and comments.
    """

    STANDARD = "standard"
    COMPREHENSIVE = "comprehensive"


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """What an upload asked for. `quality_control` flags faulty chunks and leaves none out."""

    extraction_strategy: ExtractionStrategy = ExtractionStrategy.STANDARD
    quality_control: bool = False


AS_THE_PIPELINE_SAYS = UploadOptions()


def parse_options(extraction_strategy: str, *, quality_control: bool) -> UploadOptions:
    """The options as a door was given them; an empty strategy is the standard one."""
    try:
        strategy = ExtractionStrategy(extraction_strategy or ExtractionStrategy.STANDARD)
    except ValueError:
        raise InvalidInput(
            f"No extraction strategy {extraction_strategy!r}. Allowed:"
            f" {', '.join(ExtractionStrategy)}.",
            field="extraction_strategy",
        ) from None
    return UploadOptions(strategy, quality_control)


def details_of(options: UploadOptions) -> dict[str, Any]:
    """What a document's details hold of them: nothing where nothing was asked for."""
    if options == AS_THE_PIPELINE_SAYS:
        return {}
    return {
        KEY: {
            "extraction_strategy": str(options.extraction_strategy),
            "quality_control": options.quality_control,
        }
    }


def kept_options(details: Mapping[str, Any]) -> UploadOptions:
    """The options that `details_of` put into a document's details."""
    kept = details.get(KEY, {})
    return UploadOptions(
        ExtractionStrategy(kept.get("extraction_strategy", ExtractionStrategy.STANDARD)),
        bool(kept.get("quality_control", False)),
    )
