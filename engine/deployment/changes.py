"""What stands between an installation and its description: changes, in the order they are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Verb = Literal["create", "change", "remove"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to create, change or remove. `says` are what differs, a line each, without secrets."""

    verb: Verb
    kind: str  # in words: "knowledge base"
    name: str
    make: Callable[[], Awaitable[object]] = field(repr=False)
    says: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes in their order, and what the file does not name: kind and name."""

    changes: Sequence[Change]
    unnamed: Sequence[tuple[str, str]]  # stays, unless pruning is asked for

    @property
    def removals(self) -> list[Change]:
        """The changes that take something away."""
        return [change for change in self.changes if change.verb == "remove"]

    def counts(self) -> dict[str, int]:
        """How many changes of each verb there are."""
        verbs = [change.verb for change in self.changes]
        return {verb: verbs.count(verb) for verb in ("create", "change", "remove")}


def differences(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """A line for each value of `wanted` that is another in `present`."""
    return [
        f"{name}: {_shown(present.get(name))} → {_shown(value)}"
        for name, value in wanted.items()
        if present.get(name) != value
    ]


def _shown(value: object) -> str:
    if value is None or value in ("", [], {}):
        return "none"
    said = str(value)
    return said if len(said) <= 60 else f"{said[:57]}…"
