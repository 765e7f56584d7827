"""Conditions over JSON values, as Switch and Loop use them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from engine.errors import InvalidInput
from engine.flow.component import ComponentParam
from engine.flow.references import render_value

Op = Literal[
    "=",
    "!=",
    ">",
    ">=",
    "<",
    "<=",
    "contains",
    "not contains",
    "starts with",
    "ends with",
    "in",
    "empty",
    "not empty",
]


class Condition(ComponentParam):
    """`ref` compared with `value`: `{"ref": "{{docs.confidence}}", "op": ">=", "value": 0.6}`."""

    ref: Any
    op: Op = "="
    value: Any = None

    def holds(self) -> bool:
        """Whether it does; `InvalidInput` where the two can't be compared."""
        return _OPS[self.op](self.ref, self.value)


class Conditions(ComponentParam):
    """Several conditions: all of them must hold, or any."""

    when: tuple[Condition, ...] = Field(min_length=1)
    match: Literal["all", "any"] = "all"

    def hold(self) -> bool:
        """Whether they do."""
        results = (condition.holds() for condition in self.when)
        return all(results) if self.match == "all" else any(results)


def _number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    raise InvalidInput(f"{render_value(value)[:60]!r} is no number to compare.", field="when")


def _same(left: object, right: object) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return render_value(left).casefold() == render_value(right).casefold()
    if isinstance(left, int | float) or isinstance(right, int | float):
        try:
            return _number(left) == _number(right)
        except InvalidInput:
            return False
    return left == right


def _contains(left: object, right: object) -> bool:
    if isinstance(left, Mapping):
        return render_value(right) in left
    if isinstance(left, Sequence) and not isinstance(left, str):
        return any(_same(item, right) for item in left)
    return _text(right) in _text(left)


def _text(value: object) -> str:
    return render_value(value).casefold()


def _is_empty(value: object) -> bool:
    return value in (None, "", [], {})


_OPS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": _same,
    "!=": lambda left, right: not _same(left, right),
    ">": lambda left, right: _number(left) > _number(right),
    ">=": lambda left, right: _number(left) >= _number(right),
    "<": lambda left, right: _number(left) < _number(right),
    "<=": lambda left, right: _number(left) <= _number(right),
    "contains": _contains,
    "not contains": lambda left, right: not _contains(left, right),
    "starts with": lambda left, right: _text(left).startswith(_text(right)),
    "ends with": lambda left, right: _text(left).endswith(_text(right)),
    "in": lambda left, right: _contains(right, left),
    "empty": lambda left, _: _is_empty(left),
    "not empty": lambda left, _: not _is_empty(left),
}
