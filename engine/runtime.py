"""Opens an engine: the only place that chooses adapters, from the settings alone."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio.to_thread

from engine.access.search_scope import SearchDefaults
from engine.answers.agent import Budget
from engine.answers.ask import Asker
from engine.blobs.folder import FolderBlobs
from engine.blobs.port import BlobStore
from engine.clock import now
from engine.db.current import is_current
from engine.db.session import Database, open_database
from engine.engine import Engine
from engine.errors import ConfigurationError
from engine.index.embedded import EmbeddedIndex
from engine.index.port import SearchIndex
from engine.limits import Limits, RedisLimits, SqlLimits
from engine.models.catalogue import MODELS, LocalModel
from engine.models.port import Embedder, LanguageModel, Reranker
from engine.operations.index_home import IndexHome
from engine.operations.integration_probes import open_probes
from engine.operations.probes import model_probes
from engine.operations.tool_call_log import ToolCallLog
from engine.people import tenants
from engine.search.query_log import SearchLog
from engine.search.understood import Understanding
from engine.secrets import Secrets, load_key_file, parse_keys
from engine.settings import Settings, secret_values
from engine.sources.contract import Connector
from engine.telemetry import keep_secret

log = logging.getLogger(__name__)

WORKER_POOL_TIMEOUT_S = 3600.0


@asynccontextmanager
async def open_engine(
    settings: Settings,
    *,
    sql_in_loop: bool = False,
    connectors: Mapping[str, Connector[Any]] = MappingProxyType({}),
) -> AsyncIterator[Engine]:
    """The engine of a data folder; tables are brought up to date first, with a backup before.

    `sql_in_loop` is for the worker's process: see `open_database`. `connectors` are the kinds of
    sources, which the host of the engine knows.

    Raises `ConfigurationError`, `Unavailable`, or whatever the adapters raise on opening.
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    keep_secret(secret_values(settings))
    await anyio.to_thread.run_sync(_migrate, settings)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(
            open_database(
                settings.database_url,
                pool_size=settings.database.pool_size,
                max_overflow=settings.database.max_overflow,
                # A worker's use cases wait for one another; that they wait long is no fault.
                pool_timeout_s=WORKER_POOL_TIMEOUT_S
                if sql_in_loop
                else settings.database.pool_timeout_s,
                in_loop=sql_in_loop,
            )
        )
        probe_db = await stack.enter_async_context(
            open_database(
                settings.database_url,
                pool_size=1,
                max_overflow=1,
                pool_timeout_s=settings.database.pool_timeout_s,
                in_loop=sql_in_loop,
            )
        )
        await tenants.ensure_default(db)
        blobs = build_blobs(settings)
        index = build_index(settings, db)
        stack.push_async_callback(index.aclose)
        embedder = build_embedder(settings)
        stack.push_async_callback(embedder.aclose)
        others = build_other_embedders(settings, embedder)
        for other in others:
            stack.push_async_callback(other.aclose)
        reranker = build_reranker(settings)
        if reranker is not None:
            stack.push_async_callback(reranker.aclose)
        model = build_language_model(settings)
        if model is not None:
            stack.push_async_callback(model.aclose)
        limits = build_limits(settings, db)
        if isinstance(limits, RedisLimits):
            stack.push_async_callback(limits.aclose)
        query_log = SearchLog(db)
        await stack.enter_async_context(query_log.writing())
        call_log = ToolCallLog(db)
        await stack.enter_async_context(call_log.writing())
        retriever = Understanding(
            db,
            index,
            {item.space.name: item for item in (embedder, *others)},
            defaults=_search_defaults(settings),
            reranker=reranker,
            query_log=query_log,
        )
        integrations = open_probes(settings.server.probes, folder=settings.plugins_folder)
        stack.push_async_callback(integrations.aclose)
        engine = Engine(
            settings,
            db=db,
            blobs=blobs,
            index=index,
            open_index_writer=lambda: open_index(settings, db),
            embedder=embedder,
            other_embedders=others,
            check_model=lambda: _check_model(settings),
            secrets=open_secrets(settings),
            limits=limits,
            retriever=retriever,
            asker=Asker(
                db,
                retriever,
                model=model,
                budget=Budget(max_tokens=settings.llm.max_tokens),
                unsupported=settings.llm.unsupported,
                native=settings.llm.tools == "auto",
            ),
            model=model,
            call_log=call_log,
            connectors=connectors,
            integrations=integrations,
            probe_db=probe_db,
            model_probes=model_probes(settings, embedder=embedder, reranker=reranker, model=model),
            index_home=build_index_home(settings, db)
            if settings.search.engine == "embedded"
            else None,
        )
        stack.push_async_callback(engine.llms.aclose)
        yield engine


def _search_defaults(settings: Settings) -> SearchDefaults:
    chosen = settings.search
    return SearchDefaults(
        alpha=chosen.alpha,
        title_weight=chosen.title_weight,
        fusion=chosen.fusion,
        candidates=chosen.candidates,
        top_k=chosen.top_k,
        confidence_threshold=chosen.confidence_threshold,
        rerank_candidates=chosen.rerank_candidates,
        rerank_timeout_s=chosen.rerank_timeout_s,
    )


@asynccontextmanager
async def open_index(settings: Settings, db: Database) -> AsyncIterator[SearchIndex]:
    """The index as a worker opens it: of a folder the one writer, who holds the worker's lock."""
    if settings.search.engine == "embedded":
        await build_index_home(settings, db).claim()
    index = build_index(settings, db)
    deploying: asyncio.Task[None] | None = None
    try:
        if settings.search.engine == "vespa":
            from engine.operations.vespa_cluster import deploy_first

            # In the background: it may take minutes, and stopping must not wait for it.
            deploying = asyncio.create_task(deploy_first(settings, db, index))
        yield index
    finally:
        if deploying is not None:
            deploying.cancel()
            await asyncio.wait([deploying])
        await index.aclose()


def build_index(settings: Settings, db: Database) -> SearchIndex:
    """A folder of segments, or a Vespa cluster."""
    if settings.search.engine == "embedded":
        home = build_index_home(settings, db)
        return EmbeddedIndex(settings.home / "index", admit=home.check)
    from engine.operations import vespa_cluster

    return vespa_cluster.build_index(settings, db)


def build_index_home(settings: Settings, db: Database) -> IndexHome:
    """The data folder's claim on the embedded index."""
    return IndexHome(db, settings.home, is_private=not settings.database.url)


def _migrate(settings: Settings) -> None:
    if is_current(settings.database_url):
        return
    from engine.db.migrations import migrate

    def back_up() -> None:
        # Only a SQLite file is ours to copy; a PostgreSQL server has its own backups.
        if settings.database.url:
            return
        source = settings.home / "scrubjay.db"
        target = settings.home / f"scrubjay-before-migration-{now():%Y%m%dT%H%M%S}.db"
        _copy_sqlite(source, target)
        log.warning("migrating the tables; a copy of the database is at %s", target)

    migrate(settings.database_url, before=back_up)


def _copy_sqlite(source: Path, target: Path) -> None:
    import sqlite3

    os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))  # as private as the original
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()


def open_secrets(settings: Settings) -> Secrets:
    """The keys from the settings or, with SQLite, from a file made at the first start."""
    configured = settings.system.secret_key.get_secret_value()
    if configured:
        return Secrets(parse_keys(configured))
    if settings.database.url.startswith("postgresql"):
        raise ConfigurationError(
            "system.secret_key is not set, and with PostgreSQL it is required: every process "
            "needs the same key. Make one with `openssl rand -base64 32`."
        )
    return load_key_file(settings.home / "secret.key")


def build_blobs(settings: Settings) -> BlobStore:
    """A folder, or a bucket."""
    chosen = settings.storage
    if chosen.type == "folder":
        return FolderBlobs(settings.blob_folder)
    from engine.blobs.s3 import S3Blobs

    return S3Blobs(
        chosen.bucket,
        prefix=chosen.prefix,
        endpoint=chosen.endpoint,
        region=chosen.region,
        access_key_id=chosen.access_key_id.get_secret_value(),
        secret_access_key=chosen.secret_access_key.get_secret_value(),
        timeout_s=chosen.timeout_s,
    )


def build_limits(settings: Settings, db: Database) -> Limits:
    """Rate limits and locks: on Redis where jobs are relayed over it, else in the database."""
    broker = settings.jobs.broker
    return SqlLimits(db) if broker == "memory" else RedisLimits(broker)


def build_embedder(settings: Settings) -> Embedder:
    """A model in this process, an OpenAI-compatible endpoint, or the hashing one of tests."""
    chosen = settings.embedding
    if chosen.base_url:
        from engine.models.http import HttpEmbedder

        if not chosen.dimension:
            raise ConfigurationError(
                f"embedding.dimension is not set: give the dimension of {chosen.model!r}'s vectors."
            )
        return HttpEmbedder(
            chosen.model,
            base_url=chosen.base_url,
            dimension=chosen.dimension,
            api_key=chosen.api_key.get_secret_value(),
            timeout_s=chosen.timeout_s,
        )
    if chosen.model == "hashing":
        from engine.models.hashing import HashingEmbedder

        return HashingEmbedder()
    if chosen.model not in MODELS:
        raise ConfigurationError(
            f"embedding.model is {chosen.model!r}: without embedding.base_url only "
            f"{' and '.join(MODELS)} run here."
        )
    return _local_embedder(settings, MODELS[chosen.model])


def build_other_embedders(settings: Settings, own: Embedder) -> list[Embedder]:
    """The models of this process besides the chosen one: a knowledge base may be in any's space.

    Each loads at first use, and says how to install it where it is not there.
    """
    return [
        _local_embedder(settings, model)
        for model in MODELS.values()
        if model.space.name != own.space.name
    ]


def _local_embedder(settings: Settings, model: LocalModel) -> Embedder:
    from engine.models.local import LocalEmbedder

    return LocalEmbedder(
        settings.models_folder,
        model,
        threads=settings.embedding_threads,
        batch_tokens=settings.embedding.batch_tokens,
    )


def _check_model(settings: Settings) -> str:
    """What is wrong with the embedding model's files, if it is one that has files."""
    if settings.embedding.base_url or settings.embedding.model not in MODELS:
        return ""
    from engine.models.weights import model_status

    return model_status(settings.models_folder, MODELS[settings.embedding.model])


def build_reranker(settings: Settings) -> Reranker | None:
    """The reranker that is configured, or none."""
    chosen = settings.search
    if not chosen.rerank_base_url:
        return None
    from engine.models.http import HttpReranker

    return HttpReranker(
        chosen.rerank_model,
        base_url=chosen.rerank_base_url,
        api_key=chosen.rerank_api_key.get_secret_value(),
        timeout_s=chosen.rerank_timeout_s,
    )


def build_language_model(settings: Settings) -> LanguageModel | None:
    """The language model that is configured, or none: then answers are quotes."""
    if not settings.llm.model:
        return None
    from engine.models.llm import open_language_model

    return open_language_model(
        settings.llm.model,
        base_url=settings.llm.base_url,
        api_key=settings.llm.api_key.get_secret_value(),
        timeout_s=settings.llm.timeout_s,
    )
