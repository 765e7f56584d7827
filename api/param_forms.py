"""Forms made from the JSON schemas of parameters, and parameters made from those forms. Pure.

The console's pages of a step, of a run's inputs and of a question to a person are drawn from them,
so that a new component has its form as soon as it is declared. The name of a control is the path of
its value: `classes.0.name`. A list has one empty row at its end, which is how it grows without a
script; a row whose texts are all empty is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

AREAS = frozenset(
    {"text", "prompt", "system", "message", "template", "source", "body", "code", "query"}
    | {"instructions", "description", "note", "opener", "sql", "content", "html"}
)
KEY, REMOVE = "$key", "$remove"  # beside a row's own fields
ROWS_MAX = 100
LONG = 300  # characters from which a text is more than a line
_NOTHING: Any = object()
_NOT_ASKED = frozenset({"timeout_s"})  # inside rows


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a list, or of an object with free keys."""

    path: str
    fields: Sequence[FormField]
    key: str | None = None  # of an object
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class FormField:
    """One control, or a group of them. `kind` says which: see `parameters.html`."""

    name: str
    label: str
    kind: str
    value: str = ""
    help: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    faults: Sequence[str] = ()
    minimum: float | None = None
    maximum: float | None = None
    fields: Sequence[FormField] = field(default_factory=tuple)
    rows: Sequence[Row] = field(default_factory=tuple)


def form_of(
    schema: Mapping[str, Any],
    value: Mapping[str, Any],
    *,
    faults: Mapping[str, Sequence[str]] | None = None,
) -> list[FormField]:
    """The fields of an object's schema with its present values."""
    return _fields(schema, value, "", schema.get("$defs", {}), faults or {})


def read_form(
    schema: Mapping[str, Any], form: Mapping[str, str], before: Mapping[str, Any]
) -> dict[str, Any]:
    """The object that a form says; what it has no control for stays as it was."""
    return _object(schema, form, before, "", schema.get("$defs", {}))


def _fields(
    schema: Mapping[str, Any],
    value: Mapping[str, Any],
    path: str,
    defs: Mapping[str, Any],
    faults: Mapping[str, Sequence[str]],
) -> list[FormField]:
    found = []
    for name, raw in schema.get("properties", {}).items():
        if path and name in _NOT_ASKED:
            continue
        found.append(
            _field(
                name,
                raw,
                value.get(name, _NOTHING),
                f"{path}{name}",
                defs,
                faults,
                required=name in schema.get("required", ()),
            )
        )
    return found


def _field(
    name: str,
    raw: Mapping[str, Any],
    value: Any,  # noqa: ANN401 (JSON)
    path: str,
    defs: Mapping[str, Any],
    faults: Mapping[str, Sequence[str]],
    *,
    required: bool,
) -> FormField:
    kind, inner = _kind(name, raw, defs)
    shown = raw.get("default") if value is _NOTHING else value
    mine = [text for at, said in faults.items() if at == path for text in said]
    choices = tuple(str(item) for item in inner.get("enum", ()))
    if kind == "choice" and ((not required and "default" not in raw) or raw.get("default") is None):
        choices = ("", *choices)
    rows: list[Row] = []
    fields: list[FormField] = []
    if kind == "group":
        given = value if isinstance(value, dict) else {}
        fields = _fields(inner, given, f"{path}.", defs, faults)
    elif kind in {"items", "named", "pairs"}:
        rows = _rows(kind, inner, value, path, defs, faults)
    return FormField(
        name=path,
        label=_label(name, raw),
        kind=kind,
        value=_text(kind, shown),
        help=str(raw.get("description", "")),
        required=required,
        choices=choices,
        faults=mine,
        minimum=inner.get("minimum"),
        maximum=inner.get("maximum"),
        fields=fields,
        rows=rows,
    )


def _rows(
    kind: str,
    inner: Mapping[str, Any],
    value: Any,  # noqa: ANN401 (JSON)
    path: str,
    defs: Mapping[str, Any],
    faults: Mapping[str, Sequence[str]],
) -> list[Row]:
    if kind == "items":
        given = [(None, item) for item in value] if isinstance(value, list) else []
    else:
        given = list(value.items()) if isinstance(value, dict) else []
    rows = []
    for number, (key, item) in enumerate([*given, (None if kind == "items" else "", None)]):
        at = f"{path}.{number}"
        is_new = number == len(given)
        if kind == "pairs":
            shown = FormField(f"{at}.value", "value", "any", _text("any", item))
            fields = [shown]
        else:
            known = item if isinstance(item, dict) else {}
            # Faults name a row of an object by its key.
            named = faults if key is None else _renamed(faults, f"{path}.{key}", at)
            fields = _fields(inner, known, f"{at}.", defs, named)
        rows.append(Row(at, fields, key, is_new))
    return rows


def _renamed(faults: Mapping[str, Sequence[str]], old: str, new: str) -> dict[str, Sequence[str]]:
    return {new + at[len(old) :] if at.startswith(old) else at: said for at, said in faults.items()}


def _kind(
    name: str, raw: Mapping[str, Any], defs: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]]:
    """Which control a schema gets, and the schema without its alternatives."""
    ways = [one for one in _ways(raw, defs) if one.get("type") != "null"]
    types = {one.get("type") for one in ways}
    if len(ways) == 1:
        return _kind_of_one(name, ways[0], defs)
    if types == {"array", "string"}:
        listed = next(one for one in ways if one.get("type") == "array")
        of_texts = listed.get("items", {}).get("type") == "string"
        return ("lines" if of_texts else "any"), listed
    return "any", {}


def _kind_of_one(
    name: str, one: Mapping[str, Any], defs: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]]:
    kind, found = str(one.get("type", "any")), "any"
    if one.get("format") == "step":
        found = "step"
    elif "enum" in one or "const" in one:
        return "choice", one if "enum" in one else {**one, "enum": [one["const"]]}
    elif kind == "string":
        found = "area" if name in AREAS or (one.get("maxLength") or 0) > LONG else "text"
    elif kind in {"boolean", "integer", "number"}:
        found = "check" if kind == "boolean" else "number"
    elif kind == "array":
        of = _ways(one.get("items", {}), defs)[0]
        if of.get("properties"):
            return "items", of
        found = "lines" if of.get("type") == "string" and "enum" not in of else "json"
    elif kind == "object":
        return _kind_of_object(name, one, defs)
    return found, one


def _kind_of_object(
    name: str, one: Mapping[str, Any], defs: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]]:
    if one.get("properties"):
        return "group", one
    of = one.get("additionalProperties", True)
    inner = _ways(of, defs)[0] if isinstance(of, dict) else {}
    if inner.get("properties"):
        return "named", inner
    return ("json" if name in {"body", "schema"} else "pairs"), inner


def _ways(raw: Mapping[str, Any], defs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in raw:
        return _ways(defs.get(str(raw["$ref"]).rpartition("/")[2], {}), defs)
    if "anyOf" in raw:
        return [found for one in raw["anyOf"] for found in _ways(one, defs)]
    if "oneOf" in raw:
        return [found for one in raw["oneOf"] for found in _ways(one, defs)]
    if len(raw.get("allOf", ())) == 1:
        return _ways(raw["allOf"][0], defs)
    return [raw]


def _label(name: str, raw: Mapping[str, Any]) -> str:
    """The title where somebody wrote one, else the name in words."""
    title = str(raw.get("title", ""))
    made = name.replace("_", " ").title()
    if title and title.replace(" ", "").casefold() != made.replace(" ", "").casefold():
        return title.rstrip("_")
    words = f"{name[:-2]} (seconds)" if name.endswith("_s") else name
    words = words.replace("_", " ")
    return words[:1].upper() + words[1:]


def _text(kind: str, value: Any) -> str:  # noqa: ANN401 (JSON)
    """A value as its control shows it."""
    if value is _NOTHING or value is None:
        return ""
    if kind == "check":
        return "on" if value is True else ""
    if kind == "lines" and isinstance(value, list):
        return "\n".join(map(str, value))
    if kind == "json":
        return json.dumps(value, ensure_ascii=False, indent=1)
    if isinstance(value, str):
        # Quoted where it would be read as something other than a text.
        is_other = kind == "any" and not isinstance(_any(value), str)
        return json.dumps(value, ensure_ascii=False) if is_other else value
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole else value, ensure_ascii=False)


def _object(
    schema: Mapping[str, Any],
    form: Mapping[str, str],
    before: Mapping[str, Any],
    path: str,
    defs: Mapping[str, Any],
) -> dict[str, Any]:
    properties = schema.get("properties", {})
    found = {name: value for name, value in before.items() if name not in properties}
    for name, raw in properties.items():
        if path and name in _NOT_ASKED:
            value = before.get(name, _NOTHING)
        else:
            value = _value(name, raw, form, before.get(name, _NOTHING), f"{path}{name}", defs)
        default = raw.get("default", _NOTHING)
        is_default = value == default and isinstance(value, bool) == isinstance(default, bool)
        if value is not _NOTHING and not (is_default and name not in before):
            found[name] = value
    return found


def _value(
    name: str,
    raw: Mapping[str, Any],
    form: Mapping[str, str],
    before: Any,  # noqa: ANN401 (JSON)
    path: str,
    defs: Mapping[str, Any],
) -> Any:  # noqa: ANN401 (JSON)
    kind, inner = _kind(name, raw, defs)
    if kind == "group":
        known = before if isinstance(before, dict) else {}
        return _object(inner, form, known, f"{path}.", defs) or _NOTHING
    if kind in {"items", "named", "pairs"}:
        return _read_rows(kind, inner, form, before, path, defs)
    if kind == "check":
        return path in form
    text = form.get(path, "").replace("\r\n", "\n")
    if not text.strip():
        # What is empty and had a text before is emptied, where the default is another one.
        return "" if kind in {"text", "area"} and raw.get("default") else _NOTHING
    return _of_text(kind, text, raw, inner)


def _of_text(kind: str, text: str, raw: Mapping[str, Any], inner: Mapping[str, Any]) -> Any:  # noqa: ANN401 (JSON)
    read: Mapping[str, Callable[[], Any]] = {
        "lines": lambda: _lines(text, raw),
        "number": lambda: _number(text, integral=inner.get("type") == "integer"),
        "choice": lambda: next((one for one in inner["enum"] if str(one) == text), text),
        "any": lambda: _any(text),
        "json": lambda: _any(text),
        "area": lambda: text,
    }
    return read.get(kind, text.strip)()


def _lines(text: str, raw: Mapping[str, Any]) -> list[str] | str:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    takes_text = any(one.get("type") == "string" for one in raw.get("anyOf", ()))
    is_reference = len(lines) == 1 and lines[0].startswith("{{") and lines[0].endswith("}}")
    return lines[0] if is_reference and takes_text else lines


def _read_rows(
    kind: str,
    inner: Mapping[str, Any],
    form: Mapping[str, str],
    before: Any,  # noqa: ANN401 (JSON)
    path: str,
    defs: Mapping[str, Any],
) -> Any:  # noqa: ANN401 (JSON)
    head = f"{path}."
    numbers = {
        int(digits)
        for name in form
        if name.startswith(head) and (digits := name[len(head) :].partition(".")[0]).isdecimal()
        if len(digits) < 4
    }
    items: list[Any] = []
    named: dict[str, Any] = {}
    old = list(before.values()) if isinstance(before, dict) else before
    old = old if isinstance(old, list) else []
    for number in sorted(numbers)[:ROWS_MAX]:
        at = f"{path}.{number}"
        if f"{at}.{REMOVE}" in form:
            continue
        known = old[number] if number < len(old) and isinstance(old[number], dict) else {}
        key = form.get(f"{at}.{KEY}", "").strip()
        if kind == "pairs":
            if key:
                named[key] = _any(form.get(f"{at}.value", ""))
            continue
        row = _object(inner, form, known, f"{at}.", defs)
        if kind == "named":
            if key:
                named[key] = row
        elif row:
            items.append(row)
    if kind == "items":
        return items or _NOTHING
    return named or _NOTHING


def _number(text: str, *, integral: bool) -> int | float | str:
    try:
        number = float(text)
    except ValueError:
        return text.strip()  # the check of the parameters says that it is none
    whole = number.is_integer() and "." not in text and "e" not in text.casefold()
    return int(number) if (integral and number.is_integer()) or whole else number


def _any(text: str) -> Any:  # noqa: ANN401 (JSON)
    """A value as somebody types it: JSON where it is some, else the text."""
    stripped = text.strip()
    if not stripped or stripped.startswith("{{"):
        return stripped
    if stripped[0] in '[{"-0123456789' or stripped in {"true", "false", "null"}:
        try:
            return json.loads(stripped)
        except ValueError:
            return text
    return text
