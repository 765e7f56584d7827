"""What a caller wants found, of what may be found at all: the one model of a search's filters.

`engine/search/filters.py` parses it from what people and programs say; `index_filter.py` makes a
`Filter` of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class FieldCondition:
    """What a document's own field must hold: one of some values, all of some words, or a number.

    Values are as `engine/custom_fields.py` looks them up. `low` and `high` are included.
    """

    name: str
    any_of: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class SearchFilters:
    """What else the caller wants left out, beyond what may not be seen; None means no restriction.

    `sources` are kinds, names or ids of sources; `channels` names or ids of channels; an author
    passes who has all the words of one of `authors` in the name. Every one of `fields` must hold.
    """

    document_ids: Collection[str] | None = None
    languages: Collection[str] | None = None
    sources: Collection[str] | None = None
    tags: Collection[str] | None = None
    updated_from: datetime | None = None
    updated_before: datetime | None = None
    include_hidden: bool = False
    authors: Collection[str] | None = None
    channels: Collection[str] | None = None
    fields: tuple[FieldCondition, ...] = ()
