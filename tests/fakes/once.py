"""One cache of compiled statements for all engines of a test process.

SQLAlchemy keeps what it has compiled with each engine, by dialect object. A process of Scrubjay
opens its engines once; tests open a few for each test, and compiling the same statements again
took half of the suite's processor time.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine.base import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

KEPT = 3_000  # statements; the suite has about half as many


def share_compiled_statements() -> None:
    """Let the engines of a dialect and server version use one cache from now on."""
    caches: dict[object, LRUCache[Any, Any]] = {}
    make_engine = Engine.__init__

    def make(self: Engine, *args: Any, **options: Any) -> None:
        make_engine(self, *args, **options)
        cache = caches.setdefault(type(self.dialect), LRUCache(KEPT))
        self._compiled_cache = cache

    def same(one: DefaultDialect, other: object) -> bool:
        return isinstance(other, DefaultDialect) and _kind(one) == _kind(other)

    # The dialect is part of each statement's key: those of one kind compile alike.
    Engine.__init__ = make  # type: ignore[method-assign]
    DefaultDialect.__eq__ = same  # type: ignore[method-assign,assignment]
    DefaultDialect.__hash__ = lambda one: hash(type(one))  # type: ignore[method-assign,assignment]


def _kind(dialect: DefaultDialect) -> tuple[object, ...]:
    return (type(dialect), getattr(dialect, "server_version_info", None))
