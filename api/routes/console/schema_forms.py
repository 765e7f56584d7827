"""Forms made from a JSON Schema, and what they send read back: so a new kind of source has its form.

Pure functions; `console/schema_form.html` draws the fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from starlette.datastructures import FormData

from engine.errors import InvalidInput

Widget = Literal["text", "secret", "number", "check", "choice", "lines", "json"]
PREFIX = "set-"  # of a field's name in the form: a kind may have a setting called `name`
TEXT_MAX = 2000  # characters of a field that says no maximum


@dataclass(frozen=True, slots=True)
class SchemaField:
    """A field to draw. `value` is text, for `check` true or false; `choices` are of a choice."""

    name: str
    label: str
    help: str
    widget: Widget
    value: str | bool
    required: bool
    choices: Sequence[str] = ()
    least: float | None = None
    most: float | None = None
    longest: int = TEXT_MAX
    is_whole: bool = True  # of a number
    default: object = None  # None: it has none

    @property
    def key(self) -> str:
        """Its name in the form."""
        return PREFIX + self.name


def form_fields(schema: Mapping[str, Any], values: Mapping[str, Any]) -> list[SchemaField]:
    """The fields of an object's schema, in its order, filled with `values` or the defaults."""
    required = set(schema.get("required", ()))
    definitions = schema.get("$defs", {})
    return [
        _field(name, _resolved(said, definitions), values, required=name in required)
        for name, said in schema.get("properties", {}).items()
    ]


def _resolved(said: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A property with what it refers to put in its place, and `null` left aside."""
    found = dict(said)
    for several in ("anyOf", "oneOf", "allOf"):
        some = [one for one in found.get(several, ()) if one.get("type") != "null"]
        if len(some) == 1:
            found = {**some[0], **{k: v for k, v in found.items() if k != several}}
    if (ref := str(found.get("$ref", ""))).startswith("#/$defs/"):
        found = {**definitions.get(ref.removeprefix("#/$defs/"), {}), **found}
    return found


def _field(
    name: str, said: Mapping[str, Any], values: Mapping[str, Any], *, required: bool
) -> SchemaField:
    widget = _widget(said)
    value = values.get(name, said.get("default"))
    return SchemaField(
        name=name,
        label=name.replace("_", " ").capitalize(),
        help=str(said.get("description", "")),
        widget=widget,
        value=bool(value)
        if widget == "check"
        else ""
        if widget == "secret"
        else _text(value, widget),
        required=required and widget not in {"check", "lines"},
        choices=[str(one) for one in said.get("enum", ())],
        least=said.get("minimum", said.get("exclusiveMinimum")),
        most=said.get("maximum", said.get("exclusiveMaximum")),
        longest=min(int(said.get("maxLength", TEXT_MAX)), 8000),
        is_whole=said.get("type") == "integer",
        default=said.get("default"),
    )


def _widget(said: Mapping[str, Any]) -> Widget:
    kind = said.get("type")
    if said.get("writeOnly") or said.get("format") == "password":
        return "secret"
    if "enum" in said:
        return "choice"
    if kind == "boolean":
        return "check"
    if kind in {"integer", "number"}:
        return "number"
    if kind == "array" and said.get("items", {}).get("type", "string") == "string":
        return "lines"
    return "text" if kind == "string" else "json"


def _text(value: object, widget: Widget) -> str:
    if value is None:
        return ""
    if widget == "lines" and isinstance(value, list):
        return "\n".join(map(str, value))
    if widget == "json":
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def read_fields(fields: Sequence[SchemaField], form: FormData) -> dict[str, Any]:
    """What a form sent for these fields; an empty one has its default, or is left out.

    Raises `InvalidInput`, naming the field, for what is no number or no JSON.
    """
    found: dict[str, Any] = {}
    for field in fields:
        sent = form.get(field.key, "")
        text = sent.strip() if isinstance(sent, str) else ""
        if field.widget == "check":
            found[field.name] = text == "true"
        elif field.widget == "lines":
            found[field.name] = [line.strip() for line in text.splitlines() if line.strip()]
        elif text:
            found[field.name] = _parsed(field, text)
        elif field.default is not None:
            found[field.name] = field.default
    return found


def _parsed(field: SchemaField, text: str) -> object:
    if field.widget == "number":
        try:
            return int(text) if field.is_whole else float(text)
        except ValueError:
            raise InvalidInput(
                f"{field.label}: {text[:40]!r} is no number.", field=field.name
            ) from None
    if field.widget == "json":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise InvalidInput(f"{field.label}: write JSON.", field=field.name) from None
    return text
