"""Tools of other MCP servers at the command line: list and allow them, and approve each call."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from cli.context import opened

if TYPE_CHECKING:
    from engine.answers.plugin_tools import PluginTools
    from engine.answers.toolbox import ExternalTool, Toolbox
    from engine.domain import Principal
    from engine.engine import Engine
    from mcp_server.client import McpTools


def _servers(engine: Engine) -> McpTools:
    from mcp_server.client import McpTools, load_servers

    settings = engine.settings
    return McpTools(
        load_servers(settings.home), allow_private=settings.processing.allow_private_urls
    )


def _external(engine: Engine) -> PluginTools:
    """The tools of plugins, and of other servers."""
    from engine.answers.plugin_tools import PluginTools

    return PluginTools(engine.tools, _servers(engine))


async def open_toolbox(engine: Engine, principal: Principal) -> Toolbox:
    """The tools one answer may use; the person at the terminal approves each call."""
    from engine.errors import InvalidInput

    if not sys.stdin.isatty():
        raise InvalidInput(
            "--tools asks before each call, but this is not a terminal: omit it.",
            field="tools",
        )
    if not engine.settings.llm.model:
        raise InvalidInput("--tools needs a language model: set llm.model.", field="tools")
    return await engine.answers.open_toolbox(principal, _external(engine), _approve)


async def _approve(tool: ExternalTool, arguments: Mapping[str, Any]) -> bool:
    from cli import render

    said = json.dumps(dict(arguments), indent=2, ensure_ascii=False)
    typer.echo(f"The model wants to call {tool.key} with:\n{render.plain(said)}", err=True)
    return await asyncio.to_thread(typer.confirm, "Allow this call?", err=True)


async def show_tools(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    """Every connected tool, and whether answers may use it."""
    from cli import output, render
    from engine.answers.toolbox import matching

    async with opened(ctx, as_user) as (engine, principal):
        patterns = await engine.answers.allowed_tools(principal)
        servers = _servers(engine).servers
        found = await _external(engine).list_tools()
    allowed = {tool.key for tool in matching(found, patterns)}
    silent = sorted(set(servers) - {tool.server for tool in found})
    if as_json:
        shown = [
            {"tool": tool.key, "description": tool.description, "allowed": tool.key in allowed}
            for tool in found
        ]
        output.show_json({"tools": shown, "allowed": patterns, "silent": silent})
        return
    if silent:
        output.note(f"no answer from: {', '.join(silent)}")
    if not servers:
        output.note("no servers: add them to mcp-servers.toml in the data folder")
    if found:
        rows = [
            (tool.key, "allowed" if tool.key in allowed else "", render.one_line(tool.description))
            for tool in found
        ]
        output.show(render.table(("tool", "", "what it does"), rows))


async def allow(ctx: typer.Context, pattern: str, as_user: str, *, on: bool, as_json: bool) -> None:
    """Change what answers may use."""
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        patterns = await engine.answers.allow_tools(principal, pattern, on=on)
    if as_json:
        output.show_json({"allowed": patterns})
    else:
        output.note(f"allowed: {', '.join(patterns) or 'none'}")
