"""The engine: one object a room, whose verbs are what a door may call. Reads as the table of contents.

`engine.runtime.open_engine` makes one; the doors hold it and nothing below it. A verb takes the
principal first, opens the session, and hands on to the module that owns the matter. What admins do
by command is above the engine, in `engine/commands`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType

from engine.admission import Admission
from engine.answers.answers import Answers
from engine.answers.ask import Asker
from engine.blobs.port import BlobStore
from engine.chats.chats import Chats
from engine.db.session import Database
from engine.documents.documents import Documents
from engine.documents.formats import parse_formats
from engine.documents.knowledge_bases import KnowledgeBases
from engine.documents.pipelines import Pipelines
from engine.index.port import SearchIndex
from engine.limits import Limits
from engine.models.port import Embedder, LanguageModel
from engine.operations.index_home import IndexHome
from engine.operations.operations import Operations
from engine.operations.probes import Probe
from engine.operations.tool_call_log import ToolCallLog
from engine.people.people import People
from engine.search.retrieval import Retriever
from engine.search.search import Search
from engine.secrets import Secrets
from engine.settings import Settings


class Engine:
    """One installation, opened. Safe to use from many tasks of one event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        db: Database,
        blobs: BlobStore,
        index: SearchIndex,
        open_index_writer: Callable[[], AbstractAsyncContextManager[SearchIndex]],
        embedder: Embedder,
        check_model: Callable[[], str],
        secrets: Secrets,
        limits: Limits,
        retriever: Retriever,
        asker: Asker,
        call_log: ToolCallLog,
        model: LanguageModel | None = None,
        index_home: IndexHome | None = None,
        probe_db: Database | None = None,
        model_probes: Mapping[str, Probe] = MappingProxyType({}),
    ) -> None:
        # What the hosts of the engine (worker, server, bots) share with it
        self.settings = settings
        self.db = db
        self.blobs = blobs
        self.index = index
        self.open_index_writer = open_index_writer
        self.embedder = embedder
        self.model = model
        self.secrets = secrets
        self.limits = limits
        self.admission = Admission(settings.server.questions_at_once)

        # The rooms
        self.people = People(db, secrets, limits, issuer=settings.server.public_url or "scrubjay")
        self.operations = Operations(
            db,
            index,
            blobs,
            limits,
            call_log=call_log,
            check_model=check_model,
            index_home=index_home,
            probe_db=probe_db,
            model_probes=model_probes,
        )
        self.pipelines = Pipelines(db)
        self.knowledge_bases = KnowledgeBases(db, embedder.space)
        self.documents = Documents(
            db,
            blobs,
            self.knowledge_bases,
            max_file_size_bytes=int(settings.processing.max_file_size),
            formats=parse_formats(settings.processing.supported_formats),
            max_attempts=settings.jobs.max_attempts,
        )
        self.search = Search(db, retriever, self.knowledge_bases, secrets, limits, self.admission)
        self.answers = Answers(db, asker, self.knowledge_bases, self.admission)
        self.chats = Chats(
            db,
            secrets,
            limits,
            search=self.search,
            answers=self.answers,
            documents=self.documents,
            knowledge_bases=self.knowledge_bases,
            model=model,
            settings=settings.bots,
            public_url=settings.server.public_url,
        )
