"""Every cell of the permission matrix, tried on the verbs themselves.

Role by verb by what it is done to (owned, granted to read, write or manage, a knowledge base of
others, one of another tenant) by how somebody came (the command line, a session, one that was just
confirmed, tokens). What is expected follows from the rows of `permissions.VERBS` and the rules
written here; what happens is what the verb does.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import pytest
from inline_snapshot import snapshot
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.access.permissions import VERBS, GrantLevel, Verb
from engine.assistants import rows as assistants
from engine.assistants import widgets
from engine.db.session import Database, open_database
from engine.db.tables import Document, Source
from engine.documents import knowledge_bases as kbs
from engine.domain import Principal, Role, Scope
from engine.errors import Forbidden, NotFound, StepUpRequired
from engine.index.port import Space
from engine.insight.statistics import StatisticsQuery, last_days, read_statistics
from engine.mail.mail import Mail
from engine.operations import audit_log
from engine.people import (
    api_tokens,
    groups,
    invitations,
    ledger,
    members,
    quotas,
    scim_clients,
    subjects,
    tenant_llms,
    tenants,
)
from engine.people.federation import providers
from engine.people.federation.providers import NewProvider
from engine.secrets import Secrets
from engine.workflows import stored_secrets
from tests.fakes.smtp_server import no_mail

SECRETS = Secrets(["k" * 40])
SPACE = Space("hashing-64", 64)
PROVIDER = NewProvider("idp", "oidc", "client", "secret", "https://id.x.org")
PLACES = ("own", "read", "write", "manage", "foreign", "other tenant")
WAYS = ("command line", "session", "confirmed session", "full token", "narrow token")
Outcome = str  # "ok", "forbidden", "not found", "step up"


@dataclass
class World:
    """A tenant with a member of each role and a knowledge base of each kind, and another tenant."""

    owner: Principal
    elsewhere: Principal
    people: dict[Role, str]
    kb_ids: dict[tuple[Role, str], str]
    documents: dict[str, str]  # by knowledge base
    group_id: str
    spare: str  # a member whom verbs are done to
    idle: str  # a deactivated one
    token_ids: dict[Role, str]
    mail: Mail
    secrets: Secrets


async def build(session: AsyncSession, owner: Principal) -> World:
    other = await tenants.create_tenant(session, owner, "beta")
    elsewhere = await gate.principal_of_user(session, other.id, owner.user_id or "")
    people, kb_ids, documents, token_ids = {}, {}, {}, {}
    for role in Role:
        made = await members.add_member(session, owner, email=f"{role}@x.org", role=role)
        people[role] = made.user_id
        who = await gate.principal_of_user(session, owner.tenant_id, made.user_id)
        _, info = await api_tokens.create_token(session, who, "t", scopes=who.scopes)
        token_ids[role] = info.id
    spare = (await members.add_member(session, owner, email="spare@x.org")).user_id
    idle = (await members.add_member(session, owner, email="idle@x.org")).user_id
    await members.set_active(session, owner, idle, active=False)
    group = await groups.create_group(session, owner, "staff")
    await groups.add_to_group(session, owner, group.id, spare)
    for role, place in itertools.product(Role, PLACES):
        by = elsewhere if place == "other tenant" else owner
        grants = [f"u:{by.user_id}"]
        kb = await kbs.create_kb(session, by, f"{role} {place}", space=SPACE, grants=grants)
        kb_ids[role, place] = kb.id
        token = f"u:{people[role]}"
        if place == "own":
            await kbs.grant_kb(session, owner, kb.id, token, GrantLevel.READ)
            await kbs.transfer_kb(session, owner, kb.id, people[role])
        elif place in set(GrantLevel):
            await kbs.grant_kb(session, owner, kb.id, token, GrantLevel(place))
        documents[kb.id] = await _document(session, by, kb.id)
    mail, secrets = no_mail(), Secrets(["k" * 40])
    await providers.add(session, secrets, owner, PROVIDER, allow_private=False)
    await invitations.invite(session, owner, mail, email="asked@x.org")
    await assistants.create(session, owner, "assistant", {"name": "Help"})
    return World(
        owner,
        elsewhere,
        people,
        kb_ids,
        documents,
        group.id,
        spare,
        idle,
        token_ids,
        mail,
        secrets,
    )


async def _document(session: AsyncSession, by: Principal, kb_id: str) -> str:
    acl = await gate.intern_acl(session, by.tenant_id, [gate.kb_token(kb_id)])
    source = Source(tenant_id=by.tenant_id, kb_id=kb_id, kind="upload", name="x")
    session.add(source)
    await session.flush()
    document = Document(
        tenant_id=by.tenant_id,
        kb_id=kb_id,
        source_id=source.id,
        external_id="d",
        title="d",
        acl_id=acl,
        state="ready",
    )
    session.add(document)
    await session.flush()
    return document.id


Do = Callable[[AsyncSession, Principal, World, str], Awaitable[object]]


async def add(session: AsyncSession, who: Principal, _: World, kb_id: str) -> None:
    await gate.get_writable_kb(session, who, kb_id)


async def delete(session: AsyncSession, who: Principal, world: World, kb_id: str) -> None:
    await gate.get_writable_document(session, who, world.documents[kb_id])


async def open_(session: AsyncSession, who: Principal, world: World, kb_id: str) -> None:
    gate.require_verb(who, "document.list")
    await gate.get_visible_document(session, who, world.documents[kb_id])


async def check_provider(who: Principal) -> None:
    gate.require_verb(who, "provider.check")


async def change_assistant(session: AsyncSession, who: Principal) -> None:
    gate.require_verb(who, "assistant.update")


DONE: dict[str, Do] = {
    "assistant.create": lambda s, p, w, k: assistants.create(s, p, "assistant", {"name": "new"}),
    "assistant.update": lambda s, p, w, k: change_assistant(s, p),
    "assistant.use": lambda s, p, w, k: assistants.list_all(s, p, "assistant"),
    "audit.export": lambda s, p, w, k: audit_log.verify_chain(s, p),
    "audit.list": lambda s, p, w, k: audit_log.list_audit(s, p, limit=1),
    "document.add": add,
    "document.delete": delete,
    "document.list": open_,
    "group.add": lambda s, p, w, k: groups.add_to_group(s, p, w.group_id, p.user_id or ""),
    "group.create": lambda s, p, w, k: groups.create_group(s, p, "new"),
    "group.delete": lambda s, p, w, k: groups.delete_group(s, p, w.group_id),
    "group.list": lambda s, p, w, k: groups.list_groups(s, p),
    "group.remove": lambda s, p, w, k: groups.remove_from_group(s, p, w.group_id, w.spare),
    "insight.list": lambda s, p, w, k: read_statistics(
        s, p, StatisticsQuery(last_days(1), "day", k)
    ),
    "invitation.create": lambda s, p, w, k: invitations.invite(s, p, w.mail, email="in@x.org"),
    "invitation.list": lambda s, p, w, k: invitations.list_open(s, p),
    "invitation.revoke": lambda s, p, w, k: invitations.revoke(s, p, "asked@x.org"),
    "kb.create": lambda s, p, w, k: kbs.create_kb(s, p, "new", space=SPACE, grants=[]),
    "kb.delete": lambda s, p, w, k: kbs.delete_kb(s, p, k),
    "kb.grant": lambda s, p, w, k: kbs.grant_kb(s, p, k, f"u:{p.user_id}"),
    "kb.list_grants": lambda s, p, w, k: kbs.list_grants(s, p, k),
    "kb.revoke": lambda s, p, w, k: kbs.revoke_kb(s, p, k, "tenant"),
    "kb.show": lambda s, p, w, k: kbs.get_kb(s, p, k),
    "kb.transfer": lambda s, p, w, k: kbs.transfer_kb(s, p, k, w.spare),
    "kb.update": lambda s, p, w, k: kbs.update_kb(s, p, k, description="new"),
    "llm.list": lambda s, p, w, k: tenant_llms.list_keys(s, p, SECRETS),
    "llm.set": lambda s, p, w, k: tenant_llms.set_default(s, p, ""),
    "member.activate": lambda s, p, w, k: members.set_active(s, p, w.idle, active=True),
    "member.add": lambda s, p, w, k: members.add_member(s, p, email="new@x.org"),
    "member.deactivate": lambda s, p, w, k: members.set_active(s, p, w.spare, active=False),
    "member.list": lambda s, p, w, k: members.list_members(s, p),
    "member.password": lambda s, p, w, k: members.check_password_link(s, p, w.spare),
    "member.remove": lambda s, p, w, k: members.remove_member(s, p, w.spare),
    "member.reset_factors": lambda s, p, w, k: members.reset_factors(s, p, w.spare),
    "member.role": lambda s, p, w, k: members.set_role(s, p, w.spare, Role.GUEST),
    "member.unlink": lambda s, p, w, k: subjects.unlink(s, p, w.spare),
    "provider.add": lambda s, p, w, k: providers.add(
        s, w.secrets, p, replace(PROVIDER, key="new"), allow_private=False
    ),
    "provider.check": lambda s, p, w, k: check_provider(p),
    "provider.list": lambda s, p, w, k: providers.list_all(s, p, public_url="https://x.org"),
    "provider.remove": lambda s, p, w, k: providers.remove(s, p, PROVIDER.key),
    "quota.list": lambda s, p, w, k: quotas.list_quotas(s, p),
    "quota.set": lambda s, p, w, k: quotas.set_quota(s, p, "user", "tokens-per-day", 1),
    "scim.list": lambda s, p, w, k: scim_clients.list_clients(s, p),
    "scim.set": lambda s, p, w, k: scim_clients.create_client(s, p, "okta"),
    "secret.list": lambda s, p, w, k: stored_secrets.list_secrets(s, p),
    "secret.set": lambda s, p, w, k: stored_secrets.set_secret(
        s, p, SECRETS, "desk", value="v", hosts=[]
    ),
    "token.create": lambda s, p, w, k: api_tokens.create_token(s, p, "t", scopes=[Scope.KB_READ]),
    "token.create_service": lambda s, p, w, k: api_tokens.create_token(
        s, p, "t", scopes=[Scope.KB_READ], kind=api_tokens.TokenKind.SERVICE
    ),
    "token.list": lambda s, p, w, k: api_tokens.list_tokens(s, p),
    "token.revoke": lambda s, p, w, k: api_tokens.revoke_token(s, p, w.token_ids[p.role]),
    "usage.list": lambda s, p, w, k: ledger.read_usage(s, p),
    "widget.list": lambda s, p, w, k: widgets.list_all(s, p),
    "widget.set": lambda s, p, w, k: widgets.add(s, p, "help", ["https://x.org"]),
}


def came(principal: Principal, way: str, verb: Verb) -> Principal:
    """The principal as a credential makes it."""
    match way:
        case "session":
            return replace(principal, session_id="s", assured=False)
        case "confirmed session":
            return replace(principal, session_id="s")
        case "full token":
            return replace(principal, api_token_id="t", assured=False)
        case "narrow token":  # every scope but the one it takes
            missing = {verb.scope, Scope.KB_ADMIN} if verb.scope else set()
            scopes = frozenset(principal.scopes - missing)
            return replace(principal, api_token_id="t", assured=False, scopes=scopes)
        case _:
            return principal


def expected(verb: Verb, role: Role, place: str, way: str) -> Outcome:  # noqa: PLR0911 (one a rule)
    """What the matrix says: first whether the verb is theirs, then whether the thing is."""
    if role not in verb.roles or (way == "narrow token" and verb.scope is not None):
        return "forbidden"
    if verb.step_up and way not in {"command line", "confirmed session"}:
        return "step up"
    if verb.name == "token.create" and way in {"full token", "narrow token"}:
        return "ok" if role in {Role.OWNER, Role.ADMIN} else "forbidden"
    if verb.level is None:
        return "ok"
    if place == "other tenant":
        return "not found"
    if role in verb.everywhere:
        return "ok"
    if place == "foreign":
        return "not found"
    reach = {"own": "manage", "manage": "manage", "write": "write", "read": "read"}[place]
    levels = list(GrantLevel)
    enough = levels.index(GrantLevel(reach)) >= levels.index(verb.level)
    return "ok" if enough else "forbidden"


async def outcome(session: AsyncSession, call: Awaitable[object]) -> Outcome:
    try:
        await call
    except StepUpRequired:
        return "step up"
    except Forbidden:
        return "forbidden"
    except NotFound:
        return "not found"
    finally:
        await session.rollback()
    return "ok"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[tuple[Database, World]]:
    async with open_database(database_url) as database:
        tenant, first = await tenants.ensure_default(database)
        async with database.write() as session:
            owner = await gate.principal_of_user(session, tenant.id, first.user_id)
            built = await build(session, owner)
        yield database, built


def cells(verb: Verb) -> list[tuple[Role, str, str]]:
    places = PLACES if verb.level is not None else ("own",)
    return list(itertools.product(Role, places, WAYS))


@pytest.mark.slow
async def test_every_cell_of_the_matrix_holds(world: tuple[Database, World]):
    database, built = world
    wrong, tried = [], 0
    for role in Role:
        async with database.read() as session:
            plain = await gate.principal_of_user(session, built.owner.tenant_id, built.people[role])
        for verb in VERBS:
            for of, place, way in cells(verb):
                if of is not role:
                    continue
                who = came(plain, way, verb)
                kb_id = built.kb_ids[role, place]
                async with database._writers() as session:
                    got = await outcome(session, DONE[verb.name](session, who, built, kb_id))
                tried += 1
                want = expected(verb, role, place, way)
                if got != want:
                    wrong.append((verb.name, str(role), place, way, got, want))
    assert wrong == []
    assert tried == sum(len(cells(verb)) for verb in VERBS)
    assert tried >= 1500


def test_every_verb_of_the_matrix_is_tried():
    assert set(DONE) == {verb.name for verb in VERBS}


def test_the_matrix_is_as_it_was_decided():
    rows = {
        verb.name: " ".join(
            [
                ",".join(role for role in Role if role in verb.roles),
                str(verb.level or "-"),
                ",".join(role for role in Role if role in verb.everywhere) or "-",
                "step-up" if verb.step_up else "-",
            ]
        )
        for verb in VERBS
    }
    assert rows == snapshot(
        {
            "assistant.create": "owner,admin,curator - - -",
            "assistant.update": "owner,admin,curator - owner,admin -",
            "assistant.use": "owner,admin,curator,member,guest - - -",
            "audit.export": "owner,admin - - step-up",
            "audit.list": "owner,admin - - -",
            "document.add": "owner,admin,curator write - -",
            "document.delete": "owner,admin,curator write - -",
            "document.list": "owner,admin,curator,member,guest read - -",
            "group.add": "owner,admin - - -",
            "group.create": "owner,admin - - -",
            "group.delete": "owner,admin - - -",
            "group.list": "owner,admin - - -",
            "group.remove": "owner,admin - - -",
            "insight.list": "owner,admin,curator manage owner,admin -",
            "invitation.create": "owner,admin - - step-up",
            "invitation.list": "owner,admin - - -",
            "invitation.revoke": "owner,admin - - step-up",
            "kb.create": "owner,admin,curator - - -",
            "kb.delete": "owner,admin,curator manage owner,admin -",
            "kb.grant": "owner,admin,curator manage owner,admin -",
            "kb.list_grants": "owner,admin,curator manage owner,admin -",
            "kb.revoke": "owner,admin,curator manage owner,admin -",
            "kb.show": "owner,admin,curator,member,guest read - -",
            "kb.transfer": "owner,admin,curator manage owner,admin -",
            "kb.update": "owner,admin,curator manage owner,admin -",
            "llm.list": "owner,admin - - -",
            "llm.set": "owner,admin - - step-up",
            "member.activate": "owner,admin - - step-up",
            "member.add": "owner,admin - - step-up",
            "member.deactivate": "owner,admin - - step-up",
            "member.list": "owner,admin - - -",
            "member.password": "owner,admin - - step-up",
            "member.remove": "owner,admin - - step-up",
            "member.reset_factors": "owner,admin - - step-up",
            "member.role": "owner,admin - - step-up",
            "member.unlink": "owner,admin - - step-up",
            "provider.add": "owner,admin - - step-up",
            "provider.check": "owner,admin - - -",
            "provider.list": "owner,admin - - -",
            "provider.remove": "owner,admin - - step-up",
            "quota.list": "owner,admin - - -",
            "quota.set": "owner,admin - - step-up",
            "scim.list": "owner,admin - - -",
            "scim.set": "owner,admin - - step-up",
            "secret.list": "owner,admin - - -",
            "secret.set": "owner,admin - - step-up",
            "token.create": "owner,admin,curator,member,guest - - -",
            "token.create_service": "owner,admin - - step-up",
            "token.list": "owner,admin,curator,member,guest - - -",
            "token.revoke": "owner,admin,curator,member,guest - - -",
            "usage.list": "owner,admin - - -",
            "widget.list": "owner,admin - - -",
            "widget.set": "owner,admin - - step-up",
        }
    )
