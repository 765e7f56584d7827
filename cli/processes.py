"""`up`, `serve`, `worker`: commands that keep running, in modules loaded on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import invocation_of

if TYPE_CHECKING:
    from engine.config import Settings

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")]
Port = Annotated[
    int | None,
    typer.Option(metavar="PORT", min=0, max=65535, help="The port to listen on; 0: any free port."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(up)
    app.command()(serve)
    app.command()(worker)


def up(
    ctx: typer.Context,
    host: Host = "",
    port: Port = None,
    sample: Annotated[bool, typer.Option(help="Load the sample knowledge base.")] = True,
) -> None:
    """Start everything on this machine.

    This runs the server, a worker while there is work and, the first time, loads a sample.
    """
    from cli.up import run

    raise typer.Exit(run(_settings(ctx, host, port), sample=sample))


def serve(ctx: typer.Context, host: Host = "", port: Port = None) -> None:
    """Start only the server."""
    from cli.serve import run

    raise typer.Exit(run(_settings(ctx, host, port)))


def worker(
    ctx: typer.Context,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Exit when there is no work left.")
    ] = False,
) -> None:
    """Start a worker, which ingests documents."""
    from cli.work import run

    raise typer.Exit(run(invocation_of(ctx).settings(), until_idle=until_idle))


def _settings(ctx: typer.Context, host: str, port: int | None) -> Settings:
    overrides: dict[str, object] = {}
    if host:
        overrides["server__host"] = host
    if port is not None:
        overrides["server__port"] = port
    return invocation_of(ctx).settings(**overrides)
