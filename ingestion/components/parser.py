"""Parser: bytes of any supported format to canonical text and its structure.

The work happens in a child process (`ingestion/parsing.py`). `setups` says how each family of
formats is read, as the flow's author writes it: `{"pdf": {"suffix": ["pdf"], "parse_method": …}}`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.attachments import Attached
from engine.errors import DocumentError
from engine.flow.component import Component, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from engine.flow.outputs import BlobRef
from engine.revisions import Content
from ingestion.convert.document import Converted
from ingestion.services import Ingestion


class Setup(BaseModel):
    """How files with one of these suffixes are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suffix: list[str] = Field(min_length=1)
    parse_method: Literal["text", "deepdoc"] = (
        "text"  # deepdoc: another name for the layout-aware text reader
    )


class Parser(Component[Ingestion]):
    """Text with headings, lists, tables, code and pages kept, and what the file says of itself."""

    type = "Parser"
    reads = frozenset({"content", "name"})
    writes = frozenset({"text", "title", "details"})
    checkpoint = False  # a parse is cheaper than its checkpoint

    class Param(ComponentParam):
        """Without setups every supported format is read; with some, only their suffixes are."""

        setups: dict[str, Setup] = Field(default_factory=dict)

    param: Param

    async def _invoke(self, context: RunContext[Ingestion], inputs: Inputs) -> Output:
        run, shared = context.services, context.services.shared
        name = str(inputs["name"])
        self._check_suffix(name)
        blob_hash = BlobRef.parse(inputs["content"]).hash
        data = await shared.blobs.get(run.work.tenant_id, blob_hash)
        document = run.converted = await shared.parsers.parse(data, name)
        if not document.text.strip() and not document.attachments:
            raise DocumentError(f"{name} holds no text; there is nothing to index.", code="empty")
        given = run.work.title if run.work.title != PurePath(run.work.filename).name else ""
        title = given or document.title or run.work.title
        run.work = replace(
            run.work,
            title=title,
            source_updated_at=run.work.source_updated_at or document.updated_at,
        )
        details = _details(document)
        run.content = Content(
            blob_hash=blob_hash,
            mime=document.mime,
            size_bytes=len(data),
            text=document.text,
            title=title,
            details=details,
            updated_at=document.updated_at,
        )
        run.notice = document.notice
        run.attached = [
            Attached(one.name, await shared.blobs.put(run.work.tenant_id, one.data), len(one.data))
            for one in document.attachments
        ]
        return {"text": await run.pack_text(document.text), "title": title, "details": details}

    def _check_suffix(self, name: str) -> None:
        allowed = {
            suffix.lower().lstrip(".") for s in self.param.setups.values() for suffix in s.suffix
        }
        suffix = name.rpartition(".")[2].lower()
        if allowed and suffix not in allowed:
            raise DocumentError(
                f"{name}: this pipeline reads only {', '.join(sorted(allowed))}; use another"
                " pipeline or knowledge base for it.",
                code="unsupported",
            )


def _details(document: Converted) -> dict[str, object]:
    facts: dict[str, object] = dict(document.metadata)
    if document.notice:
        facts["notice"] = document.notice
    if document.author:
        facts["author"] = document.author
    if document.page_count is not None:
        facts["pages"] = document.page_count
    if document.created_at is not None:
        facts["created_at"] = document.created_at.isoformat()
    if document.updated_at is not None:
        facts["updated_at"] = document.updated_at.isoformat()
    return facts
