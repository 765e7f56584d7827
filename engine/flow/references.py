"""References from one component's parameters to what is known in a run: `{{node.key}}`. Pure.

    {{docs.passages}}            what the component `docs` wrote under `passages`
    {{draft.answer|ask.text}}    the first of the two that ran
    {{begin.order.lines.0.sku}}  a step into an object or a list

A parameter that is one reference and nothing else keeps the value's type. In any other text the
values are written out: texts as they are, the rest as compact JSON. A value is never read again, so
one that contains `{{` stays text. There are no filters, no arithmetic and no calls.
`dsl.py` checks references when a flow loads, `execution.py` resolves them when a component starts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ROOTS = frozenset({"conv", "index", "inputs", "item", "round", "secret", "sys", "var"})

_BRACES = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")


class _Absent:
    """What a path leads to where nothing is there."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Path:
    """One way to a value: a component or another root, then steps through objects and lists."""

    root: str
    steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.root, *self.steps))

    @property
    def key(self) -> str:
        """What of the root it reads; empty where it names the root alone."""
        return self.steps[0] if self.steps else ""


@dataclass(frozen=True, slots=True)
class Reference:
    """One `{{…}}` of a parameter: the first of `paths` that leads somewhere counts.

    `paths` is empty where the text between the braces is no reference. `field` is the parameter it
    is in, such as `cases.0.value`.
    """

    text: str
    paths: tuple[Path, ...]
    field: str


Lookup = Callable[[Path], Any]


def parse_reference(inner: str, *, field: str = "") -> Reference:
    """What stands between two pairs of braces as a reference."""
    parts = [part.strip() for part in inner.split("|")]
    if not all(_PATH.fullmatch(part) for part in parts):
        return Reference(inner.strip(), (), field)
    split = [part.split(".") for part in parts]
    paths = tuple(Path(root, tuple(steps)) for root, *steps in split)
    return Reference(inner.strip(), paths, field)


def find_references(value: object, *, field: str = "") -> Iterator[Reference]:
    """Every reference in the texts of a parameter, in order."""
    if isinstance(value, str):
        for match in _BRACES.finditer(value):
            yield parse_reference(match[1], field=field)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from find_references(item, field=f"{field}.{key}" if field else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from find_references(item, field=f"{field}.{number}" if field else str(number))


def resolve(value: object, lookup: Lookup) -> Any:  # noqa: ANN401 (JSON)
    """`value` with its references replaced; one that leads nowhere is None, or no text."""
    if isinstance(value, str):
        whole = _BRACES.fullmatch(value)
        if whole is not None and "{{" not in whole[1]:
            found = _first(parse_reference(whole[1]), lookup)
            return None if found is ABSENT else found
        return _BRACES.sub(
            lambda match: render_value(_first(parse_reference(match[1]), lookup)), value
        )
    if isinstance(value, Mapping):
        return {key: resolve(item, lookup) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(item, lookup) for item in value]
    return value


def walk(value: object, steps: tuple[str, ...]) -> Any:  # noqa: ANN401 (JSON)
    """What `steps` lead to inside a JSON value, or `ABSENT`."""
    for step in steps:
        if isinstance(value, Mapping):
            if step not in value:
                return ABSENT
            value = value[step]
        elif isinstance(value, list):
            number = int(step) if step.isascii() and step.isdecimal() and len(step) < 10 else -1
            if not 0 <= number < len(value):
                return ABSENT
            value = value[number]
        else:
            return ABSENT
    return value


def render_value(value: object) -> str:
    """A value inside a text: a text as it is, nothing as nothing, the rest as compact JSON."""
    if value is None or value is ABSENT:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _first(reference: Reference, lookup: Lookup) -> Any:  # noqa: ANN401 (JSON)
    for path in reference.paths:
        found = lookup(path)
        if found is not ABSENT:
            return found
    return ABSENT
