"""Whether what a database holds would be taken by PostgreSQL too, whichever it is."""

from __future__ import annotations

import json

from sqlalchemy import select

from engine.db.session import Database
from engine.db.tables import Base


async def unstorable(database: Database) -> list[str]:
    """Columns with a text that is too long for them, or has NUL or half of a surrogate pair in it."""
    found: list[str] = []
    async with database.read() as session:
        for table in Base.metadata.sorted_tables:
            columns = list(table.columns)
            for row in (await session.execute(select(*columns))).all():
                for column, value in zip(columns, row, strict=True):
                    found += [
                        f"{table.name}.{column.name}: {fault}"
                        for fault in _faults(value, getattr(column.type, "length", None))
                    ]
    return found


def _faults(value: object, length: int | None) -> list[str]:
    if not isinstance(value, str | dict | list):
        return []
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    faults = []
    if isinstance(value, str) and length is not None and len(value) > length:
        faults.append(f"{len(value)} characters of {length}")
    if "\x00" in text or (not isinstance(value, str) and "\\u0000" in text):
        faults.append("NUL")
    if any("\ud800" <= character <= "\udfff" for character in text):
        faults.append("a surrogate")
    return faults
