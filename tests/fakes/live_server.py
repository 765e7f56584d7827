"""A real server on loopback with a worker beside it, for clients that open connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from api.keyless import SameUser
from cli.serve import serve
from engine.domain import Scope
from engine.engine import Engine
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.fakes.homes import home_settings, make_token

STARTS_S = 60.0


@dataclass(frozen=True)
class LiveServer:
    """Its address, its engine, and a key of the owner that may do everything a key may."""

    address: str
    engine: Engine
    key: str


@asynccontextmanager
async def live_server(
    home: Path, *, works: bool = True, keyless: SameUser | None = None, **overrides: object
) -> AsyncIterator[LiveServer]:
    """Serve a data folder until the block ends; `works` has documents ingested meanwhile."""
    settings = home_settings(home, server__port=0, **overrides)
    async with open_engine(settings) as engine:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        key = await make_token(engine, *Scope)
        serving = asyncio.create_task(
            serve(engine, settings, ready=ready, stop=stop, keyless=keyless)
        )
        working = asyncio.create_task(run_worker(engine, stop)) if works else None
        try:
            address = await asyncio.wait_for(ready, STARTS_S)
            yield LiveServer(address, engine, key)
        finally:
            stop.set()
            await serving
            if working is not None:
                await working
