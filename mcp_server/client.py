"""Tools of other MCP servers, for answers that may use them: the adapter of `ExternalTools`.

The servers come only from the operator's file `mcp-servers.toml` in the data folder, because a
command there is started on this machine. HTTP ones go through the URL guard. Each exchange opens
its own connection with a timeout, results are cut to size, and a server's own error text is not
repeated.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import httpx2
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.answers.toolbox import RESULT_CHARS, ExternalTool
from engine.errors import ConfigurationError, EngineError, Unavailable
from engine.net.ssrf import GuardedTransport

log = logging.getLogger(__name__)

FILE = "mcp-servers.toml"
LIST_S = 20.0  # to start or reach a server and list its tools; Python servers take seconds to load
CALL_S = 25.0


class ServerEntry(BaseModel):
    """One server of the file: a command to start, or an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str = ""
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    url: str = Field(default="", pattern=r"^$|^https?://[^\s/@]+(/\S*)?$")
    headers: dict[str, str] = Field(default_factory=dict, repr=False)

    @model_validator(mode="after")
    def _one_of_two(self) -> ServerEntry:
        if bool(self.command) == bool(self.url):
            raise ValueError("give either command or url")
        return self


def load_servers(home: Path) -> dict[str, ServerEntry]:
    """The servers by name; none without the file. `ConfigurationError` names every fault."""
    file = home / FILE
    try:
        written = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} can't be read: {error}.") from None
    servers: dict[str, ServerEntry] = {}
    for name, entry in written.get("servers", {}).items():
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigurationError(
                f"{file}: {name!r} is not a valid name; use letters, digits, - and _."
            )
        try:
            servers[name] = ServerEntry.model_validate(entry)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".lstrip(": ")
                for fault in error.errors(include_input=False, include_url=False)
            )
            raise ConfigurationError(f"{file}: servers.{name}: {faults}.") from None
    if unknown := set(written) - {"servers"}:
        raise ConfigurationError(
            f"{file}: unknown {', '.join(sorted(unknown))}; write [servers.x]."
        )
    return servers


@dataclass
class McpTools:
    """The tools of `servers`."""

    servers: Mapping[str, ServerEntry]
    allow_private: bool = False

    async def list_tools(self) -> Sequence[ExternalTool]:
        """Every tool of every server; an unreachable server is left out, with a warning."""
        found = await asyncio.gather(*(self._tools_of(name) for name in sorted(self.servers)))
        return [tool for tools in found for tool in tools]

    async def _tools_of(self, name: str) -> list[ExternalTool]:
        try:
            async with asyncio.timeout(LIST_S), self._connected(name) as client:
                listed = (await client.list_tools()).tools
        except Exception as error:  # noqa: BLE001 (a stranger's server may fail in any way)
            log.warning(
                "an MCP server can't be reached",
                extra={"server": name, "reason": type(error).__name__},
            )
            return []
        return [
            ExternalTool(name, tool.name, tool.description or "", tool.input_schema)
            for tool in listed
        ]

    async def call(self, tool: ExternalTool, arguments: Mapping[str, Any]) -> str:
        """The text of its result, cut to size."""
        try:
            async with asyncio.timeout(CALL_S), self._connected(tool.server) as client:
                result = await client.call_tool(tool.name, dict(arguments))
        except Exception as error:  # noqa: BLE001 (a stranger's server may fail in any way)
            log.warning("a tool failed", extra={"tool": tool.key, "reason": type(error).__name__})
            own = error if isinstance(error, EngineError) else None
            raise Unavailable(str(own) if own else f"{tool.key} did not respond.") from None
        if result.is_error:
            raise Unavailable(f"{tool.key} refused the call.")
        texts = [block.text for block in result.content if isinstance(block, TextContent)]
        return "\n".join(texts)[:RESULT_CHARS]

    @asynccontextmanager
    async def _connected(self, name: str) -> AsyncIterator[Client]:
        entry = self.servers[name]
        if entry.command:
            # The SDK passes on PATH and the like, but none of our variables.
            started = StdioServerParameters(command=entry.command, args=entry.args, env=entry.env)
            with _nowhere() as nowhere:
                async with Client(stdio_client(started, nowhere)) as client:
                    yield client
            return
        transport = GuardedTransport(allow_private=self.allow_private)
        async with (
            httpx2.AsyncClient(
                transport=transport,
                headers=entry.headers,
                follow_redirects=False,
                timeout=CALL_S,
            ) as http,
            Client(streamable_http_client(entry.url, http_client=http)) as client,
        ):
            yield client


def _nowhere() -> TextIO:
    """Discards what a server prints: it belongs neither in our terminal nor in our log."""
    return Path(os.devnull).open("w", encoding="utf-8")
