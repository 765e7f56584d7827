"""`mcp`: serve one assistant on standard input and output; say how to connect one; show the calls.

`scrubjay mcp` alone is the server assistants start, so everything else is a command below it.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import As, Json, invocation_of, opened, run

if TYPE_CHECKING:
    from api.connect import Assistant
    from engine.settings import Settings

app = typer.Typer(
    name="mcp",
    help="Assistants: serve one over standard input and output, connect one, show their calls.",
    invoke_without_command=True,
    no_args_is_help=False,
)


class Client(StrEnum):
    """What is to be connected."""

    CLAUDE_CODE = "claude-code"
    CURSOR = "cursor"
    VSCODE = "vscode"
    CHATGPT = "chatgpt"
    CODEX = "codex"
    JSON = "json"


@app.callback()
def mcp(
    ctx: typer.Context,
    as_user: Annotated[str, typer.Option("--as", metavar="USER", help="Act for a user.")] = "",
) -> None:
    """Serve one assistant over standard input and output, or see the commands below."""
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
        bool, typer.Option("--stdio", help="Without the server, on this machine.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="A link that installs it: cursor, vscode.")
    ] = False,
    token: Annotated[
        str, typer.Option(metavar="TOKEN", help="Fill this API token in where one is needed.")
    ] = "",
) -> None:
    """Print exactly what to paste to connect an assistant to this installation."""
    _config(invocation_of(ctx).settings(), client, stdio=stdio, link=link, token=token)


@app.command()
def bundle(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path(
        "scrubjay.mcpb"
    ),
) -> None:
    """Write a bundle that Claude Desktop on this machine installs with a double click."""
    from api.connect import launcher
    from cli import output
    from cli.bundle import write_bundle

    settings = invocation_of(ctx).settings()
    command = launcher(settings.home)
    write_bundle(file, command, write_tools=settings.mcp.write_tools)
    output.note(f"wrote {file}: open it with Claude Desktop; it starts {command[0]}")


@app.command()
def calls(
    ctx: typer.Context,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Most calls shown.")
    ] = 20,
    keep_text: Annotated[
        bool | None,
        typer.Option(
            "--keep-text/--drop-text", help="From now on keep what is asked, or no longer."
        ),
    ] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Show the newest calls of tools: who, what, how many results, how long."""
    run(_calls(ctx, limit, keep_text, as_user, as_json=as_json))


Pattern = Annotated[
    str, typer.Argument(metavar="SERVER/TOOL", help="Which; * stands for any part of either.")
]


@app.command()
def tools(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the tools of other MCP servers that `mcp-servers.toml` connects, and which are allowed."""
    from cli.external_tools import show_tools

    run(show_tools(ctx, as_user, as_json=as_json))


@app.command()
def allow(ctx: typer.Context, pattern: Pattern, as_user: As = "", as_json: Json = False) -> None:
    """Let answers use tools of other servers: `ask --tools` then offers them."""
    from cli.external_tools import allow as allow_tools

    run(allow_tools(ctx, pattern, as_user, on=True, as_json=as_json))


@app.command()
def deny(ctx: typer.Context, pattern: Pattern, as_user: As = "", as_json: Json = False) -> None:
    """No longer let answers use them: takes back what `allow` was given."""
    from cli.external_tools import allow as allow_tools

    run(allow_tools(ctx, pattern, as_user, on=False, as_json=as_json))


def _config(settings: Settings, client: Client, *, stdio: bool, link: bool, token: str) -> None:
    from api.auth import is_loopback
    from api.connect import TOKEN
    from cli import output
    from engine.errors import InvalidInput

    keyless = is_loopback(settings.server.host) and not settings.server.public_url
    # With a provider the assistant signs its user in; a token can still be given.
    keyless = keyless or (bool(settings.mcp.oauth_issuer) and not token)
    chosen = _assistant(settings, client, is_keyless=keyless)
    if link and not chosen.link:
        raise InvalidInput(
            f"There is no link that installs it in {chosen.name}; leave out --link.", field="link"
        )
    if stdio and len(chosen.ways) < 2:
        raise InvalidInput(
            f"{chosen.name} can't start programs on this machine; leave out --stdio.",
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
        output.note("a token: scrubjay token create NAME, or --token here")


def _assistant(settings: Settings, client: Client, *, is_keyless: bool) -> Assistant:
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
        "ChatGPT connects from the internet: set server.public_url to the https:// address people"
        " reach this server by, and start `scrubjay serve` behind it.",
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
        output.note("what is asked is kept from now on" if keep_text else "no longer kept")
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
