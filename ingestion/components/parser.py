"""Parser: bytes of any supported format to canonical text and its structure.

The work happens in a child process (`ingestion/parsing.py`). `setups` says how each family of
formats is read, as the flow's author writes it: `{"pdf": {"suffix": ["pdf"], "parse_method": …}}`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from hashlib import blake2b
from pathlib import Path, PurePath
from typing import Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from engine.chats.derived import THREAD_MIME
from engine.documents.attachments import Attached
from engine.documents.component_outputs import key_of
from engine.documents.revisions import Content
from engine.errors import DocumentError
from engine.flow.component import Component, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from engine.flow.outputs import BlobRef
from ingestion import convert
from ingestion.convert import document as documents
from ingestion.convert.document import Converted
from ingestion.file_names import context_title, file_name
from ingestion.rendition import Format, render
from ingestion.selection import Selection, select
from ingestion.services import IngestionRun


class Setup(BaseModel):
    """How files with one of these suffixes are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suffix: list[str] = Field(min_length=1)
    parse_method: Literal["text", "deepdoc"] = (
        "text"  # deepdoc: another name for the layout-aware text reader
    )
    output_format: Format | None = None  # what `rendered` is written in


class Parser(Component[IngestionRun]):
    """Text with headings, lists, tables, code and pages kept, and what the file says of itself."""

    type = "Parser"
    reads = frozenset({"content", "name"})
    writes = frozenset({"text", "title", "details"})
    checkpoint = False  # a parse is cheaper than its checkpoint

    class Param(ComponentParam):
        """Without setups every supported format is read; with some, only their suffixes are.

        With an `output_format` in a setup the document is handed on as `rendered` too: Markdown,
        HTML or JSON by the setup of its suffix, Markdown where that names none.
        `code_blocks`, `tables` and `images` false leave these out of what is found; `formatting`
        false takes headings, lists and quotes for plain paragraphs. `asides` true takes front
        matter and comments too, which are hidden else.
        """

        setups: dict[str, Setup] = Field(default_factory=dict)
        code_blocks: bool = True
        tables: bool = True
        images: bool = True
        formatting: bool = True
        asides: bool = False

    param: Param

    @classmethod
    def writes_of(cls, param: Param) -> frozenset[str]:
        """What is rendered too, where a setup says how."""
        renders = any(setup.output_format for setup in param.setups.values())
        return cls.writes | {"rendered"} if renders else cls.writes

    async def _invoke(self, context: RunContext[IngestionRun], inputs: Inputs) -> Output:
        run = context.services
        name = str(inputs["name"])
        self._check_suffix(name)
        blob_hash = BlobRef.parse(inputs["content"]).hash
        document, size_bytes = await self._read(context, blob_hash, name)
        selection = Selection(
            code_blocks=self.param.code_blocks,
            tables=self.param.tables,
            images=self.param.images,
            formatting=self.param.formatting,
            asides=self.param.asides,
        )
        document = select(document, selection)
        if not document.text.strip() and not document.attachments:
            raise DocumentError(
                f"{name} contains no text; there is nothing to index.", code="empty"
            )
        names = {PurePath(run.work.filename).name, run.work.url}
        given = run.work.title if run.work.title not in names else ""
        title = given or document.title or run.work.title
        details = _details(document)
        run.converted = document
        if not _is_ours(run.work.mime):
            # Passages name their document by what is shown as its title, and by its file.
            named = context_title(given or document.title, run.work.filename)
            run.converted = replace(document, title=named)
            file = file_name(run.work.filename)
            if file and title not in {file, run.work.filename}:
                details["filename"] = file
        run.work = replace(
            run.work,
            title=title,
            source_updated_at=run.work.source_updated_at or document.updated_at,
        )
        run.content = Content(
            blob_hash=blob_hash,
            mime=document.mime,
            size_bytes=size_bytes,
            text=document.text,
            title=title,
            details=details,
            updated_at=document.updated_at,
        )
        if document.notice:
            run.remarks.append(document.notice)
        run.attached = [
            Attached(
                attachment.name,
                await run.shared.blobs.put(run.work.tenant_id, attachment.data),
                len(attachment.data),
            )
            for attachment in document.attachments
        ]
        output = {"text": await run.pack_text(document.text), "title": title, "details": details}
        if "rendered" in self.writes_of(self.param):
            rendered = await anyio.to_thread.run_sync(render, document, self._format(name))
            output["rendered"] = await run.pack_text(rendered)
        return output

    async def convert(self, context: RunContext[IngestionRun], data: bytes, name: str) -> Converted:
        """The document in a file's bytes.

        A plugin that reads another format overrides this, with a `type` of its own, and hands the
        rest to it. Such code runs in the worker itself, without the limits a child process has.
        """

        def report(done: int, total: int) -> None:
            context.progress(self.id, 0.9 * done / max(total, 1), f"page {done:,} of {total:,}")

        return await context.services.shared.parsers.parse(data, name, report=report)

    async def _read(
        self, context: RunContext[IngestionRun], blob_hash: str, name: str
    ) -> tuple[Converted, int]:
        """The document and its size: as an earlier run read it, or read again."""
        run = context.services
        if _is_ours(run.work.mime):
            encoded = await run.shared.blobs.get(run.work.tenant_id, blob_hash)
            return await anyio.to_thread.run_sync(documents.decode, encoded), len(encoded)
        kept = await run.recall(blob_hash, await self._key(name)) if run.may_recall else None
        if kept is not None:
            size, _, encoded = kept.partition(b"\n")
            return await anyio.to_thread.run_sync(documents.decode, encoded), int(size)
        data = await run.shared.blobs.get(run.work.tenant_id, blob_hash)
        document = await self.convert(context, data, name)
        # Text is read as quickly as found here; what a plugin makes may change without our notice.
        if not document.mime.startswith("text/") and self.type == Parser.type:
            encoded = await anyio.to_thread.run_sync(documents.encode, document)
            body = b"%d\n" % len(data) + encoded
            await run.keep(blob_hash, await self._key(name), self.type, body)
        return document, len(data)

    async def _key(self, name: str) -> bytes:
        readers = await anyio.to_thread.run_sync(_readers_hash)
        return key_of(self.type, name=name, readers=readers)

    def _format(self, name: str) -> Format:
        suffix = _suffix(name)
        for setup in self.param.setups.values():
            if suffix in {item.lower().lstrip(".") for item in setup.suffix}:
                return setup.output_format or "markdown"
        return "markdown"

    def _check_suffix(self, name: str) -> None:
        allowed = {
            suffix.lower().lstrip(".") for s in self.param.setups.values() for suffix in s.suffix
        }
        suffix = _suffix(name)
        if allowed and suffix not in allowed:
            raise DocumentError(
                f"{name}: this pipeline reads only {', '.join(sorted(allowed))}; use another"
                " pipeline or knowledge base for it.",
                code="unsupported",
            )


def _is_ours(mime: str) -> bool:
    """Whether it is a thread: converted already, and in no file of anybody's."""
    return mime == THREAD_MIME


def _suffix(name: str) -> str:
    return name.rpartition(".")[2].lower()


@cache
def _readers_hash() -> str:
    """What distinguishes one state of the readers from another: another state reads again."""
    digest = blake2b(digest_size=16)
    for path in sorted(Path(convert.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


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
