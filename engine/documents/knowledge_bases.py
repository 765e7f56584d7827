"""Knowledge bases: create, list, change, delete; `kb_grants.py` says who they are granted to.

Reading one needs a grant (or a document of it that is visible otherwise). Managing one is for its
owner, for those it is granted to that far, and for admins, who reach every knowledge base of the
tenant but not what is in it. One that may not be read is not named: not in a list, not in an error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock, threads
from engine.access import gate
from engine.access.permissions import GrantLevel
from engine.db.session import Database
from engine.db.tables import (
    Document,
    KnowledgeBase,
    Live,
    Revision,
    Source,
)
from engine.documents import pipelines, reembedding, reindexing
from engine.documents.formats import parse_formats
from engine.documents.kb_grants import (
    GrantInfo,
    add_grant,
    grants_of,
    parse_grantee,
    remove_grant,
    set_owner,
)
from engine.documents.reembedding import Reembedding
from engine.documents.search_settings import (
    KbSearchSettings,
    changed_search,
    checked_settings,
)
from engine.domain import MAIN, Lane, Principal, Scope
from engine.errors import Conflict, InvalidInput, NotFound
from engine.index.port import Space
from engine.jobs.kinds import DELETE_KB
from engine.jobs.outbox import append_event, enqueue

NAME_MAX = 100


class KbChunking(BaseModel):
    """How its documents are cut, in tokens; None leaves a matter to the installation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: (
        Literal["document_aware", "fixed", "recursive", "semantic", "sliding_window"] | None
    ) = None
    size: Annotated[int, Field(ge=16, le=8192)] | None = None
    overlap: Annotated[int, Field(ge=0, le=4096)] | None = None

    @model_validator(mode="after")
    def _overlap_is_a_part(self) -> KbChunking:
        if self.size is not None and self.overlap is not None and self.overlap * 2 > self.size:
            raise ValueError("overlap must be at most half of size")
        return self


@dataclass(frozen=True, slots=True)
class KbInfo:
    """A knowledge base as people see it; counts are of documents that answer."""

    id: str
    name: str
    description: str
    document_count: int
    chunk_count: int
    token_count: int
    space: str
    search: Mapping[str, Any]
    chunking: Mapping[str, Any]
    formats: Sequence[str]
    pipeline: str
    created_at: datetime
    updated_at: datetime


async def create_kb(
    session: AsyncSession,
    principal: Principal,
    name: str,
    *,
    space: Space,
    description: str = "",
    grants: Collection[str] = (gate.TENANT,),
    search: KbSearchSettings | Mapping[str, Any] | None = None,
    chunking: KbChunking | Mapping[str, Any] | None = None,
    pipeline: str = "general",
    formats: str | Sequence[str] = (),
) -> KbInfo:
    """A new knowledge base with its upload source, which its creator owns.

    Everyone who holds one of `grants` may read it, and add to it where their role adds documents.
    """
    gate.require_verb(principal, "kb.create")
    name = await _free_name(session, principal, name)
    await pipelines.require_known(session, principal, pipeline)
    kb = KnowledgeBase(
        id=clock.new_id(),
        tenant_id=principal.tenant_id,
        name=name,
        description=description,
        space=space.name,
        dimension=space.dimension,
        search=checked_settings(KbSearchSettings, search),
        chunking=checked_settings(KbChunking, chunking),
        pipeline=pipeline,
        formats=parse_formats(formats),
        document_count=0,
        chunk_count=0,
        token_count=0,
        owner_id=principal.user_id,
    )
    session.add(kb)
    await session.flush()
    session.add(Source(tenant_id=principal.tenant_id, kb_id=kb.id, kind="upload", name="upload"))
    for token in sorted(set(grants)):
        await add_grant(session, principal, kb, token, GrantLevel.WRITE, is_first=True)
    await gate.audit(
        session, principal, "kb.create", kb.id, {"name": name, "grants": sorted(set(grants))}
    )
    return _info(kb)


async def list_kbs(session: AsyncSession, principal: Principal) -> list[KbInfo]:
    """Knowledge bases the principal may read, by name, with their counts."""
    gate.require(principal, Scope.KB_READ)
    kbs = await gate.readable_kbs(session, principal)
    counts = await gate.visible_counts(session, principal, kbs)
    return [_shown(kb, counts[kb.id]) for kb in kbs]


async def list_managed_kbs(session: AsyncSession, principal: Principal) -> list[KbInfo]:
    """The knowledge bases the principal manages, by name: for admins all of the tenant."""
    rows = await session.scalars(gate.select_managed_kbs(principal).order_by(KnowledgeBase.name))
    return [_info(kb) for kb in rows]


async def get_kb(session: AsyncSession, principal: Principal, ref: str) -> KbInfo:
    """A readable knowledge base by name or id."""
    gate.require(principal, Scope.KB_READ)
    kb = _named(await gate.readable_kbs(session, principal), ref)
    counts = await gate.visible_counts(session, principal, [kb])
    return _shown(kb, counts[kb.id])


async def update_kb(
    session: AsyncSession,
    principal: Principal,
    ref: str,
    *,
    name: str | None = None,
    description: str | None = None,
    search: KbSearchSettings | Mapping[str, Any] | None = None,
    chunking: KbChunking | Mapping[str, Any] | None = None,
    pipeline: str | None = None,
    formats: str | Sequence[str] | None = None,
) -> KbInfo:
    """Change what is given. Chunking and pipeline hold for documents ingested from now on.

    `formats` are the endings of files it takes from now on; empty: as the installation says.
    """
    kb = await gate.get_managed_kb(session, principal, ref, "kb.update")
    changed: dict[str, Any] = {}
    if name is not None and name.strip() != kb.name:
        changed["name"] = await _free_name(session, principal, name)
    if description is not None:
        changed["description"] = description
    if search is not None:
        changed["search"] = checked_settings(KbSearchSettings, search)
    if chunking is not None:
        changed["chunking"] = checked_settings(KbChunking, chunking)
    if pipeline is not None:
        await pipelines.require_known(session, principal, pipeline)
        changed["pipeline"] = pipeline
    if formats is not None:
        changed["formats"] = parse_formats(formats)
    for key, value in changed.items():
        setattr(kb, key, value)
    if changed:
        kb.updated_at = clock.now()
        await gate.audit(session, principal, "kb.update", kb.id, changed)
    return _info(kb)


async def set_search(
    session: AsyncSession,
    principal: Principal,
    ref: str,
    changes: Mapping[str, object],
    *,
    reset: Collection[str] = (),
) -> KbInfo:
    """Change some of how a knowledge base is searched; `reset` names what the installation says again."""
    kb = await gate.get_managed_kb(session, principal, ref, "kb.update")
    kb.search = changed_search(kb.search, changes, reset)
    kb.updated_at = clock.now()
    detail = {"search": dict(kb.search)}
    await gate.audit(session, principal, "kb.update", kb.id, detail)
    return _info(kb)


async def delete_kb(session: AsyncSession, principal: Principal, ref: str) -> KbInfo:
    """Take a knowledge base out of every answer from this instant; a job clears its rows later."""
    kb = await gate.get_managed_kb(session, principal, ref, "kb.delete")
    kb.deleted_at = kb.updated_at = clock.now()
    await enqueue(
        session,
        tenant_id=principal.tenant_id,
        kind=DELETE_KB,
        payload={"kb_id": kb.id},
        lane=Lane.BULK,
        idempotency_key=f"{DELETE_KB}:{kb.id}",
    )
    await append_event(
        session, principal.tenant_id, "knowledge_base.deleted", {"kb_id": kb.id, "name": kb.name}
    )
    await gate.audit(session, principal, "kb.delete", kb.id, {"name": kb.name})
    return _info(kb)


async def list_grants(session: AsyncSession, principal: Principal, ref: str) -> list[GrantInfo]:
    """Who a knowledge base is granted to, by token."""
    kb = await gate.get_managed_kb(session, principal, ref, "kb.list_grants")
    return await grants_of(session, kb)


async def grant_kb(
    session: AsyncSession,
    principal: Principal,
    ref: str,
    to: str,
    level: GrantLevel = GrantLevel.WRITE,
) -> None:
    """Let everyone who holds a token, or whom words name, use a knowledge base up to a level."""
    kb = await gate.get_managed_kb(session, principal, ref, "kb.grant")
    token = await parse_grantee(session, principal.tenant_id, to)
    await add_grant(session, principal, kb, token, level)


async def revoke_kb(session: AsyncSession, principal: Principal, ref: str, to: str) -> None:
    """Take a grant back, at once; no effect where there is none."""
    kb = await gate.get_managed_kb(session, principal, ref, "kb.revoke")
    token = await parse_grantee(session, principal.tenant_id, to)
    await remove_grant(session, principal, kb, token)


async def transfer_kb(session: AsyncSession, principal: Principal, ref: str, user: str) -> None:
    """Make a member the owner of a knowledge base."""
    kb = await gate.get_managed_kb(session, principal, ref, "kb.transfer")
    token = await parse_grantee(session, principal.tenant_id, f"user:{user}")
    await set_owner(session, principal, kb, token.removeprefix("u:"))


async def recount(session: AsyncSession, kb_id: str) -> tuple[int, int, int]:
    """Set a knowledge base's counters from its live rows: documents, chunks, tokens."""
    row = (
        await session.execute(
            select(
                func.count(),
                func.coalesce(func.sum(Revision.chunk_count - Revision.hidden_chunks), 0),
                func.coalesce(func.sum(Revision.token_count), 0),
            )
            .select_from(Live)
            .join(Revision, Revision.id == Live.revision_id)
            .join(Document, Document.id == Live.document_id)
            .where(Live.kb_id == kb_id, Live.branch == MAIN, Document.hidden.is_(False))
        )
    ).one()
    documents, chunks, tokens = (int(count) for count in row)
    await session.execute(
        update(KnowledgeBase)
        .where(KnowledgeBase.id == kb_id)
        .values(document_count=documents, chunk_count=chunks, token_count=tokens)
    )
    return documents, chunks, tokens


def _named(kbs: Collection[KnowledgeBase], ref: str) -> KnowledgeBase:
    for kb in kbs:
        if ref in {kb.name, kb.id}:
            return kb
    names = ", ".join(kb.name for kb in kbs) or "none yet"
    raise NotFound(f"No knowledge base {ref!r} that you may read. Available: {names}.")


async def _free_name(session: AsyncSession, principal: Principal, name: str) -> str:
    name = name.strip()
    if not name or len(name) > NAME_MAX or not name.isprintable():
        raise InvalidInput(
            f"A knowledge base's name has 1 to {NAME_MAX} printable characters.", field="name"
        )
    if await gate.is_kb_name_taken(session, principal.tenant_id, name):
        raise Conflict(f"The knowledge base {name!r} exists already.")
    return name


def _shown(kb: KnowledgeBase, counts: gate.Counts) -> KbInfo:
    return replace(
        _info(kb),
        document_count=counts.documents,
        chunk_count=counts.chunks,
        token_count=counts.tokens,
    )


def _info(kb: KnowledgeBase) -> KbInfo:
    return KbInfo(
        id=kb.id,
        name=kb.name,
        description=kb.description,
        document_count=kb.document_count,
        chunk_count=kb.chunk_count,
        token_count=kb.token_count,
        space=kb.space,
        search=kb.search,
        chunking=kb.chunking,
        formats=kb.formats,
        pipeline=kb.pipeline,
        created_at=kb.created_at,
        updated_at=kb.updated_at,
    )


class KnowledgeBases:
    """The verbs of knowledge bases.

    `space` is the embedding space that new ones get, `model_spaces` those of the models that run in
    this process, by the model's name; `check_model` says what one lacks, in a sentence.
    """

    def __init__(
        self,
        db: Database,
        space: Space,
        *,
        model_spaces: Mapping[str, Space] = MappingProxyType({}),
        check_model: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._db = db
        self._space = space
        self._model_spaces = model_spaces
        self._check_model = check_model

    async def _space_of(self, model: str) -> Space:
        """The space of a model by its name; of the installation's own where that is empty.

        `Conflict` where the model is not installed.
        """
        if not model:
            return self._space
        if model not in self._model_spaces:
            known = ", ".join(self._model_spaces)
            raise InvalidInput(f"There is no model {model!r}; there are {known}.", field="model")
        if fault := await threads.run_sync(self._check_model, model):
            raise Conflict(fault)
        return self._model_spaces[model]

    async def create(
        self,
        principal: Principal,
        name: str,
        *,
        description: str = "",
        model: str = "",
        **settings: Any,  # noqa: ANN401
    ) -> KbInfo:
        """A new, empty knowledge base that all members may read unless `grants` says otherwise.

        `model` names the embedding model that runs in this process; empty: the installation's own.
        """
        space = await self._space_of(model)
        return await self._db.run_write(
            lambda session: create_kb(
                session, principal, name, space=space, description=description, **settings
            )
        )

    async def list_readable(self, principal: Principal) -> list[KbInfo]:
        """The knowledge bases the principal may read."""
        gate.require(principal, Scope.KB_READ)
        return await self._db.run_read(lambda session: list_kbs(session, principal))

    async def list_managed(self, principal: Principal) -> list[KbInfo]:
        """All knowledge bases of the tenant, for those who manage them."""
        return await self._db.run_read(lambda session: list_managed_kbs(session, principal))

    async def get(self, principal: Principal, ref: str) -> KbInfo:
        """One knowledge base by name or id; `NotFound` names those that may be read."""
        return await self._db.run_read(lambda session: get_kb(session, principal, ref))

    async def ids(self, principal: Principal, ref: str) -> list[str] | None:
        """The id of the one that `ref` names, as a search takes it; None for all where it is empty."""
        return [(await self.get(principal, ref)).id] if ref else None

    async def update(self, principal: Principal, ref: str, **changes: Any) -> KbInfo:  # noqa: ANN401
        """Rename or change settings."""
        return await self._db.run_write(
            lambda session: update_kb(session, principal, ref, **changes)
        )

    async def set_search(
        self,
        principal: Principal,
        ref: str,
        changes: Mapping[str, object] = MappingProxyType({}),
        *,
        reset: Collection[str] = (),
    ) -> KbInfo:
        """Change how one is searched from now on; settings that `reset` names are unset again."""
        return await self._db.run_write(
            lambda session: set_search(session, principal, ref, changes, reset=reset)
        )

    async def delete(self, principal: Principal, ref: str) -> KbInfo:
        """Take a knowledge base out of every answer at once; its rows and bytes follow."""
        return await self._db.run_write(lambda session: delete_kb(session, principal, ref))

    async def list_grants(self, principal: Principal, ref: str) -> list[GrantInfo]:
        """Who a knowledge base is granted to, for those who manage it."""
        return await self._db.run_read(lambda session: list_grants(session, principal, ref))

    async def grant(
        self, principal: Principal, ref: str, to: str, level: GrantLevel = GrantLevel.WRITE
    ) -> None:
        """Let everyone who holds an access token, or whom words name, use a knowledge base."""
        await self._db.run_write(lambda session: grant_kb(session, principal, ref, to, level))

    async def revoke(self, principal: Principal, ref: str, to: str) -> None:
        """Remove such a grant, at once."""
        await self._db.run_write(lambda session: revoke_kb(session, principal, ref, to))

    async def transfer(self, principal: Principal, ref: str, user: str) -> None:
        """Make a member, by e-mail address, name or id, the owner of a knowledge base."""
        await self._db.run_write(lambda session: transfer_kb(session, principal, ref, user))

    async def preview_reindex(self, principal: Principal, ref: str) -> reindexing.Preview:
        """What ingesting a knowledge base again would come to."""
        found = await self.get(principal, ref)
        return await self._db.run_read(
            lambda session: reindexing.preview(session, principal, found.id)
        )

    async def reindex(self, principal: Principal, ref: str) -> list[str]:
        """Ingest its documents again through the pipeline it names now; their ids.

        Each document answers from its present revision until the new one is complete.
        """
        found = await self.get(principal, ref)
        queued: list[str] = []
        after = ""
        while True:
            some, after = await self._db.run_write(
                partial(reindexing.start, principal=principal, kb_id=found.id, after=after)
            )
            queued += some
            if not after:
                return queued

    async def reembed(self, principal: Principal, ref: str, *, model: str = "") -> Reembedding:
        """Move a knowledge base to another embedding model, in the background.

        To the one named, or to that of these settings. It answers with the vectors it has until all
        new ones are made.
        """
        space = await self._space_of(model)

        async def start(session: AsyncSession) -> Reembedding:
            kb = await gate.get_managed_kb(session, principal, ref, "kb.update")
            queued = await reembedding.start(session, principal, kb.id, space)
            await gate.audit(session, principal, "kb.update", kb.id, {"space": space.name})
            return queued

        return await self._db.run_write(start)
