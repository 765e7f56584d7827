"""`group`: groups of members, which knowledge bases can be granted to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import As, Json, Yes, opened, run

app = typer.Typer(name="group", help="Manage groups: create, list, show, add, remove, delete.")

Group = Annotated[str, typer.Argument(metavar="GROUP", help="Its name or id.")]
Member = Annotated[str, typer.Argument(metavar="MEMBER", help="E-mail address, name or id.")]


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Create an empty group."""
    run(_create(ctx, name, as_user, as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, as_user: As = "", as_json: Json = False) -> None:
    """List the groups."""
    run(_list(ctx, as_user, as_json=as_json))


@app.command()
def show(ctx: typer.Context, group: Group, as_user: As = "", as_json: Json = False) -> None:
    """List the members of a group."""
    run(_show(ctx, group, as_user, as_json=as_json))


@app.command()
def add(
    ctx: typer.Context, group: Group, member: Member, as_user: As = "", as_json: Json = False
) -> None:
    """Put a member into a group; what is granted to it is theirs from the next question."""
    run(_change(ctx, group, member, as_user, adding=True, as_json=as_json))


@app.command()
def remove(
    ctx: typer.Context, group: Group, member: Member, as_user: As = "", as_json: Json = False
) -> None:
    """Take a member out of a group, at once."""
    run(_change(ctx, group, member, as_user, adding=False, as_json=as_json))


@app.command()
def delete(
    ctx: typer.Context, group: Group, yes: Yes = False, as_user: As = "", as_json: Json = False
) -> None:
    """Delete a group and the grants that name it."""
    run(_delete(ctx, group, as_user, yes=yes, as_json=as_json))


async def _create(ctx: typer.Context, name: str, as_user: str, *, as_json: bool) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        made = await engine.people.create_group(principal, name)
    if as_json:
        output.show_json(asdict(made))
    else:
        output.note(f"created {made.name}; add people with `scrubjay group add {made.name} MEMBER`")


async def _list(ctx: typer.Context, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.people.list_groups(principal)
    if as_json:
        output.show_json({"groups": [asdict(group) for group in found]})
        return
    rows = [(group.id, group.name, str(group.members)) for group in found]
    output.show(render.table(("id", "name", "members"), rows))


async def _show(ctx: typer.Context, group: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.people.list_group_members(principal, group)
    if as_json:
        output.show_json({"members": [{"user_id": id_, "name": name} for id_, name in found]})
        return
    output.show(render.table(("id", "name"), found))


async def _change(
    ctx: typer.Context, group: str, member: str, as_user: str, *, adding: bool, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        people = engine.people
        change = people.add_to_group if adding else people.remove_from_group
        await change(principal, group, member)
    word = "added" if adding else "removed"
    if as_json:
        output.show_json({word: member, "group": group})
    else:
        output.note(f"{word} {member} {'to' if adding else 'from'} {group}")


async def _delete(
    ctx: typer.Context, group: str, as_user: str, *, yes: bool, as_json: bool
) -> None:
    from cli import output

    async with opened(ctx, as_user) as (engine, principal):
        if not yes:
            typer.confirm(f"Delete the group {group}?", abort=True, err=True)
        name = await engine.people.delete_group(principal, group)
    if as_json:
        output.show_json({"deleted": name})
    else:
        output.note(f"deleted {name}")
