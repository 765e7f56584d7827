"""Queries for Vespa as trees, rendered to YQL and parameters.

Whatever came from a person or a document travels as a parameter: it becomes a value after the query
was parsed, so no text can change what is asked. The YQL itself holds names from our own code,
whole numbers, and tokens of the ACL alphabet; anything else is refused here. The tree says what
must hold for a hit; `vespa.py` builds it from a `Filter`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from engine.errors import InvalidInput

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
# What `vespa_app.fields.encode_value` makes: `in (@list)` splits at commas and strips quotes.
_VALUE = re.compile(r"[A-Za-z0-9:_.~%-]+")
_TOKEN = re.compile(r"[a-z0-9:_-]{1,100}")


@dataclass(frozen=True, slots=True)
class Everything:
    """Passes every document."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Passes no document."""


@dataclass(frozen=True, slots=True)
class And:
    """All of these hold. Of a filter and what is ranked, the filter is applied first."""

    items: Sequence[Node]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of these holds."""

    items: Sequence[Node]


@dataclass(frozen=True, slots=True)
class In:
    """One of a field's values is among these. None of them: nothing passes."""

    name: str
    values: Collection[str]


@dataclass(frozen=True, slots=True)
class Is:
    """A field of truth values has this one."""

    name: str
    value: bool


@dataclass(frozen=True, slots=True)
class Between:
    """A number is within these bounds, both included."""

    name: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Meets:
    """A predicate field asks for nothing but what is held. See `vespa_app.fields.requirement`."""

    name: str
    held: Collection[str]


@dataclass(frozen=True, slots=True)
class Word:
    """A term of a text field, and how rare it counts as: `frequency` of `population` documents.

    None leaves its rarity to Vespa, which counts this spelling alone, on one node.
    """

    text: str
    frequency: int | None = None
    population: int = 0


@dataclass(frozen=True, slots=True)
class Holds:
    """A text field holds this word; every document that does is counted."""

    name: str
    word: str


@dataclass(frozen=True, slots=True)
class Words:
    """A text field holds some of these words; about `hits` of the best are looked at.

    A word given twice counts twice.
    """

    name: str
    words: Sequence[Word]
    hits: int


@dataclass(frozen=True, slots=True)
class Near:
    """A vector field is near the query's; about `hits` of the nearest are looked at.

    `vector` names the query input, `label` is what rank expressions call this.
    """

    name: str
    vector: str
    label: str
    hits: int


@dataclass(frozen=True, slots=True)
class Rank:
    """What `passing` lets through; `scored` changes no result, only what is known of each."""

    passing: Node
    scored: Sequence[Node]


Node = Rank | Everything | Nothing | And | Or | In | Is | Between | Meets | Holds | Words | Near


@dataclass(frozen=True, slots=True)
class YqlQuery:
    """What is sent: YQL, and the parameters it refers to."""

    yql: str
    parameters: Mapping[str, str]


def render(schema: str, where: Node, *, suffix: str = "") -> YqlQuery:
    """The query over one schema. `suffix` is our own text behind the condition (a grouping).

    Equal texts share a parameter; names go p0, p1, … in order of appearance.
    """
    writer = _YqlWriter()
    condition = writer.write(where)
    yql = f"select * from {_name(schema)} where {condition}{suffix}"  # noqa: S608 (see above)
    return YqlQuery(yql, {name: value for value, name in writer.names.items()})


@dataclass(slots=True)
class _YqlWriter:
    names: dict[str, str] = field(default_factory=dict)

    def parameter(self, value: str) -> str:
        return "@" + self.names.setdefault(value, f"p{len(self.names)}")

    def write(self, node: Node) -> str:  # noqa: C901, PLR0911, PLR0912 (a kind of node each)
        match node:
            case Everything():
                return "true"
            case Nothing():
                return "false"
            case And(items):
                return self._joined(" and ", items, empty="true")
            case Or(items):
                return self._joined(" or ", items, empty="false")
            case Rank(passing, scored):
                parts = ", ".join(self.write(item) for item in (passing, *scored))
                return f"rank({parts})"
            case In(name, values) if values:
                listed = ",".join(_checked(_VALUE, value, name) for value in sorted(values))
                return f"{_name(name)} in ({self.parameter(listed)})"
            case In():
                return "false"
            case Is(name, value):
                return f"{_name(name)} = {'true' if value else 'false'}"
            case Between(name, None, None):
                _name(name)
                return "true"
            case Between(name, low, high):
                lowest = "-Infinity" if low is None else f"{int(low)}L"
                highest = "Infinity" if high is None else f"{int(high)}L"
                return f"range({_name(name)}, {lowest}, {highest})"
            case Meets(name, held):
                tokens = ",".join(f'"{_checked(_TOKEN, token, name)}"' for token in sorted(held))
                attributes = f'{{"{_name(name)}":[{tokens}]}}' if tokens else "{}"
                return f"predicate({_name(name)}, {attributes}, {{}})"
            case Holds(name, word):
                return f"{_name(name)} contains {self.parameter(word)}"
            case Words(name, []):
                _name(name)
                return "false"
            case Words(name, words, hits):
                terms = ", ".join(self._word(_name(name), word) for word in words)
                return f"({{totalTargetHits:{int(hits)}}}weakAnd({terms}))"
            case Near(name, vector, label, hits):
                near = f"nearestNeighbor({_name(name)}, {_name(vector)})"
                return f'({{label:"{_name(label)}",totalTargetHits:{int(hits)}}}{near})'

    def _word(self, name: str, word: Word) -> str:
        text = self.parameter(word.text)
        if word.frequency is None:
            return f"{name} contains {text}"
        rarity = f"frequency:{int(word.frequency)},count:{int(word.population)}"
        return f"{name} contains ({{documentFrequency:{{{rarity}}}}}{text})"

    def _joined(self, operator: str, items: Sequence[Node], *, empty: str) -> str:
        if not items:
            return empty
        if len(items) == 1:
            return self.write(items[0])
        return f"({operator.join(self.write(item) for item in items)})"


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is not a name of a field or schema.", field="name")
    return name


def _checked(pattern: re.Pattern[str], value: str, name: str) -> str:
    if not pattern.fullmatch(value):
        raise InvalidInput(
            f"{value!r} can't be asked of {name}: allowed are {pattern.pattern}.", field=name
        )
    return value
