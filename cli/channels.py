"""`channel`: the channels whose history is stored."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import As, Json, Yes, opened, run
from engine.wording import counted

if TYPE_CHECKING:
    from engine.chats.coverage import Coverage

app = typer.Typer(
    name="channel",
    help="Manage stored channels of Slack and Discord: list, add, pause, resume, keep, remove, "
    "forget.",
)

Name = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its name or id.")]


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the channels whose history is stored, with their progress."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def show(ctx: typer.Context, channel: Name, as_user: As = "", as_json: Json = False) -> None:
    """Show how much of a channel is stored and searchable, and what is missing."""
    run(_show(ctx, channel, as_user, as_json=as_json))


@app.command()
def add(
    ctx: typer.Context,
    channel: Name,
    kb: Annotated[
        str, typer.Option("--kb", metavar="NAME", help="The knowledge base to store it in.")
    ] = "default",
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="How far back to read (default: to the beginning)."
        ),
    ] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Store a channel's history, past and future.

    For a private channel you must be a member.
    """
    run(_add(ctx, channel, kb, since, as_user, as_json=as_json))


@app.command()
def pause(ctx: typer.Context, channel: Name, as_user: As = "", as_json: Json = False) -> None:
    """Pause reading a channel; stored messages keep answering."""
    run(_change(ctx, channel, "pause", as_user, as_json=as_json))


@app.command()
def resume(ctx: typer.Context, channel: Name, as_user: As = "", as_json: Json = False) -> None:
    """Resume reading a channel, also after a failure."""
    run(_change(ctx, channel, "resume", as_user, as_json=as_json))


@app.command()
def keep(
    ctx: typer.Context,
    channel: Name,
    days: Annotated[
        int, typer.Argument(metavar="DAYS", help="Number of days; 0 keeps everything.", min=0)
    ],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Set how many days a channel's messages are kept."""
    run(_keep(ctx, channel, days, as_user, as_json=as_json))


@app.command()
def remove(
    ctx: typer.Context, channel: Name, yes: Yes = False, as_user: As = "", as_json: Json = False
) -> None:
    """Delete a channel's history; no answer uses it from now on."""
    run(_remove(ctx, channel, as_user, yes=yes, as_json=as_json))


@app.command()
def forget(
    ctx: typer.Context,
    person: Annotated[
        str, typer.Argument(metavar="PERSON", help="The person's name or platform id.")
    ],
    yes: Yes = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Delete everything a person wrote in channels, and store nothing more of theirs."""
    run(_forget(ctx, person, as_user, yes=yes, as_json=as_json))


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.chats.history.coverage(principal)
    if as_json:
        output.show_json({"channels": [asdict(item) for item in found]})
        return
    if not found:
        output.note("no channel history is stored; add an export with `scrubjay add export.zip`")
        return
    heads = ("channel", "state", "messages", "conversations", "from", "to", "what to do")
    rows = [
        (
            f"#{item.channel}",
            item.state,
            f"{item.messages:,}",
            f"{item.conversations:,}",
            _day(item.oldest),
            _day(item.newest),
            render.one_line(item.error),
        )
        for item in found
    ]
    output.show(render.table(heads, rows, width=output.columns()))


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at is not None else ""


async def _show(ctx: typer.Context, channel: str, as_user: str, *, as_json: bool) -> None:
    from engine.errors import NotFound

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.chats.history.coverage(principal, channel)
    if not found:
        raise NotFound(f"The history of {channel!r} is not stored, or you may not see it.")
    _report(found[0], as_json=as_json)


async def _add(
    ctx: typer.Context,
    channel: str,
    kb: str,
    since: datetime | None,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from datetime import UTC

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.knowledge_bases.get(principal, kb)
        at = since.replace(tzinfo=UTC) if since is not None else None
        report = await engine.chats.history.add(principal, channel, found.id, since=at)
    _report(report, as_json=as_json)


async def _change(
    ctx: typer.Context, channel: str, verb: str, as_user: str, *, as_json: bool
) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        change = engine.chats.history.pause if verb == "pause" else engine.chats.history.resume
        report = await change(principal, channel)
    _report(report, as_json=as_json)


async def _keep(
    ctx: typer.Context, channel: str, days: int, as_user: str, *, as_json: bool
) -> None:
    from cli.inline_worker import finish_jobs

    async with opened(ctx, as_user) as (engine, principal):
        report = await engine.chats.history.set_retention(principal, channel, days or None)
        await finish_jobs(engine)
    _report(report, as_json=as_json)


async def _remove(
    ctx: typer.Context, channel: str, as_user: str, *, yes: bool, as_json: bool
) -> None:
    from cli import output
    from cli.inline_worker import finish_jobs

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.chats.history.find_channel(principal, channel)
        if not yes:
            typer.confirm(f"Delete everything stored of #{found.name}?", abort=True, err=True)
        receipt = await engine.chats.history.remove(principal, found.id)
        await finish_jobs(engine)
    if as_json:
        output.show_json(asdict(receipt))
    else:
        output.note(f"removed {counted(receipt.messages, 'message')} of #{found.name}")


async def _forget(
    ctx: typer.Context, person: str, as_user: str, *, yes: bool, as_json: bool
) -> None:
    from cli import output
    from cli.inline_worker import finish_jobs

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.chats.history.find_person(principal, person)
        if not yes:
            typer.confirm(f"Delete everything {found.name} wrote?", abort=True, err=True)
        receipt = await engine.chats.history.forget_person(
            principal, found.workspace_id, found.subject
        )
        await finish_jobs(engine)
    if as_json:
        output.show_json(asdict(receipt))
    else:
        output.note(
            f"forgot {counted(receipt.messages, 'message')} of {found.name}, in "
            f"{counted(receipt.documents, 'conversation')}"
        )


def _report(report: Coverage, *, as_json: bool) -> None:
    from cli import output, render

    if as_json:
        output.show_json(asdict(report))
        return
    shown: dict[str, object] = {
        "channel": f"#{report.channel}",
        "platform": report.platform,
        "knowledge base": report.kb,
        "state": report.state,
        "messages": f"{report.messages:,}",
        "conversations": f"{report.conversations:,} ({report.ready:,} ready)",
        "threads": f"{report.threads:,}",
        "from": _day(report.oldest),
        "to": _day(report.newest),
    }
    if report.waiting:
        shown["changed, not searchable yet"] = f"{report.waiting:,}"
    if report.deleted:
        shown["deleted"] = f"{report.deleted:,}"
    for gap in report.gaps:
        shown["missing"] = f"{_day(gap.start) or 'its beginning'} to {_day(gap.end)}: {gap.reason}"
    if report.eta_s is not None:
        shown["done in about"] = render.duration(report.eta_s)
    if report.retention_days is not None:
        shown["kept for"] = counted(report.retention_days, "day")
    if report.error:
        shown["what to do"] = report.error
    output.show(render.facts(shown))
