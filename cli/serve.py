"""`scrubjay serve`: the host application that owns every lifespan, on uvicorn.

`build_host` joins the HTTP door, the MCP door (`mcp_door.py`) and the bots that are set up
(`bot_doors.py`) behind one `RequestGate`; `serve` listens until its event is set, `run` is the
command.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette

from api.app import build_app
from api.keyless import SameUser
from api.service import Service
from cli.bot_doors import BotDoors
from cli.mcp_door import McpDoor
from cli.pipeline_tools import ComponentTools
from cli.short_pauses import short_pauses
from engine.errors import Unavailable
from engine.search.links import address_of

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.settings import Settings

log = logging.getLogger(__name__)

GRACE_S = 1.0  # for requests on their way, once the server is to stop
BACKSTOP_S = 2  # after this uvicorn cancels whatever did not let itself be cancelled
LISTEN_QUEUE = 512


def build_host(
    engine: Engine,
    settings: Settings,
    *,
    mcp: McpDoor | None = None,
    keyless: SameUser | None = None,
) -> Starlette:
    """All HTTP doors of an open engine as one application; `mcp` replaces the default one.

    Everyone needs a token, unless `keyless` knows them for the user of this process.
    """
    mcp = mcp or McpDoor(engine, settings)
    bots = BotDoors(engine, settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(app.state.service.answering.close)
            await stack.enter_async_context(mcp.lifespan())
            await stack.enter_async_context(bots.lifespan())
            stack.enter_context(short_pauses())
            yield

    return build_app(
        engine,
        settings,
        routes=[*mcp.routes(), *bots.routes()],
        lifespan=lifespan,
        keyless=keyless,
        pipeline_tools=ComponentTools(engine),
    )


class _HostServer(uvicorn.Server):
    """uvicorn without its signal handlers, which says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: asyncio.Future[str], address: str) -> None:
        super().__init__(config)
        self._ready = ready
        self._address = address

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if not self._ready.done():
            self._ready.set_result(self._address)


async def serve(
    engine: Engine,
    settings: Settings,
    *,
    ready: asyncio.Future[str],
    stop: asyncio.Event,
    keyless: SameUser | None = None,
) -> None:
    """Listen until `stop`; `ready` gets the address. Raises `Unavailable` where it can't listen.

    `keyless` is for `scrubjay up` alone: see `build_host`.
    """
    try:
        sockets = await anyio.to_thread.run_sync(listen, settings)
    except Unavailable as error:
        if not ready.done():
            ready.set_exception(error)
            ready.exception()  # the error is raised below as well, so no one must read this future
        raise
    await serve_app(
        build_host(engine, settings, keyless=keyless), settings, sockets, ready=ready, stop=stop
    )


async def serve_app(
    app: Starlette,
    settings: Settings,
    sockets: list[socket.socket],
    *,
    ready: asyncio.Future[str],
    stop: asyncio.Event,
) -> None:
    """Serve an application on these sockets until `stop`; `ready` gets the address."""
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        http="h11",  # httptools leaves blanks behind header values, which MCP compares
        ws="none",
        loop="none",
        lifespan="off",  # ours is entered here, where an error in it is an exception
        log_config=None,
        access_log=False,
        proxy_headers=False,  # a forwarding header must not change who asks
        server_header=False,
        timeout_graceful_shutdown=BACKSTOP_S,
    )
    port = sockets[0].getsockname()[1]
    address = settings.server.public_url or address_of(settings.server, port)
    server = _HostServer(config, ready, address)
    async with app.router.lifespan_context(app):
        serving = asyncio.create_task(server.serve(sockets))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            server.should_exit = True
            await service.drain.close(GRACE_S)
            await serving


def listen(settings: Settings) -> list[socket.socket]:
    """Sockets that listen on every address of `server.host`, all on one port."""
    host, port = settings.server.host.strip("[]"), settings.server.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Unavailable(
            f"server.host {host!r} is not an address of this machine: {error.strerror}."
        ) from None
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            _bind(listener, family, (address[0], port, *address[2:]))
            port = listener.getsockname()[1]
    except OSError as error:
        for listener in sockets:
            listener.close()
        if len(sockets) > 1 and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return _listen_on_first(sockets[0].family, host, port)
        raise _unavailable(host, port, error) from None
    return sockets


def _listen_on_first(family: int, host: str, port: int) -> list[socket.socket]:
    """A name stood for addresses of which this machine only has the first kind."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    [*_, address] = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)[0]
    _bind(listener, family, address)
    return [listener]


def _bind(listener: socket.socket, family: int, address: tuple[object, ...]) -> None:
    if hasattr(socket, "SO_REUSEADDR") and not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(address)
    listener.listen(LISTEN_QUEUE)
    listener.setblocking(False)


def _unavailable(host: str, port: int, error: OSError) -> Unavailable:
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"Port {port} on {host} is taken by another program. Stop that one, or choose another"
            " port with --port or SCRUBJAY_SERVER__PORT."
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Unavailable(
            f"This user may not listen on port {port} of {host}. Choose one above 1023 with --port"
            " or SCRUBJAY_SERVER__PORT."
        )
    return Unavailable(
        f"Can't listen on {host}, port {port}: {error.strerror}. Set server.host to an address of"
        " this machine."
    )


def run(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; returns 0 after an orderly stop."""
    from engine.telemetry import configure_logging

    configure_logging(level=settings.system.log_level, style=settings.system.log_format)
    asyncio.run(_run(settings))
    return 0


def until_told() -> tuple[asyncio.Event, asyncio.Future[str]]:
    """What SIGINT or SIGTERM sets, and what says in the log where the server listens."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
            loop.add_signal_handler(name, stop.set)
    ready: asyncio.Future[str] = loop.create_future()
    ready.add_done_callback(_say)
    return stop, ready


async def _run(settings: Settings) -> None:
    from cli.hangup import reload_on_hangup
    from engine.locks import hold
    from engine.runtime import open_engine
    from ingestion.connectors.kinds import open_connectors

    stop, ready = until_told()
    with hold(settings.home, "server", "scrubjay serve"):
        async with open_engine(settings, connectors=open_connectors()) as engine:
            reload_on_hangup(engine)
            await engine.operations.check_index_home()
            await _say_who_gets_in(engine, settings)
            await serve(engine, settings, ready=ready, stop=stop)


async def _say_who_gets_in(engine: Engine, settings: Settings) -> None:
    """Every call needs a token here: tell the operator who has none yet how to make one."""
    tokens = await engine.people.list_tokens(await engine.people.owner())
    if settings.mcp.oauth_issuer or any(token.revoked_at is None for token in tokens):
        return
    log.warning("no one can call this server yet: run `scrubjay token create NAME` for a token")


def _say(ready: asyncio.Future[str]) -> None:
    if not ready.cancelled() and ready.exception() is None:
        log.info("listening", extra={"address": ready.result()})
