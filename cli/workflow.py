"""`workflow`: graphs that answer: list, show, validate, draw, run, runs, publish, import, export.

A workflow can also be a file: a name with a `.` or a `/`, or `-` for stdin.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import workflow_triggers
from cli.context import As, Json, opened, run
from cli.flow import Drawing
from cli.graph_texts import faults_named, judge, quoted, read_import, show_text, text_of, write_text

if TYPE_CHECKING:
    from engine.workflows.runs import RunInfo

app = typer.Typer(
    name="workflow",
    help="Manage workflows: list, show, validate, draw, run, runs, reply, publish, trigger, import, "
    "export.",
)

app.add_typer(workflow_triggers.app)

Ref = Annotated[str, typer.Argument(metavar="WORKFLOW", help="A workflow's name, or a JSON file.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name.")]
WAIT_S = 3_600.0  # of a run that a person waits for; its own limit is shorter


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the workflows there are."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def show(ctx: typer.Context, workflow: Ref, as_user: As = "", as_json: Json = False) -> None:
    """Print a workflow's draft; --json adds its details."""
    run(_show(ctx, workflow, as_user, as_json=as_json))


@app.command()
def validate(ctx: typer.Context, workflow: Ref, as_user: As = "", as_json: Json = False) -> None:
    """Check a workflow and list all faults, or show its order."""
    raise typer.Exit(run(_validate(ctx, workflow, as_user, as_json=as_json)))


@app.command()
def draw(
    ctx: typer.Context,
    workflow: Ref,
    kind: Annotated[Drawing, typer.Option("--format", metavar="KIND", help="mermaid or svg.")] = (
        Drawing.MERMAID
    ),
    as_user: As = "",
) -> None:
    """Draw a workflow, as Mermaid or SVG."""
    run(_draw(ctx, workflow, kind, as_user))


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The workflow as JSON; - reads stdin.")
    ],
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="Its name (default: the file's name without extension)."),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the draft of an existing workflow.")
    ] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Store a workflow's draft if it is valid."""
    run(_import(ctx, file, name, as_user, replace=replace, as_json=as_json))


@app.command()
def export(
    ctx: typer.Context,
    workflow: Name,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The file to write (default: stdout).")
    ] = None,
    as_user: As = "",
) -> None:
    """Write a workflow to a file, exactly as stored."""
    run(_export(ctx, workflow, file, as_user))


@app.command()
def publish(
    ctx: typer.Context,
    workflow: Name,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="What changed.")] = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Make the draft the version that runs."""
    run(_publish(ctx, workflow, note, as_user, as_json=as_json))


@app.command()
def delete(ctx: typer.Context, workflow: Name, as_user: As = "", as_json: Json = False) -> None:
    """Delete a workflow and its versions; past runs stay."""
    run(_delete(ctx, workflow, as_user, as_json=as_json))


@app.command("run")
def run_(
    ctx: typer.Context,
    workflow: Name,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT]...", help="name=value; words without = are the query."),
    ] = None,
    draft: Annotated[
        bool,
        typer.Option("--draft", help="Run the draft; it changes nothing outside."),
    ] = False,
    really_send: Annotated[
        bool, typer.Option("--really-send", help="Let a draft change what is outside.")
    ] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Run a workflow to its end, or until it asks something."""
    raise typer.Exit(
        run(
            _run(
                ctx,
                workflow,
                inputs or [],
                as_user,
                draft=draft,
                really_send=really_send,
                as_json=as_json,
            )
        )
    )


@app.command()
def runs(
    ctx: typer.Context,
    run_id: Annotated[
        str, typer.Argument(metavar="[RUN]", help="A run's id (default: list them).")
    ] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop the run.")] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """List your runs, show one with each of its steps, or cancel it."""
    run(_runs(ctx, run_id, as_user, cancel=cancel, as_json=as_json))


@app.command()
def reply(
    ctx: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    fields: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIELD]...", help="name=value for each field asked for."),
    ] = None,
    choice: Annotated[str, typer.Option("--choice", metavar="LABEL", help="The button.")] = "",
    path: Annotated[
        str, typer.Option("--path", metavar="PATH", help="Which question, if several are open.")
    ] = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Answer the question that a run waits for, and follow it to its end."""
    raise typer.Exit(run(_reply(ctx, run_id, fields or [], choice, path, as_user, as_json=as_json)))


@app.command()
def components(as_json: Json = False) -> None:
    """List the components with their effect, what they write and can be set to."""
    from cli import output, render
    from engine.workflows.described import describe_components

    found = describe_components()
    if as_json:
        output.show_json({"components": found})
        return
    rows = [
        (
            item["type"],
            item["effect"],
            ", ".join(item["writes"]),
            ", ".join(key for key in item["param"].get("properties", {}) if key != "timeout_s"),
            item["description"],
        )
        for item in found
    ]
    heads = ("type", "effect", "writes", "parameters", "what it does")
    output.show(render.table(heads, rows, width=output.columns()))


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render
    from engine.serializers import plain

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.workflows.list_all(principal)
    if as_json:
        output.show_json({"workflows": [plain(item) for item in found]})
        return
    rows = [
        (
            item.name,
            f"version {item.published}" if item.published else item.state,
            item.description,
        )
        for item in found
    ]
    output.show(render.table(("name", "state", "what it does"), rows, width=output.columns()))


async def _show(ctx: typer.Context, ref: str, as_user: str, *, as_json: bool) -> None:
    from cli import output
    from engine.serializers import plain

    async with opened(ctx, as_user) as (engine, principal):
        if as_json:
            output.show_json(plain(await engine.workflows.get(principal, ref)))
            return
        _, dsl = await text_of(ref, partial(engine.workflows.get, principal), field="workflow")
    show_text(dsl)


async def _validate(ctx: typer.Context, ref: str, as_user: str, *, as_json: bool) -> int:
    async with opened(ctx, as_user) as (engine, principal):
        name, dsl = await text_of(ref, partial(engine.workflows.get, principal), field="workflow")
        verdict = judge(name, dsl, engine.workflows.load)
    return verdict.show(as_json=as_json)


async def _draw(ctx: typer.Context, ref: str, kind: Drawing, as_user: str) -> None:
    from engine.flow.drawing import mermaid, svg

    async with opened(ctx, as_user) as (engine, principal):
        name, dsl = await text_of(ref, partial(engine.workflows.get, principal), field="workflow")
        graph = engine.workflows.load_to_draw(dsl)
    sys.stdout.write(svg(graph, title=name) if kind is Drawing.SVG else mermaid(graph))


async def _import(
    ctx: typer.Context, file: str, name: str, as_user: str, *, replace: bool, as_json: bool
) -> None:
    from cli import output
    from engine.errors import NotFound
    from engine.serializers import plain

    async with opened(ctx, as_user) as (engine, principal):
        wanted, dsl = read_import(file, name, noun="workflow", field="workflow")
        rev = 0
        if replace:
            with suppress(NotFound):
                rev = (await engine.workflows.get(principal, wanted)).rev
        with faults_named(file):
            saved = (
                await engine.workflows.save(principal, wanted, dsl, rev=rev)
                if rev
                else await engine.workflows.create(principal, wanted, dsl)
            )
    if as_json:
        output.show_json(plain(saved))
    else:
        output.note(f"stored {saved.name}; run it after `scrubjay workflow publish {saved.name}`")


async def _export(ctx: typer.Context, ref: str, file: Path | None, as_user: str) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.workflows.get(principal, ref)
    write_text(file, found.dsl)


async def _publish(ctx: typer.Context, ref: str, note: str, as_user: str, *, as_json: bool) -> None:
    from cli import output
    from engine.serializers import plain

    async with opened(ctx, as_user) as (engine, principal):
        version = await engine.workflows.publish(principal, ref, note=note)
    if as_json:
        output.show_json(plain(version))
    else:
        output.note(f"{ref}: version {version.number} runs from now on")


async def _delete(ctx: typer.Context, ref: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        await engine.workflows.delete(principal, ref)
    if as_json:
        output.show_json({"deleted": ref})
    else:
        output.note(f"deleted {ref}")


async def _run(
    ctx: typer.Context,
    ref: str,
    inputs: list[str],
    as_user: str,
    *,
    draft: bool,
    really_send: bool,
    as_json: bool,
) -> int:
    from cli.inline_worker import work_while
    from engine.commands.workflows import parse_inputs
    from engine.workflows.definitions import DRAFT

    async with opened(ctx, as_user) as (engine, principal):
        version = DRAFT if draft else ""
        schema = await engine.workflows.input_schema(principal, ref, version=version)
        given = parse_inputs(" ".join(map(quoted, inputs)), schema["properties"])
        run_id = await engine.workflows.start(
            principal, ref, given, version=version, trigger="cli", really_send=really_send
        )
        ended = await work_while(engine, engine.workflows.wait(principal, run_id, timeout_s=WAIT_S))
    return _show_run(ended, as_json=as_json)


async def _reply(
    ctx: typer.Context,
    run_id: str,
    fields: list[str],
    choice: str,
    path: str,
    as_user: str,
    *,
    as_json: bool,
) -> int:
    from cli import output
    from cli.context import DONE
    from cli.inline_worker import work_while
    from engine.commands.workflows import parse_inputs
    from engine.errors import NotFound

    async with opened(ctx, as_user) as (engine, principal):
        waiting = [
            item
            for item in await engine.workflows.list_questions(principal)
            if item.run_id == run_id and (not path or item.path == path)
        ]
        properties = waiting[0].form["schema"]["properties"] if waiting else {}
        given = parse_inputs(" ".join(map(quoted, fields)), properties) if properties else {}
        await engine.workflows.reply(principal, run_id, path=path, fields=given, choice=choice)
        try:
            ended = await work_while(
                engine, engine.workflows.wait(principal, run_id, timeout_s=WAIT_S)
            )
        except NotFound:  # somebody else's run: they see how it ends
            output.note("saved; the run continues")
            return DONE
    return _show_run(ended, as_json=as_json)


def _show_run(ended: RunInfo, *, as_json: bool) -> int:
    from cli import output
    from cli.context import DONE, REFUSED
    from engine.serializers import plain

    if as_json:
        output.show_json(plain(ended))
    else:
        if ended.text:
            output.show(ended.text + "\n")
        for question in ended.pauses:
            if question.state == "open":
                _show_question(question.message, question.form)
                output.note(f"answer with `scrubjay workflow reply {ended.id}`")
        if ended.error:
            output.note(ended.error)
        output.note(f"run {ended.id}: {ended.state}")
    return DONE if ended.state in {"done", "partial", "paused"} else REFUSED


def _show_question(message: str, form: Any) -> None:  # noqa: ANN401 (JSON)
    from cli import output

    output.show(message + "\n")
    for name, field in form.get("schema", {}).get("properties", {}).items():
        output.note(f"  {name}: {field.get('type', 'string')} {field.get('description', '')}")
    if form.get("buttons"):
        output.note(f"  --choice: {', '.join(form['buttons'])}")


async def _runs(
    ctx: typer.Context, run_id: str, as_user: str, *, cancel: bool, as_json: bool
) -> None:
    from cli import output, render
    from engine.serializers import plain

    async with opened(ctx, as_user) as (engine, principal):
        if run_id and cancel:
            await engine.workflows.cancel(principal, run_id)
        found = (
            [await engine.workflows.get_run(principal, run_id)]
            if run_id
            else await engine.workflows.list_runs(principal)
        )
    if as_json:
        output.show_json({"runs": [plain(item) for item in found]})
        return
    rows: list[tuple[str, ...]]
    if run_id:
        rows = [
            (node.path, node.state, f"{node.elapsed_s:.2f}", render.one_line(node.error))
            for node in found[0].nodes
        ]
        output.show(
            render.table(("step", "state", "seconds", "error"), rows, width=output.columns())
        )
        _show_run(found[0], as_json=False)
        return
    rows = [
        (item.id, item.workflow, item.state, f"{item.started_at:%Y-%m-%d %H:%M}", item.trigger)
        for item in found
    ]
    heads = ("run", "workflow", "state", "started", "by")
    output.show(render.table(heads, rows, width=output.columns()))
