"""`kb grant`, `kb revoke`, `kb grants` and `kb owner`: who may use a knowledge base."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import As, Json, opened, run
from cli.kb import Name

To = Annotated[
    str,
    typer.Argument(
        metavar="TO",
        help="everyone, or group:NAME, user:E-MAIL, workspace:NAME or channel:NAME.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the group `kb`."""
    app.command()(grants)
    app.command()(grant)
    app.command()(revoke)
    app.command()(owner)


def grants(ctx: typer.Context, name: Name, as_user: As = "", as_json: Json = False) -> None:
    """List who a knowledge base is granted to, and how far."""
    run(_grants(ctx, name, as_user, as_json=as_json))


def grant(
    ctx: typer.Context,
    name: Name,
    to: To,
    level: Annotated[
        str,
        typer.Option(
            metavar="LEVEL",
            help="read; write, which lets those add documents whose role does; or manage.",
        ),
    ] = "write",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Let people use a knowledge base, from their next question."""
    run(_grant(ctx, name, to, level, as_user, as_json=as_json))


def revoke(ctx: typer.Context, name: Name, to: To, as_user: As = "", as_json: Json = False) -> None:
    """Take a grant back, at once."""
    run(_revoke(ctx, name, to, as_user, as_json=as_json))


def owner(
    ctx: typer.Context,
    name: Name,
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="E-mail address, name or id.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Make a member its owner, who manages it. What they may read does not change."""
    run(_owner(ctx, name, member, as_user, as_json=as_json))


async def _grants(ctx: typer.Context, name: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.knowledge_bases.list_grants(principal, name)
    if as_json:
        output.show_json({"grants": [asdict(item) for item in found]})
        return
    rows = [(item.name, str(item.level), item.token) for item in found]
    output.show(render.table(("to", "level", "access token"), rows))


async def _grant(
    ctx: typer.Context, name: str, to: str, level: str, as_user: str, *, as_json: bool
) -> None:
    from cli import output
    from engine.access.permissions import GrantLevel
    from engine.errors import InvalidInput

    if level not in set(GrantLevel):
        allowed = ", ".join(GrantLevel)
        raise InvalidInput(f"unknown level {level!r}; allowed: {allowed}", field="level")
    async with opened(ctx, as_user) as (engine, principal):
        await engine.knowledge_bases.grant(principal, name, to, GrantLevel(level))
    if as_json:
        output.show_json({"granted": to, "level": level})
    else:
        output.note(f"granted {name} to {to}: {level}")


async def _revoke(ctx: typer.Context, name: str, to: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        await engine.knowledge_bases.revoke(principal, name, to)
    if as_json:
        output.show_json({"revoked": to})
    else:
        output.note(f"revoked {name} from {to}")


async def _owner(
    ctx: typer.Context, name: str, member: str, as_user: str, *, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        await engine.knowledge_bases.transfer(principal, name, member)
    if as_json:
        output.show_json({"owner": member})
    else:
        output.note(f"{member} owns {name}")
