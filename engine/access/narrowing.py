"""The part of a search's filters that only SQL can tell, as the ids of the documents that pass.

`index_filter.py` hands them to the index, which leaves out all others before it ranks: so both
search indexes mean the same, and a change of metadata holds at once. Who may see a document is
decided elsewhere; nothing here is shown to anybody.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, String, and_, cast, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access.pseudonyms import is_unnamed
from engine.access.search_filters import FieldCondition, SearchFilters
from engine.db.json_arrays import array_value, items_of, json_items
from engine.db.tables import (
    Channel,
    Document,
    Identity,
    Live,
    Message,
    MessageSpan,
    Source,
    Workspace,
)
from engine.errors import InvalidInput

MOST = 200_000  # documents that may pass: their ids travel with the search


async def narrow(
    session: AsyncSession, tenant_id: str, kb_ids: Collection[str], wanted: SearchFilters
) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """The kinds of sources the index is to keep to, and the documents; None: no restriction."""
    kinds: frozenset[str] | None = None
    conditions: list[ColumnElement[bool]] = []
    if wanted.sources is not None:
        kinds, ids = await _sources(session, tenant_id, kb_ids, wanted.sources)
        if ids is not None:
            conditions.append(Document.source_id.in_(select(items_of(array_value(ids)))))
    if wanted.channels is not None:
        ids = await _channel_sources(session, tenant_id, wanted.channels)
        conditions.append(Document.source_id.in_(select(items_of(array_value(ids)))))
    if wanted.authors is not None:
        conditions.append(await _is_by(session, tenant_id, wanted.authors))
    conditions += [_holds(condition) for condition in wanted.fields]
    only = None if wanted.document_ids is None else frozenset(wanted.document_ids)
    if not conditions:
        return kinds, only
    found = await session.scalars(
        select(Document.id)
        .where(
            Document.tenant_id == tenant_id,
            Document.kb_id.in_(select(items_of(array_value(kb_ids)))),
            Document.deleted_at.is_(None),
            *conditions,
        )
        .limit(MOST + 1)
    )
    passing = frozenset(found)
    if only is not None:
        passing &= only
    if len(passing) > MOST:
        raise InvalidInput(
            f"More than {MOST:,} documents pass these filters: narrow them further.",
            field="filters",
        )
    return kinds, passing


async def _sources(
    session: AsyncSession, tenant_id: str, kb_ids: Collection[str], said: Collection[str]
) -> tuple[frozenset[str] | None, list[str] | None]:
    """Sources as kinds, where each of them names one, else as ids."""
    wanted = {item.casefold().strip() for item in said}
    rows = (
        await session.execute(
            select(Source.id, Source.kind, Source.name).where(
                Source.tenant_id == tenant_id,
                Source.kb_id.in_(select(items_of(array_value(kb_ids)))),
            )
        )
    ).all()
    kinds = {row.kind for row in rows}
    if wanted <= kinds:
        return frozenset(wanted), None
    return None, [
        row.id for row in rows if wanted & {row.id, row.kind, row.name.casefold().lstrip("#")}
    ]


async def _channel_sources(
    session: AsyncSession, tenant_id: str, said: Collection[str]
) -> list[str]:
    wanted = {item.casefold().strip().lstrip("#") for item in said}
    rows = await session.execute(
        select(Source.id, Channel.id, Channel.external_id, Channel.name)
        .join(Channel, Channel.id == Source.channel_id)
        .where(Source.tenant_id == tenant_id)
    )
    return [
        source_id
        for source_id, channel_id, external_id, name in rows
        if wanted & {channel_id, external_id.casefold(), name.casefold().lstrip("#")}
    ]


async def _is_by(
    session: AsyncSession, tenant_id: str, authors: Collection[str]
) -> ColumnElement[bool]:
    """A document by somebody of these names, or with a message of theirs.

    Where authors are not named, nobody is found by their name.
    """
    unnamed = await _unnamed_channels(session, tenant_id)
    known = Document.details["author"].as_string()
    written = (
        exists()
        .where(
            Live.document_id == Document.id,
            MessageSpan.revision_id == Live.revision_id,
            Message.id == MessageSpan.message_id,
            Message.deleted_at.is_(None),
            Message.channel_id.not_in(select(items_of(array_value(unnamed)))),
            or_(
                _named(Message.author_name, authors),
                exists()
                .where(
                    Channel.id == Message.channel_id,
                    Identity.workspace_id == Channel.workspace_id,
                    Identity.subject == Message.author,
                    _named(Identity.name, authors),
                )
                .correlate(Message),
            ),
        )
        .correlate(Document)
    )
    in_unnamed = (
        exists()
        .where(
            Source.id == Document.source_id,
            Source.channel_id.in_(select(items_of(array_value(unnamed)))),
        )
        .correlate(Document)
    )
    return or_(and_(_named(known, authors), ~in_unnamed), written)


async def _unnamed_channels(session: AsyncSession, tenant_id: str) -> list[str]:
    rows = await session.execute(
        select(Channel.id, Channel.settings, Workspace.settings)
        .join(Workspace, Workspace.id == Channel.workspace_id)
        .where(Channel.tenant_id == tenant_id)
    )
    return [id_ for id_, channel, workspace in rows if is_unnamed(workspace, channel)]


def _named(name: ColumnElement[str] | object, authors: Collection[str]) -> ColumnElement[bool]:
    """Whether a name has all the words of one of these, whatever their case."""
    column = cast(name, String)
    return or_(
        *(and_(*(_has(column, word) for word in author.split())) for author in authors if author)
    )


def _has(column: ColumnElement[str], word: str) -> ColumnElement[bool]:
    # SQLite folds ASCII alone: each spelling that a name may have is tried.
    spellings = sorted({word, word.lower(), word.upper(), word.title()})
    return or_(*(column.icontains(spelling, autoescape=True) for spelling in spellings))


def _holds(condition: FieldCondition) -> ColumnElement[bool]:
    """What must be true of `Document.lookup`."""
    field = Document.lookup[condition.name]
    tests: list[ColumnElement[bool]] = []
    if condition.any_of:
        tests.append(_among(field, condition.any_of))
    tests += [_among(field, [word]) for word in condition.all_of]
    number = field.as_float()
    if condition.low is not None:
        tests.append(number >= condition.low)
    if condition.high is not None:
        tests.append(number <= condition.high)
    return and_(*tests)


def _among(field: ColumnElement[object], values: Sequence[str]) -> ColumnElement[bool]:
    held = json_items(field).table_valued("value")
    return exists().select_from(held).where(held.c.value.in_(list(values))).correlate(Document)
