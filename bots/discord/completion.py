"""Choices for a command's parameter while it is typed: only what the person may see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bots.discord import tree
from bots.discord.directory import Directory
from bots.discord.permissions import TALK, held
from engine.access.discord_access import VIEW
from engine.chats.callers import Caller
from engine.commands.table import COMMANDS, WORKSPACE, Permission
from engine.engine import Engine
from engine.search.links import is_web_address

Json = dict[str, Any]
DOCUMENTS_MAX = 200  # that are looked through


async def choices(
    engine: Engine,
    caller: Caller,
    given: tree.FilledCommand,
    directory: Directory,
    guild_id: str,
    member: Mapping[str, Any],
) -> list[Json]:
    """At most 25 choices for the parameter that is being typed."""
    typed = str(given.values.get(given.focused) or "")
    parameters = given.command.parameters if given.command is not None else ()
    parameter = next(
        (parameter for parameter in parameters if parameter.name == given.focused), None
    )
    if parameter is None:
        return []
    if parameter.name == "command":
        return _matching(typed, ((tree.path_of(c), c.name) for c in COMMANDS))
    if parameter.name == "url":  # a page's, or where a name will do as well
        return _matching(typed, await _pages(engine, caller))
    match parameter.kind:
        case "kb":
            manages = given.command is not None and given.command.permission is Permission.ADMIN
            names = await _kbs(engine, caller, manages=manages and caller.is_admin)
            return _matching(typed, ((name, name) for name in names))
        case "place":
            whole = ("The whole server", WORKSPACE)
            return _matching(typed, [whole, *_channels(directory, guild_id, member)])
        case _:
            return []


async def _kbs(engine: Engine, caller: Caller, *, manages: bool) -> list[str]:
    if manages:
        return [kb.name for kb in await engine.knowledge_bases.list_managed(caller.principal)]
    return [kb.name for kb in await engine.knowledge_bases.list_readable(caller.principal)]


def _channels(
    directory: Directory, guild_id: str, member: Mapping[str, Any]
) -> list[tuple[str, str]]:
    guild = directory.guild(guild_id)
    if guild is None or not member:
        return []
    return [
        (f"#{channel.get('name')}", str(channel.get("id")))
        for channel in directory.channels_of(guild_id)
        if channel.get("type") in TALK and held(guild, channel, member) & VIEW
    ]


async def _pages(engine: Engine, caller: Caller) -> list[tuple[str, str]]:
    """Documents by their web address, with their titles."""
    page = await engine.documents.page(caller.principal, limit=DOCUMENTS_MAX)
    found = [(document.title, document.external_id) for document in page.documents]
    return [(f"{title} · {url}", url) for title, url in found if is_web_address(url)]


def _matching(typed: str, known: Iterable[tuple[str, str]]) -> list[Json]:
    """Names that contain what was typed, those that begin with it first."""
    word = typed.lower().strip("#/ ")
    found = [
        (not name.lower().strip("#/ ").startswith(word), {"name": _cut(name), "value": value})
        for name, value in known
        if word in name.lower() and len(value) <= tree.CHOICE_MAX
    ]
    found.sort(key=lambda item: item[0])
    return [choice for _, choice in found][: tree.CHOICES_MAX]


def _cut(name: str) -> str:
    return name if len(name) <= tree.CHOICE_MAX else name[: tree.CHOICE_MAX - 1] + "…"
