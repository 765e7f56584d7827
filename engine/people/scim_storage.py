"""What SCIM reads and writes: the people and groups of one tenant, in its own words. RFC 7643, 7644.

scim2-server speaks the protocol and calls this; importing it takes seconds, so only the SCIM door
does, when it is first asked. A user here is an account with a membership, a group a group; what a
client says besides is kept as it said it. An account that SCIM did not make is never adopted, and
`active: false` ends sessions and API tokens in the same transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from scim2_models import (
    ConflictException,
    Group,
    InvalidValueException,
    Meta,
    NotFoundException,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    SearchRequest,
    UniquenessException,
    User,
)
from scim2_server.memory import InMemoryStorage
from scim2_server.storage import AsyncScimStorage, SearchPage
from sqlalchemy import delete, select
from sqlalchemy import exists as sql_exists
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import Database
from engine.db.tables import (
    Identity,
    Membership,
    ScimResource,
    UserGroup,
    UserGroupMember,
)
from engine.db.tables import User as Account
from engine.domain import Principal, Role
from engine.errors import Conflict, EngineError, InvalidInput
from engine.people import groups, members
from engine.people.members import checked_email

USERS, GROUPS = "User", "Group"
MEMBERS_MAX = 10_000
_TAKEN = "This userName or address is taken: choose another."


class ScimStorage(AsyncScimStorage):
    """The people and groups of the tenant that `principal`, a SCIM client, acts for.

    One object serves one request; `reads` where that changes nothing.
    """

    def __init__(
        self, db: Database, principal: Principal, models: dict[str, Any], *, reads: bool
    ) -> None:
        self._db = db
        self._principal = principal
        self._models = models
        self._reads = reads
        self._session: AsyncSession | None = None

    @asynccontextmanager
    async def operation(self) -> AsyncIterator[None]:
        """One request is one transaction: a group is changed with all its members, or not at all."""
        async with self._db.read() if self._reads else self._db.write() as session:
            self._session = session
            try:
                yield
            except EngineError as error:
                raise _as_scim(error) from error
            finally:
                self._session = None

    async def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,  # noqa: ARG002 (all is small)
    ) -> Resource[Any]:
        """A user or group that SCIM made here; `NotFoundException` for any other."""
        return self._shown(await self._row(resource_type.name, resource_id))

    async def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,  # noqa: ANN401 (the library's)
    ) -> SearchPage:
        """The matching ones, filtered, sorted and paged as the library does it."""
        kinds = [resource_type.name for resource_type in resource_types]
        rows = await self._open.scalars(
            select(ScimResource)
            .where(
                ScimResource.tenant_id == self._principal.tenant_id,
                ScimResource.kind.in_(kinds),
                ScimResource.deleted_at.is_(None),
            )
            .order_by(ScimResource.id)
        )
        held = InMemoryStorage()
        held.resources = [self._shown(row) for row in rows]
        return held.search(resource_types, search_request, position=position)

    async def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """A new account with a membership, or a new group."""
        kind = resource_type.name
        name = _name_of(resource)
        row = await self._open.scalar(
            select(ScimResource).where(
                ScimResource.tenant_id == self._principal.tenant_id,
                ScimResource.kind == kind,
                ScimResource.name == name,
            )
        )
        if row is not None and row.deleted_at is None:
            raise UniquenessException(detail=_TAKEN)
        if isinstance(resource, User):
            id_ = await self._new_user(resource, row.id if row is not None else "")
        else:
            id_ = await self._new_group(resource)
            if row is not None:
                await self._open.delete(row)
                await self._open.flush()
                row = None
        if row is None:
            row = ScimResource(
                id=id_, tenant_id=self._principal.tenant_id, kind=kind, created_at=clock.now()
            )
            row.version = 0
            self._open.add(row)
        row.deleted_at = None
        await self._keep(row, resource)
        return self._shown(row)

    async def update(
        self,
        resource_type: ResourceType,
        resource: Resource[Any],
        *,
        expected_version: str | None = None,
    ) -> Resource[Any]:
        """The whole new state of a user or group."""
        row = await self._row(resource_type.name, str(resource.id), lock=True)
        _check_version(row, expected_version)
        name = _name_of(resource)
        if name != row.name:
            taken = sql_exists().where(
                ScimResource.tenant_id == row.tenant_id,
                ScimResource.kind == row.kind,
                ScimResource.name == name,
                ScimResource.id != row.id,
            )
            if await self._open.scalar(select(taken)):
                raise UniquenessException(detail=_TAKEN)
        if isinstance(resource, User):
            await self._change_user(row.id, resource)
        else:
            await self._change_group(row.id, resource)
        await self._keep(row, resource)
        return self._shown(row)

    async def delete(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        expected_version: str | None = None,
    ) -> None:
        """Deactivate and hide an account: its rows stay for the audit. A group goes."""
        row = await self._row(resource_type.name, resource_id, lock=True)
        _check_version(row, expected_version)
        if row.kind == USERS:
            await self._set_active(row.id, active=False)
        elif await self._open.get(UserGroup, row.id) is not None:
            await groups.delete_group(self._open, self._principal, row.id)
        row.deleted_at = clock.now()

    # Users

    async def _new_user(self, resource: User[Any], former: str) -> str:
        """The id of a new account; of one that SCIM made and deleted here, that one again."""
        address = _address_of(resource)
        if former:
            await self._change_user(former, resource)
            return former
        if address and await self._open.scalar(select(Account.id).where(Account.email == address)):
            raise UniquenessException(detail=_TAKEN)  # here or elsewhere: nobody is adopted
        account = Account(id=clock.new_id(), email=address or None, name=_shown_name(resource))
        self._open.add(account)
        await self._open.flush()
        self._open.add(
            Membership(tenant_id=self._principal.tenant_id, user_id=account.id, role=Role.MEMBER)
        )
        detail = {"role": Role.MEMBER, "by": "scim"}
        await gate.audit(self._open, self._principal, "member.add", account.id, detail)
        await self._identify(account.id, resource)
        if resource.active is False:
            await self._open.flush()
            await self._set_active(account.id, active=False)
        return account.id

    async def _change_user(self, user_id: str, resource: User[Any]) -> None:
        account = await self._open.get(Account, user_id, with_for_update=True)
        if account is None:
            raise NotFoundException
        elsewhere = sql_exists().where(
            Membership.user_id == user_id, Membership.tenant_id != self._principal.tenant_id
        )
        address = _address_of(resource)
        if not await self._open.scalar(select(elsewhere)):  # else it is not this tenant's to change
            if address and address != account.email:
                taken = select(Account.id).where(Account.email == address)
                if await self._open.scalar(taken):
                    raise UniquenessException(detail=_TAKEN)
                before, account.email = account.email, address
                account.email_verified_at = None
                detail = {"from": before, "to": address}
                await gate.audit(self._open, self._principal, "member.email", user_id, detail)
            account.name = _shown_name(resource)
        await self._identify(user_id, resource)
        await self._set_active(user_id, active=resource.active is not False)

    async def _identify(self, user_id: str, resource: User[Any]) -> None:
        """Keep the provider's own id of a person, by which a sign-in there finds them."""
        provider = self._principal.name
        await self._open.execute(
            delete(Identity).where(
                Identity.tenant_id == self._principal.tenant_id,
                Identity.provider == provider,
                Identity.user_id == user_id,
            )
        )
        subject = resource.external_id
        if not subject or resource.active is False:
            return
        taken = select(Identity.id).where(
            Identity.tenant_id == self._principal.tenant_id,
            Identity.provider == provider,
            Identity.subject == subject[:200],
        )
        if await self._open.scalar(taken):
            raise UniquenessException(detail="This externalId is another user's here.")
        self._open.add(
            Identity(
                id=clock.new_id(),
                tenant_id=self._principal.tenant_id,
                user_id=user_id,
                provider=provider,
                subject=subject[:200],
                name=_shown_name(resource),
            )
        )
        await self._open.flush()

    async def _set_active(self, user_id: str, *, active: bool) -> None:
        """Let a member in, or end sessions, API tokens and identities, all in this transaction."""
        key = (self._principal.tenant_id, user_id)
        if await self._open.get(Membership, key) is None:
            if active:
                self._open.add(Membership(tenant_id=key[0], user_id=user_id, role=Role.MEMBER))
                detail = {"role": Role.MEMBER, "by": "scim"}
                await gate.audit(self._open, self._principal, "member.add", user_id, detail)
            return
        await members.set_active(self._open, self._principal, user_id, active=active)
        if not active:
            await self._open.execute(
                delete(Identity).where(
                    Identity.tenant_id == key[0],
                    Identity.user_id == user_id,
                    Identity.workspace_id.is_(None),
                )
            )

    # Groups

    async def _new_group(self, resource: Resource[Any]) -> str:
        name = str(getattr(resource, "display_name", "") or "")
        made = await groups.create_group(self._open, self._principal, name)
        await self._open.flush()
        await self._fill(made.id, resource)
        return made.id

    async def _change_group(self, group_id: str, resource: Resource[Any]) -> None:
        group = await self._open.get(UserGroup, group_id, with_for_update=True)
        if group is None:
            raise NotFoundException
        name = members.checked_name(str(getattr(resource, "display_name", "") or ""))
        if name != group.name:
            taken = select(UserGroup.id).where(
                UserGroup.tenant_id == group.tenant_id, UserGroup.name == name
            )
            if await self._open.scalar(taken):
                raise UniquenessException(detail="There is another group of this name.")
            detail = {"from": group.name, "to": name}
            group.name = name
            await gate.audit(self._open, self._principal, "group.rename", group_id, detail)
        await self._fill(group_id, resource)

    async def _fill(self, group_id: str, resource: Resource[Any]) -> None:
        """Make the members of a group those that are named; each is a user that SCIM made here."""
        named = {
            str(member.value)
            for member in (resource.members or [] if isinstance(resource, Group) else [])
            if member.value
        }
        if len(named) > MEMBERS_MAX:
            raise InvalidValueException(detail=f"A group has at most {MEMBERS_MAX:,} members.")
        known = set(
            await self._open.scalars(
                select(ScimResource.id).where(
                    ScimResource.tenant_id == self._principal.tenant_id,
                    ScimResource.kind == USERS,
                    ScimResource.deleted_at.is_(None),
                    ScimResource.id.in_(named),
                )
            )
        )
        if named - known:
            raise InvalidValueException(detail="A member is no user that was provisioned here.")
        present = set(
            await self._open.scalars(
                select(UserGroupMember.user_id).where(
                    UserGroupMember.tenant_id == self._principal.tenant_id,
                    UserGroupMember.group_id == group_id,
                )
            )
        )
        for user_id in sorted(known - present):
            await groups.add_to_group(self._open, self._principal, group_id, user_id)
        for user_id in sorted(present - known):
            await groups.remove_from_group(self._open, self._principal, group_id, user_id)

    # Rows

    @property
    def _open(self) -> AsyncSession:
        assert self._session is not None  # noqa: S101 (the library calls within an operation)
        return self._session

    async def _row(self, kind: str | None, id_: str, *, lock: bool = False) -> ScimResource:
        query = select(ScimResource).where(
            ScimResource.id == id_,
            ScimResource.tenant_id == self._principal.tenant_id,
            ScimResource.kind == kind,
            ScimResource.deleted_at.is_(None),
        )
        row = await self._open.scalar(query.with_for_update() if lock else query)
        if row is None:
            raise NotFoundException
        return row

    async def _keep(self, row: ScimResource, resource: Resource[Any]) -> None:
        body = resource.model_dump(mode="json")
        for left_out in ("id", "meta", "password"):
            body.pop(left_out, None)
        row.name, row.body = _name_of(resource), body
        row.external_id = (resource.external_id or "")[:320]
        row.version += 1
        row.updated_at = clock.now()
        await self._open.flush()

    def _shown(self, row: ScimResource) -> Resource[Any]:
        model = self._models[row.kind]
        resource: Resource[Any] = model.model_validate(row.body)
        resource.id = row.id
        resource.meta = Meta(
            resource_type=row.kind,
            created=row.created_at,
            last_modified=row.updated_at,
            version=_version(row),
        )
        return resource


def _version(row: ScimResource) -> str:
    return f'W/"{row.version}"'


def _check_version(row: ScimResource, expected: str | None) -> None:
    if expected is not None and expected != _version(row):
        raise PreconditionFailedException


def _name_of(resource: Resource[Any]) -> str:
    if isinstance(resource, User):
        name = (resource.user_name or "").strip().lower()
        limit = 320
    else:
        name = str(getattr(resource, "display_name", "") or "").strip().lower()
        limit = 200
    if not name or len(name) > limit or not name.isprintable():
        raise InvalidValueException(
            detail=f"A userName or displayName has 1 to {limit} printable characters."
        )
    return name


def _address_of(resource: User[Any]) -> str:
    """The e-mail address of a person: the userName if it is one, else their primary address."""
    emails = [email for email in resource.emails or [] if email.value]
    primary = [email.value for email in emails if email.primary]
    candidates = [resource.user_name, *primary, *(email.value for email in emails)]
    for candidate in candidates:
        try:
            return checked_email(str(candidate or ""))
        except InvalidInput:
            continue
    return ""


def _shown_name(resource: User[Any]) -> str:
    formatted = ""
    if resource.name is not None:
        parts = [resource.name.given_name, resource.name.family_name]
        formatted = resource.name.formatted or " ".join(part for part in parts if part)
    name = resource.display_name or formatted or resource.user_name or ""
    return "".join(char for char in name if char.isprintable()).strip()[:200] or "?"


def _as_scim(error: EngineError) -> Exception:
    if isinstance(error, Conflict):
        return ConflictException(detail=str(error))
    if isinstance(error, InvalidInput):
        return InvalidValueException(detail=str(error))
    return error
