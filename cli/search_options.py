"""The options that narrow a search or an answer, shared by `ask` and `search`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from engine.access.search_filters import SearchFilters


class Sort(StrEnum):
    """Orders of hits."""

    RELEVANCE = "relevance"
    NEWEST = "newest"
    OLDEST = "oldest"


class FusionChoice(StrEnum):
    """How the two rankings are fused."""

    LINEAR = "linear"
    RRF = "rrf"


_DAY = "a year, month, day or time, e.g. 2026-03"
Since = Annotated[
    str, typer.Option(metavar="DATE", help=f"Only documents dated from then on: {_DAY}.")
]
Until = Annotated[
    str, typer.Option(metavar="DATE", help=f"Only documents dated until the end of: {_DAY}.")
]
Authors = Annotated[
    list[str] | None,
    typer.Option("--author", metavar="NAME", help="Only documents by this author."),
]
Channels = Annotated[
    list[str] | None, typer.Option("--channel", metavar="NAME", help="Only messages of a channel.")
]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source", metavar="SOURCE", help="Only documents of a source: its kind or name."
    ),
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="Only documents with this tag.")
]
Languages = Annotated[
    list[str] | None,
    typer.Option("--language", metavar="CODE", help="Only documents in this language, e.g. en."),
]
DocumentIds = Annotated[
    list[str] | None, typer.Option("--document", metavar="ID", help="Only this document.")
]
Metadata = Annotated[
    list[str] | None,
    typer.Option(
        "--meta",
        metavar="NAME=VALUE",
        help="Only documents whose own field has this value; numbers and dates also with <= and >=.",
    ),
]


def filters_of(
    since: str,
    until: str,
    authors: list[str] | None,
    channels: list[str] | None,
    sources: list[str] | None,
    tags: list[str] | None,
    languages: list[str] | None,
    documents: list[str] | None,
    metadata: list[str] | None,
) -> SearchFilters:
    """The filters that these options say; `InvalidInput` names the one that is wrong."""
    from engine.search.filters import parse_filters

    return parse_filters(
        since=since,
        until=until,
        author=authors or (),
        channel=channels or (),
        source=sources or (),
        tag=tags or (),
        language=languages or (),
        document=documents or (),
        metadata=metadata or (),
    )
