"""`mail`: try the mail server of the settings."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import Json, opened, run

app = typer.Typer(name="mail", help="The mail server: test.")


@app.callback()
def group() -> None:
    """The mail server: test."""


@app.command("test")
def send_test(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Who gets the message.")],
    as_json: Json = False,
) -> None:
    """Send a message at once, and say what the mail server answers."""
    run(_send_test(ctx, address, as_json=as_json))


async def _send_test(ctx: typer.Context, address: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx) as (engine, principal):
        server = await engine.mail.test(principal, address)
    if as_json:
        output.show_json({"sent": address, "server": server})
    else:
        output.note(f"{server} took a message to {address}")
