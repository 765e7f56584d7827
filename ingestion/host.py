"""The worker process put together: lock, index writer, parser children, embedder, broker, loop.

`run_worker` is what `scrubjay worker`, the child of `scrubjay up`, and a lone `scrubjay add` call.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any

from engine.documents.formats import parse_formats
from engine.engine import Engine
from engine.errors import Unavailable
from engine.flow.progress import RingLog
from engine.jobs import leases
from engine.locks import hold
from engine.models.batching import GROWTH, EmbeddingBatcher
from engine.net.fetching import fetch
from engine.operations.process_usage import process_figures
from engine.settings import Settings
from ingestion.actors import handlers
from ingestion.broker import build_broker
from ingestion.convert.document import ConversionLimits
from ingestion.insight_jobs import insight_handlers, queueing_counts
from ingestion.mail_jobs import mail_handlers
from ingestion.parsing import ParsingPool, open_parsing_pool
from ingestion.pipelines import PipelineGraphs, offers_of, open_registry
from ingestion.services import Services, SpaceEmbedding
from ingestion.source_jobs import source_handlers
from ingestion.sources.connected import open_readers
from ingestion.worker import JobWorker, park
from ingestion.workflow_jobs import workflow_handlers

log = logging.getLogger(__name__)

SLOTS = 8  # documents worked on at a time: two or three a core keep parsing and writing overlapped
PARKED = 512  # documents that may wait for the embedder besides: enough for well-filled batches


async def run_worker(
    engine: Engine, stop: asyncio.Event, *, idle_exit_s: float | None = None
) -> None:
    """Work until `stop`, or until idle for `idle_exit_s`. `AlreadyRunning` where another works here."""
    settings = engine.settings
    async with AsyncExitStack() as stack:
        stack.enter_context(hold(settings.home, "worker", " ".join(sys.argv[:2])))
        index = await stack.enter_async_context(engine.open_index_writer())
        parsers = await stack.enter_async_context(open_parsers(engine))
        broker = build_broker(settings.jobs.broker)
        stack.callback(broker.close)
        slots = settings.jobs.slots or SLOTS
        services = Services(
            db=engine.db,
            blobs=engine.blobs,
            index=index,
            embedder=engine.embedder,
            embedding=open_embedding(engine),
            parsers=parsers,
            fetch=partial(
                fetch,
                allow_private=settings.processing.allow_private_urls,
                max_bytes=int(settings.processing.max_file_size),
            ),
            park=park,
            chunking=chunking_of(settings),
            formats=parse_formats(settings.processing.supported_formats),
            max_file_size_bytes=int(settings.processing.max_file_size),
            use_cache=settings.embedding.cache,
            model=engine.model,
            llms=engine.llms,
        )
        plugins = open_registry(settings)
        pipelines = PipelineGraphs(engine.db, plugins.registry, offers=offers_of(engine.model))
        known = handlers(services, pipelines, RingLog(), open_readers(engine))
        known |= mail_handlers(engine)
        known |= workflow_handlers(engine.db, engine.workflows)
        known |= insight_handlers(engine)
        known |= source_handlers(
            engine.db, engine.blobs, engine.sources.connectors, engine.sources.opener
        )
        if settings.jobs.broker == "memory":
            # The lock is ours: the process that held these leases is gone.
            await leases.take_over_all(engine.db, kinds=list(known))
        try:
            if lost := await engine.operations.resume_rebuild(index):
                log.warning("the index lost %d spaces; they are rebuilt", lost)
        except Unavailable as error:  # the index is away: its jobs wait for it
            log.warning("whether the index is whole is unknown: %s", error)
        worker = JobWorker(
            engine.db,
            broker,
            known,
            slots=slots,
            parked=PARKED,
            lease_s=settings.jobs.lease_s,
            figures=lambda: {
                **index.figures(),
                **services.cache_counts.figures(),
                **process_figures(settings.home),
            },
        )
        if idle_exit_s is None:  # a worker for one thing leaves this to one that stays
            await stack.enter_async_context(queueing_counts(engine))
        await worker.run(stop, idle_exit_s=idle_exit_s)


def open_embedding(engine: Engine) -> dict[str, SpaceEmbedding]:
    """The installation's embedders by space; batches grow where one is quick."""
    tokens = engine.settings.embedding.batch_tokens
    return {
        name: SpaceEmbedding(
            embedder, EmbeddingBatcher(embedder, batch_tokens=tokens, growth=GROWTH).embed
        )
        for name, embedder in engine.embedders.items()
    }


def open_parsers(engine: Engine) -> AbstractAsyncContextManager[ParsingPool]:
    """The children that read files, as the settings bound them."""
    settings = engine.settings
    return open_parsing_pool(
        size=settings.parse_workers,
        timeout_s=settings.processing.parse_timeout_s,
        memory_bytes=settings.processing.parse_memory_mb * 1024 * 1024,
        limits=ConversionLimits(size_bytes=int(settings.processing.max_file_size)),
        tokenizer=engine.embedder.tokenizer_json,
    )


def chunking_of(settings: Settings) -> dict[str, Any]:
    """How documents are cut where neither pipeline nor knowledge base says otherwise."""
    return {
        "strategy": settings.processing.strategy,
        "size": settings.processing.chunk_size,
        "overlap": settings.processing.chunk_overlap,
    }
