"""Single documents: their metadata, and hiding them."""

from __future__ import annotations

import shlex

from engine.chats.callers import Caller
from engine.commands.results import CommandResult
from engine.commands.table import Parsed
from engine.custom_fields import parse_assignments
from engine.documents.metadata import parse_change
from engine.domain import parse_chunk_id
from engine.engine import Engine
from engine.errors import InvalidInput


async def hide(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    found = await engine.documents.hide(caller.principal, _ref(parsed))
    return CommandResult(f"{_named(parsed, found.title)} is hidden: no answer uses it from now on.")


async def unhide(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    found = await engine.documents.hide(caller.principal, _ref(parsed), hidden=False)
    return CommandResult(f"{_named(parsed, found.title)} can be found again.")


async def set_(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    tags: list[str] | None = None
    metadata: list[str] = []
    features: list[str] = []
    for name, value in _assignments(parsed.text("values")):
        if name.lower() in {"tag", "tags"}:
            tags = [*(tags or []), *value.split(",")]
        elif name.lower().startswith("feature:"):
            features.append(f"{name.partition(':')[2]}={value}")
        else:
            metadata.append(f"{name}={value}")
    change = parse_change(
        tags=tags,
        metadata=parse_assignments(metadata),
        features=parse_assignments(features, field="features"),
    )
    found = await engine.documents.change(caller.principal, _ref(parsed), change)
    return CommandResult(f"**{found.title}** is changed.")


def _assignments(line: str) -> list[tuple[str, str]]:
    """`name=value` words; a value with blanks stands between quotes."""
    try:
        words = shlex.split(line.replace("“", '"').replace("”", '"'))
    except ValueError:
        raise InvalidInput("values: a quote is not closed.", field="values") from None
    pairs = [(word, *word.partition("=")) for word in words]
    for word, _, sign, _ in pairs:
        if not sign:
            raise InvalidInput(f"values: “{word[:60]}” is not name=value.", field="values")
    return [(name, value) for _, name, _, value in pairs]


def _ref(parsed: Parsed) -> str:
    """An id or an address; chats put addresses between angle brackets."""
    return parsed.text("document").strip("<>").split("|")[0]


def _named(parsed: Parsed, title: str) -> str:
    return f"A passage of **{title}**" if parse_chunk_id(_ref(parsed)) else f"**{title}**"
