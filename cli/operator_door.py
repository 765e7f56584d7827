"""`scrubjay admin serve`: the operator's server, a process of its own on loopback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio.to_thread

from api.operator import build_operator_app
from cli.pipeline_tools import ComponentTools
from cli.serve import listen, serve_app, until_told

if TYPE_CHECKING:
    from engine.settings import Settings

LOOPBACK = "127.0.0.1"


def run(settings: Settings, port: int) -> int:
    """Serve until SIGINT or SIGTERM; returns 0 after an orderly stop."""
    from engine.telemetry import configure_logging

    configure_logging(level=settings.system.log_level, style=settings.system.log_format)
    asyncio.run(_run(settings, port))
    return 0


async def _run(settings: Settings, port: int) -> None:
    from engine.locks import hold
    from engine.runtime import open_engine

    stop, ready = until_told()
    here = on_loopback(settings, port)
    with hold(settings.home, "admin", "scrubjay admin serve"):
        sockets = await anyio.to_thread.run_sync(listen, here)
        async with open_engine(settings) as engine:
            await serve_app(
                build_operator_app(engine, here, ComponentTools(engine)),
                here,
                sockets,
                ready=ready,
                stop=stop,
            )


def on_loopback(settings: Settings, port: int) -> Settings:
    """The same settings with an address that only this machine reaches, under no public name."""
    own = {"host": LOOPBACK, "port": port, "public_url": "", "allowed_origins": ""}
    return settings.model_copy(update={"server": settings.server.model_copy(update=own)})
