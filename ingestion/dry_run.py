"""Runs a pipeline over one file and keeps nothing: `scrubjay flow run`.

Everything is real up to the chunks: the reader's child process, every component, the language
model where one is asked. Embedder and Indexer are left out, bytes lie in a folder that is removed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.blobs.folder import FolderBlobs
from engine.clock import new_id
from engine.documents.revisions import NewChunk, Work
from engine.engine import Engine
from engine.errors import EngineError
from engine.flow.context import RunIds
from engine.flow.dsl import Dsl, load_dsl
from engine.flow.pipeline import complete_pipeline
from engine.flow.registry import Registry
from engine.flow.run import run_flow
from engine.flow.store import LogEntry
from engine.net.fetching import Fetched
from ingestion.host import chunking_of, open_embedding, open_parsers
from ingestion.pipelines import load_pipeline, offers_of
from ingestion.services import IngestionRun, Services

LEFT_OUT = frozenset({"Embedder", "Indexer"})


@dataclass(frozen=True, slots=True)
class DryRun:
    """What became of the file: chunks, what was found out, and seconds by component."""

    title: str
    characters: int
    chunks: Sequence[NewChunk]
    details: Mapping[str, Any]
    remarks: Sequence[str]
    elapsed_s: Mapping[str, float]
    rendered: str = ""  # by a Parser with an `output_format`


def without_index(dsl: Dsl) -> dict[str, Any]:
    """The completed pipeline, less what needs vectors or writes the index."""
    _, flow = load_dsl(complete_pipeline(dsl))
    kept = [c for c in flow["components"] if c["type"] not in LEFT_OUT]
    ids = {c["id"] for c in kept}
    edges = [e for e in flow["edges"] if {e["source"], e["target"]} <= ids]
    return {"components": kept, "edges": edges}


async def run_dry(
    engine: Engine,
    name: str,
    dsl: Dsl,
    file: Path,
    *,
    registry: Registry,
    chunking: Mapping[str, Any],
    watch: Callable[[LogEntry], None],
) -> DryRun:
    """Run the pipeline over a file; raises `FlowError`, or what the document would fail with.

    `watch` gets every line of the run's log as it comes.
    """
    offers: Collection[str] = offers_of(engine.model)
    load_pipeline(dsl, registry, offers=offers)  # all of it: every fault is to be reported
    graph = load_pipeline(without_index(dsl), registry, offers=offers, whole=False)
    with tempfile.TemporaryDirectory(prefix="scrubjay-dry-run-") as folder:
        async with open_parsers(engine) as parsers:
            blobs = FolderBlobs(Path(folder))
            work = await _work(engine, blobs, name, file, chunking)
            services = Services(
                db=engine.db,
                blobs=blobs,
                index=engine.index,
                embedder=engine.embedder,
                embedding=open_embedding(engine),
                parsers=parsers,
                fetch=_refuse_to_fetch,
                park=lambda: None,
                chunking=chunking_of(engine.settings),
                max_file_size_bytes=int(engine.settings.processing.max_file_size),
                model=engine.model,
                llms=engine.llms,
            )
            run = IngestionRun(services, work)
            run.published = True  # nothing of it may answer
            ids = RunIds(tenant_id=work.tenant_id, flow_id=name, run_id=new_id())
            result = await run_flow(graph, ids, run, log=_Log(watch))
            rendered = [
                await run.unpack_text(record.output["rendered"])
                for record in result.nodes.values()
                if "rendered" in record.output
            ]
    if result.error is not None:
        raise result.error
    if run.chunks is None:
        raise EngineError(f"The pipeline {name!r} made no chunks: {result.message}.")
    run.keep_extracted(record.output for record in result.nodes.values())
    return DryRun(
        title=run.work.title,
        characters=len(run.document.text),
        chunks=run.chunks,
        details=run.found.details,
        remarks=run.remarks,
        elapsed_s={node: record.elapsed_s for node, record in result.nodes.items()},
        rendered="".join(rendered),
    )


async def _work(
    engine: Engine, blobs: FolderBlobs, name: str, file: Path, chunking: Mapping[str, Any]
) -> Work:
    tenant_id = (await engine.people.owner()).tenant_id
    return Work(
        tenant_id=tenant_id,
        kb_id="",
        document_id=new_id(),
        revision_id=new_id(),
        space=engine.embedder.space,
        pipeline=name,
        chunking=chunking,
        acl=(),
        acl_all=(),
        title=file.name,
        url="",
        filename=file.name,
        mime="",
        blob_hash=await blobs.put(tenant_id, file),
        source="upload",
        hidden=False,
        source_updated_at=None,
        is_first=False,
    )


async def _refuse_to_fetch(url: str) -> Fetched:
    raise EngineError(f"A dry run reads a file; it can't fetch {url}.")


class _Log:
    """A run's live log that hands each entry on."""

    def __init__(self, watch: Callable[[LogEntry], None]) -> None:
        self._watch = watch

    def append(self, ids: RunIds, entry: LogEntry) -> None:  # noqa: ARG002 (the port's)
        """Hand an entry on."""
        self._watch(entry)
