"""The verbs of a tenant's identity providers. `engine.people.providers` is a `Providers`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db.session import Database
from engine.db.tables import OidcProvider, Tenant
from engine.domain import Principal
from engine.errors import Conflict
from engine.people.federation import accounts, providers
from engine.people.federation.kinds import OAUTH
from engine.people.federation.metadata import MetadataCache, ProviderMetadata
from engine.people.federation.providers import IdentityProviderInfo, NewProvider
from engine.secrets import Secrets

NO_PUBLIC_URL = (
    "Set server.public_url to the address people use: identity providers send people back there,"
    " and nowhere else."
)


@dataclass(frozen=True, slots=True)
class SignInWay:
    """A way to sign in, for the page: `path` begins it."""

    key: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """What a provider answered, for its admin."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    keys: int
    redirect_uri: str


class Providers:
    """Identity providers: added, listed, checked, removed; and the ways to sign in by them."""

    def __init__(
        self, db: Database, secrets: Secrets, *, public_url: str, allow_private: bool
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._public_url = public_url
        self._allow_private = allow_private

    async def add(self, principal: Principal, new: NewProvider) -> IdentityProviderInfo:
        """Add an identity provider to the tenant; its description, with the redirect address."""
        gate.require_verb(principal, "provider.add")
        if not self._public_url:
            raise Conflict(NO_PUBLIC_URL)

        async def commit(session: AsyncSession) -> None:
            await providers.add(
                session, self._secrets, principal, new, allow_private=self._allow_private
            )

        await self._db.run_write(commit)
        return next(item for item in await self.list_all(principal) if item.key == new.key)

    async def list_all(self, principal: Principal) -> list[IdentityProviderInfo]:
        """The tenant's identity providers, by key."""
        return await self._db.run_read(
            lambda session: providers.list_all(session, principal, public_url=self._public_url)
        )

    async def remove(self, principal: Principal, key: str) -> str:
        """Remove an identity provider; its name."""
        return await self._db.run_write(lambda session: providers.remove(session, principal, key))

    async def check(self, principal: Principal, key: str) -> ProviderCheck:
        """Ask a provider for its metadata and keys, as a sign-in would."""
        gate.require_verb(principal, "provider.check")

        async def find(session: AsyncSession) -> tuple[OidcProvider, Tenant]:
            row = await providers.find(session, principal.tenant_id, key)
            return row, await session.get_one(Tenant, row.tenant_id)

        row, tenant = await self._db.run_read(find)
        cache = MetadataCache(allow_private=self._allow_private)  # nothing remembered
        found = await metadata_of(row, cache)
        keys = 0 if row.kind in OAUTH else len(await cache.keys(row.issuer, ""))
        return ProviderCheck(
            issuer=found.issuer,
            authorization_endpoint=found.authorization_endpoint,
            token_endpoint=found.token_endpoint,
            keys=keys,
            redirect_uri=providers.redirect_uri(self._public_url, tenant.key, row.key),
        )

    async def buttons(self, tenant_key: str = "") -> list[SignInWay]:
        """The ways to sign in to a tenant, by default the first one, by name."""
        chosen = tenant_key or gate.FIRST_TENANT

        async def find(session: AsyncSession) -> list[SignInWay]:
            rows = await session.scalars(
                select(OidcProvider)
                .join(Tenant, Tenant.id == OidcProvider.tenant_id)
                .where(Tenant.key == chosen, Tenant.deleted_at.is_(None))
                .order_by(OidcProvider.name, OidcProvider.key)
            )
            return [SignInWay(row.key, row.name, f"/auth/{chosen}/{row.key}/start") for row in rows]

        return await self._db.run_read(find) if self._public_url else []


async def metadata_of(row: OidcProvider, cache: MetadataCache) -> ProviderMetadata:
    """Where a provider's endpoints are."""
    kind = providers.rules_of(row).kind
    if kind in OAUTH:
        return accounts.endpoints(kind, row.issuer)
    return await cache.metadata(row.issuer)
