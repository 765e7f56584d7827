"""A document's own metadata: fields whose type is the ending of their name. Pure.

Doors hand in what they were given; it is checked here, kept with the document, returned with hits,
and filtered by in SQL (`lookup_of`). A new field needs no schema, in either search index.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import chain
from typing import Any

from engine.errors import InvalidInput

NAME_MAX = 64
FIELDS_MAX = 50
VALUES_MAX = 100
KEYWORD_MAX = 500  # characters
TEXT_MAX = 10_000

_SHORT_DATE = re.compile(r"\d{4}(?:-\d{2})?")
_NO_SPACES = "\u2e80"  # from here on scripts are Chinese, Japanese and Korean
_RUN = re.compile(rf"[^\W_{_NO_SPACES}-\U0010ffff]+|[^\W_]+")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# What every document has already, under names of their own.
RESERVED = frozenset(
    {"author", "channel", "date", "document", "language", "source", "tag", "tags", "title", "url"}
)


class FieldType(StrEnum):
    """What a field holds; a `features` field is a number by name."""

    TEXT = "text"
    KEYWORD = "keyword"
    INT = "int"
    FLOAT = "float"
    DATE = "date"
    FEATURE = "feature"
    FEATURES = "features"


ENDINGS: Mapping[str, FieldType] = {
    "text": FieldType.TEXT,
    "tks": FieldType.TEXT,
    "ltks": FieldType.TEXT,
    "keyword": FieldType.KEYWORD,
    "kwd": FieldType.KEYWORD,
    "id": FieldType.KEYWORD,
    "int": FieldType.INT,
    "float": FieldType.FLOAT,
    "flt": FieldType.FLOAT,
    "date": FieldType.DATE,
    "dt": FieldType.DATE,
    "time": FieldType.DATE,
    "feature": FieldType.FEATURE,
    "fea": FieldType.FEATURE,
    "features": FieldType.FEATURES,
    "feas": FieldType.FEATURES,
}


def type_of(name: str) -> FieldType:
    """What the ending of a field's name says: `price_float` is a number; without one, a keyword."""
    return ENDINGS.get(name.rpartition("_")[2] if "_" in name else "", FieldType.KEYWORD)


def checked_name(name: str, *, field: str = "metadata") -> str:
    """A field's name in small letters, or `InvalidInput`."""
    name = name.strip().lower()
    if not _NAME.fullmatch(name) or len(name) > NAME_MAX:
        raise InvalidInput(
            f"{field}: {name[:80]!r} is not a field's name. Use a-z, 0-9 and _, beginning with a"
            f" letter, at most {NAME_MAX} characters.",
            field=field,
        )
    if name in RESERVED:
        raise InvalidInput(
            f"{name}: every document has one already; choose another name.", field=name
        )
    if name.endswith("_vec"):
        raise InvalidInput(
            f"{name}: vectors of your own can't be stored; the embedding model makes them.",
            field=name,
        )
    return name


def parse_fields(given: Mapping[str, object]) -> dict[str, Any]:
    """Fields as they are kept, each of its type; None, to remove a field, stays None.

    Raises `InvalidInput` that names the field.
    """
    if len(given) > FIELDS_MAX:
        raise InvalidInput(
            f"metadata: {len(given)} fields are given; at most {FIELDS_MAX} are allowed.",
            field="metadata",
        )
    found: dict[str, Any] = {}
    for said, value in given.items():
        name = checked_name(said)
        found[name] = None if value is None else parse_value(name, value)
    return found


def parse_value(name: str, value: object) -> Any:  # noqa: ANN401 (of the field's type)
    """A value of a field's type, or `InvalidInput` that names the field."""
    return _PARSERS[type_of(name)](name, value)


def parse_assignments(lines: Sequence[str], *, field: str = "metadata") -> dict[str, Any]:
    """`name=value` lines as fields: a name given twice has both values, `name=` removes it.

    A feature of many is `name=key:1.5`.
    """
    found: dict[str, Any] = {}
    for line in lines:
        said, sign, value = line.partition("=")
        if not sign:
            raise InvalidInput(f"{field}: {line[:80]!r} is not NAME=VALUE.", field=field)
        name = checked_name(said, field=field)
        if type_of(name) is FieldType.FEATURES and value:
            key, _, number = value.rpartition(":")
            found[name] = {**(found.get(name) or {}), key: number}
        elif name in found and found[name] is not None:
            known = found[name]
            found[name] = [*known, value] if isinstance(known, list) else [known, value]
        else:
            found[name] = value or None
    return found


def lookup_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What filters compare: folded keywords, the terms of texts, dates in seconds since 1970."""
    return {name: lookup_value(name, value) for name, value in fields.items()}


def lookup_value(name: str, value: Any) -> Any:  # noqa: ANN401 (of the field's type)
    """A kept value as filters compare it: a list of texts, or a number."""
    match type_of(name):
        case FieldType.KEYWORD:
            return [folded(item) for item in (value if isinstance(value, list) else [value])]
        case FieldType.TEXT:
            return words_of(value)
        case FieldType.DATE:
            return datetime.fromisoformat(value).timestamp()
        case FieldType.FEATURES:
            return sorted(value)
    return float(value)


def features_of(fields: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that may count in ranking, by name: `quality_feature`, `topic_features.sailing`."""
    found: dict[str, float] = {}
    for name, value in fields.items():
        kind = type_of(name)
        if kind is FieldType.FEATURE:
            found[name] = float(value)
        elif kind is FieldType.FEATURES:
            found |= {f"{name}.{key}": float(number) for key, number in value.items()}
    return found


def index_features(fields: Mapping[str, Any], features: Mapping[str, float]) -> dict[str, float]:
    """What an index knows of a document to rank by: its features, and fields that are some."""
    return {**features_of(fields), **features}


def folded(text: str) -> str:
    """A keyword as it is compared: case, width and surrounding blanks aside."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words_of(text: str) -> list[str]:
    """The different words of a text, folded; of scripts without spaces, its characters."""
    runs = _RUN.findall(folded(text))
    words = (list(run) if run[0] >= _NO_SPACES else [run] for run in runs)
    return list(dict.fromkeys(chain.from_iterable(words)))


def parse_moment(name: str, value: object) -> datetime:
    """A date or time in ISO 8601 as an aware instant; without a zone it is UTC."""
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        said = str(value).strip()
        if _SHORT_DATE.fullmatch(said):  # a year, or a month: its first day
            said += "-01-01"[len(said) - 4 :]
        try:
            moment = datetime.fromisoformat(said)
        except ValueError:
            raise _wrong(
                name, value, "a date such as 2026-03-01 or 2026-03-01T14:30+01:00"
            ) from None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise _wrong(name, value, "a date between the years 1 and 9999") from None


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "a text")
    if len(value) > TEXT_MAX:
        raise _wrong(name, value, f"a text of at most {TEXT_MAX:,} characters")
    return value.replace("\0", " ")


def _keyword(name: str, value: object) -> str | list[str]:
    if isinstance(value, list | tuple):
        if len(value) > VALUES_MAX:
            raise _wrong(name, value, f"at most {VALUES_MAX} values")
        return list(dict.fromkeys(_one_keyword(name, item) for item in value))
    return _one_keyword(name, value)


def _one_keyword(name: str, value: object) -> str:
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, int | float) and math.isfinite(value):
        value = f"{value:g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > KEYWORD_MAX:
        raise _wrong(name, value, f"a text of 1 to {KEYWORD_MAX} characters, or a list of such")
    return value.replace("\0", " ").strip()


def _int(name: str, value: object) -> int:
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int) or abs(number) >= 2**53:
        raise _wrong(name, value, "a whole number")
    return number


def _float(name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _wrong(name, value, "a number")
    try:
        number = float(number)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _wrong(name, value, "a finite number")
    return number


def _date(name: str, value: object) -> str:
    return parse_moment(name, value).isoformat()


def _features(name: str, value: object) -> dict[str, float]:
    if not isinstance(value, Mapping) or len(value) > VALUES_MAX:
        raise _wrong(name, value, f"at most {VALUES_MAX} numbers by name")
    found = {}
    for key, number in value.items():
        word = str(key).strip().lower()
        if not _NAME.fullmatch(word) or len(word) > NAME_MAX:
            raise _wrong(name, key, "numbers by names of a-z, 0-9 and _")
        found[word] = _float(f"{name}.{word}", number)
    return found


_PARSERS: Mapping[FieldType, Callable[[str, object], Any]] = {
    FieldType.TEXT: _text,
    FieldType.KEYWORD: _keyword,
    FieldType.INT: _int,
    FieldType.FLOAT: _float,
    FieldType.DATE: _date,
    FieldType.FEATURE: _float,
    FieldType.FEATURES: _features,
}


def _wrong(name: str, value: object, wanted: str) -> InvalidInput:
    return InvalidInput(f"{name}: {str(value)[:60]!r} is not {wanted}.", field=name)
