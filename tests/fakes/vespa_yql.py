"""Reads the YQL that Scrubjay emits, exactly those shapes, and nothing else.

Independent of `engine.index.vespa_yql`: what that renders wrongly, this refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TOKENS = re.compile(
    r"""\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>-?\d+)L?|(?P<text>"[^"\\]*")"""
    r"""|(?P<mark>[(){}\[\],:@=|*-]))"""
)


class BadQuery(Exception):
    """A query in no shape that is accepted."""


@dataclass(frozen=True)
class Term:
    """A word that is looked for, and the document frequency that stands in for its own."""

    text: str
    frequency: int | None = None
    count: int = 0


@dataclass(frozen=True)
class Item:
    """A node of the query's tree: `kind` and what belongs to it."""

    kind: str
    field: str = ""
    value: Any = None
    hits: int = 0
    items: tuple[Item, ...] = ()

    @property
    def ranks(self) -> bool:
        """Whether it, or something in it, is scored rather than a filter."""
        return self.kind in {"words", "near"} or any(item.ranks for item in self.items)


@dataclass(frozen=True)
class Select:
    schema: str
    where: Item
    sums: tuple[str, ...] = ()
    limit: int | None = None


def parse(yql: str, parameters: Mapping[str, Any]) -> Select:
    """The tree of a query; `BadQuery` for any other shape, or a parameter that is missing."""
    return _Reader(yql, parameters).select()


class _Reader:
    def __init__(self, yql: str, parameters: Mapping[str, Any]) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(yql.rstrip()):
            found = _TOKENS.match(yql, at)
            if found is None or found.lastgroup is None:
                raise BadQuery(f"what is this: {yql[at : at + 20]!r}")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self._parameters = parameters

    def select(self) -> Select:
        self.expect("select", "*", "from")
        schema = self.take("name")
        self.expect("where")
        where = self.item()
        limit = int(self.take("number")) if self.accept("limit") else None
        sums: list[str] = []
        if self._tokens:
            self.expect("|", "all", "(", "output", "(")
            while True:
                self.expect("sum", "(")
                sums.append(self.take("name"))
                self.expect(")")
                if not self.accept(","):
                    break
            self.expect(")", ")")
        if self._tokens:
            raise BadQuery(f"left over: {self._tokens}")
        return Select(schema, where, tuple(sums), limit)

    def item(self) -> Item:  # noqa: PLR0911 (a shape each)
        if self.accept("("):
            if self.next() == "{":
                found = self.ranked()
                self.expect(")")
                return found
            items = [self.item()]
            joint = self.next()
            if joint not in {"and", "or"}:
                raise BadQuery(f"a bracket around one thing, before {joint!r}")
            while self.accept(joint):
                items.append(self.item())
            self.expect(")")
            return Item(joint, items=tuple(items))
        name = self.take("name")
        match name:
            case "true" | "false":
                return Item(name)
            case "range":
                return self.range()
            case "predicate":
                return self.predicate()
            case "rank":
                self.expect("(")
                items = [self.item()]
                while self.accept(","):
                    items.append(self.item())
                self.expect(")")
                return Item("rank", items=tuple(items))
        if self.accept("in"):
            self.expect("(")
            value = self.parameter()
            self.expect(")")
            # As Vespa reads a list: cut at commas, quotes stripped, no escape for either.
            values = frozenset(entry.strip().strip("'\"") for entry in value.split(","))
            return Item("in", name, values)
        if self.accept("="):
            return Item("is", name, {"true": True, "false": False}[self.take("name")])
        self.expect("contains")
        return Item("term", name, self.parameter())

    def ranked(self) -> Item:
        known = self.annotations()
        if self.next() == "weakAnd":
            return self.weak_and(known)
        return self.near(known)

    def weak_and(self, known: Mapping[str, str]) -> Item:
        if set(known) != {"totalTargetHits"}:
            raise BadQuery(f"annotations {set(known)} of a weakAnd")
        self.expect("weakAnd", "(")
        found = [self.term()]
        while self.accept(","):
            found.append(self.term())
        self.expect(")")
        if len({name for name, _ in found}) != 1:
            raise BadQuery("a weakAnd over several fields")
        return Item(
            "words", found[0][0], [term for _, term in found], int(known["totalTargetHits"])
        )

    def term(self) -> tuple[str, Term]:
        name = self.take("name")
        self.expect("contains")
        if self.next() == "@":
            return name, Term(self.parameter())
        self.expect("(", "{", "documentFrequency", ":", "{", "frequency", ":")
        frequency = int(self.take("number"))
        self.expect(",", "count", ":")
        count = int(self.take("number"))
        self.expect("}", "}")
        text = self.parameter()
        self.expect(")")
        return name, Term(text, frequency, count)

    def near(self, known: Mapping[str, str]) -> Item:
        if set(known) != {"label", "totalTargetHits"}:
            raise BadQuery(f"annotations {set(known)} of a nearestNeighbor")
        self.expect("nearestNeighbor", "(")
        field = self.take("name")
        self.expect(",")
        vector = self.take("name")
        self.expect(")")
        return Item("near", field, (vector, known["label"]), hits=int(known["totalTargetHits"]))

    def range(self) -> Item:
        self.expect("(")
        field = self.take("name")
        self.expect(",")
        low = self.bound()
        self.expect(",")
        high = self.bound()
        self.expect(")")
        return Item("range", field, (low, high))

    def bound(self) -> float:
        negative = self.accept("-")
        kind, value = self._tokens.pop(0)
        if value == "Infinity":
            return -float("inf") if negative else float("inf")
        if kind != "number" or negative:
            raise BadQuery(f"no bound: {value!r}")
        return int(value)

    def predicate(self) -> Item:
        self.expect("(")
        field = self.take("name")
        self.expect(",", "{")
        held: set[str] = set()
        if self.next() != "}":
            if self.take("text").strip('"') != field:
                raise BadQuery("an attribute of another name than the field")
            self.expect(":", "[")
            held.add(self.take("text").strip('"'))
            while self.accept(","):
                held.add(self.take("text").strip('"'))
            self.expect("]")
        self.expect("}", ",", "{", "}", ")")
        return Item("predicate", field, frozenset(held))

    def annotations(self) -> dict[str, str]:
        self.expect("{")
        found: dict[str, str] = {}
        while True:
            name = self.take("name")
            self.expect(":")
            found[name] = self._tokens.pop(0)[1].strip('"')
            if not self.accept(","):
                break
        self.expect("}")
        return found

    def parameter(self) -> str:
        self.expect("@")
        name = self.take("name")
        if name not in self._parameters:
            raise BadQuery(f"the parameter {name!r} is not set")
        return str(self._parameters[name])

    def next(self) -> str:
        return self._tokens[0][1] if self._tokens else ""

    def take(self, kind: str) -> str:
        if not self._tokens or self._tokens[0][0] != kind:
            raise BadQuery(f"expected a {kind}, found {self._tokens[:1]}")
        return self._tokens.pop(0)[1]

    def accept(self, value: str) -> bool:
        if self.next() != value:
            return False
        self._tokens.pop(0)
        return True

    def expect(self, *values: str) -> None:
        for value in values:
            if not self.accept(value):
                raise BadQuery(f"expected {value!r}, found {self._tokens[:1]}")
