"""`config`: what is set, and where it was set."""

from __future__ import annotations

import typer

from cli.context import Json, invocation_of

app = typer.Typer(name="config", help="Show settings: show, path.")


@app.command()
def show(ctx: typer.Context, as_json: Json = False) -> None:
    """Show every setting with its value and where it comes from; secrets are masked."""
    from cli import output, render
    from engine.config import origins

    found = origins(invocation_of(ctx).settings())
    if as_json:
        settings = [{"name": o.name, "value": o.value, "origin": o.origin} for o in found]
        output.show_json({"settings": settings})
        return
    rows = [(o.name, _written(o.value), o.origin) for o in found]
    output.show(render.table(("setting", "value", "from"), rows))


@app.command()
def path(ctx: typer.Context, as_json: Json = False) -> None:
    """Print the data folder and the settings file."""
    from cli import output, render
    from engine.config import default_home, settings_file

    invocation = invocation_of(ctx)
    home = (invocation.home or default_home()).expanduser().absolute()
    file, _ = settings_file(home, invocation.config)
    if as_json:
        output.show_json({"home": str(home), "config": str(file), "config_exists": file.is_file()})
        return
    there = "" if file.is_file() else "  (does not exist: defaults and environment only)"
    output.show(render.facts({"home": home, "config": f"{file}{there}"}))


def _written(value: object) -> str:
    """A value as scrubjay.toml would have it, without the quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
