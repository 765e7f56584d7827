"""The engine: one object a room, whose verbs are what a door may call. Reads as the table of contents.

`engine.runtime.open_engine` makes one; the doors hold it and nothing below it. A verb takes the
principal first, opens the session, and hands on to the module that owns the matter. What admins do
by command is above the engine, in `engine/commands`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any

from engine.admission import Admission
from engine.answers.answers import Answers
from engine.answers.ask import Asker
from engine.assistants.assistants import Assistants, SearchApps
from engine.assistants.widgets import Widgets
from engine.blobs.port import BlobStore
from engine.chats.chats import Chats
from engine.db.session import Database
from engine.documents.documents import Documents
from engine.documents.formats import parse_formats
from engine.documents.knowledge_bases import KnowledgeBases
from engine.documents.pipelines import Pipelines
from engine.files.files import Files
from engine.index.port import SearchIndex
from engine.insight.gap_room import Gaps
from engine.insight.insight import Insight
from engine.limits import Limits
from engine.mail.mail import Mail
from engine.models.catalogue import MODELS
from engine.models.llm_catalogue import load_catalogue
from engine.models.port import Embedder, LanguageModel
from engine.models.weights import model_status
from engine.operations.index_home import IndexHome
from engine.operations.integration_probes import IntegrationProbes
from engine.operations.operations import Operations
from engine.operations.probes import Probe
from engine.operations.tool_call_log import ToolCallLog
from engine.people.language_models import LanguageModels
from engine.people.people import People
from engine.people.quotas import Quotas
from engine.search.retrieval import Retriever
from engine.search.search import Search
from engine.secrets import Secrets
from engine.settings import Settings
from engine.sources.contract import Connector
from engine.sources.credentials import SourceCredentials
from engine.sources.opening import ContextOpener
from engine.sources.sources import Sources
from engine.tools.plugin_manager import PluginManager
from engine.workflows.workflows import Workflows


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
        other_embedders: Sequence[Embedder] = (),
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
        connectors: Mapping[str, Connector[Any]] = MappingProxyType({}),
        integrations: IntegrationProbes | None = None,
    ) -> None:
        # What the hosts of the engine (worker, server, bots) share with it
        self.settings = settings
        self.db = db
        self.blobs = blobs
        self.index = index
        self.open_index_writer = open_index_writer
        self.embedder = embedder  # of new knowledge bases
        self._other_embedders = other_embedders
        self._query_log = retriever.query_log
        self.model = model
        self.secrets = secrets
        self.limits = limits
        self.admission = Admission(settings.server.questions_at_once)

        # The rooms
        public_url = settings.server.public_url
        self.mail = Mail(db, secrets, settings.mail, public_url=public_url)
        self.people = People(
            db,
            secrets,
            limits,
            self.mail,
            public_url=public_url,
            private_issuers=settings.server.private_issuers,
        )
        self.quotas = Quotas(db, limits)
        self.llms = LanguageModels(
            db,
            secrets,
            self.quotas,
            load_catalogue(settings.llm.catalogue),
            operators=model,
            timeout_s=settings.llm.timeout_s,
            allow_private=settings.processing.allow_private_urls,
        )
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
            data_folder=settings.home,
            integrations=integrations,
        )
        self.pipelines = Pipelines(db)
        self.knowledge_bases = KnowledgeBases(
            db,
            embedder.space,
            model_spaces={model.name: model.space for model in MODELS.values()},
            check_model=lambda name: model_status(settings.models_folder, MODELS[name]),
        )
        self.documents = Documents(
            db,
            blobs,
            self.knowledge_bases,
            max_file_size_bytes=int(settings.processing.max_file_size),
            formats=parse_formats(settings.processing.supported_formats),
            max_attempts=settings.jobs.max_attempts,
        )
        self.files = Files(db, blobs, self.documents, self.knowledge_bases)
        self.search = Search(db, retriever, self.knowledge_bases, secrets, limits, self.admission)
        self.insight = Insight(db)
        self.gaps = Gaps(db, embedder, self.search)
        self.assistants = Assistants(db)
        self.widgets = Widgets(db)
        self.tools = PluginManager(settings.home, settings.plugins_folder)
        self.search_apps = SearchApps(db, self.search)
        self.answers = Answers(
            db,
            asker,
            self.knowledge_bases,
            self.admission,
            self.llms,
            self.assistants,
            self._query_log,
        )
        self.workflows = Workflows(
            db,
            retriever=retriever,
            knowledge_bases=self.knowledge_bases,
            embedder=embedder,
            model=model,
            model_of=self.llms.for_principal,
            allow_private_urls=settings.processing.allow_private_urls,
            secrets=secrets,
            mail=self.mail,
            tools=self.tools,
        )
        self.credentials = SourceCredentials(db, secrets, connectors)
        self.sources = Sources(
            db,
            ContextOpener(
                db=db,
                secrets=secrets,
                scratch=settings.home / "sources",
                limits=limits,
                allow_private=settings.processing.allow_private_urls,
                max_bytes=int(settings.processing.max_file_size),
                roots=[one.strip() for one in settings.sources.folders.split(",") if one.strip()],
            ),
            connectors,
            self.credentials,
        )
        self.chats = Chats(
            db,
            secrets,
            limits,
            search=self.search,
            answers=self.answers,
            assistants=self.assistants,
            documents=self.documents,
            knowledge_bases=self.knowledge_bases,
            llms=self.llms,
            settings=settings.bots,
            public_url=settings.server.public_url,
        )

    def figures(self) -> dict[str, float]:
        """What this process has counted and takes of its machine, by name, for monitoring."""
        asked = {} if self._query_log is None else self._query_log.figures()
        return {
            **self.index.figures(),
            **self.admission.figures(),
            **asked,
            **self.operations.process_figures(),
        }

    @property
    def embedders(self) -> dict[str, Embedder]:
        """Every embedder that this installation can use, by the name of its space."""
        others = {embedder.space.name: embedder for embedder in self._other_embedders}
        return others | {self.embedder.space.name: self.embedder}
