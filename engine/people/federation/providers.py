"""A tenant's identity providers: added, listed, removed. Client secrets are kept encrypted."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.tables import OidcProvider, SignInAttempt, Tenant, UserGroup
from engine.domain import Principal, Role
from engine.errors import Conflict, InvalidInput, NotFound
from engine.net.fetching import check_url
from engine.people import groups
from engine.people.federation.kinds import KINDS, OAUTH, Kind, ProviderRules, is_multi_tenant
from engine.people.members import checked_name
from engine.secrets import Secrets

_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
JIT_ROLES = (Role.CURATOR, Role.MEMBER, Role.GUEST)
LIST_MAX = 100


@dataclass(frozen=True, slots=True)
class NewProvider:
    """What an admin says of a provider. `groups` maps a value of the claim to a group of ours."""

    key: str
    kind: Kind
    client_id: str
    client_secret: str = field(default="", repr=False)
    issuer: str = ""
    name: str = ""
    scopes: str = ""
    api_url: str = ""
    allowed_domains: Collection[str] = ()
    allowed_tenants: Collection[str] = ()
    groups_claim: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    jit_role: Role | None = None
    link_by_email: bool = False


@dataclass(frozen=True, slots=True)
class IdentityProviderInfo:
    """A provider without its secret; `groups` maps a value of the claim to a group's name."""

    id: str
    key: str
    kind: str
    name: str
    issuer: str
    client_id: str
    scopes: str
    api_url: str
    allowed_domains: Sequence[str]
    allowed_tenants: Sequence[str]
    groups_claim: str
    groups: Mapping[str, str]
    jit_role: Role | None
    link_by_email: bool
    redirect_uri: str
    created_at: datetime


async def add(
    session: AsyncSession,
    secrets: Secrets,
    principal: Principal,
    new: NewProvider,
    *,
    allow_private: bool,
) -> str:
    """Add a provider; its id. `Conflict` for a key there is."""
    gate.require_verb(principal, "provider.add")
    _check(new, allow_private=allow_private)
    known = select(OidcProvider.id).where(
        OidcProvider.tenant_id == principal.tenant_id, OidcProvider.key == new.key
    )
    if await session.scalar(known) is not None:
        raise Conflict(
            f"There is a provider {new.key!r} already: remove it first, or use a new key."
        )
    rules = {}
    for value, ref in new.groups.items():
        rules[value] = (await groups.find_group(session, principal, ref)).id
    info = KINDS[new.kind]
    id_ = clock.new_id()
    session.add(
        OidcProvider(
            id=id_,
            tenant_id=principal.tenant_id,
            key=new.key,
            kind=new.kind,
            name=checked_name(new.name) if new.name else info.label,
            issuer=new.issuer or info.issuer,
            client_id=new.client_id.strip(),
            client_secret=secrets.encrypt("credentials", f"{id_}:{new.client_secret}"),
            scopes=new.scopes or info.scopes,
            api_url=new.api_url.rstrip("/"),
            allowed_domains=sorted({item.lower() for item in new.allowed_domains}),
            allowed_tenants=sorted({item.lower() for item in new.allowed_tenants}),
            groups_claim=new.groups_claim or info.groups_claim,
            group_rules=rules,
            jit_role=new.jit_role,
            link_by_email=new.link_by_email,
        )
    )
    said = {"key": new.key, "kind": new.kind, "issuer": new.issuer or info.issuer, "secret": "set"}
    await gate.audit(session, principal, "provider.add", id_, said)
    return id_


async def list_all(
    session: AsyncSession, principal: Principal, *, public_url: str
) -> list[IdentityProviderInfo]:
    """The tenant's providers, by key."""
    gate.require_verb(principal, "provider.list")
    rows = await session.scalars(
        select(OidcProvider)
        .where(OidcProvider.tenant_id == principal.tenant_id)
        .order_by(OidcProvider.key)
    )
    named = await session.execute(
        select(UserGroup.id, UserGroup.name).where(UserGroup.tenant_id == principal.tenant_id)
    )
    names = {row[0]: row[1] for row in named}
    tenant = await session.get_one(Tenant, principal.tenant_id)
    return [_info(row, names, redirect_uri(public_url, tenant.key, row.key)) for row in rows]


async def remove(session: AsyncSession, principal: Principal, key: str) -> str:
    """Remove a provider; its name. Who signs in by it stays linked, should it come back."""
    gate.require_verb(principal, "provider.remove")
    row = await find(session, principal.tenant_id, key)
    await session.execute(delete(SignInAttempt).where(SignInAttempt.provider_id == row.id))
    await session.delete(row)
    await gate.audit(session, principal, "provider.remove", row.id, {"key": row.key})
    return row.name


async def find(session: AsyncSession, tenant_id: str, key: str) -> OidcProvider:
    """A provider of a tenant by its key."""
    found = await session.scalar(
        select(OidcProvider).where(OidcProvider.tenant_id == tenant_id, OidcProvider.key == key)
    )
    if found is None:
        raise NotFound(f"No identity provider {key[:80]!r}.")
    return found


async def find_public(
    session: AsyncSession, tenant_key: str, key: str
) -> tuple[OidcProvider, Tenant]:
    """A provider by the keys in an address, for whoever opens it."""
    row = (
        await session.execute(
            select(OidcProvider, Tenant)
            .join(Tenant, Tenant.id == OidcProvider.tenant_id)
            .where(Tenant.key == tenant_key, Tenant.deleted_at.is_(None), OidcProvider.key == key)
        )
    ).one_or_none()
    if row is None:
        raise NotFound("No such way to sign in.")
    return row[0], row[1]


def secret_of(secrets: Secrets, row: OidcProvider) -> str:
    """The client secret; empty for one that was put into another's row."""
    owner, _, secret = secrets.decrypt("credentials", row.client_secret).partition(":")
    return secret if owner == row.id else ""


def rules_of(row: OidcProvider) -> ProviderRules:
    """What the tenant says of the provider, as `kinds.profile_of` takes it."""
    return ProviderRules(
        kind=row.kind,  # type: ignore[arg-type]  # checked when it was added
        issuer=row.issuer,
        allowed_domains=row.allowed_domains,
        allowed_tenants=row.allowed_tenants,
        groups_claim=row.groups_claim,
    )


def redirect_uri(public_url: str, tenant_key: str, key: str) -> str:
    """Where a provider sends people back: from the setting alone, never from a request."""
    return f"{public_url}/auth/{tenant_key}/{key}/callback"


def _check(new: NewProvider, *, allow_private: bool) -> None:
    if new.kind not in KINDS:
        raise InvalidInput(f"Unknown kind; allowed: {', '.join(KINDS)}.", field="kind")
    if not _KEY.fullmatch(new.key):
        raise InvalidInput("A key has 1 to 40 of a-z, 0-9, _ and -.", field="key")
    if not new.client_id.strip() or len(new.client_id) > 300 or not new.client_id.isprintable():
        raise InvalidInput("Give the client id that the provider shows.", field="client_id")
    if new.kind in OAUTH and not new.client_secret:
        raise InvalidInput("This provider needs a client secret.", field="client_secret")
    if len(new.client_secret) > 2000 or not new.client_secret.isprintable():
        raise InvalidInput("This is no client secret.", field="client_secret")
    for name, url in (("issuer", new.issuer or KINDS[new.kind].issuer), ("api_url", new.api_url)):
        if name == "api_url" and not url:
            continue
        _check_url(name, url, allow_private=allow_private)
    _check_rules(new)


def _check_rules(new: NewProvider) -> None:
    if new.kind == "entra" and is_multi_tenant(new.issuer) and not new.allowed_tenants:
        raise InvalidInput(
            "An issuer for several directories needs the ids of those that may sign in.",
            field="allowed_tenants",
        )
    if new.jit_role is not None and new.jit_role not in JIT_ROLES:
        raise InvalidInput(f"Newcomers can be {', '.join(JIT_ROLES)}.", field="jit_role")
    if new.jit_role is not None and not new.allowed_domains:
        raise InvalidInput(
            "Name the domains whose people may join by signing in.", field="allowed_domains"
        )
    for name, items in (("allowed_domains", new.allowed_domains), ("groups", new.groups)):
        if len(items) > LIST_MAX:
            raise InvalidInput(f"Give at most {LIST_MAX}.", field=name)
    if not all(_DOMAIN.fullmatch(item.lower()) for item in new.allowed_domains):
        raise InvalidInput("A domain is like example.com.", field="allowed_domains")


def _check_url(name: str, url: str, *, allow_private: bool) -> None:
    if not url:
        raise InvalidInput(
            "Give the issuer: the address that its metadata is under.", field="issuer"
        )
    try:
        check_url(url)
        parts = urlsplit(url)
    except InvalidInput as error:
        raise InvalidInput(str(error), field=name) from None
    if parts.query or parts.fragment or len(url) > 300:
        raise InvalidInput("An issuer is an address without ? and #.", field=name)
    if parts.scheme != "https" and not allow_private:
        raise InvalidInput(
            "An identity provider needs https. For one on your own network an operator can set"
            " server.private_issuers.",
            field=name,
        )


def _info(row: OidcProvider, names: Mapping[str, str], back: str) -> IdentityProviderInfo:
    return IdentityProviderInfo(
        id=row.id,
        key=row.key,
        kind=row.kind,
        name=row.name,
        issuer=row.issuer,
        client_id=row.client_id,
        scopes=row.scopes,
        api_url=row.api_url,
        allowed_domains=row.allowed_domains,
        allowed_tenants=row.allowed_tenants,
        groups_claim=row.groups_claim,
        groups={value: names.get(id_, id_) for value, id_ in row.group_rules.items()},
        jit_role=Role(row.jit_role) if row.jit_role else None,
        link_by_email=row.link_by_email,
        redirect_uri=back,
        created_at=row.created_at,
    )
