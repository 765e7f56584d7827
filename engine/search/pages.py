"""Reading on: a page of a document's text by the id of a chunk, a document or a next page.

The doors' `fetch` and the viewer call this. What may be read is checked each time: the ACL, and
whether the cited revision still answers. Old text is never shown: a passage that changed since it
was cited leads to the present document, and says so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from engine.access import gate
from engine.db.session import Database
from engine.db.tables import Chunk, Document, KnowledgeBase
from engine.documents.hiding import HiddenSpan, hidden_spans
from engine.documents.revisions import load_text
from engine.domain import parse_chunk_id
from engine.errors import InvalidInput
from engine.search.passages import name_place
from engine.search.references import id_of, not_found

PAGE_CHARS = 24_000  # about 6k tokens: a page stays well inside every client's limit
LEAD_CHARS = 2_000  # shown before the chunk that was asked for


@dataclass(frozen=True, slots=True)
class Page:
    """[start, end) of a document's text. `highlight` is the asked-for chunk, offsets as well.

    `changed`: the passage that was asked for is no longer what the document says.
    """

    id: str
    document_id: str
    revision_id: str
    kb_id: str
    kb_name: str
    title: str
    url: str
    text: str
    start: int
    end: int
    highlight: tuple[int, int] | None
    next_id: str
    prev_id: str
    updated_at: datetime | None
    changed: bool = False
    where: str = ""  # of the highlight: page, slide or cells, and the heading it is under


async def read_page(
    db: Database,
    tenant_id: str,
    tokens: Collection[str],
    id: str,  # noqa: A002 (the field's word)
) -> Page:
    """The page an id or address leads to; `NotFound` where it is absent or not for these tokens."""
    reference = id
    async with db.read() as session:
        id = await id_of(session, tenant_id, tokens, reference)  # noqa: A001 (the field's word)
        document_id, offset = _parse(id)
        highlight: tuple[int, int] | None = None
        changed = False
        where = ""
        if (chunk := parse_chunk_id(id)) is not None:
            revision_id, ordinal = chunk
            document, _, live_id = await gate.get_visible_revision(
                session, tenant_id, tokens, revision_id
            )
            changed = live_id != revision_id
            row = await session.get(Chunk, (revision_id, ordinal))
            if not changed and (row is None or row.hidden):
                raise not_found(reference)
            if row is not None and not changed:
                highlight = (row.start, row.end)
                where = name_place(row.page, row.meta)
        else:
            found = (
                await session.execute(
                    gate.select_answering(tenant_id, tokens).where(Document.id == document_id)
                )
            ).one_or_none()
            if found is not None:
                document, live_id = found
            else:  # a revision, as the address of a passage has it without the passage
                document, _, live_id = await gate.get_visible_revision(
                    session, tenant_id, tokens, document_id
                )
        if live_id is None or document.hidden:
            raise not_found(reference)
        text = await load_text(session, live_id)
        spans = await hidden_spans(session, live_id)
        kb_name = await session.scalar(
            select(KnowledgeBase.name).where(KnowledgeBase.id == document.kb_id)
        )
    if text is None:
        raise not_found(reference)
    text = blank(text, spans)
    start = _lead(text, highlight[0]) if highlight else min(offset, len(text))
    end = min(len(text), max(start + PAGE_CHARS, highlight[1] if highlight else 0))
    end = _break(text, start, end)
    return Page(
        id=id,
        document_id=document.id,
        revision_id=live_id,
        kb_id=document.kb_id,
        kb_name=kb_name or "",
        title=document.title,
        url=document.url,
        text=text[start:end],
        start=start,
        end=end,
        highlight=highlight,
        next_id=f"{document.id}~{end}" if end < len(text) else "",
        prev_id=f"{document.id}~{_before(text, start)}" if start else "",
        updated_at=document.source_updated_at or document.updated_at,
        changed=changed,
        where=where,
    )


def blank(text: str, spans: Sequence[HiddenSpan]) -> str:
    """A text whose hidden spans are dots, or blanks where there is no room: offsets stay."""
    for span in spans:
        size = span.end - span.start
        text = f"{text[: span.start]}{'[…]'[:size].ljust(size)}{text[span.end :]}"
    return text


def _parse(id: str) -> tuple[str, int]:  # noqa: A002
    document_id, tilde, offset = id.partition("~")
    if tilde and not (offset.isascii() and offset.isdecimal() and len(offset) < 12):
        raise InvalidInput(
            f"{id!r} is not an id; use one from a search hit, a citation or a list.", field="id"
        )
    return document_id, int(offset or 0)


def _lead(text: str, passage: int, lead_chars: int = LEAD_CHARS) -> int:
    """Where the page of a passage begins: with a paragraph, or at least with a line, before it."""
    earliest = passage - lead_chars
    if earliest <= 0:
        return 0
    for mark in ("\n\n", "\n"):
        at = text.find(mark, earliest, passage)
        if at >= 0:
            return at + len(mark)
    return earliest


def _before(text: str, start: int) -> int:
    """Where the page before the one from `start` begins."""
    return _lead(text, start, PAGE_CHARS)


def _break(text: str, start: int, end: int) -> int:
    """Where a page ends: at a paragraph where there is one in its last quarter."""
    if end >= len(text):
        return end
    at = text.rfind("\n\n", start + (end - start) * 3 // 4, end)
    return at + 2 if at > 0 else end
