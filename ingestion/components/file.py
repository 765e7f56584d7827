"""File: the first step of a pipeline, which brings the document's bytes in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from engine.documents.addresses import settle_address
from engine.documents.formats import check_format, is_page, supported_formats
from engine.documents.revisions import Content, store_content
from engine.errors import Cancelled, DocumentError, InvalidInput
from engine.flow.component import Component, Inputs, Output
from engine.flow.context import RunContext
from engine.flow.outputs import BlobRef
from engine.net.fetching import Fetched
from ingestion.services import IngestionRun


class File(Component[IngestionRun]):
    """The bytes that were uploaded, or those a URL gives now."""

    type = "File"
    writes = frozenset({"content", "name", "mime", "size_bytes"})
    checkpoint = False  # the revision row remembers the blob
    weight = 0.2

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:  # noqa: ARG002
        work, shared = context.services.work, context.services.shared
        if work.blob_hash:
            return {
                "content": BlobRef(work.blob_hash),
                "name": work.filename,
                "mime": work.mime,
                "size_bytes": 0,
            }
        if not work.url:
            raise DocumentError(f"{work.title!r} has neither content nor a URL; add it again.")
        fetched = await shared.fetch(work.url)
        _check_format(fetched, supported_formats(shared.formats, work.formats))
        blob_hash = await shared.blobs.put(work.tenant_id, fetched.data)
        # Kept at once: a second attempt reads what this one fetched.
        content = Content(blob_hash, fetched.mime, len(fetched.data))

        async def keep(session: AsyncSession) -> bool:
            if not await settle_address(session, work.document_id, fetched.url):
                return False
            await store_content(session, work, content)
            return True

        if not await shared.db.run_write(keep):
            raise Cancelled(f"{work.url} leads to {fetched.url}, which is there already.")
        return {
            "content": BlobRef(blob_hash),
            "name": fetched.filename or work.filename,
            "mime": fetched.mime,
            "size_bytes": len(fetched.data),
        }


def _check_format(fetched: Fetched, supported: Sequence[str]) -> None:
    """What an address gave is of a supported format, which it may not have said beforehand."""
    name = (
        PurePosixPath(urlsplit(fetched.url).path).name if not fetched.filename else fetched.filename
    )
    if is_page(name) or fetched.mime.startswith("text/html"):
        name = f"{PurePosixPath(name).stem or 'page'}.html"
    try:
        check_format(name, supported)
    except InvalidInput as error:
        raise DocumentError(str(error)) from None
