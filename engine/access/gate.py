"""Who may see what: the one gate.

A document carries an ACL, a principal holds tokens, an audience holds the tokens all its people
share. Code that reads documents, chunks or live rows for someone builds the statement here, and
every filter of the index in `index_filter.py`; a lint and property tests hold both. What is absent
and what is forbidden look the same: `NotFound`.

A document is visible to a set of tokens when all of these hold:

- it is of the tenant, not deleted, and its knowledge base isn't either;
- one token of its ACL is held, and every token of its `acl_all`;
- everything it was derived from is visible too, and answering.

It answers on a branch when it also has a live revision there. `acl.py` defines the tokens,
`principals.py` who holds them; both are exported from here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Select,
    String,
    and_,
    bindparam,
    exists,
    func,
    not_,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from engine.access.acl import (
    TENANT,
    channel_token,
    check_grantee,
    check_token,
    group_token,
    intern_acl,
    kb_token,
    key_token,
    user_token,
    workspace_token,
)
from engine.access.auditing import access_version, audit
from engine.access.permissions import (
    GrantLevel,
    for_assistant,
    may,
    reaches_all,
    require_assured,
    require_unbound,
    require_verb,
)
from engine.access.principals import (
    FRESH,
    ROLE_SCOPES,
    audience_of_asker,
    audience_of_channel,
    audiences_seen,
    principal_of_identity,
    principal_of_service_key,
    principal_of_user,
    require_serving,
    tokens_of_members,
    usable_tokens,
)
from engine.db.json_arrays import array_value, items_of, json_items, text_value, unindexed
from engine.db.tables import (
    Acl,
    AclToken,
    Chunk,
    Document,
    Json,
    KnowledgeBase,
    Live,
    Revision,
    Source,
    Tenant,
)
from engine.domain import MAIN, Audience, Principal, Role, Scope
from engine.errors import Forbidden, NotFound

FIRST_TENANT = "default"  # the key of the tenant made at the first start

__all__ = [
    "FIRST_TENANT",
    "FRESH",
    "ROLE_SCOPES",
    "TENANT",
    "Counts",
    "GrantLevel",
    "LiveDocument",
    "access_version",
    "answering",
    "audience_of_asker",
    "audience_of_channel",
    "audiences_seen",
    "audit",
    "can_grant",
    "can_grant_role",
    "channel_token",
    "check_grantee",
    "check_token",
    "count_searchable",
    "counters_tell",
    "for_assistant",
    "get_managed_kb",
    "get_visible_document",
    "get_visible_revision",
    "get_writable_document",
    "get_writable_kb",
    "group_token",
    "intern_acl",
    "is_kb_name_taken",
    "is_operator",
    "join_live",
    "kb_token",
    "key_token",
    "may",
    "principal_of_identity",
    "principal_of_service_key",
    "principal_of_user",
    "reaches_all",
    "readable_kbs",
    "require",
    "require_assured",
    "require_operator",
    "require_serving",
    "require_unbound",
    "require_verb",
    "select_answering",
    "select_chunks",
    "select_documents",
    "select_managed_kbs",
    "tokens_of_members",
    "usable_tokens",
    "user_token",
    "visible_counts",
    "visible_document",
    "workspace_token",
]


# What a principal may do


def require(principal: Principal, *scopes: Scope) -> None:
    """Return when the principal has every one of `scopes`, else raise `Forbidden`."""
    require_unbound(principal)
    missing = [scope for scope in scopes if scope not in principal.scopes]
    if missing:
        raise Forbidden(
            f"This needs the scope {' and '.join(missing)}, which {principal.name} does not have"
            f" (role {principal.role}). Ask an admin for a role or a token that has it.",
            scopes=missing,
        )


async def require_operator(session: AsyncSession, principal: Principal) -> None:
    """Return for an owner of the first tenant, who runs the installation; else `Forbidden`.

    They come from the command line, or have just signed in: an API token may be a copy.
    """
    require(principal, Scope.KB_ADMIN)
    if not await is_operator(session, principal):
        raise Forbidden("Only an owner of the installation's first tenant can do this.")
    require_assured(principal, "run the installation")


async def is_operator(session: AsyncSession, principal: Principal) -> bool:
    """Whether the principal runs the installation, and not one tenant of it alone."""
    first = exists().where(Tenant.key == FIRST_TENANT, Tenant.id == principal.tenant_id)
    return principal.role is Role.OWNER and bool(await session.scalar(select(first)))


def can_grant(principal: Principal, scopes: Collection[Scope]) -> bool:
    """Whether the principal may hand these scopes on: never more than they have themselves."""
    return principal.scopes.issuperset(scopes)


def can_grant_role(principal: Principal, role: Role) -> bool:
    """Whether the principal may give or take this role: admins all but owner, owners every one."""
    if Scope.KB_ADMIN not in principal.scopes:
        return False
    if principal.role is Role.OWNER:
        return True
    return principal.role is Role.ADMIN and role is not Role.OWNER


# The gate in SQL


def visible_document(tenant_id: str, tokens: Collection[str]) -> ColumnElement[bool]:
    """True for a `Document` that these tokens may see, whether or not it answers yet."""
    return _visible(text_value(tenant_id), array_value(tokens))


def _visible(tenant_id: BindParameter[str], tokens: BindParameter[Any]) -> ColumnElement[bool]:
    origin, live = aliased(Document), aliased(Live)
    derived = json_items(Document.derived_from).table_valued("value")
    readable_origin = (
        exists()
        .where(
            origin.id == derived.c.value,
            live.document_id == origin.id,
            live.branch == MAIN,
            origin.hidden.is_(False),
            _meets(origin, tenant_id, tokens),
        )
        .correlate(derived)
    )
    return and_(
        _meets(Document, tenant_id, tokens),
        not_(exists().select_from(derived).where(not_(readable_origin)).correlate(Document)),
    )


def answering(
    tenant_id: str, tokens: Collection[str], *, branch: str = MAIN
) -> tuple[ColumnElement[bool], ...]:
    """The `where` of a statement over `Live` joined with `Document`: visible, and live there."""
    return _answering(text_value(tenant_id), array_value(tokens), text_value(branch))


def _answering(
    tenant_id: BindParameter[str], tokens: BindParameter[Any], branch: BindParameter[str]
) -> tuple[ColumnElement[bool], ...]:
    return (
        unindexed(Live.tenant_id) == tenant_id,
        unindexed(Live.branch) == branch,
        _visible(tenant_id, tokens),
    )


def select_documents(principal: Principal) -> Select[Document]:
    """Every document the principal may see, in any state: narrow and order it further."""
    return select(Document).where(visible_document(principal.tenant_id, principal.tokens))


def select_answering(
    tenant_id: str, tokens: Collection[str], *, branch: str = MAIN
) -> Select[Document, str]:
    """Visible documents with the id of the revision that answers on `branch`."""
    return (
        select(Document, Live.revision_id)
        .join(Live, Live.document_id == Document.id)
        .where(*answering(tenant_id, tokens, branch=branch))
    )


async def count_searchable(
    session: AsyncSession,
    tenant_id: str,
    tokens: Collection[str],
    kb_ids: Collection[str],
    *,
    branch: str = MAIN,
) -> int:
    """How many documents of these knowledge bases the index must hold for these tokens."""
    found = (
        select_answering(tenant_id, tokens, branch=branch)
        .join(Revision, Revision.id == Live.revision_id)
        .where(
            Document.kb_id.in_(kb_ids),
            Document.hidden.is_(False),
            Revision.chunk_count > Revision.hidden_chunks,
        )
        .with_only_columns(func.count())
    )
    return int(await session.scalar(found) or 0)


def select_chunks(tenant_id: str, tokens: Collection[str], *, branch: str = MAIN) -> Select[Chunk]:
    """Chunks to be shown of the live revisions of visible documents: narrow it further."""
    return (
        select(Chunk)
        .join(Live, Live.revision_id == Chunk.revision_id)
        .join(Document, Document.id == Live.document_id)
        .where(
            Chunk.tenant_id == tenant_id,
            Chunk.hidden.is_(False),
            Document.hidden.is_(False),
            *answering(tenant_id, tokens, branch=branch),
        )
    )


async def get_visible_document(
    session: AsyncSession, principal: Principal, document_id: str
) -> Document:
    """The document, in any state; `NotFound` where it is absent or not for this principal."""
    found = await session.scalar(select_documents(principal).where(Document.id == document_id))
    if found is None:
        raise NotFound(f"No document {document_id!r} that you may read.")
    return found


async def get_visible_revision(
    session: AsyncSession,
    tenant_id: str,
    tokens: Collection[str],
    revision_id: str,
    *,
    branch: str = MAIN,
) -> tuple[Document, Revision, str | None]:
    """A revision, its document, and the revision that answers now (None where none does).

    For citations opened later: where the last differs from `revision_id`, the passage has changed
    since it was cited and its old text is not to be shown.
    """
    row = (
        await session.execute(
            select(Document, Revision, Live.revision_id)
            .join(Revision, Revision.document_id == Document.id)
            .outerjoin(Live, and_(Live.document_id == Document.id, Live.branch == branch))
            .where(Revision.id == revision_id, visible_document(tenant_id, tokens))
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"Nothing {revision_id!r} that you may read.")
    return row[0], row[1], row[2]


@dataclass(frozen=True, slots=True)
class LiveDocument:
    """What a hit needs of a document that passed the join."""

    document_id: str
    revision_id: str
    kb_id: str
    kb_name: str
    title: str
    url: str
    language: str
    updated_at: datetime | None
    details: Mapping[str, Any]
    tags: Sequence[str]
    fields: Mapping[str, Any]
    source: str


async def join_live(
    session: AsyncSession,
    tenant_id: str,
    branch: str,
    tokens: Collection[str],
    revision_ids: Sequence[str],
    *,
    include_hidden: bool = False,
) -> dict[str, LiveDocument]:
    """Those of `revision_ids` that answer on `branch` and these tokens may see, by revision id.

    Nothing found by the index counts before it has passed here.
    """
    rows = await session.execute(
        _JOIN,
        {
            "tenant_id": tenant_id,
            "branch": branch,
            "tokens": sorted(tokens),
            "revision_ids": list(revision_ids),
            "include_hidden": include_hidden,
        },
    )
    return {row[1]: LiveDocument(*row) for row in rows}


async def readable_kbs(
    session: AsyncSession, principal: Principal, audience: Audience | None = None
) -> list[KnowledgeBase]:
    """Knowledge bases the principal (and the audience) may know of, by name.

    Known are those granted, and those that hold a visible document for another reason.
    """
    tokens = principal.tokens if audience is None else usable_tokens(principal, audience)
    return list(await session.scalars(_READABLE_KBS, _readable_values(principal.tenant_id, tokens)))


@dataclass(frozen=True, slots=True)
class Counts:
    """How much of a knowledge base answers for somebody."""

    documents: int
    chunks: int
    tokens: int


async def visible_counts(
    session: AsyncSession, principal: Principal, kbs: Collection[KnowledgeBase]
) -> dict[str, Counts]:
    """What answers for the principal in each of `kbs`: a total would tell of what may not be read.

    The counters of a KB say it where all of its documents are for everyone it is granted to; else
    they are counted one by one.
    """
    return {
        kb.id: Counts(kb.document_count, kb.chunk_count, kb.token_count)
        if await counters_tell(session, kb, principal.tokens)
        else await _count_visible(session, principal, kb)
        for kb in kbs
    }


async def counters_tell(session: AsyncSession, kb: KnowledgeBase, tokens: Collection[str]) -> bool:
    """Whether a KB's counters say how much of it these tokens may see: else they would tell more."""
    return kb_token(kb.id) in tokens and not await _has_narrower(session, kb)


async def _has_narrower(session: AsyncSession, kb: KnowledgeBase) -> bool:
    """Whether a document asks for more than the KB's grant: each ACL is one probe of an index."""
    inherits = exists().where(AclToken.acl_id == Acl.id, AclToken.token == kb_token(kb.id))
    used = exists().where(Document.acl_id == Acl.id, Document.kb_id == kb.id)
    own = select(Acl.id).where(Acl.tenant_id == kb.tenant_id, not_(inherits), used)
    demanding = select(Document.id).where(Document.kb_id == kb.id, text("document.acl_all <> '[]'"))
    for query in (own, demanding):
        if await session.scalar(query.limit(1)) is not None:
            return True
    return False


async def _count_visible(session: AsyncSession, principal: Principal, kb: KnowledgeBase) -> Counts:
    row = (
        await session.execute(
            select(
                func.count(),
                func.coalesce(func.sum(Revision.chunk_count - Revision.hidden_chunks), 0),
                func.coalesce(func.sum(Revision.token_count), 0),
            )
            .select_from(Live)
            .join(Document, Document.id == Live.document_id)
            .join(Revision, Revision.id == Live.revision_id)
            .where(
                Live.kb_id == kb.id,
                Document.hidden.is_(False),
                *answering(principal.tenant_id, principal.tokens),
            )
        )
    ).one()
    return Counts(*(int(count) for count in row))


def select_managed_kbs(principal: Principal, verb: str = "kb.update") -> Select[KnowledgeBase]:
    """Knowledge bases the principal manages: all of the tenant for admins, else those granted so.

    Names, settings and grants only: what is in them is read by grant like everybody does.
    """
    require_verb(principal, verb)
    query = select(KnowledgeBase).where(
        KnowledgeBase.tenant_id == principal.tenant_id, KnowledgeBase.deleted_at.is_(None)
    )
    if reaches_all(principal, verb):
        return query
    return query.where(KnowledgeBase.id.in_(principal.managed))


async def get_managed_kb(
    session: AsyncSession, principal: Principal, ref: str, verb: str
) -> KnowledgeBase:
    """A knowledge base by name or id, for a verb that manages it.

    `Forbidden` for one that the principal may read and does not manage; `NotFound` for any other.
    """
    named = (KnowledgeBase.id == ref, KnowledgeBase.name == ref)
    managed = select_managed_kbs(principal, verb)
    for which in named:
        if found := await session.scalar(managed.where(which)):
            return found
    readable = await readable_kbs(session, principal)
    for kb in readable:
        if ref in {kb.id, kb.name}:
            raise Forbidden(
                f"You may read {kb.name}, and not manage it. Ask its owner or an admin."
            )
    names = ", ".join(kb.name for kb in readable) or "none yet"
    raise NotFound(f"No knowledge base {ref!r} that you may read. Available: {names}.")


async def is_kb_name_taken(session: AsyncSession, tenant_id: str, name: str) -> bool:
    """Whether a knowledge base of the tenant has this name, which no two have."""
    taken = exists().where(
        KnowledgeBase.tenant_id == tenant_id,
        KnowledgeBase.deleted_at.is_(None),
        KnowledgeBase.name == name,
    )
    return bool(await session.scalar(select(taken)))


async def get_writable_kb(session: AsyncSession, principal: Principal, kb_id: str) -> KnowledgeBase:
    """The knowledge base, for a verb that adds to it; ask in the transaction that adds.

    That takes the scope `kb:write` and a grant for writing: to see a document of it, or to have it
    granted for reading, is not enough. Its owner needs no more than a grant for reading.
    """
    require(principal, Scope.KB_WRITE)
    values = _readable_values(principal.tenant_id, principal.tokens)
    found = await session.scalar(_READABLE_KB, {**values, "kb_id": kb_id})
    if found is None:
        raise NotFound(f"No knowledge base {kb_id!r} that you may read.")
    if kb_token(kb_id) not in principal.tokens:
        raise Forbidden(f"{found.name} is not granted to you. Ask an admin for a grant.")
    if kb_id not in principal.writable | principal.managed:
        raise Forbidden(f"{found.name} is granted to you for reading. Ask for a grant to write.")
    return found


async def get_writable_document(
    session: AsyncSession, principal: Principal, document_id: str
) -> Document:
    """A document for a verb that changes it: seeing it is not enough, its KB must be granted."""
    require(principal, Scope.KB_WRITE)
    document = await get_visible_document(session, principal, document_id)
    await get_writable_kb(session, principal, document.kb_id)
    return document


# Conditions


def _meets(
    document: type[Document], tenant_id: BindParameter[str], tokens: BindParameter[Any]
) -> ColumnElement[bool]:
    """The document and its KB exist, one token of its ACL is held and all of its `acl_all`."""
    needed = json_items(document.acl_all).table_valued("value")
    return and_(
        unindexed(document.tenant_id) == tenant_id,
        document.deleted_at.is_(None),
        exists()
        .where(
            KnowledgeBase.id == document.kb_id,
            unindexed(KnowledgeBase.tenant_id) == tenant_id,
            KnowledgeBase.deleted_at.is_(None),
        )
        .correlate(document),
        exists()
        .where(
            AclToken.acl_id == document.acl_id,
            unindexed(AclToken.tenant_id) == tenant_id,
            unindexed(AclToken.token).in_(select(items_of(tokens))),
        )
        .correlate(document),
        not_(
            exists()
            .select_from(needed)
            .where(needed.c.value.not_in(select(items_of(tokens))))
            .correlate(document)
        ),
    )


def _readable_kb(
    tenant_id: BindParameter[str], tokens: BindParameter[Any], granted: BindParameter[Any]
) -> ColumnElement[bool]:
    document = (
        exists()
        .where(
            Document.kb_id == KnowledgeBase.id,
            Document.acl_id.in_(
                select(AclToken.acl_id).where(
                    AclToken.tenant_id == tenant_id, AclToken.token.in_(select(items_of(tokens)))
                )
            ),
            _visible(tenant_id, tokens),
        )
        .correlate(KnowledgeBase)
    )
    return and_(
        KnowledgeBase.tenant_id == tenant_id,
        KnowledgeBase.deleted_at.is_(None),
        KnowledgeBase.id.in_(select(items_of(granted))) | document,
    )


def _readable_values(tenant_id: str, tokens: Collection[str]) -> dict[str, Any]:
    granted = sorted(token[3:] for token in tokens if token.startswith("kb:"))
    return {"tenant_id": tenant_id, "tokens": sorted(tokens), "granted": granted}


# Built once: composing them takes longer than the database takes to run them.
_READABLE = select(KnowledgeBase).where(
    _readable_kb(
        bindparam("tenant_id", type_=String),
        bindparam("tokens", type_=Json),
        bindparam("granted", type_=Json),
    )
)
_READABLE_KBS = _READABLE.order_by(KnowledgeBase.name)
_READABLE_KB = _READABLE.where(KnowledgeBase.id == bindparam("kb_id", type_=String))
_JOIN = (
    select(
        Document.id,
        Live.revision_id,
        Document.kb_id,
        KnowledgeBase.name,
        Document.title,
        Document.url,
        Document.language,
        Document.source_updated_at,
        Document.details,
        Document.tags,
        Document.fields,
        Source.kind,
    )
    .join(Live, Live.document_id == Document.id)
    .join(KnowledgeBase, KnowledgeBase.id == Document.kb_id)
    .join(Source, Source.id == Document.source_id)
    .where(
        Live.revision_id.in_(select(items_of(bindparam("revision_ids", type_=Json)))),
        or_(Document.hidden.is_(False), bindparam("include_hidden", type_=Boolean)),
        *_answering(
            bindparam("tenant_id", type_=String),
            bindparam("tokens", type_=Json),
            bindparam("branch", type_=String),
        ),
    )
)
