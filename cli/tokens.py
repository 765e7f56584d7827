"""`token`: credentials for assistants and programs. Shown once, stored as a hash, revocable."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated

import typer

from cli.context import As, Json, opened, run

app = typer.Typer(name="token", help="Manage API tokens: create, list, revoke.")

DEFAULT_SCOPES = ["kb:read", "kb:ask"]


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, e.g. laptop.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="kb:read, kb:ask, kb:write, kb:manage, kb:admin or ops:read; can be repeated (default: "
            "kb:read and kb:ask).",
        ),
    ] = None,
    days: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=3650, help="Days until it expires; 0: never, for service keys."
        ),
    ] = 90,
    kb: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Reach only this knowledge base; can be repeated (default: all)."
        ),
    ] = None,
    service: Annotated[
        bool,
        typer.Option(
            "--service", help="Make a service key, which acts for nobody and outlives its creator."
        ),
    ] = False,
    network: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Accept it only from this network; can be repeated."),
    ] = None,
    assistant: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Let it ask only this assistant; can be repeated."),
    ] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Create a token and print it, only this once."""
    wanted = _Wanted(
        name, scope or DEFAULT_SCOPES, days, kb or [], service, network or [], assistant or []
    )
    run(_create(ctx, wanted, as_user, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the tokens, without their secrets."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def revoke(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(metavar="ID", help="Its id.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Revoke a token, at once."""
    run(_revoke(ctx, token, as_user, as_json=as_json))


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    scopes: list[str]
    days: int
    kbs: list[str]
    is_service: bool
    networks: list[str]
    assistants: list[str]


async def _create(ctx: typer.Context, wanted: _Wanted, as_user: str, *, as_json: bool) -> None:
    from cli import output
    from engine.domain import Scope
    from engine.errors import InvalidInput
    from engine.people.api_tokens import NEVER, TokenKind

    unknown = [scope for scope in wanted.scopes if scope not in set(Scope)]
    if unknown:
        allowed = ", ".join(Scope)
        raise InvalidInput(f"unknown scope {unknown[0]!r}; allowed: {allowed}", field="scope")
    if not wanted.days and not wanted.is_service:
        raise InvalidInput(
            "A personal token needs an expiry: give --days 1 or more. Only a service key (--service)"
            " can be without one.",
            field="days",
        )
    async with opened(ctx, as_user) as (engine, principal):
        kb_ids = [(await engine.knowledge_bases.get(principal, kb)).id for kb in wanted.kbs]
        secret, made = await engine.people.create_token(
            principal,
            wanted.name,
            scopes=[Scope(scope) for scope in wanted.scopes],
            expires_in=timedelta(days=wanted.days),
            expires_at=None if wanted.days else NEVER,
            kb_ids=kb_ids or None,
            kind=TokenKind.SERVICE if wanted.is_service else TokenKind.PERSONAL,
            networks=wanted.networks or None,
            assistants=wanted.assistants or None,
        )
    if as_json:
        output.show_json(asdict(made) | {"token": secret})
    else:
        output.show(secret + "\n")
        output.note("store it now: it is not shown again")


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.people.list_tokens(principal)
    if as_json:
        output.show_json({"tokens": [asdict(token) for token in found]})
        return
    if not found:
        output.note("no tokens; create one with `scrubjay token create NAME`")
        return
    rows = [
        (
            token.id,
            token.prefix + "…",
            token.name,
            token.kind,
            " ".join(token.scopes),
            f"{token.expires_at:%Y-%m-%d}" if token.expires_at else "never",
            "revoked" if token.revoked_at else "",
        )
        for token in found
    ]
    output.show(render.table(("id", "starts with", "name", "kind", "scopes", "expires", ""), rows))


async def _revoke(ctx: typer.Context, token: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        await engine.people.revoke_token(principal, token)
    if as_json:
        output.show_json({"revoked": token})
    else:
        output.note(f"revoked {token}")
