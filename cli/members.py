"""`member` and `owner`: the members of a tenant, their roles, and links to set a password."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import As, Json, Yes, opened, run
from engine.wording import counted

if TYPE_CHECKING:
    from engine.domain import Role
    from engine.engine import Engine

app = typer.Typer(
    name="member",
    help="Manage members: add, invite, list, role, password, deactivate, remove and more.",
)
owner_app = typer.Typer(name="owner", help="The first owner's account.")

MEMBER_HELP = "E-mail address, name or id."


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


@app.command()
def invite(
    ctx: typer.Context,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Their e-mail address.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Default: they choose it.")] = "",
    role: Annotated[
        str, typer.Option(metavar="ROLE", help="owner, admin, curator, member or guest.")
    ] = "member",
    group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="A group to join; repeat for more.")
    ] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Invite a person by e-mail; without a mail server, print a link to hand over.

    It works once, for a week, for that address. Inviting again ends the former link.
    """
    run(_invite(ctx, email, name, role, group or [], as_user, as_json=as_json))


@app.command()
def invitations(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the invitations that can still be accepted."""
    run(_invitations(ctx, as_user, as_json=as_json))


@app.command()
def uninvite(
    ctx: typer.Context,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The address that was invited.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Take an invitation back, at once."""
    run(_uninvite(ctx, email, as_user, as_json=as_json))


@app.command("reset-factors")
def reset_factors(
    ctx: typer.Context,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help=MEMBER_HELP)],
    yes: Yes = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Remove the second factors of a member who has lost them; their sessions end."""
    run(_reset_factors(ctx, member, as_user, yes=yes, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the members."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def remove(
    ctx: typer.Context,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help=MEMBER_HELP)],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Remove a member and revoke all their tokens, at once."""
    run(_remove(ctx, member, as_user, as_json=as_json))


@app.command()
def role(
    ctx: typer.Context,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help=MEMBER_HELP)],
    role: Annotated[
        str, typer.Argument(metavar="ROLE", help="owner, admin, curator, member or guest.")
    ],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Give a member another role, from their next request."""
    run(_change(ctx, member, as_user, role=role, as_json=as_json))


@app.command()
def deactivate(
    ctx: typer.Context,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help=MEMBER_HELP)],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Keep a member out: sessions and tokens end at once; what they made stays."""
    run(_change(ctx, member, as_user, active=False, as_json=as_json))


@app.command()
def activate(
    ctx: typer.Context,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help=MEMBER_HELP)],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Let a deactivated member in again. Their tokens stay revoked."""
    run(_change(ctx, member, as_user, active=True, as_json=as_json))


@app.command()
def password(
    ctx: typer.Context,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help=MEMBER_HELP)],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Print a link with which a member sets a password, once, within an hour."""
    run(_password(ctx, member, as_user, as_json=as_json))


@owner_app.command()
def create(ctx: typer.Context, as_json: Json = False) -> None:
    """Print a link with which the first owner sets an e-mail address and a password, once."""
    run(_create_owner(ctx, as_json=as_json))


@app.command()
def unlink(
    ctx: typer.Context,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help=MEMBER_HELP)],
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

    async with opened(ctx, as_user) as (engine, principal):
        member = await engine.people.add_member(principal, email, name=name, role=_role(role))
    if as_json:
        output.show_json(asdict(member))
    else:
        output.note(f"added {member.email} as {member.role}")


async def _invite(
    ctx: typer.Context,
    email: str,
    name: str,
    role: str,
    groups: list[str],
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output
    from engine.people.invitations import LIFE

    async with opened(ctx, as_user) as (engine, principal):
        made = await engine.people.invitations.invite(
            principal, email, name=name, role=_role(role), groups=groups
        )
        if made.secret:
            url = _address(engine, "invitation", made.secret)
            if as_json:
                seconds = int(LIFE.total_seconds())
                output.show_json(asdict(made.invitation) | {"url": url, "expires_in": seconds})
            else:
                output.show(url + "\n")
                output.note("no mail server is set: hand it over; it works once, within a week")
            return
    if as_json:
        output.show_json(asdict(made.invitation))
    else:
        output.note(f"invited {made.invitation.email} as {made.invitation.role}, by mail")


async def _invitations(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.people.invitations.list_open(principal)
    if as_json:
        output.show_json({"invitations": [asdict(item) for item in found]})
        return
    rows = [
        (
            item.email,
            str(item.role),
            ", ".join(item.groups),
            item.invited_by,
            f"{item.expires_at:%F}",
        )
        for item in found
    ]
    output.show(render.table(("e-mail", "role", "groups", "invited by", "until"), rows))


async def _uninvite(ctx: typer.Context, email: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        revoked = await engine.people.invitations.revoke(principal, email)
    if as_json:
        output.show_json({"revoked": revoked})
    else:
        output.note(f"the invitation of {revoked} is worthless now")


async def _reset_factors(
    ctx: typer.Context, member: str, as_user: str, *, yes: bool, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        if not yes:
            typer.confirm(f"Remove the second factors of {member}?", abort=True, err=True)
        found = await engine.people.sign_in.reset_factors(principal, member)
    if as_json:
        output.show_json(asdict(found))
    else:
        output.note(f"{found.name} signs in with the password alone now")


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.people.list_members(principal)
    if as_json:
        output.show_json({"members": [asdict(member) for member in found]})
        return
    rows = [
        (
            member.user_id,
            member.name,
            member.email or "",
            str(member.role),
            "" if member.active else "deactivated",
        )
        for member in found
    ]
    output.show(render.table(("id", "name", "e-mail", "role", ""), rows))


async def _remove(ctx: typer.Context, member: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        removed = await engine.people.remove_member(principal, member)
    if as_json:
        output.show_json({"removed": removed.user_id})
    else:
        output.note(f"removed {removed.name}")


async def _unlink(ctx: typer.Context, member: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        unlinked, accounts = await engine.people.unlink_member(principal, member)
    if as_json:
        output.show_json({"unlinked": unlinked.user_id, "accounts": accounts})
    else:
        output.note(f"unlinked {unlinked.name} from {counted(accounts, 'account')}")


async def _change(
    ctx: typer.Context,
    member: str,
    as_user: str,
    *,
    role: str | None = None,
    active: bool | None = None,
    as_json: bool,
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        changed = await engine.people.change_member(
            principal, member, role=_role(role) if role is not None else None, active=active
        )
    if as_json:
        output.show_json(asdict(changed))
    elif role is not None:
        output.note(f"{changed.name} is now {changed.role}")
    else:
        output.note(f"{changed.name} is {'active' if changed.active else 'deactivated'}")


async def _password(ctx: typer.Context, member: str, as_user: str, *, as_json: bool) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        secret = await engine.people.sign_in.make_password_link(principal, member)
        _show_link(engine, "set-password", secret, as_json=as_json)


async def _create_owner(ctx: typer.Context, *, as_json: bool) -> None:
    async with opened(ctx) as (engine, principal):
        secret = await engine.people.sign_in.make_owner_link(principal)
        _show_link(engine, "welcome", secret, as_json=as_json)


def _role(name: str) -> Role:
    from engine.domain import Role
    from engine.errors import InvalidInput

    if name not in set(Role):
        raise InvalidInput(f"unknown role {name!r}; allowed: {', '.join(Role)}", field="role")
    return Role(name)


def _address(engine: Engine, page: str, secret: str) -> str:
    from engine.search.links import address_of

    server = engine.settings.server
    return f"{server.public_url or address_of(server, server.port)}/{page}#{secret}"


def _show_link(engine: Engine, page: str, secret: str, *, as_json: bool) -> None:
    from cli import output

    url = _address(engine, page, secret)
    if as_json:
        output.show_json({"url": url, "expires_in": 3600})
        return
    output.show(url + "\n")
    output.note("it works once, within an hour, on the running server")
