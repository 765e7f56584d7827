"""`flow`: pipelines as data: list, show, validate, run, import, export and draw them.

A flow can also be a file with its DSL: a name with a `.` or a `/`, or `-` for stdin.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import As, Json, invocation_of, opened, run
from cli.graph_texts import faults_named, judge, read_import, show_text, text_of, write_text

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.flow.graph import Graph
    from engine.flow.store import LogEntry
    from ingestion.dry_run import DryRun

app = typer.Typer(
    name="flow",
    help="Manage pipelines: list, show, validate, import, export, delete, run, draw, components.",
)

Flow = Annotated[str, typer.Argument(metavar="FLOW", help="A pipeline's name, or a JSON file.")]
SHOWN = 12  # chunks of a dry run


class Drawing(StrEnum):
    """Formats of a drawing."""

    MERMAID = "mermaid"
    SVG = "svg"


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the built-in templates and your own pipelines."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def show(ctx: typer.Context, flow: Flow, as_user: As = "", as_json: Json = False) -> None:
    """Print a stored pipeline; --json adds its details."""
    run(_show(ctx, flow, as_user, as_json=as_json))


@app.command()
def validate(ctx: typer.Context, flow: Flow, as_user: As = "", as_json: Json = False) -> None:
    """Check a pipeline and list all faults, or show its order."""
    raise typer.Exit(run(_validate(ctx, flow, as_user, as_json=as_json)))


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The pipeline as JSON; - reads stdin.")
    ],
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="Its name (default: the file's name without extension)."),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an existing pipeline.")
    ] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Store a pipeline if it is valid."""
    run(_import(ctx, file, name, as_user, replace=replace, as_json=as_json))


@app.command()
def export(
    ctx: typer.Context,
    flow: Annotated[str, typer.Argument(metavar="NAME", help="The pipeline's name.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The file to write (default: stdout).")
    ] = None,
    as_user: As = "",
) -> None:
    """Write a pipeline to a file, exactly as stored."""
    run(_export(ctx, flow, file, as_user))


@app.command()
def delete(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The pipeline's name.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Delete a pipeline that no knowledge base uses."""
    run(_delete(ctx, name, as_user, as_json=as_json))


@app.command("run")
def run_(
    ctx: typer.Context,
    flow: Flow,
    file: Annotated[Path, typer.Argument(metavar="DOCUMENT", help="The file to run it on.")],
    kb: Annotated[
        str, typer.Option("--kb", metavar="NAME", help="Use the sizes of this knowledge base.")
    ] = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Run a pipeline on a file and store nothing: show chunks and findings."""
    run(_run(ctx, flow, file, kb, as_user, as_json=as_json))


@app.command()
def draw(
    ctx: typer.Context,
    flow: Flow,
    kind: Annotated[Drawing, typer.Option("--format", metavar="KIND", help="mermaid or svg.")] = (
        Drawing.MERMAID
    ),
    file: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FILE", help="The file to write (default: stdout); .svg draws SVG."
        ),
    ] = None,
    as_user: As = "",
) -> None:
    """Draw a pipeline with all its steps, as Mermaid or SVG."""
    run(_draw(ctx, flow, kind, file, as_user))


@app.command()
def components(ctx: typer.Context, as_json: Json = False) -> None:
    """List the components with their inputs, outputs and parameters."""
    from cli import output, render
    from ingestion.pipelines import open_registry

    plugins = open_registry(invocation_of(ctx).settings())
    found = plugins.registry.describe()
    if as_json:
        refused = [asdict(refusal) for refusal in plugins.refused]
        output.show_json({"components": found, "refused_plugins": refused})
        return
    rows = [
        (
            item["type"],
            ", ".join([*item["reads"], *(f"[{key}]" for key in item["optional"])]),
            ", ".join(item["writes"]),
            ", ".join(key for key in item["param"].get("properties", {}) if key != "timeout_s"),
            item["description"],
        )
        for item in found
    ]
    heads = ("type", "reads", "writes", "parameters", "what it does")
    output.show(render.table(heads, rows, width=output.columns()))
    for refusal in plugins.refused:
        output.note(f"plugin {refusal.name} ({refusal.origin}) is not in use: {refusal.reason}")


def _load(engine: Engine, dsl: str) -> Graph:
    from ingestion.pipelines import load_pipeline, offers_of, open_registry

    registry = open_registry(engine.settings).registry
    return load_pipeline(dsl, registry, offers=offers_of(engine.model))


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.pipelines.list_all(principal)
    if as_json:
        output.show_json({"flows": [asdict(flow) for flow in found]})
        return
    rows = [
        (
            flow.name,
            "template" if flow.is_template else "yours",
            ", ".join(flow.knowledge_bases),
            flow.description,
        )
        for flow in found
    ]
    heads = ("name", "kind", "knowledge bases", "what it is for")
    output.show(render.table(heads, rows, width=output.columns()))


async def _show(ctx: typer.Context, flow: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        if as_json:
            output.show_json(asdict(await engine.pipelines.get(principal, flow)))
            return
        _, dsl = await text_of(flow, partial(engine.pipelines.get, principal), field="flow")
    show_text(dsl)


async def _validate(ctx: typer.Context, flow: str, as_user: str, *, as_json: bool) -> int:
    async with opened(ctx, as_user) as (engine, principal):
        name, dsl = await text_of(flow, partial(engine.pipelines.get, principal), field="flow")
        verdict = judge(name, dsl, partial(_load, engine))
    return verdict.show(as_json=as_json)


async def _import(
    ctx: typer.Context, file: str, name: str, as_user: str, *, replace: bool, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        wanted, dsl = read_import(file, name, noun="pipeline", field="flow")
        with faults_named(file):
            saved = await engine.pipelines.save(
                principal, wanted, dsl, check=partial(_load, engine), replace=replace
            )
    if as_json:
        output.show_json(asdict(saved))
    else:
        output.note(
            f"stored {saved.name}; use it with `scrubjay kb set NAME --pipeline {saved.name}`"
        )


async def _export(ctx: typer.Context, flow: str, file: Path | None, as_user: str) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.pipelines.get(principal, flow)
    write_text(file, found.dsl)


async def _delete(ctx: typer.Context, name: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        await engine.pipelines.delete(principal, name)
    if as_json:
        output.show_json({"deleted": name})
    else:
        output.note(f"deleted {name}")


async def _run(
    ctx: typer.Context, flow: str, file: Path, kb: str, as_user: str, *, as_json: bool
) -> None:
    from cli import output
    from engine.errors import InvalidInput
    from ingestion.dry_run import run_dry
    from ingestion.pipelines import open_registry

    async with opened(ctx, as_user) as (engine, principal):
        if not file.is_file():  # noqa: ASYNC240 (nothing else runs)
            raise InvalidInput(f"{file} is not a file.", field="file")
        name, dsl = await text_of(flow, partial(engine.pipelines.get, principal), field="flow")
        chunking = (await engine.knowledge_bases.get(principal, kb)).chunking if kb else {}
        dry_run = await run_dry(
            engine,
            name,
            dsl,
            file,
            registry=open_registry(engine.settings).registry,
            chunking=chunking,
            watch=_tell if not as_json else lambda _: None,
        )
    if as_json:
        output.show_json(_dry_run_json(dry_run))
    else:
        _show_dry_run(dry_run)


def _tell(entry: LogEntry) -> None:
    from cli import output, render

    if entry["message"] == "start":
        return
    share = "failed" if entry["progress"] < 0 else f"{entry['progress']:.0%}"
    output.note(f"{entry['component']:<16} {share:>6}  {render.one_line(entry['message'])}")


def _dry_run_json(dry_run: DryRun) -> dict[str, Any]:
    return {
        "title": dry_run.title,
        "characters": dry_run.characters,
        "details": dict(dry_run.details),
        "remarks": list(dry_run.remarks),
        "elapsed_s": dict(dry_run.elapsed_s),
        "rendered": dry_run.rendered,
        "chunks": [
            {
                "start": chunk.start,
                "end": chunk.end,
                "tokens": chunk.tokens,
                "page": chunk.page,
                "language": chunk.language,
                "context": chunk.context,
                "text": chunk.text,
                **chunk.meta,
            }
            for chunk in dry_run.chunks
        ],
    }


def _show_dry_run(dry_run: DryRun) -> None:
    from cli import output, render

    tokens = [chunk.tokens for chunk in dry_run.chunks] or [0]
    facts = {
        "title": dry_run.title,
        "characters": f"{dry_run.characters:,}",
        "chunks": f"{len(dry_run.chunks):,} of {min(tokens)} to {max(tokens)} tokens",
        **{f"details.{key}": value for key, value in dry_run.details.items()},
        "remarks": "; ".join(dry_run.remarks),
    }
    output.show(render.facts(facts))
    output.show("\n")
    rows = [
        (
            str(chunk.ordinal),
            str(chunk.tokens),
            chunk.language,
            chunk.context.replace("\n", " "),
            "; ".join(chunk.meta.get("flags", ())),
            chunk.text if output.to_person() else chunk.text[:80],
        )
        for chunk in dry_run.chunks[:SHOWN]
    ]
    heads = ("n", "tokens", "in", "context", "flags", "text")
    output.show(render.table(heads, rows, width=output.columns()))
    if len(dry_run.chunks) > SHOWN:
        output.note(f"and {len(dry_run.chunks) - SHOWN:,} more; --json has them all")


async def _draw(
    ctx: typer.Context, flow: str, kind: Drawing, file: Path | None, as_user: str
) -> None:
    from engine.flow.drawing import mermaid, svg

    async with opened(ctx, as_user) as (engine, principal):
        name, dsl = await text_of(flow, partial(engine.pipelines.get, principal), field="flow")
        graph = _drawable(engine, dsl)
    as_svg = kind is Drawing.SVG or (file is not None and file.suffix.lower() == ".svg")
    drawn = svg(graph, title=name) if as_svg else mermaid(graph)
    write_text(file, drawn)


def _drawable(engine: Engine, dsl: str) -> Graph:
    """The graph, also of a flow that needs a missing model: it is only drawn."""
    from ingestion.pipelines import load_pipeline, open_registry

    return load_pipeline(dsl, open_registry(engine.settings).registry)
