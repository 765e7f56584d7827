"""What a reader calls a document by, as the id that `pages.read_page` takes.

Besides ids: every address that we give out (the viewer's, `kb://` of a resource), a web page's own,
and a chat message's on its platform. Each leads only to what the reader may read: an address is no
permission, whoever it was made for.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import unquote, urlsplit

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db.tables import Channel, Chunk, Document, KnowledgeBase, Live, Message, MessageSpan
from engine.domain import chunk_id
from engine.errors import InvalidInput, NotFound
from engine.net.fetching import canonical_url
from engine.search import links, reading_links
from engine.secrets import payload_of

REFERENCE_MAX = 4_000  # characters
SCHEME = "kb"
_SLACK = re.compile(r"/archives/(\w{1,40})/p(\d{10})(\d{6})")
_DISCORD = re.compile(r"/channels/\d{1,25}/(\d{1,25})/(\d{1,25})")


async def id_of(
    session: AsyncSession, tenant_id: str, tokens: Collection[str], reference: str
) -> str:
    """The id behind an address; anything that is no address is taken for an id itself.

    `NotFound` where the address is nobody's or leads to nothing for these tokens.
    """
    reference = reference.strip()
    if len(reference) > REFERENCE_MAX:
        raise InvalidInput(f"The id has more than {REFERENCE_MAX:,} characters.", field="id")
    if address := links.id_of(reference):
        return address
    try:
        parts = urlsplit(reference)
    except ValueError:
        raise not_found(reference) from None
    if parts.scheme == SCHEME:
        return await _of_resource(session, tenant_id, tokens, reference)
    if parts.scheme not in {"http", "https"}:
        return reference
    if found := _of_link(tenant_id, parts.path.rpartition("/v/")[2]):
        return found
    found = await _of_message(session, tenant_id, tokens, parts.path)
    found = found or await _of_page(session, tenant_id, tokens, reference)
    if not found:
        raise not_found(reference)
    return found


def not_found(reference: str) -> NotFound:
    """What is absent and what is not for the reader look the same."""
    return NotFound(f"No document or passage {reference[:300]!r} that you may read.")


def _of_link(tenant_id: str, signed: str) -> str:
    """The id in a link. Its signature and time don't matter: the reader is checked."""
    if id_ := reading_links.id_in(signed):
        return id_
    whose, _, rest = payload_of(signed).partition(":")
    return rest.partition(":")[2] if whose == tenant_id else ""


async def _of_resource(
    session: AsyncSession, tenant_id: str, tokens: Collection[str], reference: str
) -> str:
    """The id in `kb://KNOWLEDGE_BASE/documents/ID`, if the document is in that knowledge base."""
    kb, _, id_ = reference.removeprefix(f"{SCHEME}://").partition("/documents/")
    kb, id_ = unquote(kb), unquote(id_)
    query = (
        gate.select_answering(tenant_id, tokens)
        .join(KnowledgeBase, KnowledgeBase.id == Document.kb_id)
        .where(
            Document.id == id_.partition("~")[0],
            or_(KnowledgeBase.name == kb, KnowledgeBase.id == kb),
        )
        .with_only_columns(Document.id)
    )
    if not kb or await session.scalar(query) is None:
        raise not_found(reference)
    return id_


async def _of_page(session: AsyncSession, tenant_id: str, tokens: Collection[str], url: str) -> str:
    """The document of a web address, the newest where several knowledge bases hold it."""
    addresses = {url, canonical_url(url)}
    query = (
        gate.select_answering(tenant_id, tokens)
        .where(or_(Document.url.in_(addresses), Document.external_id.in_(addresses)))
        .order_by(Document.id.desc())
        .limit(1)
        .with_only_columns(Document.id)
    )
    return str(await session.scalar(query) or "")


async def _of_message(
    session: AsyncSession, tenant_id: str, tokens: Collection[str], path: str
) -> str:
    """The passage that holds a message of Slack or Discord."""
    if slack := _SLACK.fullmatch(path.rstrip("/")):
        places, message = [slack[1]], f"{slack[2]}.{slack[3]}"
    elif discord := _DISCORD.fullmatch(path.rstrip("/")):
        places, message = [discord[1]], discord[2]
    else:
        return ""
    query = (
        gate.select_answering(tenant_id, tokens)
        .join(MessageSpan, MessageSpan.revision_id == Live.revision_id)
        .join(Message, Message.id == MessageSpan.message_id)
        .join(Channel, Channel.id == Message.channel_id)
        .where(
            MessageSpan.tenant_id == tenant_id,
            Message.external_id == message,
            Message.deleted_at.is_(None),
            or_(Channel.external_id.in_(places), Message.thread.in_(places)),
        )
        .limit(1)
        .with_only_columns(MessageSpan.revision_id, MessageSpan.start)
    )
    span = (await session.execute(query)).first()
    if span is None:
        return ""
    ordinal = await session.scalar(
        select(Chunk.ordinal)
        .where(Chunk.revision_id == span.revision_id, Chunk.start <= span.start)
        .order_by(Chunk.start.desc())
        .limit(1)
    )
    return chunk_id(span.revision_id, ordinal or 0)
