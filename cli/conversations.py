"""`conversation`: what you asked and were answered: list, show, rename, delete, export."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.context import As, Json, Yes, opened, run
from engine.wording import counted

app = typer.Typer(
    name="conversation", help="Your conversations: list, show, rename, delete, export."
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Its id, as `conversation list` shows it.")]


class ExportFormat(StrEnum):
    """The form of an exported conversation."""

    MARKDOWN = "markdown"
    JSON = "json"


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=200, help="At most so many.")
    ] = 50,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """List your conversations, newest first."""
    run(_list(ctx, limit, as_user, as_json=as_json))


@app.command()
def show(ctx: typer.Context, id_: Id, as_user: As = "", as_json: Json = False) -> None:
    """Show a conversation with its answers."""
    from cli import output

    shown, text = run(_read(ctx, id_, as_user))
    if as_json:
        output.show_json(shown)
    else:
        output.show(text)


@app.command()
def rename(
    ctx: typer.Context,
    id_: Id,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Give a conversation another name."""
    run(_rename(ctx, id_, name, as_user, as_json=as_json))


@app.command()
def delete(
    ctx: typer.Context, id_: Id, yes: Yes = False, as_user: As = "", as_json: Json = False
) -> None:
    """Delete a conversation with its answers."""
    run(_delete(ctx, id_, as_user, yes=yes, as_json=as_json))


@app.command()
def export(
    ctx: typer.Context,
    id_: Id,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The file to write (default: stdout).")
    ] = None,
    form: Annotated[
        ExportFormat, typer.Option("--format", metavar="KIND", help="markdown or json.")
    ] = ExportFormat.MARKDOWN,
    as_user: As = "",
) -> None:
    """Write a conversation to a file."""
    from cli import output

    shown, text = run(_read(ctx, id_, as_user))
    if form is ExportFormat.JSON:
        text = json.dumps(shown, ensure_ascii=False, indent=2) + "\n"
    if file is None:
        output.show(text)
        return
    file.write_text(text, encoding="utf-8")
    output.note(f"wrote {file}")


async def _list(ctx: typer.Context, limit: int, as_user: str, *, as_json: bool) -> None:
    from cli import output, render
    from engine import serializers

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.answers.list_conversations(principal, limit=limit)
    if as_json:
        output.show_json({"conversations": [serializers.conversation(item) for item in found]})
        return
    if not found:
        output.note("no conversations yet; ask with `scrubjay ask QUESTION`")
        return
    rows = [
        (
            item.id,
            item.name,
            counted(item.turn_count, "question"),
            f"{item.updated_at:%Y-%m-%d %H:%M}",
        )
        for item in found
    ]
    output.show(render.table(("id", "name", "questions", "last"), rows))


async def _read(ctx: typer.Context, id_: str, as_user: str) -> tuple[dict[str, Any], str]:
    """A conversation as JSON and as Markdown."""
    from engine import serializers

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.answers.get_conversation(principal, id_)
        turns = await engine.answers.list_turns(principal, id_)
    shown = {"turns": [serializers.turn(item) for item in turns]}
    text = serializers.conversation_markdown(found, turns)
    return serializers.conversation(found) | shown, text


async def _rename(ctx: typer.Context, id_: str, name: str, as_user: str, *, as_json: bool) -> None:
    from cli import output
    from engine import serializers

    async with opened(ctx, as_user) as (engine, principal):
        renamed = await engine.answers.rename_conversation(principal, id_, name)
    if as_json:
        output.show_json(serializers.conversation(renamed))
    else:
        output.note(f"renamed to {renamed.name}")


async def _delete(ctx: typer.Context, id_: str, as_user: str, *, yes: bool, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.answers.get_conversation(principal, id_)
        if not yes:
            held = counted(found.turn_count, "answer")
            typer.confirm(f"Delete {found.name!r} with {held}?", abort=True, err=True)
        await engine.answers.delete_conversation(principal, id_)
    if as_json:
        output.show_json({"deleted": found.id})
    else:
        output.note(f"deleted {found.name}")
