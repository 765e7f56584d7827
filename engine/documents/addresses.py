"""One page, one document: what a fetch learns of a page's address.

A page is added by some address of it: with a fragment, by a short link that redirects. Its external
id is the address it was found at; the one that was given stays in `url`, so that adding it again
finds the same document.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.tables import Document
from engine.documents.lifecycle import retire
from engine.net.fetching import canonical_url


async def settle_address(session: AsyncSession, document_id: str, found_at: str) -> bool:
    """Make `found_at` the external id of a fetched document; False where another has it.

    The later of two documents of one page is then retired, in favour of the one that answers.
    Two with other readers stay two: neither may decide who reads the other.
    """
    document = await session.get(Document, document_id)
    address = canonical_url(found_at)
    if document is None or document.external_id in {address, ""}:
        return True
    if document.external_id != canonical_url(document.url):
        return True  # whoever added it chose its id
    other = await session.scalar(
        select(Document).where(
            Document.kb_id == document.kb_id,
            Document.source_id == document.source_id,
            Document.external_id == address,
        )
    )
    if other is None:
        document.external_id = address
        return True
    if other.deleted_at is not None or other.acl_id != document.acl_id:
        return True
    await retire(session, document)
    return False
