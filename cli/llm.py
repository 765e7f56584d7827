"""`llm`: an organisation's language models. `usage` and `quota`: what is used, and may be."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, cast

import typer

from cli.context import As, Json, opened, run

app = typer.Typer(
    name="llm", help="Manage language models: models, list, set, remove, default, usage."
)
quota_app = typer.Typer(name="quota", help="Manage quotas: list, set, remove.")

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="PROVIDER:MODEL, or PROVIDER:* for all of a provider."),
]
Subject = Annotated[
    str, typer.Argument(metavar="SUBJECT", help="tenant, user, key, user:NAME or key:ID.")
]
Kind = Annotated[
    str,
    typer.Argument(metavar="KIND", help="requests-per-minute, tokens-per-day, documents or bytes."),
]


@app.command()
def models(
    ctx: typer.Context,
    provider: Annotated[str, typer.Option(metavar="NAME", help="Of this provider.")] = "",
    capability: Annotated[
        str, typer.Option(metavar="NAME", help="chat, tools, json, vision or embedding.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List the models that are known, with what they can do and cost."""
    from cli import output, render
    from cli.context import invocation_of
    from engine.models.llm_catalogue import load_catalogue

    catalogue = load_catalogue(invocation_of(ctx).settings().llm.catalogue)
    found = catalogue.models(capability, provider)
    if as_json:
        output.show_json({"models": [asdict(model) for model in found]})
        return
    rows = [
        (
            model.name,
            " ".join(model.capabilities),
            f"{model.context_tokens:,}" if model.context_tokens else "",
            _price(model.input_price),
            _price(model.output_price),
        )
        for model in found
    ]
    columns = ("model", "can", "window", "credits per million in", "out")
    output.show(render.table(columns, rows))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the organisation's own keys, masked, and the model that answers."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command("set")
def set_(
    ctx: typer.Context,
    name: Name,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the model is, if not at its provider.")
    ] = None,
    key: Annotated[
        bool, typer.Option(help="Read the key from standard input, or ask for it.")
    ] = True,
    enabled: Annotated[bool | None, typer.Option(help="Whether it is used.")] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Add or change a key. It is read from standard input, so that no shell keeps it."""
    secret = _read_key() if key else None
    run(_set(ctx, name, secret, base_url, enabled, as_user, as_json=as_json))


@app.command()
def remove(ctx: typer.Context, name: Name, as_user: As = "", as_json: Json = False) -> None:
    """Forget a key."""
    run(_remove(ctx, name, as_user, as_json=as_json))


@app.command()
def default(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="PROVIDER:MODEL; empty: the installation's own.")
    ],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Choose the model that answers."""
    run(_default(ctx, name, as_user, as_json=as_json))


@app.command()
def usage(
    ctx: typer.Context,
    days: Annotated[int, typer.Option(metavar="N", min=1, max=3660, help="How many days.")] = 30,
    by: Annotated[str, typer.Option(metavar="WHAT", help="day, model or user.")] = "day",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Show what language models were used for how much, and the credits left."""
    run(_usage(ctx, days, by, as_user, as_json=as_json))


@quota_app.command("list")
def list_quotas(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the quotas that hold in the organisation."""
    run(_quotas(ctx, as_user, as_json=as_json))


@quota_app.command("set")
def set_quota(
    ctx: typer.Context,
    subject: Subject,
    kind: Kind,
    amount: Annotated[int, typer.Argument(metavar="NUMBER", min=0, help="How many.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Set a quota."""
    run(_set_quota(ctx, subject, kind, amount, as_user, as_json=as_json))


@quota_app.command("remove")
def remove_quota(
    ctx: typer.Context, subject: Subject, kind: Kind, as_user: As = "", as_json: Json = False
) -> None:
    """Remove a quota."""
    run(_set_quota(ctx, subject, kind, None, as_user, as_json=as_json))


def _read_key() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Key", hide_input=True, err=True))
    return sys.stdin.readline().strip()


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.llms.list_keys(principal)
        answers = await engine.llms.default_of(principal)
    if as_json:
        output.show_json({"default": answers, "keys": [asdict(key) for key in found]})
        return
    output.note(f"answers are written by {answers}" if answers else "no model: answers are quoted")
    rows = [(key.name, key.api_key, key.base_url, "" if key.enabled else "off") for key in found]
    output.show(render.table(("model", "key", "base URL", ""), rows))


async def _set(
    ctx: typer.Context,
    name: str,
    secret: str | None,
    base_url: str | None,
    enabled: bool | None,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        kept = await engine.llms.set_key(
            principal, name, api_key=secret, base_url=base_url, enabled=enabled
        )
    if as_json:
        output.show_json(asdict(kept))
    else:
        output.note(f"{kept.name} has the key {kept.api_key or '(none)'}")


async def _remove(ctx: typer.Context, name: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        removed = await engine.llms.remove_key(principal, name)
    if as_json:
        output.show_json({"removed": removed})
    else:
        output.note(f"removed the key for {removed}")


async def _default(ctx: typer.Context, name: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        chosen = await engine.llms.set_default(principal, name)
    if as_json:
        output.show_json({"model": chosen})
    else:
        output.note(f"answers are written by {chosen or 'the model of the installation'}")


async def _usage(ctx: typer.Context, days: int, by: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render
    from engine.errors import InvalidInput
    from engine.people.ledger import By

    if by not in {"day", "model", "user"}:
        raise InvalidInput(f"by is {by!r}: write day, model or user.", field="by")
    async with opened(ctx, as_user) as (engine, principal):
        used = await engine.llms.read_usage(principal, days=days, by=cast("By", by))
        left = await engine.llms.read_credits(principal)
    if as_json:
        output.show_json({"credits": asdict(left), "usage": [asdict(item) for item in used]})
        return
    if left.balance is not None:
        output.note(f"{left.balance:,.4f} credits left" + ("" if left.enforced else ", no limit"))
    rows = [
        (u.name, f"{u.calls:,}", f"{u.input_tokens:,}", f"{u.output_tokens:,}", f"{u.cost:.4f}")
        for u in used
    ]
    output.show(render.table((by, "calls", "tokens in", "tokens out", "credits"), rows))


async def _quotas(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.quotas.list_all(principal)
    if as_json:
        output.show_json({"quotas": [asdict(quota) for quota in found]})
        return
    rows = [
        (q.subject, q.kind, f"{q.amount:,}", "by the operator" if q.by_operator else "")
        for q in found
    ]
    output.show(render.table(("of", "what", "at most", ""), rows))


async def _set_quota(
    ctx: typer.Context, subject: str, kind: str, amount: int | None, as_user: str, *, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        if amount is None:
            await engine.quotas.remove(principal, subject, kind)
        else:
            await engine.quotas.set(principal, subject, kind, amount)
    if as_json:
        output.show_json({"subject": subject, "kind": kind, "amount": amount})
    else:
        said = "no quota any more" if amount is None else f"at most {amount:,}"
        output.note(f"{kind} of {subject}: {said}")


def _price(price: float | None) -> str:
    return "" if price is None else f"{price:g}"
