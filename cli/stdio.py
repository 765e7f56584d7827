"""`scrubjay mcp`: the MCP door for one assistant, over standard input and output.

Nothing but JSON-RPC may ever be written to standard output, so the first thing done is to keep the
wire for the server alone and send everything else that is written there to standard error. The
engine opens in the background: an assistant waits for `initialize` only a few seconds, and the
index and its model need not be there for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from api.auth import LocalOwner
    from engine.domain import Principal
    from engine.engine import Engine
    from engine.settings import Settings
    from mcp_server.caller import McpCaller

INTERRUPTED = 130


def run(settings: Settings, *, as_user: str = "") -> int:
    """Serve until standard input ends; acts as the local owner, or as `as_user`."""
    wire = take_stdout()
    from engine.telemetry import configure_logging

    configure_logging(level="warning", style=settings.system.log_format)
    try:
        asyncio.run(_run(settings, as_user, wire))
    except KeyboardInterrupt:
        # The thread that reads standard input can't be interrupted; nothing here needs it to end.
        os._exit(INTERRUPTED)
    return 0


def take_stdout() -> io.TextIOWrapper:
    """The only way left to what was standard output; the descriptor itself now is standard error.

    So are `print`, `sys.stdout` and the standard output of every child process.
    """
    sys.stdout.flush()
    wire = os.dup(1)
    os.set_inheritable(wire, False)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return io.TextIOWrapper(os.fdopen(wire, "wb"), encoding="utf-8", write_through=True)


async def _run(settings: Settings, as_user: str, wire: io.TextIOWrapper) -> None:
    from mcp_server.caller import Door, McpCaller
    from mcp_server.server import build_server

    owner: LocalOwner | None = None
    async with _opening(settings) as opened:

        async def caller(_: object) -> McpCaller:
            nonlocal owner
            engine = await asyncio.shield(opened)
            # Loaded by now, as part of the engine or with it.
            from api.auth import LocalOwner
            from engine.search.links import Links, address_of

            base = settings.server.public_url or address_of(settings.server)
            owner = owner or LocalOwner(engine)
            principal = await owner.now()
            if as_user:
                principal = await engine.people.act_as(principal, as_user)
            return McpCaller(engine, principal, Links(base))

        async def reader(_: object) -> Principal | None:
            # The owner of the process may do everything: no need to wait for the engine.
            return (await caller(None)).principal if as_user else None

        door = Door(
            caller,
            reader=reader,
            name="stdio",
            write_tools=settings.mcp.write_tools,
            statistics=settings.mcp.statistics,
            plugin_tools=settings.mcp.plugin_tools,
        )
        await _serve(build_server(door), wire)


@contextlib.asynccontextmanager
async def _opening(settings: Settings) -> AsyncIterator[asyncio.Future[Engine]]:
    """The engine, opened in the background; if it can't be opened, each call says why."""
    opened: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        open_engine = await asyncio.to_thread(_load_engine)
        try:
            async with open_engine(settings) as engine:
                opened.set_result(engine)
                await done.wait()
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)
            opened.exception()  # raised in each call; without one it is no fault

    holding = asyncio.create_task(hold())
    try:
        yield opened
    finally:
        done.set()
        if not opened.done():
            holding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await holding


def _load_engine() -> Any:  # noqa: ANN401 (open_engine, whose module is what takes its time)
    from engine.runtime import open_engine

    return open_engine


async def _serve(server: MCPServer[Any], wire: io.TextIOWrapper) -> None:
    import anyio
    from mcp.server.stdio import stdio_server

    # MCPServer.run_stdio_async does not accept other streams, and the SDK's would use fd 1.
    low_level = server._lowlevel_server  # noqa: SLF001
    async with stdio_server(stdout=anyio.wrap_file(wire)) as (received, sent):
        await low_level.run(received, sent, low_level.create_initialization_options())
