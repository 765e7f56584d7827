"""`apply` and `export`: an installation described in a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import As, Json, Yes, opened, principal_of, run
from engine.wording import counted

if TYPE_CHECKING:
    from engine.deployment.changes import Change, Plan
    from engine.engine import Engine


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(apply)
    app.command()(export)


def apply(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The description, or the folder it is in.")
    ],
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be changed.")] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Remove what the file does not name, of the kinds it has tables for."
        ),
    ] = False,
    yes: Yes = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Make the installation as a file describes it.

    Shows what differs, asks, and changes only that: a second time there is nothing to change.
    """
    run(
        _apply(ctx, file, as_user, only_plan=plan, prune=prune, yes=yes, as_json=as_json),
        interrupted="interrupted; what was shown as done is done, apply again for the rest",
    )


def export(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write to.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace files that are there already.")
    ] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Describe the installation in files that `apply` takes. They hold no secrets."""
    run(_export(ctx, folder, as_user, replace=replace, as_json=as_json))


async def _apply(
    ctx: typer.Context,
    file: Path,
    as_user: str,
    *,
    only_plan: bool,
    prune: bool,
    yes: bool,
    as_json: bool,
) -> None:
    from cli import output
    from engine.deployment import deploying
    from engine.deployment.described import read_deployment
    from engine.deployment.writing import FILE

    path = file if file.suffix else file / FILE
    wanted = read_deployment(_read(path), name=path.name)
    async with opened(ctx, as_user) as (engine, _):
        planned = await deploying.plan(
            engine,
            partial(principal_of, engine, as_user),
            wanted,
            path.parent,
            check_pipeline=partial(_check_pipeline, engine),
            prune=prune,
        )
        if as_json and only_plan:
            output.show_json(_as_json(planned))
            return
        if not as_json:
            _show(planned)
        if only_plan or not planned.changes:
            if as_json:
                output.show_json({**_as_json(planned), "made": 0})
            return
        if not yes:
            typer.confirm(_question(planned), abort=True, err=True)
        made = await _make(planned, as_json=as_json)
    if as_json:
        output.show_json({**_as_json(planned), "made": made})


async def _make(planned: Plan, *, as_json: bool) -> int:
    """Make the changes, telling of each; the first that fails ends it."""
    from cli import output
    from engine.deployment import deploying
    from engine.errors import EngineError

    made = 0
    try:
        async for change in deploying.apply(planned):
            made += 1
            if not as_json:
                output.note(f"done: {change.verb} {change.kind} {change.name}")
    except EngineError:
        failed = planned.changes[made]
        output.note(f"failed: {failed.verb} {failed.kind} {failed.name}")
        raise
    return made


async def _export(
    ctx: typer.Context, folder: Path, as_user: str, *, replace: bool, as_json: bool
) -> None:
    from cli import output
    from engine.deployment.writing import write_deployment
    from engine.errors import Conflict

    async with opened(ctx, as_user) as (engine, principal):
        files = await write_deployment(engine, principal)
    taken = [name for name in files if (folder / name).exists()]
    if taken and not replace:
        raise Conflict(f"{folder / taken[0]} exists already: pass --replace, or another folder.")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    if as_json:
        output.show_json({"files": sorted(files)})
    else:
        output.note(f"wrote {counted(len(files), 'file')} to {folder}")


def _read(path: Path) -> str:
    from engine.errors import InvalidInput

    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}.", field="file") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not text in UTF-8.", field="file") from None


def _check_pipeline(engine: Engine, dsl: str) -> None:
    from ingestion.pipelines import load_pipeline, offers_of, open_registry

    load_pipeline(dsl, open_registry(engine.settings).registry, offers=offers_of(engine.model))


def _show(planned: Plan) -> None:
    from cli import output

    marks = {"create": "+", "change": "~", "remove": "-"}
    for change in planned.changes:
        output.show(f"{marks[change.verb]} {change.kind} {change.name}\n")
        for line in change.says:
            output.show(f"    {line}\n")
    if planned.changes:
        said = [f"{number} to {verb}" for verb, number in planned.counts().items() if number]
        output.note(", ".join(said))
    else:
        output.note("nothing to change")
    if planned.unnamed:
        some = ", ".join(f"{kind} {name}" for kind, name in planned.unnamed[:5])
        more = " and others" if len(planned.unnamed) > 5 else ""
        output.note(f"not in the file, and kept: {some}{more} (--prune removes them)")


def _question(planned: Plan) -> str:
    if not (removed := planned.removals):
        return f"Make {counted(len(planned.changes), 'change')}?"
    names = ", ".join(f"{change.kind} {change.name}" for change in removed[:10])
    more = f" and {len(removed) - 10} more" if len(removed) > 10 else ""
    return f"Make {counted(len(planned.changes), 'change')}, and remove {names}{more} for good?"


def _as_json(planned: Plan) -> dict[str, object]:
    return {
        "changes": [_change(change) for change in planned.changes],
        "unnamed": [{"kind": kind, "name": name} for kind, name in planned.unnamed],
    }


def _change(change: Change) -> dict[str, object]:
    return {
        "verb": change.verb,
        "kind": change.kind,
        "name": change.name,
        "differences": list(change.says),
    }
