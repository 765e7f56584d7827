"""The filters of a search as people and programs say them, made into the one model of them. Pure.

Every door parses here, once; an error names the field. `since` and `until` are ISO 8601, as short as
a year, or words such as `yesterday`, `last week` or `30 days ago`: `until` includes the whole of
what it names. Conditions on fields of a document's own are a
mapping (`{"price_float": {"max": 5}}`) or lines (`price_float<=5`). `split_operators` takes filters
out of a query that was typed into a chat.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from engine import clock
from engine.access.search_filters import FieldCondition, SearchFilters
from engine.custom_fields import (
    FieldType,
    checked_name,
    folded,
    lookup_value,
    parse_moment,
    parse_value,
    type_of,
    words_of,
)
from engine.errors import InvalidInput
from engine.search.date_words import DATE, days_of

SortOrder = Literal["relevance", "newest", "oldest"]
Said = str | Sequence[str]  # one value, or any of several

VALUES_MAX = 100  # of one filter
NUMBERS = frozenset({FieldType.INT, FieldType.FLOAT, FieldType.DATE, FieldType.FEATURE})

_LINE = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*(<=|>=|=|<|>)\s*(.*)", re.DOTALL)
_WORDS = re.compile(DATE, re.IGNORECASE)
_SHORT = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_LANGUAGE = re.compile(r"[a-z]{2,3}")


def parse_filters(
    *,
    since: str = "",
    until: str = "",
    author: Said = (),
    channel: Said = (),
    source: Said = (),
    tag: Said = (),
    language: Said = (),
    document: Said = (),
    metadata: Mapping[str, object] | Sequence[str] = (),
) -> SearchFilters:
    """The filters; what is empty restricts nothing. Raises `InvalidInput` that names the field."""
    start, end = _start("since", since), _end("until", until)
    if start is not None and end is not None and start >= end:
        raise InvalidInput("since: it is after `until`, so nothing can pass.", field="since")
    languages = _values("language", language)
    for item in languages or ():
        if not _LANGUAGE.fullmatch(item.lower()):
            raise InvalidInput(
                f"language: {item[:40]!r} is not a code of ISO 639-1, such as en or de.",
                field="language",
            )
    return SearchFilters(
        document_ids=_values("document", document),
        languages=None if languages is None else [item.lower() for item in languages],
        sources=_values("source", source),
        tags=_folded(_values("tag", tag)),
        updated_from=start,
        updated_before=end,
        authors=_values("author", author),
        channels=_values("channel", channel),
        fields=tuple(_conditions(metadata)),
    )


def parse_order(said: str) -> SortOrder:
    """How hits are sorted: by relevance, or by the date their source gives."""
    match said:
        case "" | "relevance":
            return "relevance"
        case "newest" | "oldest":
            return said
    raise InvalidInput(
        f"sort: {said[:40]!r} is not one of relevance, newest, oldest.", field="sort"
    )


_OPERATORS: Mapping[str, str] = {
    "since": "since",
    "after": "since",
    "until": "until",
    "before": "until",
    "author": "author",
    "from": "author",
    "channel": "channel",
    "in": "channel",
    "source": "source",
    "tag": "tag",
    "language": "language",
    "lang": "language",
    "document": "document",
    "meta": "metadata",
    "sort": "sort",
}
_OPERATOR = re.compile(
    rf"(?<!\S)({'|'.join(_OPERATORS)}):(\"[^\"]*\"|“[^”]*”|<#[^>]+>|\S+)", re.IGNORECASE
)


def split_operators(line: str) -> tuple[str, SearchFilters, SortOrder]:
    """A query, its filters and its order: `hotel rate since:2026-01 from:ada in:#travel`."""
    said: dict[str, list[str]] = {}
    for name, quoted in _OPERATOR.findall(line):
        value = quoted.strip('"“”')
        mention = re.fullmatch(r"<#([^|>]+)(?:\|[^>]*)?>", value)
        said.setdefault(_OPERATORS[name.lower()], []).append(mention[1] if mention else value)
    order = parse_order(said.pop("sort", [""])[-1])
    filters = parse_filters(
        since=said.pop("since", [""])[-1], until=said.pop("until", [""])[-1], **said
    )
    return " ".join(_OPERATOR.sub(" ", line).split()), filters, order


def _values(field: str, said: Said) -> list[str] | None:
    values = [said] if isinstance(said, str) else list(said)
    values = [value.replace("\0", " ").strip() for value in values]
    values = [value for value in dict.fromkeys(values) if value]
    if len(values) > VALUES_MAX:
        raise InvalidInput(
            f"{field}: {len(values)} values; at most {VALUES_MAX} are allowed.", field=field
        )
    return values or None


def _folded(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else [" ".join(value.casefold().split()) for value in values]


def _start(field: str, said: str) -> datetime | None:
    said = said.strip()
    if not said:
        return None
    short = _SHORT.fullmatch(said)
    if short is None:
        if days := _named_days(said):
            return _midnight(days[0])
        return parse_moment(field, said)
    year, month, day = (int(part) if part else 1 for part in short.groups())
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return parse_moment(field, said)  # which says what is wrong


def _end(field: str, said: str) -> datetime | None:
    """The instant after what is named: after the year, the month or the day; a time is itself."""
    start = _start(field, said)
    short = _SHORT.fullmatch(said.strip())
    if short is None and (named := _named_days(said.strip())):
        return _midnight(named[1]) + timedelta(days=1)
    if start is None or short is None:
        return start
    _, month, day = short.groups()
    days = 1 if day else calendar.monthrange(start.year, start.month)[1] if month else 0
    try:
        if days:
            return start + timedelta(days=days)
        return start.replace(year=start.year + 1)
    except (ValueError, OverflowError):
        return None  # the end of time


def _named_days(said: str) -> tuple[date, date] | None:
    """The first and the last day that words name; None where they name none."""
    words = " ".join(said.replace("_", " ").casefold().split())
    return days_of(words, clock.now().date()) if _WORDS.fullmatch(words) else None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _conditions(said: Mapping[str, object] | Sequence[str]) -> list[FieldCondition]:
    if not isinstance(said, Mapping):
        return [_of_line(line) for line in ([said] if isinstance(said, str) else said)]
    return [_of_value(checked_name(name), value) for name, value in said.items()]


def _of_line(line: str) -> FieldCondition:
    found = _LINE.fullmatch(line)
    if found is None:
        raise InvalidInput(
            f"metadata: {line[:80]!r} is not NAME=VALUE, nor NAME with <, <=, >= or > and a value.",
            field="metadata",
        )
    name, sign, value = checked_name(found[1]), found[2], found[3].strip()
    if sign == "=":
        return _of_value(name, value)
    first, last = _span(name, value)
    match sign:
        case "<=":
            return FieldCondition(name, high=last)
        case ">=":
            return FieldCondition(name, low=first)
        case "<":
            return FieldCondition(name, high=math.nextafter(first, -math.inf))
    return FieldCondition(name, low=math.nextafter(last, math.inf))


def _of_value(name: str, value: object) -> FieldCondition:
    """A value, any of several, or a range of numbers or dates as `{"min": …, "max": …}`."""
    kind = type_of(name)
    if isinstance(value, Mapping):
        if not value or value.keys() - {"min", "max"}:
            raise InvalidInput(f"{name}: a range has min, max or both.", field=name)
        low, high = value.get("min"), value.get("max")
        return FieldCondition(
            name,
            low=None if low is None else _span(name, low)[0],
            high=None if high is None else _span(name, high)[1],
        )
    if kind in NUMBERS:
        first, last = _span(name, value)
        return FieldCondition(name, low=first, high=last)
    if kind is FieldType.TEXT:
        words = words_of(parse_value(name, value))
        if not words:
            raise InvalidInput(f"{name}: give words to look for.", field=name)
        return FieldCondition(name, all_of=tuple(words))
    if kind is FieldType.FEATURES:
        return FieldCondition(name, any_of=tuple(folded(item) for item in _texts(name, value)))
    known: list[str] = lookup_value(name, parse_value(name, _plain(value)))
    return FieldCondition(name, any_of=tuple(known))


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _texts(name: str, value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values or not all(isinstance(item, str) for item in values):
        raise InvalidInput(f"{name}: give the name of a feature, or several.", field=name)
    return [str(item) for item in values]


def _span(name: str, value: object) -> tuple[float, float]:
    """The first and the last number that a value names: those of a day, month or year differ."""
    kind = type_of(name)
    if kind not in NUMBERS:
        raise InvalidInput(
            f"{name}: only fields that hold numbers or dates have a range; its ending says {kind}.",
            field=name,
        )
    if kind is FieldType.DATE and isinstance(value, str) and _SHORT.fullmatch(value.strip()):
        start, end = _start(name, value), _end(name, value)
        first = start.timestamp() if start else -math.inf
        return first, math.nextafter(end.timestamp(), -math.inf) if end else math.inf
    number = float(lookup_value(name, parse_value(name, value)))
    return number, number


def parse_filter_line(line: str) -> tuple[SearchFilters, SortOrder]:
    """Filters and order given as one line of `name:value` words; anything else in it is refused."""
    rest, filters, order = split_operators(line)
    if rest:
        raise InvalidInput(
            f"filter: {rest[:60]!r} is not NAME:VALUE. Names are since, until, author, channel,"
            " source, tag, language, document, meta and sort; a value with blanks stands in quotes.",
            field="filter",
        )
    return filters, order
