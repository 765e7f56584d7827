"""JSON arrays in SQL, the same on SQLite and PostgreSQL: their items as rows, and as bound values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, String, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from engine.db.tables import Json


class json_items(GenericFunction[Any]):  # noqa: N801 (SQLAlchemy's way to name functions)
    """The texts of a JSON array, one a row, in column `value`."""

    name = "json_items"
    inherit_cache = True


@compiles(json_items, "sqlite")
def _json_items_sqlite(element: json_items, compiler: SQLCompiler, **kw: object) -> str:
    return f"json_each({compiler.process(element.clause_expr.element, **kw)})"


@compiles(json_items, "postgresql")
def _json_items_postgresql(element: json_items, compiler: SQLCompiler, **kw: object) -> str:
    return f"jsonb_array_elements_text({compiler.process(element.clause_expr.element, **kw)})"


def text_value(value: str) -> BindParameter[str]:
    return bindparam(None, value, type_=String)


def array_value(values: Collection[str]) -> BindParameter[Any]:
    """The values as one parameter, however many they are."""
    return bindparam(None, sorted(values), type_=Json)


def items_of(array: BindParameter[Any]) -> ColumnElement[str]:
    """The values of such a parameter as rows."""
    return json_items(array).table_valued("value").c.value


def unindexed(column: InstrumentedAttribute[str]) -> ColumnElement[str]:
    """The column as an expression no index serves, for conditions that hold for nearly every row.

    Without statistics SQLite takes any indexed equality for a rare one: it would walk all rows of
    the tenant, or of a document's ACL seek each of a thousand held tokens, where the join starts
    from a few ids.
    """
    return column.concat("")
