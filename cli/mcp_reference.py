"""The reference page of the MCP tools, made from the tools: `python -m cli.reference` writes it."""

from __future__ import annotations

import json
from typing import Any

from engine import errors as engine_errors
from mcp_server import errors
from mcp_server.tool import KnowledgeTool
from mcp_server.tools import build_tools

HEAD = """\
# MCP tools

What assistants see at `/mcp` and with `scrubjay mcp`. Results are a JSON text and the same object
as structured content. Lists continue with `next_cursor`, documents with `metadata.next_id`; a page of
a list or a search has at most 6,000 tokens, a page of a document 8,000, whatever it is written in.
`fetch` also takes addresses: the `url` of a result, `kb://` addresses of resources, web addresses of
documents, permalinks of messages. A client that accepts only `application/json` gets JSON instead of
an event stream. Nothing takes longer than 25 s: longer work is a job, which you follow with `get_ingestion`.

`tools/list` shows what the credential's scopes allow. `?tools=search,fetch` in the URL, or the
header `X-Toolsets`, narrows it further. `add_document` and `delete_document` require
`mcp.write_tools`, `get_statistics` requires `mcp.statistics`. `/mcp/chatgpt` has only `search(query)` and `fetch(id)`, as ChatGPT's connectors
require them.

`null` for an optional argument is the same as leaving it out. Every hit has a `confidence` from 0
to 1; if the best one is below 0.2, `notice` says that no result is likely to answer. Resources,
prompts and completion have the same rates as tools, and are recorded in the same way.
"""
ERRORS = """\
## Errors

A failure is a result with `isError` whose text says what was wrong, what is allowed and what to
call next. `_meta.code` is for programs; the operator can search the log for `_meta.incident`.
Absent and forbidden look the same. A request that is no tool call fails with a JSON-RPC error:
-32602 if the caller must change something, -32000 if it can succeed later, -32603 for an internal
error. Its `data` has `code` and `incident`, and `retry_after_s` above a rate.

| code | meaning |
|---|---|
"""
HTTP = """\
| HTTP status | meaning |
|---|---|
| 401 | no token, or an invalid one; `WWW-Authenticate` says where to get one |
| 403 | the tool named in `Mcp-Name` needs a scope the token lacks, or another site's page made the call |
| 405 | only POST is served: there are no sessions |
| 413 | the body is over 4 MiB |
| 421 | the server does not answer to this Host: set `server.public_url` |
| 429 | too many requests: try again after `Retry-After` seconds |
"""


def page() -> str:
    """The page, without its first line."""
    tools = [_tool(tool) for tool in build_tools(write_tools=True, statistics=True)]
    return "\n".join([HEAD, *tools, ERRORS + _codes() + "\n" + HTTP])


def _tool(tool: KnowledgeTool) -> str:
    hints = tool.annotations
    kind = "reads" if hints is not None and hints.read_only_hint else "writes"
    if hints is not None and hints.destructive_hint:
        kind = "deletes"
    lines = [f"## {tool.name}\n", f"{tool.description} Scope: `{tool.scope}`; {kind}.\n"]
    required = set(tool.parameters.get("required", ()))
    lines.append("| argument | value | |\n|---|---|---|")
    for name, schema in tool.parameters["properties"].items():
        needed = "required" if name in required else f"default `{json.dumps(schema['default'])}`"
        lines.append(f"| `{name}` | {_takes(schema)}, {needed} | {schema.get('description', '')} |")
    output: dict[str, Any] = tool.output_schema or {}
    lines.append(f"\nReturns `{_shape(output)}`.\n")
    return "\n".join(lines)


def _takes(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = {"string": "text", "integer": "number"}.get(schema["type"], schema["type"])
    if "maxLength" in schema:
        return f"{kind} of at most {schema['maxLength']:,} characters"
    if "maximum" in schema:
        return f"{kind} from {schema['minimum']} to {schema['maximum']}"
    return str(kind)


def _shape(schema: dict[str, Any]) -> str:
    if schema.get("type") == "array":
        return f"[{_shape(schema['items'])}]"
    if "properties" in schema:
        inner = (
            name + (f": {_shape(sub)}" if sub.get("type") in {"array", "object"} else "")
            for name, sub in schema["properties"].items()
        )
        return "{" + ", ".join(inner) + "}"
    return "…"


def _codes() -> str:
    rows = {"internal": "An internal error; the log has it under the incident."}
    for module in (engine_errors, errors):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, engine_errors.EngineError):
                meaning = (kind.__doc__ or "").split("\n\n")[0]
                rows.setdefault(kind.code, " ".join(meaning.split()))
    listed = (
        "configuration",
        "conflict",
        "document",
        "forbidden",
        "index_damaged",
        "internal",
        "invalid_input",
        "not_found",
        "over_time",
        "rate_limited",
        "too_large",
        "unavailable",
        "unknown_argument",
        "unknown_tool",
    )
    return "".join(f"| `{code}` | {rows[code]} |\n" for code in listed)
