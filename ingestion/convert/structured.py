"""JSON and JSON Lines as text: names beside their values, lists of like records as tables.

Numbers and dates stay as they were written. What nests deeper than headings go is named by its path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ingestion.convert import source
from ingestion.convert.document import (
    BlockPlace,
    ConversionError,
    ConversionLimits,
    Converted,
    TextWriter,
)
from ingestion.convert.encoding import decode_text
from ingestion.convert.sheets import write_rows

MIME = "application/json"
LINES_MIME = "application/x-ndjson"

_COMMENT = re.compile(r"^\s*(?://|/\*)", re.MULTILINE)
_HEADINGS = 3  # levels of names that become headings
_DEPTH = 100
_VALUE = 20_000  # characters: longer values are text of their own
_TITLES = ("title", "name", "subject", "headline")


def is_json(data: bytes) -> bool:
    """Whether all of `data` is one JSON object or list."""
    head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith((b"{", b"[")) or b"\x00" in data[:64]:
        return False
    try:
        _load(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return True


def is_json_lines(data: bytes) -> bool:
    """Whether the first two lines are a JSON object each."""
    lines = data.lstrip(b"\xef\xbb\xbf")[:200_000].split(b"\n")[:3]
    lines = [line for line in lines if line.strip()]
    if len(lines) < 2:
        return False
    try:
        return all(isinstance(_load(line.decode("utf-8")), dict) for line in lines[:2])
    except (ValueError, RecursionError):
        return False


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The values with their names."""
    text, encoding = decode_text(data)
    try:
        value = _load(text)
    except ValueError as error:
        if _COMMENT.search(text):  # settings of programs: JSON in name alone
            return source.convert_as(data, limits, "json")
        at = getattr(error, "lineno", 0)
        raise ConversionError(
            "unreadable",
            f"the JSON is damaged or truncated{f' at line {at:,}' if at else ''}: export it again"
            " and add that",
        ) from error
    except RecursionError as error:
        raise too_deep() from error
    writer = TextWriter(limits)
    _RecordWriter(writer, limits).tell(value)
    canonical, blocks = writer.finish()
    title = ""
    if isinstance(value, dict):
        title = next((str(value[k]) for k in _TITLES if isinstance(value.get(k), str)), "")
    return Converted(
        text=canonical,
        blocks=blocks,
        mime=MIME,
        title=" ".join(title.split())[:200],
        metadata={} if encoding == "utf-8" else {"encoding": encoding},
    )


def convert_lines(data: bytes, limits: ConversionLimits) -> Converted:
    """Each line's record as a paragraph that knows its line; lines that are no JSON as text."""
    text, encoding = decode_text(data)
    writer = TextWriter(limits)
    notice = ""
    kept = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if kept >= limits.rows:
            notice = f"Only the first {limits.rows:,} records were read; split the file to get all of it."
            break
        kept += 1
        try:
            said = _record(_load(line))
        except RecursionError as error:
            raise too_deep() from error
        except ValueError:
            said = line
        writer.add("paragraph", said, place=BlockPlace("line", number, number))
    canonical, blocks = writer.finish()
    return Converted(
        text=canonical,
        blocks=blocks,
        mime=LINES_MIME,
        metadata={} if encoding == "utf-8" else {"encoding": encoding},
        notice=notice,
    )


def too_deep() -> ConversionError:
    return ConversionError(
        "too_large",
        f"the file nests its data more than {_DEPTH} levels deep: export it flatter and add that",
    )


def _load(text: str) -> Any:  # noqa: ANN401 (whatever the file holds)
    # As they are written: no precision is lost, and no number is too long to be read.
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


class _RecordWriter:
    def __init__(self, writer: TextWriter, limits: ConversionLimits) -> None:
        self._writer = writer
        self._limits = limits

    def tell(self, value: Any, *, level: int = 1, path: str = "") -> None:  # noqa: ANN401
        """Write a value: simple members first, then each that holds others under its name."""
        if level > _DEPTH:
            raise too_deep()
        if isinstance(value, list):
            self._list(value, level, path)
            return
        if not isinstance(value, dict):
            self._writer.add("paragraph", _simple(value))
            return
        lines = [f"{name}: {_simple(one)}" for name, one in value.items() if _is_simple(one)]
        self._writer.add("paragraph", "\n".join(line for line in lines if not line.endswith(": ")))
        for name, one in value.items():
            if not _is_simple(one) and one:
                self._named(str(name), one, level, path)

    def _named(self, name: str, value: Any, level: int, path: str) -> None:  # noqa: ANN401
        where = f"{path}.{name}" if path else name
        if level <= _HEADINGS:
            self._writer.heading(level, name)
            self.tell(value, level=level + 1, path=where)
            return
        if level > _DEPTH:
            raise too_deep()
        lines = list(_flat(where, value))
        self._writer.add("paragraph", "\n".join(lines))

    def _list(self, values: list[Any], level: int, path: str) -> None:
        if all(map(_is_simple, values)):
            self._writer.add("list", "\n".join(f"- {said}" for v in values if (said := _simple(v))))
            return
        heads = _columns(values)
        if heads:
            rows = [heads, *([_simple(value.get(name)) for name in heads] for value in values)]
            write_rows(self._writer, enumerate(rows, start=1), level=min(level + 1, 6))
            return
        for number, value in enumerate(values, start=1):
            if isinstance(value, dict) and all(map(_is_simple, value.values())):
                self._writer.add("paragraph", _record(value))
            elif _is_simple(value):
                self._writer.add("paragraph", _simple(value))
            else:
                self._named(_title_of(value) or f"{number}", value, level, path)


def _columns(values: list[Any]) -> list[str]:
    """The names of like records' members; none where the values are not such."""
    names: dict[str, int] = {}
    for value in values:
        if not isinstance(value, dict) or not all(map(_is_simple, value.values())):
            return []
        for name, one in value.items():
            names[str(name)] = names.get(str(name), 0) + 1
            if isinstance(one, str) and (len(one) > 200 or "\n" in one):
                return []
    filled = sum(names.values())
    return list(names) if 1 < len(names) <= 40 and filled >= 0.6 * len(names) * len(values) else []


def _title_of(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, dict):
        return ""
    return next((str(value[k])[:100] for k in _TITLES if isinstance(value.get(k), str)), "")


def _is_simple(value: object) -> bool:
    return not isinstance(value, dict | list)


def _simple(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:_VALUE]


def _record(value: Any) -> str:  # noqa: ANN401
    return "\n".join(_flat("", value)) or _simple(value)


def _flat(path: str, value: Any, depth: int = 0) -> Iterator[str]:  # noqa: ANN401
    """`path: value` for every simple value within, outermost first."""
    if depth > _DEPTH:
        raise too_deep()
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), one, depth + 1)
    elif isinstance(value, list):
        if all(map(_is_simple, value)):
            said = ", ".join(filter(None, map(_simple, value)))
            if said:
                yield f"{path}: {said}" if path else said
        else:
            for number, one in enumerate(value, start=1):
                yield from _flat(f"{path}[{number}]", one, depth + 1)
    elif said := _simple(value):
        yield f"{path}: {said}" if path else said
