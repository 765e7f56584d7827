"""What every command needs: the options before its name, the engine, and how it ends.

A command module holds thin Typer functions; each hands one coroutine to `run`. Errors of the engine
pass through to `main.main`, where `EXIT_CODES` turns them into one line and a code.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.domain import Principal
    from engine.engine import Engine

T = TypeVar("T")

# What a code means is part of the command line's promise: docs/reference/cli.md lists them.
DONE = 0
REFUSED = 1  # bad input, a missing or an existing object, or no permission
USAGE = 2  # the command line itself is wrong
UNAVAILABLE = 3  # database, index, model, disk, or another process holds the data folder
MISCONFIGURED = 4  # a setting is unknown, invalid or missing
INCOMPLETE = 5  # some documents failed, the others are done
BUG = 70
INTERRUPTED = 130

EXIT_CODES = {
    "configuration": MISCONFIGURED,
    "unavailable": UNAVAILABLE,
    "index_damaged": UNAVAILABLE,
    "blocked": UNAVAILABLE,
    "index_full": UNAVAILABLE,
    "already_running": UNAVAILABLE,
    "rate_limited": UNAVAILABLE,
}

As = Annotated[str, typer.Option("--as", metavar="USER", help="Run as another user.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Kb = Annotated[
    str,
    typer.Option("--kb", metavar="NAME", help="The knowledge base (default: all you may read)."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Skip confirmation.")]


@dataclass(slots=True)
class Invocation:
    """The options before the command's name; `debug` also if a setting asks for it."""

    home: Path | None = None
    config: Path | None = None
    debug: bool = False
    wants_json: bool = False  # then an error is a JSON object, too
    correlation_id: str = field(default_factory=lambda: token_hex(16))  # in the log, and in jobs

    def settings(self, **overrides: object) -> Settings:
        """The settings of the data folder; `server__port=0` overrides server.port."""
        from engine.config import load_settings

        dotted = {name.replace("__", "."): value for name, value in overrides.items()}
        settings = load_settings(self.home, self.config, dotted)
        self.debug = self.debug or settings.system.debug
        return settings


def invocation_of(ctx: typer.Context) -> Invocation:
    """The options before the command's name."""
    found = ctx.find_object(Invocation)
    return found if found is not None else Invocation()


def run(main: Coroutine[Any, Any, T], *, interrupted: str = "interrupted") -> T:
    """Run a command's coroutine to its end; Ctrl-C ends it with a line and code 130."""
    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        typer.echo(interrupted, err=True)
        raise typer.Exit(INTERRUPTED) from None


@asynccontextmanager
async def opened(ctx: typer.Context, as_user: str = "") -> AsyncIterator[tuple[Engine, Principal]]:
    """The engine of the data folder, and who asks: its owner, or the user that `--as` names."""
    invocation = invocation_of(ctx)
    settings = invocation.settings()  # before the imports: an invalid value is reported at once

    from engine.runtime import open_engine
    from engine.telemetry import configure_logging, correlated
    from ingestion.connectors.kinds import open_connectors

    # A person asked for one thing: what happened inside is for the server's log, or for --debug.
    configure_logging(level="debug" if invocation.debug else "error")
    with correlated(invocation.correlation_id):
        async with open_engine(settings, connectors=open_connectors()) as engine:
            yield engine, await principal_of(engine, as_user)


async def principal_of(engine: Engine, as_user: str) -> Principal:
    """The owner, or the user of `--as`, with all they hold now: call it again after a grant."""
    owner = await engine.people.owner()
    return await engine.people.act_as(owner, as_user) if as_user else owner
