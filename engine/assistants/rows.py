"""The rows of assistants and search apps: made, listed, found, changed, deleted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.access.assistant_access import may_edit, select_assistants
from engine.assistants.profiles import (
    PROFILES,
    AssistantProfile,
    Kind,
    SearchProfile,
    checked,
)
from engine.db.tables import Assistant, AssistantGrant, AssistantKb, KnowledgeBase, User
from engine.documents.kb_grants import parse_grantee
from engine.domain import Principal
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound, StaleAssistant
from engine.people.tenant_llms import ANY, parse_name

NOUNS: Mapping[Kind, str] = {"assistant": "assistant", "search_app": "search app"}
_LISTS = ("kbs", "visible_to")


@dataclass(frozen=True, slots=True)
class AssistantInfo:
    """An assistant or a search app as somebody who may use it sees it.

    `profile` names the knowledge bases they may know of; `kb_ids` are all of them, None: every one
    there is. `visible_to` are access tokens.
    """

    id: str
    kind: Kind
    profile: SearchProfile
    kb_ids: frozenset[str] | None
    owner: str  # a name
    may_edit: bool
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def slug(self) -> str:
        """The short name it is called by."""
        return self.profile.slug

    @property
    def answers(self) -> AssistantProfile:
        """How it answers; of a search app, as everything is answered."""
        if isinstance(self.profile, AssistantProfile):
            return self.profile
        return AssistantProfile.model_validate(self.profile.model_dump())


async def create(
    session: AsyncSession, principal: Principal, kind: Kind, values: Mapping[str, Any]
) -> AssistantInfo:
    """A new one, which its creator owns; `Conflict` where the slug is taken."""
    gate.require_verb(principal, "assistant.create")
    profile = checked(PROFILES[kind], values)
    _check_model(profile)
    await _require_free(session, principal, kind, profile.slug)
    row = Assistant(
        id=clock.new_id(),
        tenant_id=principal.tenant_id,
        kind=kind,
        owner_id=principal.user_id,
        every_kb=profile.kbs is None,
        **_columns(profile),
    )
    session.add(row)
    await session.flush()
    await _set_kbs(session, principal, row, profile.kbs)
    await _set_grants(session, principal, row, profile.visible_to)
    await gate.audit(session, principal, "assistant.create", row.id, {"slug": row.slug})
    return await _info(session, principal, row)


async def list_all(session: AsyncSession, principal: Principal, kind: Kind) -> list[AssistantInfo]:
    """Those the principal may use, by name."""
    gate.require_verb(principal, "assistant.use")
    query = select_assistants(principal, kind).order_by(Assistant.name, Assistant.slug)
    return [await _info(session, principal, row) for row in await session.scalars(query)]


async def get(session: AsyncSession, principal: Principal, kind: Kind, ref: str) -> AssistantInfo:
    """One by slug or id; `NotFound` for one that the principal may not use."""
    gate.require_verb(principal, "assistant.use")
    return await find(session, principal, kind, ref)


async def find(session: AsyncSession, principal: Principal, kind: Kind, ref: str) -> AssistantInfo:
    """The same for a verb that has asked for its own permission."""
    return await _info(session, principal, await _find(session, principal, kind, ref))


async def bound(
    session: AsyncSession, principal: Principal, assistant_id: str
) -> AssistantInfo | None:
    """An assistant that an admin has set for a place: whoever asks there need not be granted it."""
    row = await session.get(Assistant, assistant_id)
    if row is None or row.tenant_id != principal.tenant_id or row.kind != "assistant":
        return None
    return await _info(session, principal, row)


async def update(
    session: AsyncSession,
    principal: Principal,
    kind: Kind,
    ref: str,
    changes: Mapping[str, Any],
    *,
    version: int | None = None,
) -> AssistantInfo:
    """Change what is given; `StaleAssistant` where `version` is given and not the present one."""
    row = await _editable(session, principal, kind, ref)
    if version is not None and version != row.version:
        raise StaleAssistant(
            f"Somebody changed {row.name!r} meanwhile: it is at version {row.version}, not {version}."
            " Read it again, then repeat your change.",
            version=row.version,
        )
    before = await _info(session, principal, row)
    wanted = before.profile.model_dump(exclude=set(_LISTS)) | dict(changes)
    profile = checked(PROFILES[kind], wanted)
    if "model" in changes:
        _check_model(profile)
    if profile.slug != row.slug:
        await _require_free(session, principal, kind, profile.slug)
    for name, value in _columns(profile).items():
        setattr(row, name, value)
    row.version += 1
    row.updated_at = clock.now()
    if "kbs" in changes:
        row.every_kb = profile.kbs is None
        await _set_kbs(session, principal, row, profile.kbs)
    if "visible_to" in changes:
        await _set_grants(session, principal, row, profile.visible_to)
    await session.flush()
    detail = {"slug": row.slug, "changed": sorted(changes)}
    await gate.audit(session, principal, "assistant.update", row.id, detail)
    return await _info(session, principal, row)


async def remove(
    session: AsyncSession, principal: Principal, kind: Kind, ref: str
) -> AssistantInfo:
    """Delete one; its conversations stay, and are continued by none."""
    row = await _editable(session, principal, kind, ref)
    gone = await _info(session, principal, row)
    await session.delete(row)
    await gate.audit(session, principal, "assistant.delete", row.id, {"slug": row.slug})
    return gone


async def _find(session: AsyncSession, principal: Principal, kind: Kind, ref: str) -> Assistant:
    named = (Assistant.slug == ref) | (Assistant.id == ref)
    row = await session.scalar(select_assistants(principal, kind).where(named))
    if row is None:
        raise no_such(kind, ref)
    return row


def no_such(kind: Kind, ref: str) -> NotFound:
    """What is said of one that does not exist, and of one that somebody may not use."""
    return NotFound(f"No {NOUNS[kind]} {ref[:100]!r} that you may use.")


async def _editable(session: AsyncSession, principal: Principal, kind: Kind, ref: str) -> Assistant:
    gate.require_verb(principal, "assistant.update")
    row = await _find(session, principal, kind, ref)
    if not may_edit(principal, row.owner_id):
        raise Forbidden(
            f"The {NOUNS[kind]} {row.name!r} is somebody else's: its owner or an admin changes it."
        )
    return row


async def _require_free(session: AsyncSession, principal: Principal, kind: Kind, slug: str) -> None:
    taken = await session.scalar(
        select(Assistant.id).where(
            Assistant.tenant_id == principal.tenant_id,
            Assistant.kind == kind,
            Assistant.slug == slug,
        )
    )
    if taken is not None:
        raise Conflict(f"The slug {slug!r} is taken: give another name or slug.")


def _check_model(profile: SearchProfile) -> None:
    model = getattr(profile, "model", "")
    if model and parse_name(model)[1] == ANY:
        raise InvalidInput("model: name one model, such as openai:gpt-4o.", field="model")


def _columns(profile: SearchProfile) -> dict[str, Any]:
    return profile.model_dump(exclude=set(_LISTS))


async def _set_kbs(
    session: AsyncSession, principal: Principal, row: Assistant, names: Sequence[str] | None
) -> None:
    """Answer from these; those the principal may not know of stay."""
    readable = {kb.id: kb.name for kb in await gate.readable_kbs(session, principal)}
    wanted: set[str] = set()
    for name in names or ():
        found = [id_ for id_, known in readable.items() if name in {id_, known}]
        if not found:
            raise NotFound(f"No knowledge base {name[:100]!r} that you may read.")
        wanted.update(found)
    of_row = AssistantKb.assistant_id == row.id
    await session.execute(
        delete(AssistantKb).where(
            of_row,
            AssistantKb.tenant_id == row.tenant_id,
            *([AssistantKb.kb_id.in_(sorted(readable))] if names is not None else []),
        )
    )
    for kb_id in sorted(wanted):
        session.add(AssistantKb(assistant_id=row.id, kb_id=kb_id, tenant_id=row.tenant_id))
    await session.flush()


async def _set_grants(
    session: AsyncSession, principal: Principal, row: Assistant, names: Collection[str]
) -> None:
    tokens = {await parse_grantee(session, principal.tenant_id, name) for name in names}
    await session.execute(
        delete(AssistantGrant).where(
            AssistantGrant.assistant_id == row.id, AssistantGrant.tenant_id == row.tenant_id
        )
    )
    for token in sorted(tokens):
        await session.execute(
            insert(AssistantGrant).values(assistant_id=row.id, token=token, tenant_id=row.tenant_id)
        )


async def _info(session: AsyncSession, principal: Principal, row: Assistant) -> AssistantInfo:
    kind: Kind = "assistant" if row.kind == "assistant" else "search_app"
    rows = (
        await session.execute(
            select(AssistantKb.kb_id, KnowledgeBase.name)
            .join(KnowledgeBase, KnowledgeBase.id == AssistantKb.kb_id)
            .where(AssistantKb.assistant_id == row.id, AssistantKb.tenant_id == row.tenant_id)
            .order_by(KnowledgeBase.name)
        )
    ).all()
    grants = await session.scalars(
        select(AssistantGrant.token)
        .where(AssistantGrant.assistant_id == row.id, AssistantGrant.tenant_id == row.tenant_id)
        .order_by(AssistantGrant.token)
    )
    readable = {kb.id for kb in await gate.readable_kbs(session, principal)} if rows else set()
    model = PROFILES[kind]
    named = {name: getattr(row, name) for name in model.model_fields if name not in _LISTS}
    owner = row.owner_id and await session.scalar(select(User.name).where(User.id == row.owner_id))
    return AssistantInfo(
        id=row.id,
        kind=kind,
        # What is stored was checked, and knowledge bases may all have been deleted since.
        profile=model.model_construct(
            **named,
            kbs=None if row.every_kb else [name for id_, name in rows if id_ in readable],
            visible_to=list(grants),
        ),
        kb_ids=None if row.every_kb else frozenset(id_ for id_, _ in rows),
        owner=owner or "",
        may_edit=may_edit(principal, row.owner_id),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
