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
