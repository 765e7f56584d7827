"""The engine: every verb a door may call, principal first. Reads as the table of contents.

`engine.runtime.open_engine` makes one; the doors hold it and nothing below it. A verb here decides
nothing itself: it opens the session and hands on to the module that owns the matter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.answers import toolbox
from engine.answers.ask import Asker
from engine.answers.toolbox import Approve, ExternalTools, Toolbox, matching
from engine.blobs.store import BlobStore
from engine.chats.chat import Chat
from engine.chats.history import History
from engine.clock import now
from engine.db.session import Database
from engine.documents import (
    documents,
    ingestions,
    knowledge_bases,
    pipelines,
    progress,
    reembedding,
    reindexing,
)
from engine.documents.documents import Added, DocumentInfo, DocumentPage, NewDocument
from engine.documents.ingestions import Ingestion
from engine.documents.knowledge_bases import KbInfo
from engine.documents.pipelines import FlowInfo
from engine.documents.reembedding import Reembedding
from engine.domain import (
    Answer,
    Answered,
    AnswerEvent,
    Audience,
    Hit,
    Lane,
    Principal,
    Role,
    Scope,
    SearchMode,
    SearchResult,
)
from engine.errors import Forbidden
from engine.index.port import SearchIndex
from engine.jobs import claims
from engine.jobs.kinds import JOB_KINDS
from engine.limits import Limits
from engine.models.port import Embedder, LanguageModel
from engine.operations import reconcile, status, tool_call_log
from engine.operations.reconcile import Drift
from engine.operations.status import Status
from engine.operations.tool_call_log import Called, CallLog
from engine.people import subjects, tenants
from engine.people.subjects import Subject
from engine.people.tenants import MemberInfo, TenantInfo, TokenInfo
from engine.search import pages
from engine.search.origins import Origin, origins
from engine.search.pages import Page
from engine.search.retrieval import Retriever
from engine.secrets import Secrets
from engine.settings import Settings

LINK_LIFE = timedelta(days=7)


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
        call_log: CallLog,
        model: LanguageModel | None = None,
    ) -> None:
        self.settings = settings
        self.db = db
        self.blobs = blobs
        self.index = index
        self.open_index_writer = open_index_writer
        self.embedder = embedder
        self.model = model
        self.secrets = secrets
        self.limits = limits
        self._check_model = check_model
        self._retriever = retriever
        self._asker = asker
        self._call_log = call_log
        self.revocations = 0  # by this process; those of others are in `newest_revocation`
        self._documents = documents.Documents(
            db,
            blobs,
            max_file_size_bytes=int(settings.processing.max_file_size),
            max_attempts=settings.jobs.max_attempts,
        )
        self.history = History(db)  # the verbs of channels and their messages
        self.chat = Chat(self)  # the verbs of the bots

    # Who asks

    async def owner(self) -> Principal:
        """The local owner of the default tenant: who the command line acts as."""
        tenant, member = await tenants.ensure_default(self.db)
        async with self.db.read() as session:
            return await gate.principal_of_user(session, tenant.id, member.user_id)

    async def authenticate(self, secret: str) -> Principal:
        """Whoever an API token belongs to; `Unauthenticated` for any that does not hold."""
        return await tenants.authenticate(self.db, secret)

    async def principal_of_subject(self, tenant: str, who: Subject) -> Principal:
        """The member behind a subject of an identity provider; `Forbidden` where there is none."""
        return await subjects.principal_of_subject(self.db, tenant, who)

    async def newest_revocation(self) -> datetime | None:
        """When a credential was last revoked: what is remembered of earlier ones may be over."""
        return await self.db.run_read(tenants.newest_revocation)

    async def act_as(self, principal: Principal, user: str) -> Principal:
        """Another member of the principal's tenant, by e-mail, name or id. Owners only."""
        if principal.role is not Role.OWNER or principal.api_token_id is not None:
            raise Forbidden("Only an owner at the command line may act for somebody else.")
        async with self.db.read() as session:
            member = await tenants.find_member(session, principal.tenant_id, user)
            return await gate.principal_of_user(session, principal.tenant_id, member.user_id)

    @staticmethod
    def audience_of_asker(principal: Principal) -> Audience:
        """The audience of an answer that only the asker sees."""
        return gate.audience_of_asker(principal)

    # Knowledge bases

    async def create_kb(
        self,
        principal: Principal,
        name: str,
        *,
        description: str = "",
        **settings: Any,  # noqa: ANN401
    ) -> KbInfo:
        """A new, empty knowledge base that all members may read unless `grants` says otherwise."""
        space = self.embedder.space
        return await self.db.run_write(
            lambda session: knowledge_bases.create_kb(
                session, principal, name, space=space, description=description, **settings
            )
        )

    async def list_kbs(self, principal: Principal) -> list[KbInfo]:
        """The knowledge bases the principal may read."""
        gate.require(principal, Scope.KB_READ)
        async with self.db.read() as session:
            return await knowledge_bases.list_kbs(session, principal)

    async def get_kb(self, principal: Principal, ref: str) -> KbInfo:
        """One knowledge base by name or id; `NotFound` names those that may be read."""
        async with self.db.read() as session:
            return await knowledge_bases.get_kb(session, principal, ref)

    async def update_kb(self, principal: Principal, ref: str, **changes: Any) -> KbInfo:  # noqa: ANN401
        """Rename or change settings."""
        return await self.db.run_write(
            lambda session: knowledge_bases.update_kb(session, principal, ref, **changes)
        )

    async def delete_kb(self, principal: Principal, ref: str) -> KbInfo:
        """Take a knowledge base out of every answer at once; its rows and bytes follow."""
        return await self.db.run_write(
            lambda session: knowledge_bases.delete_kb(session, principal, ref)
        )

    async def preview_reindex(self, principal: Principal, ref: str) -> reindexing.Preview:
        """What ingesting a knowledge base anew would come to."""
        found = await self.get_kb(principal, ref)
        async with self.db.read() as session:
            return await reindexing.preview(session, principal, found.id)

    async def reindex_kb(self, principal: Principal, ref: str) -> list[str]:
        """Ingest its documents anew through the pipeline it names now; their ids.

        What answers goes on answering until its successor is whole.
        """
        found = await self.get_kb(principal, ref)
        queued: list[str] = []
        after = ""
        while True:
            some, after = await self.db.run_write(
                partial(reindexing.start, principal=principal, kb_id=found.id, after=after)
            )
            queued += some
            if not after:
                return queued

    async def reembed_kb(self, principal: Principal, ref: str) -> Reembedding:
        """Move a knowledge base to the embedding model of these settings, in the background.

        It goes on answering with the vectors it has until all are made.
        """
        found = await self.get_kb(principal, ref)
        return await self.db.run_write(
            partial(
                reembedding.start,
                principal=principal,
                kb_id=found.id,
                space=self.embedder.space,
            )
        )

    # Pipelines

    async def list_flows(self, principal: Principal) -> list[FlowInfo]:
        """The templates that ship and the tenant's own pipelines."""
        async with self.db.read() as session:
            return await pipelines.list_flows(session, principal)

    async def get_flow(self, principal: Principal, name: str) -> FlowInfo:
        """One pipeline by name; `NotFound` names those there are."""
        async with self.db.read() as session:
            return await pipelines.get_flow(session, principal, name)

    async def save_flow(
        self,
        principal: Principal,
        name: str,
        dsl: str,
        *,
        check: pipelines.Check,
        replace: bool = False,
    ) -> FlowInfo:
        """Store a pipeline; `check` raises `FlowError` where its DSL does not load."""
        return await self.db.run_write(
            lambda session: pipelines.save_flow(
                session, principal, name, dsl, check=check, replace=replace
            )
        )

    async def delete_flow(self, principal: Principal, name: str) -> None:
        """Forget a stored pipeline that no knowledge base names."""
        await self.db.run_write(lambda session: pipelines.delete_flow(session, principal, name))

    # Documents

    async def add_document(self, principal: Principal, kb: str, new: NewDocument) -> Added:
        """Accept one document; the handle says how to follow it."""
        return (await self.add_documents(principal, kb, [new]))[0]

    async def add_documents(
        self,
        principal: Principal,
        kb: str,
        new: Sequence[NewDocument],
        *,
        lane: Lane = Lane.INTERACTIVE,
        correlation_id: str = "",
    ) -> list[Added]:
        """Accept documents in one transaction, all or none."""
        found = await self.get_kb(principal, kb)
        return await self._documents.add(
            principal, found.id, new, lane=lane, correlation_id=correlation_id
        )

    async def list_documents(
        self,
        principal: Principal,
        kb: str = "",
        *,
        state: str = "",
        limit: int = 100,
        cursor: str = "",
    ) -> DocumentPage:
        """Documents the principal may see, newest first, of one knowledge base or all."""
        kb_ids = [(await self.get_kb(principal, kb)).id] if kb else None
        return await self._documents.page(
            principal, kb_ids=kb_ids, state=state, limit=limit, cursor=cursor
        )

    async def get_document(self, principal: Principal, document_id: str) -> DocumentInfo:
        """One document; `NotFound` where it is absent or not for this principal."""
        return await self._documents.get(principal, document_id)

    async def delete_document(self, principal: Principal, document_id: str) -> DocumentInfo:
        """Take a document out of every answer from this instant."""
        return await self._documents.delete(principal, document_id)

    async def retry_document(self, principal: Principal, document_id: str) -> Added:
        """Ingest a failed or cancelled document once more."""
        return await self._documents.retry(principal, document_id)

    async def cancel_document(self, principal: Principal, document_id: str) -> DocumentInfo:
        """Stop an ingestion; what answered before goes on answering."""
        return await self._documents.cancel(principal, document_id)

    async def get_ingestion(self, principal: Principal, ref: str) -> Ingestion:
        """How far an ingestion is, by its job's id or the document's."""
        return await self.db.run_read(
            lambda session: ingestions.get_ingestion(session, principal, ref)
        )

    async def why_document(self, principal: Principal, document_id: str) -> str:
        """One sentence on where a document stands and what to do."""
        return await self._documents.why(principal, document_id)

    async def watch(
        self,
        principal: Principal,
        document_ids: Sequence[str] = (),
        *,
        kb: str = "",
        every_s: float = 0.5,
    ) -> AsyncIterator[list[progress.Watched]]:
        """What changes of these documents, or of all that are in work now, until each has ended."""
        ids = list(document_ids)
        for document_id in ids:
            await self._documents.get(principal, document_id)
        if not ids:
            kb_id = (await self.get_kb(principal, kb)).id if kb else ""
            async with self.db.read() as session:
                ids = await progress.in_work(session, principal, kb_id)
        async for changed in progress.watch(self.db, principal, ids, every_s=every_s):
            yield changed

    # Finding and answering

    async def search(
        self,
        principal: Principal,
        query: str,
        *,
        kb: str = "",
        limit: int | None = None,
        mode: SearchMode = "hybrid",
        audience: Audience | None = None,
    ) -> SearchResult:
        """The best documents for a query, in one knowledge base or all that may be read."""
        gate.require(principal, Scope.KB_READ)
        return await self._retriever.search(
            principal,
            audience or gate.audience_of_asker(principal),
            query,
            kb_ids=await self._kb_ids(principal, kb),
            limit=limit,
            mode=mode,
        )

    async def origins(self, principal: Principal, hits: Sequence[Hit]) -> list[Origin | None]:
        """For each hit of the principal's own search the chat message its best passage stands in."""
        gate.require(principal, Scope.KB_READ)
        spans = [(hit.revision_id, one.start, one.end) for hit in hits for one in hit.passages[:1]]
        async with self.db.read() as session:
            return await origins(session, principal.tenant_id, spans)

    async def at_messages(self, principal: Principal, hits: Sequence[Hit]) -> list[Hit]:
        """Hits of the principal's own search; those of chats lead to the message, not its thread."""
        said = await self.origins(principal, hits)
        return [
            hit if origin is None else replace(hit, url=origin.url or hit.url)
            for hit, origin in zip(hits, said, strict=True)
        ]

    async def ask(
        self,
        principal: Principal,
        audience: Audience,
        question: str,
        *,
        kb: str = "",
        conversation_id: str = "",
        door: str = "",
        mode: SearchMode = "hybrid",
        toolbox: Toolbox | None = None,
        language: str = "",
    ) -> AsyncIterator[AnswerEvent]:
        """Answer from what everyone in `audience` may read; the last event is `Answered`.

        `language` names the one a model is to answer in; empty: that of the question.
        """
        gate.require(principal, Scope.KB_ASK)
        async for event in self._asker.ask(
            principal,
            audience,
            question,
            kb_ids=await self._kb_ids(principal, kb),
            conversation_id=conversation_id or None,
            door=door,
            mode=mode,
            toolbox=toolbox,
            language=language,
        ):
            yield event

    @property
    def writes(self) -> bool:
        """Whether a language model writes the answers; else they are quoted."""
        return self._asker.writes

    async def elaborate(
        self,
        principal: Principal,
        audience: Audience,
        turn_id: str,
        *,
        door: str = "",
        language: str = "",
    ) -> AsyncIterator[AnswerEvent]:
        """A given answer at more length, from the same sources; `Unavailable` where that fails."""
        gate.require(principal, Scope.KB_ASK)
        async for event in self._asker.elaborate(
            principal, audience, turn_id, door=door, language=language
        ):
            yield event

    async def answer(
        self, principal: Principal, question: str, *, kb: str = "", door: str = ""
    ) -> Answer:
        """The answer alone, for the asker's eyes."""
        audience = gate.audience_of_asker(principal)
        async for event in self.ask(principal, audience, question, kb=kb, door=door):
            if isinstance(event, Answered):
                return event.answer
        raise RuntimeError("the answer's events ended without an answer")

    async def fetch(self, principal: Principal, id: str) -> Page:  # noqa: A002 (the field's word)
        """A page of text by the id of a hit, a citation, a document or a next page."""
        gate.require(principal, Scope.KB_READ)
        return await pages.read_page(self.db, principal.tenant_id, principal.tokens, id)

    # Tools of other servers

    async def open_toolbox(
        self, principal: Principal, external: ExternalTools, approve: Approve
    ) -> Toolbox:
        """What an answer for the principal alone may use; `approve` is asked before each call."""
        gate.require(principal, Scope.KB_ASK)
        patterns = await self.allowed_tools(principal)
        tools = matching(await external.list_tools(), patterns) if patterns else []
        return Toolbox(tools, external, approve)

    async def allowed_tools(self, principal: Principal) -> list[str]:
        """The patterns of external tools the tenant allows."""
        return await self.db.run_read(lambda session: toolbox.allowed(session, principal))

    async def allow_tools(self, principal: Principal, pattern: str, *, on: bool) -> list[str]:
        """Allow external tools of a pattern, or no longer; the patterns then."""
        return await self.db.run_write(
            lambda session: toolbox.allow(session, principal, pattern, on=on)
        )

    # Links to the viewer

    def sign_link(self, principal: Principal, id: str) -> str:  # noqa: A002
        """What stands behind `/v/`: an id, bound to who may open it, for seven days."""
        who = principal.user_id or f"i-{principal.identity_id or ''}"
        payload = f"{principal.tenant_id}:{who}:{id}"
        return self.secrets.sign("viewer-links", payload, expires_at=now() + LINK_LIFE)

    async def open_link(self, signed: str) -> Page:
        """The page a link leads to; live and ACL are asked anew, for whom it was signed."""
        tenant_id, _, rest = self.secrets.verify("viewer-links", signed).partition(":")
        who, _, id_ = rest.partition(":")
        if who.startswith(("i-", "ch-")):  # for an account that nobody linked, or for a channel
            return await self.chat.open_link(tenant_id, who, id_)
        async with self.db.read() as session:
            principal = await gate.principal_of_user(session, tenant_id, who)
        return await self.fetch(principal, id_)

    # Tenants and tokens

    async def create_tenant(self, principal: Principal, key: str, *, name: str = "") -> TenantInfo:
        """A new tenant; `key` never changes."""
        return await self.db.run_write(
            lambda session: tenants.create_tenant(session, principal, key, name=name)
        )

    async def list_tenants(self, principal: Principal) -> list[TenantInfo]:
        """All tenants, for who operates the installation; else one's own."""
        async with self.db.read() as session:
            return await tenants.list_tenants(session, principal)

    async def create_token(
        self,
        principal: Principal,
        name: str,
        *,
        scopes: Collection[Scope],
        expires_in: timedelta | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[str, TokenInfo]:
        """A new API token: its secret, shown this once, and what is kept of it."""
        return await self.db.run_write(
            lambda session: tenants.create_token(
                session,
                principal,
                name,
                scopes=scopes,
                expires_in=expires_in,
                expires_at=expires_at,
            )
        )

    async def list_tokens(self, principal: Principal) -> list[TokenInfo]:
        """One's own tokens; an admin sees those of the tenant."""
        async with self.db.read() as session:
            return await tenants.list_tokens(session, principal)

    async def revoke_token(self, principal: Principal, ref: str) -> TokenInfo:
        """End a token now, by id or prefix."""
        revoked = await self.db.run_write(
            lambda session: tenants.revoke_token(session, principal, ref)
        )
        self.revocations += 1
        return revoked

    # Members

    async def add_member(
        self, principal: Principal, email: str, *, name: str = "", role: Role = Role.MEMBER
    ) -> MemberInfo:
        """A new member, known by e-mail address."""
        return await self.db.run_write(
            lambda session: tenants.add_member(
                session, principal, email=email, name=name, role=role
            )
        )

    async def list_members(self, principal: Principal) -> list[MemberInfo]:
        """Everyone in the tenant, by name."""
        async with self.db.read() as session:
            return await tenants.list_members(session, principal)

    async def remove_member(self, principal: Principal, user: str) -> MemberInfo:
        """End a membership, named by e-mail address, name or id; their tokens end with it."""

        async def commit(session: AsyncSession) -> MemberInfo:
            gate.require(principal, Scope.KB_ADMIN)
            member = await tenants.find_member(session, principal.tenant_id, user)
            await tenants.remove_member(session, principal, member.user_id)
            return member

        removed = await self.db.run_write(commit)
        self.revocations += 1
        return removed

    # Calls of tools

    def note_call(self, called: Called) -> None:
        """Keep a row of a tool call; it is on disk within 200 ms."""
        self._call_log.note(called)

    async def list_calls(self, principal: Principal, *, limit: int = 100) -> list[Called]:
        """The newest calls of the tenant, for its admins."""
        async with self.db.read() as session:
            return await tool_call_log.list_calls(session, principal, limit=limit)

    async def keep_call_text(self, principal: Principal, *, on: bool) -> None:
        """Whether what people ask tools for is kept with their calls."""
        await self.db.run_write(lambda session: tool_call_log.keep_text(session, principal, on=on))

    # How it is doing

    async def status(self, principal: Principal) -> Status:
        """Counts of what the principal may read, and of the work in progress."""
        return await status.read_status(self.db, self.index, principal)

    async def health(self) -> dict[str, str]:
        """Each dependency: an empty text when it is well, else what to do."""
        return await status.read_health(self.db, self.index, self._check_model)

    async def reconcile(self, principal: Principal, *, repair: bool = True) -> Drift:
        """Compare the index with SQL; with `repair`, queue the jobs that mend it."""
        return await reconcile.reconcile(self.db, self.index, principal, repair=repair)

    async def next_job_due_at(self) -> datetime | None:
        """When a worker has something to do; None while nothing waits or runs."""
        return await claims.next_due_at(self.db, JOB_KINDS)

    async def follow(
        self, principal: Principal, document_ids: Sequence[str], *, every_s: float = 0.2
    ) -> AsyncIterator[list[DocumentInfo]]:
        """The documents again and again as they change, until none is pending or running."""
        async for found in self._documents.follow(principal, document_ids, every_s=every_s):
            yield found

    async def _kb_ids(self, principal: Principal, kb: str) -> list[str] | None:
        return [(await self.get_kb(principal, kb)).id] if kb else None
