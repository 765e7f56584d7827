"""What the tables look like, for the reference page: names and types, and nothing of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import UniqueConstraint

from engine.db.tables import Base

_TYPES = {
    "String": "text",
    "Text": "text",
    "UtcDateTime": "time",
    "BigInteger": "integer",
    "LargeBinary": "bytes",
}


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """One column; `refers_to` is `table.column`, or empty."""

    name: str
    kind: str
    is_key: bool
    may_be_empty: bool
    refers_to: str


@dataclass(frozen=True, slots=True)
class TableInfo:
    """One table; `unique` holds the sets of columns that no two rows share."""

    name: str
    columns: Sequence[ColumnInfo]
    unique: Sequence[Sequence[str]]


def describe_tables() -> list[TableInfo]:
    """Every table, by name."""
    found = []
    for name, table in sorted(Base.metadata.tables.items()):
        columns = [
            ColumnInfo(
                name=column.name,
                kind=_TYPES.get(type(column.type).__name__, type(column.type).__name__.lower()),
                is_key=column.primary_key,
                may_be_empty=bool(column.nullable),
                refers_to=", ".join(sorted(key.target_fullname for key in column.foreign_keys)),
            )
            for column in table.columns
        ]
        unique = sorted(
            [column.name for column in constraint.columns]
            for constraint in table.constraints
            if isinstance(constraint, UniqueConstraint)
        )
        found.append(TableInfo(name, columns, unique))
    return found
