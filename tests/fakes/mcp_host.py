"""The whole HTTP host as a process, for clients of other languages: `HOME PORT [--fixtures]`.

With `--fixtures` the same application, middleware, credentials and rates serve the conformance
suite's fixtures besides, with sessions, which some of its scenarios need.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from starlette.applications import Starlette

from api.keyless import SameUser, is_same_user
from cli import serve
from cli.mcp_door import McpDoor
from engine.config import load_settings
from engine.engine import Engine
from engine.runtime import open_engine
from engine.settings import Settings

GENEROUS = {  # a suite sends more in a second than a person in an hour
    "mcp.calls_per_minute": 1_000_000,
    "mcp.calls_burst": 100_000,
    "mcp.requests_per_minute": 1_000_000,
    "mcp.requests_burst": 100_000,
}


def with_fixtures(engine: Engine, settings: Settings) -> McpDoor:
    """The door with sessions and fixtures."""
    from mcp_server.http import HttpDoor, LinksOf, build_door
    from tests.fakes.mcp_fixtures import add_fixtures

    def build(engine: Engine, settings: Settings, links_of: LinksOf) -> HttpDoor:
        door = HttpDoor(build_door(engine, settings, links_of), stateless=False, announces=True)
        add_fixtures(door.full)
        return door

    return McpDoor(engine, settings, load=lambda: build, methods=("GET", "POST", "DELETE"))


async def run(home: str, port: int, *, fixtures: bool) -> None:
    """Listen until SIGTERM."""
    settings = load_settings(
        Path(home), None, {"embedding.model": "hashing", "server.port": port} | GENEROUS
    )
    if fixtures:
        build = serve.build_host

        def build_with_fixtures(
            engine: Engine, settings: Settings, *, keyless: SameUser | None
        ) -> Starlette:
            mcp = with_fixtures(engine, settings)
            return build(engine, settings, mcp=mcp, keyless=keyless)

        setattr(serve, "build_host", build_with_fixtures)  # noqa: B010 (in this process only)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    ready.add_done_callback(lambda done: print(done.result(), flush=True))
    async with open_engine(settings) as engine:
        await serve.serve(engine, settings, ready=ready, stop=stop, keyless=is_same_user)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), fixtures="--fixtures" in sys.argv))
