"""Who somebody is in a workspace at this moment, and the roles given there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.access.principals import ACTIVE
from engine.chats.channels import find_channel_here
from engine.chats.sender_rows import TERMINAL, Sender
from engine.db.tables import Channel, Identity, Installation, Membership, Workspace
from engine.domain import Principal, Role, Scope
from engine.errors import Forbidden, NotFound


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody in a chat: with the tokens they hold, and the role they have in their workspace."""

    principal: Principal
    sender: Sender
    platform: str = ""
    workspace: str = ""  # the platform's id
    channel: str = ""
    person: str = ""

    @property
    def is_curator(self) -> bool:
        """Whether they may add and mend answers."""
        return self.principal.role in {Role.OWNER, Role.ADMIN, Role.CURATOR}

    @property
    def is_admin(self) -> bool:
        """Whether they may change settings."""
        return self.principal.role in {Role.OWNER, Role.ADMIN}


async def caller_of(session: AsyncSession, sender: Sender) -> Caller:
    """Who somebody is now: their principal, with the strongest of the roles they have.

    That is their membership, being an admin of the platform's workspace (unless that was turned
    off), having installed the bot, or a role given with `/kb roles`. A role widens what they may
    do, never what they may read.
    """
    principal = await gate.principal_of_identity(
        session, sender.tenant_id, sender.identity_id, seen_in=sender.channel_id
    )
    identity = await session.get_one(Identity, sender.identity_id)
    workspace = await session.get_one(Workspace, sender.workspace_id)
    channel = await session.get(Channel, sender.channel_id) if sender.channel_id else None
    settings = workspace.settings
    given = settings.get("roles", {}).get(identity.id, "")
    role = _stronger(principal.role, Role(given) if given else Role.GUEST)
    # What is known of an account is known of one workspace: where it was seen last.
    is_full = identity.is_full_member and identity.workspace_id == workspace.id
    if is_full and identity.platform_role == "admin" and settings.get("platform_admins", True):
        role = _stronger(role, Role.ADMIN)
    installer = await session.scalar(
        select(Installation.id).where(
            Installation.tenant_id == sender.tenant_id,
            Installation.platform == workspace.platform,
            Installation.team_id == workspace.external_id,
            Installation.installed_by == identity.subject,
            Installation.state == ACTIVE,
        )
    )
    if is_full and installer is not None:
        role = _stronger(role, Role.ADMIN)
    scopes = principal.scopes | gate.ROLE_SCOPES[role]
    return Caller(
        # Whom a platform calls an admin manages the bot, and not who belongs to the tenant.
        replace(principal, role=role, scopes=scopes, assured=role is principal.role),
        sender,
        platform=workspace.platform,
        workspace=workspace.external_id,
        channel=channel.external_id if channel else "",
        person=identity.subject,
    )


async def admin_caller(
    session: AsyncSession, principal: Principal, workspace: str, channel: str = ""
) -> Caller:
    """A member who gives commands from outside the chat, in a workspace by its name or id.

    An empty name is the only workspace there is; `channel` by id or name, or empty.
    """
    gate.require(principal, Scope.KB_ADMIN)
    rows = list(
        await session.scalars(
            select(Workspace).where(
                Workspace.tenant_id == principal.tenant_id,
                Workspace.state == ACTIVE,
                (Workspace.name == workspace)
                | (Workspace.external_id == workspace)
                | ((Workspace.platform != TERMINAL) & (workspace == "")),
            )
        )
    )
    if len(rows) != 1:
        names = ", ".join(sorted(row.name for row in rows)) or "none is connected"
        raise NotFound(f"Which workspace? Name one: {names}.")
    [row] = rows
    sender = Sender(principal.tenant_id, row.id, "", None)
    if channel:
        found = await find_channel_here(session, sender, channel)
        sender = replace(sender, channel_id=found.id)
    return Caller(principal, sender, row.platform, row.external_id)


_STRENGTH = (Role.OWNER, Role.ADMIN, Role.CURATOR, Role.MEMBER, Role.GUEST)


def _stronger(role: Role, other: Role) -> Role:
    return min(role, other, key=_STRENGTH.index)


async def give_role(
    session: AsyncSession, caller: Caller, person: str, role: Role | None
) -> tuple[str, str]:
    """Let somebody of the workspace be admin or curator here; None takes it back. Their name, role."""
    gate.require(caller.principal, Scope.KB_ADMIN)
    if role is Role.OWNER:
        raise Forbidden("Owners are made at the command line, not in a chat.")
    identity = await _person(session, caller.sender, person)
    if role is not None and not identity.is_full_member and role is not Role.GUEST:
        raise Forbidden(f"{identity.name} is a guest here, and guests can't be given a role.")
    workspace = await session.get_one(Workspace, caller.sender.workspace_id)
    roles = dict(workspace.settings.get("roles", {}))
    before = roles.pop(identity.id, "")
    if role is not None:
        roles[identity.id] = role.value
    workspace.settings = {**workspace.settings, "roles": roles}
    await gate.audit(
        session,
        caller.principal,
        "workspace.role",
        identity.id,
        {"from": before, "to": role or "", "workspace": workspace.id},
    )
    return identity.name, role or "none"


async def list_roles(session: AsyncSession, caller: Caller) -> list[tuple[str, str, str]]:
    """Name, role and reason, of everybody with a role in this workspace."""
    gate.require(caller.principal, Scope.KB_ADMIN)
    workspace = await session.get_one(Workspace, caller.sender.workspace_id)
    given: Mapping[str, str] = workspace.settings.get("roles", {})
    people = await session.scalars(
        select(Identity)
        .where(Identity.tenant_id == caller.sender.tenant_id, Identity.workspace_id == workspace.id)
        .where(Identity.id.in_(given) | (Identity.platform_role == "admin"))
        .order_by(Identity.name)
    )
    found = []
    for person in people:
        if person.id in given:
            found.append((person.name, given[person.id], "given here"))
        elif workspace.settings.get("platform_admins", True):
            found.append((person.name, Role.ADMIN.value, f"admin of the {workspace.platform}"))
    members = await session.execute(
        select(Identity.name, Membership.role)
        .join(Membership, Membership.user_id == Identity.user_id)
        .where(
            Membership.tenant_id == caller.sender.tenant_id,
            Identity.workspace_id == workspace.id,
            Membership.role.in_([Role.OWNER, Role.ADMIN, Role.CURATOR]),
        )
    )
    return found + [(name, role, "linked account") for name, role in members]


async def _person(session: AsyncSession, sender: Sender, ref: str) -> Identity:
    rows = list(
        await session.scalars(
            select(Identity)
            .where(
                Identity.tenant_id == sender.tenant_id, Identity.workspace_id == sender.workspace_id
            )
            .where((Identity.subject == ref) | (Identity.name == ref.removeprefix("@")))
            .limit(2)
        )
    )
    if len(rows) != 1:
        raise NotFound(f"No one person {ref!r} is known here: mention them with @.")
    return rows[0]
