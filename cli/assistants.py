"""`mcp`: serve an assistant on standard input and output, print its configuration, show calls.

`scrubjay mcp` alone is the server that assistants start; everything else is a command below it.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import As, Json, invocation_of, opened, run

if TYPE_CHECKING:
    from api.connect import ClientGuide
    from engine.settings import Settings

app = typer.Typer(
    name="mcp",
    help="Connect assistants: serve MCP, print configuration, show calls.",
    invoke_without_command=True,
    no_args_is_help=False,
)


class Client(StrEnum):
    """The client to connect."""

    CLAUDE_CODE = "claude-code"
    CURSOR = "cursor"
    VSCODE = "vscode"
    CHATGPT = "chatgpt"
    CODEX = "codex"
    JSON = "json"


@app.callback()
def mcp(
    ctx: typer.Context,
    as_user: Annotated[str, typer.Option("--as", metavar="USER", help="Run as a user.")] = "",
) -> None:
    """Serve MCP over standard input and output, or run a command below."""
    if ctx.invoked_subcommand is not None:
        return
    from cli.stdio import run as serve

    raise typer.Exit(serve(invocation_of(ctx).settings(), as_user=as_user))


@app.command()
def config(
    ctx: typer.Context,
    client: Annotated[
        Client,
        typer.Argument(
            metavar="CLIENT", help="claude-code, cursor, vscode, chatgpt, codex or json."
        ),
    ],
    stdio: Annotated[
        bool,
        typer.Option("--stdio", help="Start Scrubjay on this machine instead of using the server."),
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Print a link that installs it (cursor, vscode).")
    ] = False,
    token: Annotated[str, typer.Option(metavar="TOKEN", help="API token to fill in.")] = "",
) -> None:
    """Print the configuration that connects an assistant to this installation."""
    _config(invocation_of(ctx).settings(), client, stdio=stdio, link=link, token=token)


@app.command()
def bundle(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path(
        "scrubjay.mcpb"
    ),
) -> None:
    """Write a bundle that installs into Claude Desktop on this machine with a double click."""
    from api.connect import launcher
    from cli import output
    from cli.bundle import write_bundle

    settings = invocation_of(ctx).settings()
    command = launcher(settings.home)
    write_bundle(
        file, command, write_tools=settings.mcp.write_tools, statistics=settings.mcp.statistics
    )
    output.note(f"wrote {file}: open it with Claude Desktop; it starts {command[0]}")


@app.command()
def calls(
    ctx: typer.Context,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Maximum number of calls.")
    ] = 20,
    keep_text: Annotated[
        bool | None,
        typer.Option("--keep-text/--drop-text", help="Start or stop storing the text of calls."),
    ] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Show the newest tool calls with caller, results and duration."""
    run(_calls(ctx, limit, keep_text, as_user, as_json=as_json))


Pattern = Annotated[
    str, typer.Argument(metavar="SERVER/TOOL", help="Tools, as SERVER/TOOL; * matches any part.")
]


@app.command()
def tools(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the tools of the servers in `mcp-servers.toml`, and which are allowed."""
    from cli.external_tools import show_tools

    run(show_tools(ctx, as_user, as_json=as_json))


@app.command()
def allow(ctx: typer.Context, pattern: Pattern, as_user: As = "", as_json: Json = False) -> None:
    """Allow tools of other servers for `ask --tools`."""
    from cli.external_tools import allow as allow_tools

    run(allow_tools(ctx, pattern, as_user, on=True, as_json=as_json))


@app.command()
def deny(ctx: typer.Context, pattern: Pattern, as_user: As = "", as_json: Json = False) -> None:
    """Disallow tools; the opposite of `allow`."""
    from cli.external_tools import allow as allow_tools

    run(allow_tools(ctx, pattern, as_user, on=False, as_json=as_json))


def _config(settings: Settings, client: Client, *, stdio: bool, link: bool, token: str) -> None:
    from api.connect import TOKEN
    from api.keyless import is_loopback
    from cli import output
    from engine.errors import InvalidInput
    from engine.locks import holder

    keyless = is_loopback(settings.server.host) and not settings.server.public_url
    keyless = keyless and not (holder(settings.home, "server") or "").startswith("scrubjay serve")
    # With a provider the assistant signs its user in; a token can still be given.
    keyless = keyless or (bool(settings.mcp.oauth_issuer) and not token)
    chosen = _assistant(settings, client, is_keyless=keyless)
    if link and not chosen.link:
        raise InvalidInput(f"{chosen.name} has no installation link: omit --link.", field="link")
    if stdio and len(chosen.ways) < 2:
        raise InvalidInput(
            f"{chosen.name} can't start programs on this machine: omit --stdio.",
            field="stdio",
        )
    way = chosen.ways[1] if stdio else chosen.ways[0]
    if link:
        output.show(chosen.link + "\n")
        return
    text = way.text.replace(TOKEN, token) if token else way.text
    output.note(f"{way.place}:")
    output.show(text + "\n")
    if TOKEN in text or (not token and not keyless and not stdio and client is Client.CODEX):
        output.note("a token: run scrubjay token create NAME, or pass --token")


def _assistant(settings: Settings, client: Client, *, is_keyless: bool) -> ClientGuide:
    from api.connect import assistants, general
    from engine.errors import InvalidInput
    from engine.search.links import address_of

    base = settings.server.public_url or address_of(settings.server)
    known = [
        *assistants(base, settings.home, is_keyless=is_keyless),
        general(base, settings.home, is_keyless=is_keyless),
    ]
    for assistant in known:
        if assistant.key == client.value:
            return assistant
    raise InvalidInput(
        "ChatGPT connects from the internet: set server.public_url to the public https:// URL of "
        "this server, and start `scrubjay serve` behind it.",
        field="client",
    )


async def _calls(
    ctx: typer.Context, limit: int, keep_text: bool | None, as_user: str, *, as_json: bool
) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        if keep_text is not None:
            await engine.operations.keep_call_text(principal, on=keep_text)
        found = await engine.operations.list_calls(principal, limit=limit)
        names = {m.user_id: m.name for m in await engine.people.list_members(principal)}
    if as_json:
        output.show_json({"calls": [asdict(call) for call in found]})
        return
    if keep_text is not None:
        output.note(
            "the text of calls is stored from now on"
            if keep_text
            else "the text of calls is no longer stored"
        )
    if not found:
        output.note("no calls yet")
        return
    rows = [
        (
            f"{call.at:%Y-%m-%d %H:%M:%S}",
            names.get(call.user_id or "", call.user_id or ""),
            call.tool,
            str(call.results),
            f"{call.took_ms:.0f} ms",
            call.code,
            " ".join(call.text.split())[:60],
        )
        for call in found
    ]
    columns = ("at (UTC)", "who", "tool", "results", "took", "error", "asked")
    output.show(render.table(columns, rows))
