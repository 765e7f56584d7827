"""`source`: where documents come from and are kept in step with."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import As, Json, Yes, opened, run
from engine.wording import counted

if TYPE_CHECKING:
    from engine.sources.contract import Finding
    from engine.sources.reports import SourceInfo

app = typer.Typer(
    name="source",
    help="Connect sources of documents and keep them in step: kinds, add, list, show, check, "
    "preview, why, sync, set, pause, resume, confirm, remove.",
)

Name = Annotated[str, typer.Argument(metavar="SOURCE", help="Its name or id.")]
Kind = Annotated[str, typer.Argument(metavar="KIND", help="A kind that `source kinds` lists.")]
Pairs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME=VALUE]…", help="Settings of the kind; repeat a name for a list."),
]
Every = Annotated[
    str,
    typer.Option(
        "--every",
        metavar="TIME",
        help="How often to sync: 15m, 6h, 1d, or never (default: the kind's own).",
    ),
]
Domains = Annotated[
    list[str] | None,
    typer.Option(
        "--domain",
        metavar="DOMAIN",
        help="A domain whose e-mail addresses the source may vouch for: people who have proved such"
        " an address here have that account's permissions. Repeat it for more.",
    ),
]
UseCredential = Annotated[
    str | None,
    typer.Option(
        "--credential",
        metavar="CREDENTIAL",
        help="What it signs in with: a name that `credential list` shows.",
    ),
]
How = tuple[str, list[str] | None, str | None]  # how often, domains, credential


@app.command()
def kinds(ctx: typer.Context, as_json: Json = False) -> None:
    """List the kinds of sources and the settings each takes."""
    run(_kinds(ctx, as_json=as_json))


@app.command()
def add(
    ctx: typer.Context,
    kind: Kind,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    settings: Pairs = None,
    kb: Annotated[
        str, typer.Option("--kb", metavar="NAME", help="The knowledge base to fill.")
    ] = "default",
    every: Every = "",
    domain: Domains = None,
    credential: UseCredential = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Connect a source: it is checked, saved and synced.

    For example: scrubjay source add web handbook url=https://example.com/handbook/
    """
    how = (every, domain or [], credential)
    run(_add(ctx, kind, name, settings or [], kb, how, as_user, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the sources, how far each is and how its last sync ended."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def show(ctx: typer.Context, source: Name, as_user: As = "", as_json: Json = False) -> None:
    """Show a source: settings, parts, last sync, what is missing."""
    run(_show(ctx, source, as_user, as_json=as_json))


@app.command()
def check(ctx: typer.Context, source: Name, as_user: As = "", as_json: Json = False) -> None:
    """Check whether a source can be read now."""
    raise typer.Exit(run(_check(ctx, source, as_user, as_json=as_json)))


@app.command()
def preview(
    ctx: typer.Context,
    kind: Kind,
    settings: Pairs = None,
    credential: UseCredential = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Show what a sync with these settings would take first; nothing is stored."""
    run(_preview(ctx, kind, settings or [], credential or "", as_user, as_json=as_json))


@app.command()
def why(ctx: typer.Context, source: Name, as_user: As = "", as_json: Json = False) -> None:
    """Show what a source has and no answer uses, with the reason of each."""
    run(_why(ctx, source, as_user, as_json=as_json))


@app.command()
def sync(
    ctx: typer.Context,
    source: Name,
    whole: Annotated[
        bool, typer.Option("--whole", help="List all of it again, not only what changed.")
    ] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Sync a source now."""
    run(_sync(ctx, source, as_user, whole=whole, as_json=as_json))


@app.command("set")
def set_(
    ctx: typer.Context,
    source: Name,
    settings: Pairs = None,
    every: Every = "",
    domain: Domains = None,
    credential: UseCredential = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Change a source's settings; then it is synced."""
    how = (every, domain, credential)
    run(_set(ctx, source, settings or [], how, as_user, as_json=as_json))


@app.command()
def pause(ctx: typer.Context, source: Name, as_user: As = "", as_json: Json = False) -> None:
    """Pause a source; what is stored keeps answering."""
    run(_change(ctx, source, "pause", as_user, as_json=as_json))


@app.command()
def resume(ctx: typer.Context, source: Name, as_user: As = "", as_json: Json = False) -> None:
    """Resume a source that is paused or needed another sign-in."""
    run(_change(ctx, source, "resume", as_user, as_json=as_json))


@app.command()
def confirm(
    ctx: typer.Context, source: Name, yes: Yes = False, as_user: As = "", as_json: Json = False
) -> None:
    """Remove documents whose deletion was withheld because there were so many."""
    run(_confirm(ctx, source, as_user, yes=yes, as_json=as_json))


@app.command()
def remove(
    ctx: typer.Context, source: Name, yes: Yes = False, as_user: As = "", as_json: Json = False
) -> None:
    """Remove a source with all its documents; no answer uses them from now on."""
    run(_remove(ctx, source, as_user, yes=yes, as_json=as_json))


async def _kinds(ctx: typer.Context, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx) as (engine, _):
        found = engine.sources.kinds()
    if as_json:
        output.show_json({"kinds": [asdict(one) for one in found]})
        return
    rows = [
        (
            one.kind,
            one.title,
            ", ".join(one.settings.get("properties", {})),
            ", ".join(one.methods) or "none",
            "the source's own" if one.has_permissions else "the knowledge base's",
        )
        for one in found
    ]
    heads = ("kind", "what", "settings", "sign-in", "permissions")
    output.show(render.table(heads, rows, width=output.columns()))


async def _add(
    ctx: typer.Context,
    kind: str,
    name: str,
    pairs: list[str],
    kb: str,
    how: How,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli.inline_worker import finish_jobs
    from engine.sources.intervals import seconds_between
    from engine.sources.sources import NewSource

    every, domains, credential = how

    async with opened(ctx, as_user) as (engine, principal):
        settings = engine.sources.settings_of(kind, pairs)
        every_s = seconds_between(every)
        new = NewSource(
            kind,
            name,
            kb,
            settings,
            every_s=every_s,
            domains=domains or (),
            credential=credential or "",
        )
        info, findings = await engine.sources.add(principal, new)
        if not as_json:
            _say(findings)
        await finish_jobs(engine)
        info = await engine.sources.get(principal, info.id)
    _report(info, as_json=as_json)


def _say(findings: list[Finding]) -> None:
    from cli import output

    for finding in findings:
        output.note(f"{'ok ' if finding.ok else 'bad'} {finding.text}")


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.sources.list_all(principal)
    if as_json:
        output.show_json({"sources": [asdict(one) for one in found]})
        return
    if not found:
        output.note("no source is connected; `scrubjay source kinds` lists what can be")
        return
    heads = ("source", "kind", "kb", "state", "documents", "last sync", "what to do")
    rows = [
        (
            one.name,
            one.kind,
            one.kb,
            one.state,
            f"{sum(one.documents.values()):,}",
            _ended(one),
            render.one_line(one.error),
        )
        for one in found
    ]
    output.show(render.table(heads, rows, width=output.columns()))


def _ended(info: SourceInfo) -> str:
    if info.last_run is None:
        return ""
    return f"{info.last_run.state} {_minute(info.last_run.ended_at or info.last_run.started_at)}"


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at is not None else ""


async def _show(ctx: typer.Context, source: str, as_user: str, *, as_json: bool) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.sources.get(principal, source)
    _report(found, as_json=as_json)


async def _check(ctx: typer.Context, source: str, as_user: str, *, as_json: bool) -> int:
    from cli import output
    from cli.context import DONE, UNAVAILABLE

    async with opened(ctx, as_user) as (engine, principal):
        findings = await engine.sources.check(principal, source)
    if as_json:
        output.show_json({"findings": [asdict(finding) for finding in findings]})
    else:
        _say(findings)
    return DONE if all(finding.ok for finding in findings) else UNAVAILABLE


async def _preview(
    ctx: typer.Context, kind: str, pairs: list[str], credential: str, as_user: str, *, as_json: bool
) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        settings = engine.sources.settings_of(kind, pairs)
        found = await engine.sources.preview(principal, kind, settings, credential=credential)
    if as_json:
        output.show_json({"items": [asdict(one) for one in found]})
        return
    rows = [
        (render.one_line(one.title), one.url or one.id, f"{one.size_bytes:,}", one.reason)
        for one in found
    ]
    heads = ("title", "where", "bytes", "left out because")
    output.show(render.table(heads, rows, width=output.columns()))


async def _why(ctx: typer.Context, source: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.sources.why(principal, source)
    if as_json:
        output.show_json({"items": [asdict(one) for one in found]})
        return
    if not found:
        output.note("nothing is left out")
        return
    rows = [(render.one_line(one.title), one.state, render.one_line(one.reason)) for one in found]
    output.show(render.table(("item", "state", "why"), rows, width=output.columns()))


async def _sync(
    ctx: typer.Context, source: str, as_user: str, *, whole: bool, as_json: bool
) -> None:
    from cli.inline_worker import finish_jobs

    async with opened(ctx, as_user) as (engine, principal):
        info = await engine.sources.sync(principal, source, whole=whole)
        await finish_jobs(engine)
        info = await engine.sources.get(principal, info.id)
    _report(info, as_json=as_json)


async def _set(
    ctx: typer.Context,
    source: str,
    pairs: list[str],
    how: How,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli.inline_worker import finish_jobs
    from engine.sources.intervals import seconds_between

    every, domains, credential = how

    async with opened(ctx, as_user) as (engine, principal):
        known = await engine.sources.get(principal, source)
        settings = engine.sources.settings_of(known.kind, pairs) if pairs else None
        info = await engine.sources.update(
            principal,
            source,
            settings=settings,
            every_s=seconds_between(every),
            domains=domains,
            credential=credential,
        )
        await finish_jobs(engine)
        info = await engine.sources.get(principal, info.id)
    _report(info, as_json=as_json)


async def _change(
    ctx: typer.Context, source: str, verb: str, as_user: str, *, as_json: bool
) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        change = engine.sources.pause if verb == "pause" else engine.sources.resume
        info = await change(principal, source)
    _report(info, as_json=as_json)


async def _confirm(
    ctx: typer.Context, source: str, as_user: str, *, yes: bool, as_json: bool
) -> None:
    from cli.inline_worker import finish_jobs

    async with opened(ctx, as_user) as (engine, principal):
        info = await engine.sources.get(principal, source)
        if not yes and info.withheld:
            said = f"Remove {info.withheld:,} documents that {info.name} no longer has?"
            typer.confirm(said, abort=True, err=True)
        await engine.sources.confirm(principal, source)
        await finish_jobs(engine)
        info = await engine.sources.get(principal, source)
    _report(info, as_json=as_json)


async def _remove(
    ctx: typer.Context, source: str, as_user: str, *, yes: bool, as_json: bool
) -> None:
    from cli import output
    from cli.inline_worker import finish_jobs

    async with opened(ctx, as_user) as (engine, principal):
        info = await engine.sources.get(principal, source)
        if not yes:
            typer.confirm(f"Remove {info.name} with its documents?", abort=True, err=True)
        count = await engine.sources.remove(principal, source)
        await finish_jobs(engine)
    if as_json:
        output.show_json({"removed": info.name, "documents": count})
    else:
        output.note(f"removed {info.name} with {counted(count, 'document')}")


def _report(info: SourceInfo, *, as_json: bool) -> None:
    from cli import output, render

    if as_json:
        output.show_json(asdict(info))
        return
    shown: dict[str, object] = {
        "source": info.name,
        "kind": info.kind,
        "knowledge base": info.kb,
        "state": info.state,
        "answering": f"{counted(info.documents.get('ready', 0), 'document')} ({info.coverage:.0%})",
        "permissions": _permissions(info),
        "last sync": _ended(info),
    }
    if info.credential:
        shown["credential"] = info.credential
    if info.next_sync_at is not None:
        shown["next sync"] = _minute(info.next_sync_at)
    left = sum(info.items.get(state, 0) for state in ("left_out", "failed"))
    left += info.documents.get("failed", 0)
    if left:
        shown["left out"] = f"{left:,} (`scrubjay source why {info.name}`)"
    if info.withheld:
        shown["withheld"] = f"{info.withheld:,} deletions (`scrubjay source confirm {info.name}`)"
    for scope in info.scopes:
        if scope.error:
            shown[scope.title] = f"{scope.state}: {scope.error}"
    if info.error:
        shown["what to do"] = info.error
    output.show(render.facts(shown))


def _permissions(info: SourceInfo) -> str:
    if not info.has_permissions:
        return f"the same for everyone who may read {info.kb}"
    if info.permissions_as_of is None:
        return "not read yet: nobody"
    return f"the source's own, as of {_minute(info.permissions_as_of)}"
