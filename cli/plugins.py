"""`plugins`: what plugins bring, read them again, try a tool."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import Json, invocation_of, run

if TYPE_CHECKING:
    from engine.tools.plugin_manager import FoundTool, PluginManager

app = typer.Typer(name="plugins", help="See plugins, read them again, try a tool of one.")


@app.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """List the plugins in use with what they bring, and those that are refused, with the reason."""
    from cli import output, render
    from ingestion.connectors.kinds import load_kinds
    from ingestion.pipelines import open_registry

    settings = invocation_of(ctx).settings()
    components = open_registry(settings)
    tools = _manager(ctx)
    found = tools.get_llm_tools()
    refused = list(dict.fromkeys((*components.refused, *load_kinds().refused, *tools.refused)))
    if as_json:
        output.show_json(
            {
                "tools": [describe_tool(item) for item in found],
                "components": [
                    {"plugin": item.metadata.name, "components": [c.type for c in item.components]}
                    for item in components.loaded
                ],
                "refused": [asdict(item) for item in refused],
            }
        )
        return
    rows = [
        (item.plugin, item.version, f"tool {item.metadata.name}", item.metadata.description)
        for item in found
    ]
    rows += [
        (item.metadata.name, item.metadata.version, f"component {component.type}", "")
        for item in components.loaded
        for component in item.components
    ]
    if rows:
        output.show(render.table(("plugin", "version", "brings", "what it does"), rows))
    elif not refused:
        output.note("no plugins: install a package, or set processing.plugins to a folder")
    for refusal in refused:
        output.note(f"refused: {refusal.name} ({refusal.origin}): {refusal.reason}")


@app.command()
def reload(ctx: typer.Context, as_json: Json = False) -> None:
    """Read the plugins again, here and in every running process of this data folder."""
    from cli import output
    from engine.tools.plugin_manager import request_reload

    request_reload(invocation_of(ctx).settings().home)
    tools = _manager(ctx)
    names = [item.metadata.name for item in tools.get_llm_tools()]
    if as_json:
        output.show_json({"tools": names, "refused": [asdict(item) for item in tools.refused]})
        return
    output.note(f"tools in use: {', '.join(names) or 'none'}")
    for refusal in tools.refused:
        output.note(f"refused: {refusal.name} ({refusal.origin}): {refusal.reason}")


@app.command()
def call(
    ctx: typer.Context,
    tool: Annotated[str, typer.Argument(metavar="NAME", help="The tool's name.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="Its arguments; what is JSON is read as JSON."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Call a tool of a plugin, to try it."""
    run(_call(_manager(ctx), tool, arguments or (), as_json=as_json))


def _manager(ctx: typer.Context) -> PluginManager:
    from engine.tools.plugin_manager import PluginManager

    settings = invocation_of(ctx).settings()
    return PluginManager(settings.home, settings.plugins_folder)


async def _call(
    manager: PluginManager, name: str, pairs: list[str] | tuple[()], *, as_json: bool
) -> None:
    from cli import output
    from engine.errors import NotFound
    from engine.tools.calling import call_tool

    found = manager.get_llm_tool_by_name(name)
    if found is None:
        known = ", ".join(item.metadata.name for item in manager.get_llm_tools()) or "none"
        raise NotFound(f"No tool {name[:60]!r}; there are: {known}.")
    said = await call_tool(found, _arguments(found, pairs))
    if as_json:
        output.show_json({"text": said})
    else:
        output.show(said + "\n")


def _arguments(found: FoundTool, pairs: list[str] | tuple[()]) -> dict[str, Any]:
    """`name=value` as arguments; texts are texts, whatever they look like."""
    import json

    from engine.errors import InvalidInput

    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InvalidInput(f"{pair[:60]!r}: write NAME=VALUE.", field="arguments")
        known = found.metadata.parameters.get(name)
        if known is not None and known.type == "string":
            given[name] = text
            continue
        try:
            given[name] = json.loads(text)
        except ValueError:
            given[name] = text
    return given


def describe_tool(found: FoundTool) -> dict[str, Any]:
    """A tool as JSON."""
    return {
        **found.metadata.model_dump(mode="json"),
        "plugin": found.plugin,
        "version": found.version,
        "origin": found.origin,
    }
