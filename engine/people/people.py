"""Who asks, and who is in a tenant. `Engine.people` is a `People`.

Doors turn a credential into a principal here; the rows are in `tenants.py` and `subjects.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db.session import Database
from engine.domain import Audience, Principal, Role, Scope
from engine.errors import Forbidden
from engine.limits import Limits
from engine.mail.mail import Mail
from engine.people import access_jwt, api_tokens, groups, members, subjects, tenants
from engine.people.address_change import AddressChange
from engine.people.api_tokens import TokenInfo, TokenKind
from engine.people.federation.federation import Federation
from engine.people.federation.registry import Providers
from engine.people.groups import GroupInfo
from engine.people.inviting import Inviting, MailedLinks
from engine.people.members import MemberInfo
from engine.people.passkeys import Passkeys
from engine.people.scim_clients import ScimClients
from engine.people.sign_in import SignIn
from engine.people.subjects import Subject
from engine.people.tenants import TenantInfo
from engine.secrets import Secrets


class People:
    """The verbs of tenants, members and API tokens."""

    def __init__(
        self,
        db: Database,
        secrets: Secrets,
        limits: Limits,
        mail: Mail,
        *,
        public_url: str,
        private_issuers: bool = False,
    ) -> None:
        self._db = db
        issuer = public_url or "scrubjay"
        self.sign_in = SignIn(db, secrets, limits, mail, issuer=issuer)
        self.invitations = Inviting(db, mail, self.sign_in)
        self.mailed_links = MailedLinks(db, secrets, limits, mail)
        self.providers = Providers(
            db, secrets, public_url=public_url, allow_private=private_issuers
        )
        self.federation = Federation(
            db,
            secrets,
            limits,
            mail,
            self.sign_in,
            public_url=public_url,
            allow_private=private_issuers,
            issuer=issuer,
        )
        self.scim = ScimClients(db)
        self.addresses = AddressChange(db, mail, self.mailed_links)
        self.passkeys = Passkeys(
            db, secrets, mail, self.sign_in, public_url=public_url, issuer=issuer
        )

    # Who asks

    async def owner(self) -> Principal:
        """The local owner of the default tenant: who the command line acts as."""
        tenant, member = await tenants.ensure_default(self._db)
        return await self._principal(tenant.id, member.user_id)

    async def authenticate(self, secret: str, *, address: str = "") -> Principal:
        """The principal of a bearer token: an API token, or the access token of a session.

        `address` is where the request came from: some tokens are bound to networks.
        `Unauthenticated` for any that is not valid. What they hold is looked up each time.
        """
        if access_jwt.is_ours(secret):
            return await self.sign_in.principal_of_access_token(secret)
        return await api_tokens.authenticate(self._db, secret, address=address)

    @staticmethod
    def issued(secret: str) -> bool:
        """Whether a bearer token says that it was made here, and not by an identity provider."""
        return secret.startswith(api_tokens.SECRET_PREFIX) or access_jwt.is_ours(secret)

    async def principal_of_subject(self, tenant: str, who: Subject) -> Principal:
        """The member behind a subject of an identity provider; `Forbidden` where there is none."""
        return await subjects.principal_of_subject(self._db, tenant, who)

    async def access_version(self) -> int:
        """A number that is another one after every change of who may do or see what."""
        return await self._db.run_read(gate.access_version)

    async def can_sign_in(self, principal: Principal) -> bool:
        """Whether the person behind a credential could also sign in with a browser."""
        user_id = principal.user_id
        if user_id is None:
            return False
        return await self._db.run_read(lambda session: members.has_password(session, user_id))

    async def act_as(self, principal: Principal, user: str) -> Principal:
        """Another member of the principal's tenant, by e-mail, name or id. Owners only."""
        if principal.role is not Role.OWNER or principal.api_token_id is not None:
            raise Forbidden("Only an owner at the command line may run as someone else.")
        async with self._db.read() as session:
            member = await members.find_member(session, principal.tenant_id, user)
        return await self._principal(principal.tenant_id, member.user_id)

    @staticmethod
    def audience_of_asker(principal: Principal) -> Audience:
        """The audience of an answer that only the asker sees."""
        return gate.audience_of_asker(principal)

    async def _principal(self, tenant_id: str, user_id: str) -> Principal:
        async with self._db.read() as session:
            return await gate.principal_of_user(session, tenant_id, user_id)

    # Tenants

    async def create_tenant(self, principal: Principal, key: str, *, name: str = "") -> TenantInfo:
        """A new tenant; `key` never changes."""
        return await self._db.run_write(
            lambda session: tenants.create_tenant(session, principal, key, name=name)
        )

    async def list_tenants(self, principal: Principal) -> list[TenantInfo]:
        """All tenants, for the operator of the installation; else one's own."""
        return await self._db.run_read(lambda session: tenants.list_tenants(session, principal))

    async def show_tenant(self, principal: Principal, key: str) -> TenantInfo:
        """A tenant by key or id, for who runs the installation."""
        return await self._db.run_read(lambda session: tenants.show_tenant(session, principal, key))

    async def suspend_tenant(self, principal: Principal, key: str) -> TenantInfo:
        """Let a tenant answer nothing, at no door, from now on; its jobs wait."""
        return await self._db.run_write(
            lambda session: tenants.suspend_tenant(session, principal, key, on=True)
        )

    async def resume_tenant(self, principal: Principal, key: str) -> TenantInfo:
        """Let a suspended tenant answer again, and its jobs run."""
        return await self._db.run_write(
            lambda session: tenants.suspend_tenant(session, principal, key, on=False)
        )

    async def delete_tenant(self, principal: Principal, key: str) -> TenantInfo:
        """End a tenant now; a worker then deletes everything it has."""
        return await self._db.run_write(
            lambda session: tenants.delete_tenant(session, principal, key)
        )

    async def tenant_deletion(self, principal: Principal, tenant_id: str) -> str:
        """How far the deletion of a tenant is: running, failed, or empty once all is gone."""
        return await self._db.run_read(
            lambda session: tenants.deletion(session, principal, tenant_id)
        )

    # API tokens

    async def create_token(
        self,
        principal: Principal,
        name: str,
        *,
        scopes: Collection[Scope],
        expires_in: timedelta | None = None,
        expires_at: datetime | None = None,
        kb_ids: Collection[str] | None = None,
        kind: TokenKind = TokenKind.PERSONAL,
        assistants: Collection[str] | None = None,
        networks: Collection[str] | None = None,
    ) -> tuple[str, TokenInfo]:
        """A new API token: its secret, shown this once, and what is kept of it.

        With `kb_ids` it reaches these knowledge bases only. `api_tokens.create_token` says more.
        """
        return await self._db.run_write(
            lambda session: api_tokens.create_token(
                session,
                principal,
                name,
                scopes=scopes,
                expires_in=expires_in,
                expires_at=expires_at,
                kb_ids=kb_ids,
                kind=kind,
                assistants=assistants,
                networks=networks,
            )
        )

    async def list_tokens(self, principal: Principal) -> list[TokenInfo]:
        """One's own tokens; an admin sees those of the tenant."""
        return await self._db.run_read(lambda session: api_tokens.list_tokens(session, principal))

    async def revoke_token(self, principal: Principal, ref: str) -> TokenInfo:
        """End a token now, by id or prefix."""
        return await self._db.run_write(
            lambda session: api_tokens.revoke_token(session, principal, ref)
        )

    # Members

    async def add_member(
        self, principal: Principal, email: str, *, name: str = "", role: Role = Role.MEMBER
    ) -> MemberInfo:
        """A new member, known by e-mail address."""
        return await self._db.run_write(
            lambda session: members.add_member(
                session, principal, email=email, name=name, role=role
            )
        )

    async def list_members(self, principal: Principal) -> list[MemberInfo]:
        """Everyone in the tenant, by name."""
        return await self._db.run_read(lambda session: members.list_members(session, principal))

    async def remove_member(self, principal: Principal, user: str) -> MemberInfo:
        """End a membership, named by e-mail address, name or id; their tokens end with it."""

        async def commit(session: AsyncSession) -> MemberInfo:
            gate.require_verb(principal, "member.remove")
            member = await members.find_member(session, principal.tenant_id, user)
            await members.remove_member(session, principal, member.user_id)
            return member

        return await self._db.run_write(commit)

    async def change_member(
        self,
        principal: Principal,
        user: str,
        *,
        role: Role | None = None,
        active: bool | None = None,
    ) -> MemberInfo:
        """Give a member another role, or deactivate them: sessions and tokens then end at once."""

        async def commit(session: AsyncSession) -> MemberInfo:
            if role is not None:
                gate.require_verb(principal, "member.role")
            if active is not None:
                gate.require_verb(principal, "member.activate" if active else "member.deactivate")
            member = await members.find_member(session, principal.tenant_id, user)
            if role is not None:
                await members.set_role(session, principal, member.user_id, role)
            if active is not None:
                await members.set_active(session, principal, member.user_id, active=active)
            return await members.find_member(session, principal.tenant_id, member.user_id)

        return await self._db.run_write(commit)

    async def unlink_member(self, principal: Principal, user: str) -> tuple[MemberInfo, int]:
        """Forget the accounts of identity providers that a member signs in with; how many."""
        return await self._db.run_write(lambda session: subjects.unlink(session, principal, user))

    # Groups

    async def list_groups(self, principal: Principal) -> list[GroupInfo]:
        """The tenant's groups, by name."""
        return await self._db.run_read(lambda session: groups.list_groups(session, principal))

    async def list_group_members(self, principal: Principal, group: str) -> list[tuple[str, str]]:
        """Id and name of everyone in a group, which is named by name or id."""
        return await self._db.run_read(
            lambda session: groups.list_group_members(session, principal, group)
        )

    async def create_group(self, principal: Principal, name: str) -> GroupInfo:
        """A new, empty group."""
        return await self._db.run_write(
            lambda session: groups.create_group(session, principal, name)
        )

    async def delete_group(self, principal: Principal, group: str) -> str:
        """Remove a group and the grants that name it; its name."""

        async def commit(session: AsyncSession) -> str:
            gate.require_verb(principal, "group.delete")
            found = await groups.find_group(session, principal, group)
            await groups.delete_group(session, principal, found.id)
            return found.name

        return await self._db.run_write(commit)

    async def add_to_group(self, principal: Principal, group: str, user: str) -> None:
        """Put a member into a group."""
        await self._regroup(principal, "group.add", group, user)

    async def remove_from_group(self, principal: Principal, group: str, user: str) -> None:
        """Take a member out of a group, at once."""
        await self._regroup(principal, "group.remove", group, user)

    async def _regroup(self, principal: Principal, verb: str, group: str, user: str) -> None:
        change = groups.add_to_group if verb == "group.add" else groups.remove_from_group

        async def commit(session: AsyncSession) -> None:
            gate.require_verb(principal, verb)
            found = await groups.find_group(session, principal, group)
            member = await members.find_member(session, principal.tenant_id, user)
            await change(session, principal, found.id, member.user_id)

        await self._db.run_write(commit)
