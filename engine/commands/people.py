"""Members of the tenant, their roles and groups.

Only admins of the tenant may: an account that is linked to one. Whoever merely administers the chat
platform's workspace manages the bot, and not who belongs to the tenant.
"""

from __future__ import annotations

from engine.chats.callers import Caller
from engine.commands.results import CommandResult
from engine.commands.table import Parsed
from engine.domain import Role
from engine.engine import Engine
from engine.search.links import address_of


async def list_all(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.people.list_members(caller.principal)
    rows = [
        [member.name, member.email or "", str(member.role), "" if member.active else "deactivated"]
        for member in found
    ]
    return CommandResult("", ("who", "e-mail", "role", ""), rows)


async def add(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    role = Role(parsed.text("role") or Role.MEMBER)
    member = await engine.people.add_member(caller.principal, parsed.text("email"), role=role)
    return CommandResult(
        f"Added **{member.email}** as {member.role}. Grants decide what they may read."
    )


async def invite(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    role = Role(parsed.text("role") or Role.MEMBER)
    groups = [name.strip() for name in parsed.text("groups").split(",") if name.strip()]
    made = await engine.people.invitations.invite(
        caller.principal, parsed.text("email"), role=role, groups=groups
    )
    said = f"Invited **{made.invitation.email}** as {made.invitation.role}, for seven days."
    if not made.secret:
        return CommandResult(f"{said} A message with the link is on its way.")
    server = engine.settings.server
    url = f"{server.public_url or address_of(server)}/invitation#{made.secret}"
    return CommandResult(f"{said} No mail server is set, so hand them this link yourself: {url}")


async def list_invitations(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.people.invitations.list_open(caller.principal)
    rows = [
        [
            item.email,
            str(item.role),
            ", ".join(item.groups),
            item.invited_by,
            f"{item.expires_at:%F}",
        ]
        for item in found
    ]
    said = "" if found else "No invitation is open: `people invite` makes one."
    columns = ("who", "role", "groups", "invited by", "until")
    return CommandResult(said, columns if rows else (), rows)


async def uninvite(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    email = await engine.people.invitations.revoke(caller.principal, parsed.text("email"))
    return CommandResult(f"The invitation of {email} is worthless now.")


async def reset_factors(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    signing = engine.people.sign_in
    member = await signing.reset_factors(caller.principal, parsed.text("member"))
    return CommandResult(
        f"{member.name} signs in with the password alone now, until they set up another app."
    )


async def try_mail(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    server = await engine.mail.test(caller.principal, parsed.text("email"))
    return CommandResult(f"The mail server {server} took a message to {parsed.text('email')}.")


async def set_role(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    role = Role(parsed.text("role"))
    member = await engine.people.change_member(caller.principal, parsed.text("member"), role=role)
    return CommandResult(f"{member.name} is now {member.role}. What they may read does not change.")


async def deactivate(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    who = parsed.text("member")
    member = await engine.people.change_member(caller.principal, who, active=False)
    return CommandResult(f"{member.name} is deactivated: sessions and API tokens have ended.")


async def activate(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    who = parsed.text("member")
    member = await engine.people.change_member(caller.principal, who, active=True)
    return CommandResult(f"{member.name} is let in again. API tokens must be made anew.")


async def remove(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    member = await engine.people.remove_member(caller.principal, parsed.text("member"))
    return CommandResult(f"{member.name} no longer belongs to this organisation.")


async def list_providers(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.people.providers.list_all(caller.principal)
    rows = [[item.key, item.kind, item.name, item.issuer] for item in found]
    # Added where its secret is typed by nobody else's eyes: not in a chat.
    said = "" if found else "There is none: `scrubjay oidc add` on the server, or REST, adds one."
    return CommandResult(said, ("key", "kind", "name", "issuer") if rows else (), rows)


async def check_provider(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    key = parsed.text("provider")
    found = await engine.people.providers.check(caller.principal, key)
    return CommandResult(f"{found.issuer} answers. Redirect address: {found.redirect_uri}")


async def remove_provider(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    name = await engine.people.providers.remove(caller.principal, parsed.text("provider"))
    return CommandResult(f"Removed **{name}**: nobody signs in by it any more.")


async def list_groups(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    del parsed
    found = await engine.people.list_groups(caller.principal)
    said = "" if found else "There is no group yet: `people group-create` makes one."
    rows = [[group.name, f"{group.members:,}"] for group in found]
    return CommandResult(said, ("group", "members") if rows else (), rows)


async def create_group(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    made = await engine.people.create_group(caller.principal, parsed.text("group"))
    return CommandResult(f"Created the group **{made.name}**. Next: `people group-add`.")


async def delete_group(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    name = await engine.people.delete_group(caller.principal, parsed.text("group"))
    return CommandResult(f"Deleted the group **{name}** and its grants.")


async def add_to_group(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    group, member = parsed.text("group"), parsed.text("member")
    await engine.people.add_to_group(caller.principal, group, member)
    return CommandResult(f"{member} is now in **{group}**.")


async def remove_from_group(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    group, member = parsed.text("group"), parsed.text("member")
    await engine.people.remove_from_group(caller.principal, group, member)
    return CommandResult(f"{member} is no longer in **{group}**.")
