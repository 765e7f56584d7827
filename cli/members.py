"""`member`: the members of a tenant and their roles."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import As, Json, opened, run

app = typer.Typer(name="member", help="Manage members: add, list, remove, unlink.")


@app.command()
def add(
    ctx: typer.Context,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Their e-mail address.")],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Default: the first part of the address.")
    ] = "",
    role: Annotated[
        str, typer.Option(metavar="ROLE", help="owner, admin, curator, member or guest.")
    ] = "member",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Add a person. Grants, not the role, decide what they may read."""
    run(_add(ctx, email, name, role, as_user, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the members."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def remove(
    ctx: typer.Context,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="E-mail address, name or id.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Remove a member and revoke all their tokens, at once."""
    run(_remove(ctx, member, as_user, as_json=as_json))


@app.command()
def unlink(
    ctx: typer.Context,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="E-mail address, name or id.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Unlink a member from the identity provider accounts they sign in with.

    Their next sign-in with a verified address links a new account.
    """
    run(_unlink(ctx, member, as_user, as_json=as_json))


async def _add(
    ctx: typer.Context, email: str, name: str, role: str, as_user: str, *, as_json: bool
) -> None:
    from cli import output
    from engine.domain import Role
    from engine.errors import InvalidInput

    if role not in set(Role):
        raise InvalidInput(f"unknown role {role!r}; allowed: {', '.join(Role)}", field="role")
    async with opened(ctx, as_user) as (engine, principal):
        member = await engine.people.add_member(principal, email, name=name, role=Role(role))
    if as_json:
        output.show_json(asdict(member))
    else:
        output.note(f"added {member.email} as {member.role}")


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.people.list_members(principal)
    if as_json:
        output.show_json({"members": [asdict(member) for member in found]})
        return
    rows = [(member.user_id, member.name, member.email or "", str(member.role)) for member in found]
    output.show(render.table(("id", "name", "e-mail", "role"), rows))


async def _remove(ctx: typer.Context, member: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        removed = await engine.people.remove_member(principal, member)
    if as_json:
        output.show_json({"removed": removed.user_id})
    else:
        output.note(f"removed {removed.name}")


async def _unlink(ctx: typer.Context, member: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        unlinked, accounts = await engine.people.unlink_member(principal, member)
    if as_json:
        output.show_json({"unlinked": unlinked.user_id, "accounts": accounts})
    else:
        output.note(f"unlinked {unlinked.name} from {render.counted(accounts, 'account')}")
