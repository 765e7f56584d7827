"""What a platform delivered, made safe to read: each field holds what its name promises, or is absent.

Both adapters pass every payload through `clean` before anything reads it. A value of the wrong kind
counts as missing, so readers only handle absence. Text that no database stores (NUL, half of a
surrogate pair) is replaced. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

DEPTH_MAX = 40  # levels of nesting; Slack's and Discord's own payloads have about a dozen
INTEGER_MAX = 2**63 - 1
IDENTIFIER_MAX = 100  # characters; the narrowest column that holds a platform's id
MISSING: Final = object()

Kind = Callable[[Any], Any]  # the value as it may be read, or `MISSING`
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(payload: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """A payload whose named fields are of their kinds, wherever they are nested."""
    cleaned = _clean(payload, kinds, 0)
    return cleaned if isinstance(cleaned, dict) else {}


def _clean(value: object, kinds: Mapping[str, Kind], depth: int) -> object:  # noqa: PLR0911 (a row each)
    match value:
        case dict() | list() if depth >= DEPTH_MAX:
            return MISSING
        case dict():
            return _clean_fields(value, kinds, depth)
        case list():
            items = (_clean(item, kinds, depth + 1) for item in value)
            return [item for item in items if item is not MISSING]
        case str():
            return storable(value)
        case None | bool():
            return value
        case int():
            return value if abs(value) <= INTEGER_MAX else MISSING
        case float():
            return value if math.isfinite(value) else MISSING
        case _:
            return MISSING


def _clean_fields(
    fields: Mapping[object, object], kinds: Mapping[str, Kind], depth: int
) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, item in fields.items():
        name = storable(str(key))
        kept = _clean(item, kinds, depth + 1)
        if kept is not MISSING and name in kinds:
            kept = kinds[name](kept)
        if kept is not MISSING:
            found[name] = kept
    return found


def storable(text: str) -> str:
    """A text that every database takes and UTF-8 can write."""
    return _UNSTORABLE.sub("\ufffd", text)


# Kinds


def as_text(value: object) -> object:
    """Text; a number is written out."""
    if isinstance(value, str):
        return value
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else MISSING


def as_identifier(value: object) -> object:
    """A platform's id: text that fits a column."""
    text = as_text(value)
    return text if isinstance(text, str) and len(text) <= IDENTIFIER_MAX else MISSING


def matching(pattern: str) -> Kind:
    """The kind of text that matches a pattern as a whole."""
    compiled = re.compile(pattern, re.ASCII)

    def kind(value: object) -> object:
        text = as_text(value)
        return text if isinstance(text, str) and compiled.fullmatch(text) else MISSING

    return kind


def as_number(value: object) -> object:
    """A whole number from zero on, such as a size or a count."""
    if isinstance(value, bool):
        return MISSING
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value if isinstance(value, int) and value >= 0 else MISSING


def as_moment(value: object) -> object:
    """ISO 8601 text with a time zone; None says that there is no such time."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return MISSING
    return value if moment is not None and moment.tzinfo is not None else MISSING


def as_object(value: object) -> object:
    """An object."""
    return value if isinstance(value, dict) else MISSING


def as_objects(value: object) -> object:
    """A list of objects; items of other kinds are left out."""
    if not isinstance(value, list):
        return MISSING
    return [item for item in value if isinstance(item, dict)]


def as_texts(value: object) -> object:
    """A list of ids; items of other kinds are left out."""
    if not isinstance(value, list):
        return MISSING
    return [text for item in value if (text := as_identifier(item)) is not MISSING]


def as_objects_by_name(value: object) -> object:
    """An object of objects; fields of other kinds are left out."""
    if not isinstance(value, dict):
        return MISSING
    return {name: item for name, item in value.items() if isinstance(item, dict)}


def either(*kinds: Kind) -> Kind:
    """The kind of the first that fits: a field that holds an id here and an object there."""

    def kind(value: object) -> object:
        found = (one(value) for one in kinds)
        return next((item for item in found if item is not MISSING), MISSING)

    return kind
