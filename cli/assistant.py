"""`assistant` and `search-app`: how answers and searches are made for a purpose, and whom they are for."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.context import As, Json, Yes, opened, run

if TYPE_CHECKING:
    from engine.assistants.assistants import Profiles
    from engine.assistants.rows import AssistantInfo
    from engine.engine import Engine

app = typer.Typer(
    name="assistant",
    help="Manage assistants: list, show, create, set, remove. `scrubjay ask --assistant` asks one.",
)
apps = typer.Typer(
    name="search-app", help="Manage search apps: list, show, create, set, remove, find."
)

Kind = Literal["assistant", "search_app"]
Ref = Annotated[str, typer.Argument(metavar="NAME", help="Its slug or id.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]
Slug = Annotated[str, typer.Option(metavar="SLUG", help="What it is called by (default: by name).")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SETTING=VALUE",
        help="Settings as `show` names them; an empty value unsets one, @FILE reads a file.",
    ),
]
KbNames = Annotated[
    list[str] | None,
    typer.Option("--kb", metavar="NAME", help="A knowledge base; repeat it (default: all)."),
]
EveryKb = Annotated[
    bool, typer.Option("--every-kb", help="All knowledge bases that the asker may read.")
]
VisibleTo = Annotated[
    list[str] | None,
    typer.Option(
        "--visible-to",
        metavar="WHOM",
        help="everyone, group:NAME, user:NAME; repeat it (default: everyone).",
    ),
]
Examples = Annotated[
    list[str] | None,
    typer.Option("--example", metavar="TEXT", help="A question it offers; repeat it."),
]
LISTS = ("kbs", "visible_to", "examples")


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the assistants you may use."""
    run(_list(ctx, "assistant", as_user, as_json=as_json))


@app.command()
def show(ctx: typer.Context, name: Ref, as_user: As = "", as_json: Json = False) -> None:
    """Show an assistant's settings."""
    run(_show(ctx, "assistant", name, as_user, as_json=as_json))


@app.command()
def create(
    ctx: typer.Context,
    name: Name,
    settings: Settings = None,
    slug: Slug = "",
    kb: KbNames = None,
    example: Examples = None,
    visible_to: VisibleTo = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Create an assistant, such as `assistant create Travel --kb handbook prompt=@rules.txt`."""
    values = {"name": name, "slug": slug, **_lists(kb, visible_to, example)}
    run(_create(ctx, "assistant", values, settings or (), as_user, as_json=as_json))


@app.command("set")
def set_(
    ctx: typer.Context,
    name: Ref,
    settings: Settings = None,
    kb: KbNames = None,
    every_kb: EveryKb = False,
    example: Examples = None,
    visible_to: VisibleTo = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Change an assistant; the next answer uses it."""
    values = _lists(kb, visible_to, example, every_kb=every_kb)
    run(_set(ctx, "assistant", name, values, settings or (), as_user, as_json=as_json))


@app.command()
def remove(
    ctx: typer.Context, name: Ref, yes: Yes = False, as_user: As = "", as_json: Json = False
) -> None:
    """Delete an assistant; its conversations can be read and are not continued."""
    run(_remove(ctx, "assistant", name, as_user, yes=yes, as_json=as_json))


@apps.command("list")
def list_apps(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the search apps you may use."""
    run(_list(ctx, "search_app", as_user, as_json=as_json))


@apps.command("show")
def show_app(ctx: typer.Context, name: Ref, as_user: As = "", as_json: Json = False) -> None:
    """Show a search app's settings."""
    run(_show(ctx, "search_app", name, as_user, as_json=as_json))


@apps.command("create")
def create_app(
    ctx: typer.Context,
    name: Name,
    settings: Settings = None,
    slug: Slug = "",
    kb: KbNames = None,
    visible_to: VisibleTo = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Create a search app, such as `search-app create News --kb wiki recency_days=30`."""
    values = {"name": name, "slug": slug, **_lists(kb, visible_to)}
    run(_create(ctx, "search_app", values, settings or (), as_user, as_json=as_json))


@apps.command("set")
def set_app(
    ctx: typer.Context,
    name: Ref,
    settings: Settings = None,
    kb: KbNames = None,
    every_kb: EveryKb = False,
    visible_to: VisibleTo = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Change a search app."""
    values = _lists(kb, visible_to, every_kb=every_kb)
    run(_set(ctx, "search_app", name, values, settings or (), as_user, as_json=as_json))


@apps.command("remove")
def remove_app(
    ctx: typer.Context, name: Ref, yes: Yes = False, as_user: As = "", as_json: Json = False
) -> None:
    """Delete a search app."""
    run(_remove(ctx, "search_app", name, as_user, yes=yes, as_json=as_json))


@apps.command("find")
def find(
    ctx: typer.Context,
    name: Ref,
    query: Annotated[list[str], typer.Argument(metavar="QUERY", help="The text to search for.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Search as the search app's settings say."""
    run(_find(ctx, name, " ".join(query), as_user, as_json=as_json))


def _lists(
    kbs: list[str] | None,
    visible_to: list[str] | None,
    examples: list[str] | None = None,
    *,
    every_kb: bool = False,
) -> dict[str, Any]:
    """The settings that options give, without those that nothing was said of."""
    given: dict[str, Any] = dict(zip(LISTS, (kbs, visible_to, examples), strict=True))
    given = {name: value for name, value in given.items() if value}
    return given | ({"kbs": None} if every_kb else {})


def _profiles(engine: Engine, kind: Kind) -> Profiles:
    return engine.assistants if kind == "assistant" else engine.search_apps


def parse_settings(kind: Kind, pairs: Sequence[str]) -> dict[str, Any]:
    """`name=value` as settings; `InvalidInput` where there is no such setting."""
    from engine.assistants.profiles import PROFILES, parse_value
    from engine.errors import InvalidInput

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise InvalidInput(f"{pair[:60]!r}: write SETTING=VALUE.", field="settings")
        if text.startswith("@"):
            text = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text("utf-8")
        found[name] = parse_value(PROFILES[kind], name, text)
    return found


async def _list(ctx: typer.Context, kind: Kind, as_user: str, *, as_json: bool) -> None:
    from cli import output, render
    from engine import serializers

    async with opened(ctx, as_user) as (engine, principal):
        found = await _profiles(engine, kind).list_all(principal)
    if as_json:
        output.show_json({f"{kind}s": [serializers.assistant(item) for item in found]})
        return
    if not found:
        command = "assistant" if kind == "assistant" else "search-app"
        output.note(f"none yet; create one with `scrubjay {command} create NAME`")
        return
    rows = [
        (
            item.slug,
            item.profile.name,
            "all" if item.profile.kbs is None else ", ".join(item.profile.kbs) or "none",
            item.owner,
            item.profile.description,
        )
        for item in found
    ]
    output.show(render.table(("slug", "name", "knowledge bases", "owner", "description"), rows))


async def _show(ctx: typer.Context, kind: Kind, name: str, as_user: str, *, as_json: bool) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        found = await _profiles(engine, kind).get(principal, name)
    _print(found, as_json=as_json)


def _print(info: AssistantInfo, *, as_json: bool) -> None:
    from cli import output, render
    from engine import serializers

    shown = serializers.assistant(info)
    if as_json:
        output.show_json(shown)
        return
    lists = {name: ", ".join(shown[name]) for name in LISTS if shown.get(name)}
    if shown["kbs"] is None:
        lists["kbs"] = "all that the asker may read"
    facts = {name: value for name, value in (shown | lists).items() if value not in ("", None, [])}
    facts.pop("may_edit")
    output.show(render.facts(facts))


async def _create(
    ctx: typer.Context,
    kind: Kind,
    values: Mapping[str, Any],
    settings: Sequence[str],
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        wanted = dict(values) | parse_settings(kind, settings)
        made = await _profiles(engine, kind).create(principal, wanted)
    if as_json:
        _print(made, as_json=True)
    elif kind == "assistant":
        output.note(f"created {made.slug}; ask it with `scrubjay ask --assistant {made.slug} …`")
    else:
        output.note(f"created {made.slug}; use it with `scrubjay search-app find {made.slug} …`")


async def _set(
    ctx: typer.Context,
    kind: Kind,
    name: str,
    values: Mapping[str, Any],
    settings: Sequence[str],
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output
    from engine.errors import InvalidInput

    changes = dict(values) | parse_settings(kind, settings)
    if not changes:
        raise InvalidInput("Say what to change, as SETTING=VALUE.", field="settings")
    async with opened(ctx, as_user) as (engine, principal):
        changed = await _profiles(engine, kind).update(principal, name, changes)
    if as_json:
        _print(changed, as_json=True)
    else:
        output.note(f"changed {changed.slug}: {', '.join(sorted(changes))}")


async def _remove(
    ctx: typer.Context, kind: Kind, name: str, as_user: str, *, yes: bool, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        profiles = _profiles(engine, kind)
        found = await profiles.get(principal, name)
        if not yes:
            typer.confirm(f"Delete {found.profile.name}?", abort=True, err=True)
        await profiles.remove(principal, found.id)
    if as_json:
        output.show_json({"deleted": found.id})
    else:
        output.note(f"deleted {found.slug}")


async def _find(ctx: typer.Context, name: str, query: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render, serializers

    async with opened(ctx, as_user) as (engine, principal):
        with output.working("searching"):
            result = await engine.search_apps.find(principal, name, query)
            result = replace(result, hits=await engine.search.at_messages(principal, result.hits))
    if as_json:
        output.show_json(serializers.search(result))
    else:
        output.show(render.hits(result, explain=False, width=output.width()))
