"""`oidc`: identity providers, where people have accounts that they sign in with."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import As, Json, Yes, opened, run

app = typer.Typer(name="oidc", help="Identity providers to sign in with: add, list, check, remove.")

KEY = Annotated[str, typer.Argument(metavar="KEY", help="The provider's key.")]
SECRET = "OIDC_CLIENT_SECRET"  # noqa: S105 (the name of a variable)


@app.command()
def add(
    ctx: typer.Context,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A short name for addresses, such as google.")
    ],
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="google, entra, okta, keycloak, github, slack, discord, or oidc for others.",
        ),
    ],
    client_id: Annotated[
        str, typer.Option(metavar="ID", help="The client id that the provider shows.")
    ],
    issuer: Annotated[
        str, typer.Option(metavar="URL", help="The issuer; google, github, slack have theirs.")
    ] = "",
    name: Annotated[str, typer.Option(metavar="NAME", help="What the button says.")] = "",
    scopes: Annotated[str, typer.Option(metavar="SCOPES", help="Scopes to ask for.")] = "",
    api_url: Annotated[
        str, typer.Option(metavar="URL", help="The API of a GitHub of your own.")
    ] = "",
    domain: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN", help="A domain whose addresses count; repeat for more."),
    ] = None,
    directory: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="An Entra directory that may sign in; repeat for more."),
    ] = None,
    groups_claim: Annotated[
        str, typer.Option(metavar="CLAIM", help="The claim with the groups.")
    ] = "",
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE=GROUP", help="Follow a group of theirs; repeat for more."),
    ] = None,
    join_as: Annotated[
        str,
        typer.Option(
            metavar="ROLE", help="Let newcomers of the domains join as curator, member or guest."
        ),
    ] = "",
    link_by_email: Annotated[
        bool,
        typer.Option("--link-by-email", help="Link an account to the member with its address."),
    ] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Add an identity provider, and print the redirect address to enter there.

    The client secret is read from OIDC_CLIENT_SECRET, or asked for.
    """
    secret = os.environ.get(SECRET)
    if secret is None:
        secret = typer.prompt("client secret", hide_input=True, err=True, default="")
    values = {
        "key": key,
        "kind": kind,
        "client_id": client_id,
        "client_secret": secret,
        "issuer": issuer,
        "name": name,
        "scopes": scopes,
        "api_url": api_url,
        "allowed_domains": domain or (),
        "allowed_tenants": directory or (),
        "groups_claim": groups_claim,
        "link_by_email": link_by_email,
    }
    run(_add(ctx, values, group or [], join_as, as_user, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the identity providers."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def check(ctx: typer.Context, key: KEY, as_user: As = "", as_json: Json = False) -> None:
    """Ask an identity provider for its metadata and keys, as a sign-in would."""
    run(_check(ctx, key, as_user, as_json=as_json))


@app.command()
def remove(
    ctx: typer.Context, key: KEY, yes: Yes = False, as_user: As = "", as_json: Json = False
) -> None:
    """Remove an identity provider: nobody signs in by it any more."""
    run(_remove(ctx, key, as_user, yes=yes, as_json=as_json))


async def _add(
    ctx: typer.Context,
    values: dict[str, object],
    groups: list[str],
    join_as: str,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output
    from engine.domain import Role
    from engine.errors import InvalidInput
    from engine.people.federation.providers import NewProvider

    rules = dict(item.rpartition("=")[::2] for item in groups)
    if "" in rules:
        raise InvalidInput("Write a group as VALUE=GROUP.", field="group")
    if join_as and join_as not in set(Role):
        raise InvalidInput(f"unknown role {join_as!r}", field="join-as")
    new = NewProvider(**values, groups=rules, jit_role=Role(join_as) if join_as else None)  # type: ignore[arg-type]  # as the options have them
    async with opened(ctx, as_user) as (engine, principal):
        made = await engine.people.providers.add(principal, new)
    if as_json:
        output.show_json(asdict(made))
        return
    output.show(made.redirect_uri + "\n")
    output.note(f"added {made.name}; enter this redirect address there")


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.people.providers.list_all(principal)
    if as_json:
        output.show_json({"identity_providers": [asdict(item) for item in found]})
        return
    rows = [(item.key, item.kind, item.name, item.issuer, item.redirect_uri) for item in found]
    output.show(render.table(("key", "kind", "name", "issuer", "redirect address"), rows))


async def _check(ctx: typer.Context, key: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.people.providers.check(principal, key)
    if as_json:
        output.show_json(asdict(found))
        return
    rows = [(name.replace("_", " "), str(value)) for name, value in asdict(found).items()]
    output.show(render.table(("", ""), rows))
    output.note(f"{found.issuer} answers")


async def _remove(ctx: typer.Context, key: str, as_user: str, *, yes: bool, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        if not yes:
            typer.confirm(f"Remove the identity provider {key}?", abort=True, err=True)
        name = await engine.people.providers.remove(principal, key)
    if as_json:
        output.show_json({"removed": key})
    else:
        output.note(f"removed {name}")
