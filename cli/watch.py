"""`docs watch`: the progress of documents on their way into the index."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import DONE, INCOMPLETE, As, Kb, opened, run

if TYPE_CHECKING:
    from rich.text import Text

    from engine.documents.progress import DocumentProgress

SHOWN = 20  # documents on the screen at a time
Events = AsyncIterator[list["DocumentProgress"]]


def register(app: typer.Typer) -> None:
    """Add the command to the group `docs`."""
    app.command()(watch)


def watch(
    ctx: typer.Context,
    documents: Annotated[
        list[str] | None,
        typer.Argument(metavar="DOCUMENT", help="Document ids (default: all in progress)."),
    ] = None,
    kb: Kb = "",
    log: Annotated[
        bool, typer.Option("--log", help="Print the log of each run, line by line.")
    ] = False,
    as_user: As = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each change.")
    ] = False,
) -> None:
    """Follow documents until each is ready, failed or cancelled."""
    code = run(
        _watch(ctx, documents or [], kb, as_user, log=log, as_json=as_json),
        interrupted="no longer watched; processing continues",
    )
    raise typer.Exit(code)


async def _watch(
    ctx: typer.Context,
    documents: Sequence[str],
    kb: str,
    as_user: str,
    *,
    log: bool,
    as_json: bool,
) -> int:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        events = engine.documents.watch(principal, documents, kb=kb)
        if as_json:
            latest = await _as_json(events)
        elif output.to_person() and not log:
            latest = await _on_screen(events)
        else:
            latest = await _line_by_line(events, log=log)
    if not latest and not as_json:
        output.note("nothing is in progress")
    return INCOMPLETE if any(item.state != "ready" for item in latest.values()) else DONE


async def _as_json(events: Events) -> dict[str, DocumentProgress]:
    from engine import serializers

    latest: dict[str, DocumentProgress] = {}
    async for changed in events:
        for item in changed:
            latest[item.id] = item
            line = serializers.document_progress(item) | {"log": list(item.entries)}
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    return latest


async def _line_by_line(events: Events, *, log: bool) -> dict[str, DocumentProgress]:
    """A line for each new step of a document; with `log` also the lines of its run."""
    from cli import output, render

    latest: dict[str, DocumentProgress] = {}
    async for changed in events:
        for item in changed:
            before = latest.get(item.id)
            latest[item.id] = item
            title = render.one_line(item.title)
            for entry in item.entries if log else ():
                share = "failed" if entry["progress"] < 0 else f"{entry['progress']:.0%}"
                said = render.one_line(entry["message"])
                at = entry["datetime"][11:19]
                output.show(f"{at}  {title}  {entry['component']} {share}  {said}\n")
            if before is None or step(before) != step(item):
                output.show(f"{title}: {step(item)}{_detail(item)}\n")
        sys.stdout.flush()
    return latest


async def _on_screen(events: Events) -> dict[str, DocumentProgress]:
    """A table that changes in place; what ended stays above it."""
    from rich.console import Console
    from rich.live import Live

    latest: dict[str, DocumentProgress] = {}
    console = Console(highlight=False)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        async for changed in events:
            for item in changed:
                if item.has_ended and (item.id not in latest or not latest[item.id].has_ended):
                    console.print(
                        f"{_plain(item.title)}: {step(item)}{_detail(item)}", markup=False
                    )
                latest[item.id] = item
            live.update(table(list(latest.values()), console.width))
    return latest


def step(item: DocumentProgress) -> str:
    """The step of a document in a word or two, keyword search before vectors included."""
    if item.has_ended:
        return item.state
    if item.chunk_count and item.vectors == "none" and item.state == "running":
        return "searchable by keywords"
    return "waiting" if item.state == "pending" else item.state


def _detail(item: DocumentProgress) -> str:
    if item.error:
        return f", {_plain(item.error)}"
    return f", {_plain(item.message)}" if item.message else ""


def table(found: Sequence[DocumentProgress], width: int) -> Text:
    """Those in progress, then those waiting, as many as fit; a last line counts all."""
    from cli import render

    working = [item for item in found if item.state == "running"]
    waiting = [item for item in found if item.state == "pending"]
    rows = [
        (
            item.title,
            step(item),
            f"{item.progress:.0%}",
            "" if item.left_s is None else render.duration(item.left_s),
            item.message,
        )
        for item in [*working, *waiting][:SHOWN]
    ]
    out = render.table(("title", "step", "done", "left", "what"), rows, width=width)
    ended = len(found) - len(working) - len(waiting)
    out.append(f"{len(working)} in progress, {len(waiting)} waiting, {ended} ended\n", style="dim")
    return out


def _plain(text: str) -> str:
    from cli import render

    return render.one_line(text)
