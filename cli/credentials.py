"""`credential`: what sources sign in with. Secrets are asked for, never shown, never an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import As, Json, Yes, opened, run

if TYPE_CHECKING:
    from engine.engine import Engine

app = typer.Typer(
    name="credential",
    help="Keep what sources sign in with: add, set, list, test, remove.",
)

Named = Annotated[str, typer.Argument(metavar="CREDENTIAL", help="Its name or id.")]
Given = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FIELD=VALUE]…",
        help="Fields that are no secret, and secrets from files: FIELD=@FILE. You are asked for the"
        " other secrets.",
    ),
]
Method = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="METHOD",
        help="A way to sign in that `source kinds` lists; else the first.",
    ),
]


@app.command()
def add(
    ctx: typer.Context,
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="The kind of sources that will use it.")
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    fields: Given = None,
    method: Method = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Keep a credential for sources of a kind.

    For example: scrubjay credential add git forge, then scrubjay source add git notes url=…
    --credential forge
    """
    run(_add(ctx, kind, name, fields or [], method, as_user, as_json=as_json))


@app.command("set")
def set_(
    ctx: typer.Context,
    credential: Named,
    fields: Given = None,
    method: Method = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Give a credential another secret; sources that waited for one go on."""
    run(_set(ctx, credential, fields or [], method, as_user, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the credentials and what uses them; secrets are never shown."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command("test")
def try_(
    ctx: typer.Context,
    credential: Named,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]…",
            help="What to read with it, as settings of its kind; else each source that uses it.",
        ),
    ] = None,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Try whether a credential is taken."""
    raise typer.Exit(run(_test(ctx, credential, settings or [], as_user, as_json=as_json)))


@app.command()
def remove(
    ctx: typer.Context,
    credential: Named,
    yes: Yes = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Delete a credential that no source uses."""
    run(_remove(ctx, credential, as_user, yes=yes, as_json=as_json))


def given_fields(schema: Mapping[str, Any], pairs: Sequence[str]) -> dict[str, str]:
    """The fields of a secret: as given where they are none, read from files, else asked for."""
    from engine.errors import InvalidInput

    properties: Mapping[str, Any] = schema.get("properties", {})
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in properties:
            known = ", ".join(properties)
            raise InvalidInput(
                f"{name[:40]!r} is no field of it: it takes {known}.", field="secret"
            )
        if value.startswith("@"):
            value = _read(Path(value[1:]))
        elif _is_secret(properties[name]):
            raise InvalidInput(
                f"The {name} is a secret, which others could read on a command line: leave it out"
                " to be asked for it, or put @ and the path of a file that has it in its place.",
                field=name,
            )
        found[name] = value
    for name in schema.get("required", ()):
        if name not in found:
            is_secret = _is_secret(properties[name])
            found[name] = typer.prompt(name, hide_input=is_secret, err=True)
    return found


def _is_secret(field: Mapping[str, Any]) -> bool:
    return field.get("format") == "password"


def _read(path: Path) -> str:
    from engine.errors import InvalidInput

    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} can't be read: {error}", field="secret") from None


def _schema(engine: Engine, kind: str, method: str) -> Mapping[str, Any]:
    from engine.errors import InvalidInput

    for one in engine.sources.kinds():
        if one.kind == kind and one.methods:
            chosen = method or next(iter(one.methods))
            if chosen in one.methods:
                return one.methods[chosen]
            known = ", ".join(one.methods)
            raise InvalidInput(f"{kind} signs in by {known}, not by {chosen!r}.", field="method")
    signing = ", ".join(one.kind for one in engine.sources.kinds() if one.methods)
    raise InvalidInput(f"No source of kind {kind!r} signs in; those that do: {signing}.")


async def _add(
    ctx: typer.Context,
    kind: str,
    name: str,
    pairs: list[str],
    method: str,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        secret = given_fields(_schema(engine, kind, method), pairs)
        info = await engine.credentials.add(
            principal, kind=kind, name=name, method=method, secret=secret
        )
    if as_json:
        output.show_json(asdict(info))
    else:
        output.note(
            f"kept {info.name}: use it with `scrubjay source add {kind} … --credential {name}`"
        )


async def _set(
    ctx: typer.Context,
    credential: str,
    pairs: list[str],
    method: str,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    from cli import output
    from cli.inline_worker import finish_jobs

    async with opened(ctx, as_user) as (engine, principal):
        known = await engine.credentials.get(principal, credential)
        secret = given_fields(_schema(engine, known.kind, method or known.method), pairs)
        info = await engine.credentials.replace(principal, credential, method=method, secret=secret)
        await finish_jobs(engine)
    if as_json:
        output.show_json(asdict(info))
    else:
        output.note(f"{info.name} has another secret now")


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.credentials.list_all(principal)
    if as_json:
        output.show_json({"credentials": [asdict(one) for one in found]})
        return
    if not found:
        output.note("no credential is kept; `scrubjay credential add` keeps one")
        return
    heads = ("credential", "kind", "method", "state", "used by", "what to do")
    rows = [
        (
            one.name,
            one.kind,
            one.method,
            one.state,
            ", ".join(one.sources),
            render.one_line(one.error),
        )
        for one in found
    ]
    output.show(render.table(heads, rows, width=output.columns()))


async def _test(
    ctx: typer.Context, credential: str, pairs: list[str], as_user: str, *, as_json: bool
) -> int:
    from cli import output
    from cli.context import DONE, UNAVAILABLE

    async with opened(ctx, as_user) as (engine, principal):
        known = await engine.credentials.get(principal, credential)
        settings = engine.sources.settings_of(known.kind, pairs)
        findings = await engine.sources.try_credential(principal, credential, settings)
    if as_json:
        output.show_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            output.note(f"{'ok ' if finding.ok else 'bad'} {finding.text}")
    return DONE if all(finding.ok for finding in findings) else UNAVAILABLE


async def _remove(
    ctx: typer.Context, credential: str, as_user: str, *, yes: bool, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        known = await engine.credentials.get(principal, credential)
        if not yes:
            typer.confirm(f"Delete the credential {known.name}?", abort=True, err=True)
        info = await engine.credentials.remove(principal, credential)
    if as_json:
        output.show_json(asdict(info))
    else:
        output.note(f"deleted {info.name}")
