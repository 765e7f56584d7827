"""What a process of Scrubjay does once, and tests would do for each engine they open.

A process opens its engine once; tests open one or two each. Together these took half of the suite's
processor time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import httpcore2
from sqlalchemy.engine.base import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

KEPT = 3_000  # statements; the suite has about half as many


def share() -> None:
    """Do it once for all engines that this process opens from now on."""
    _share_compiled_statements()
    # Reading the system's certificates takes longer than most requests; a client does it when made.
    httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)


def _share_compiled_statements() -> None:
    """Let the engines of a dialect and server version use one cache.

    SQLAlchemy keeps what it has compiled with each engine, by dialect object.
    """
    caches: dict[object, LRUCache[Any, Any]] = {}
    make_engine = Engine.__init__

    def make(self: Engine, *args: Any, **options: Any) -> None:
        make_engine(self, *args, **options)
        self._compiled_cache = caches.setdefault(type(self.dialect), LRUCache(KEPT))

    def same(one: DefaultDialect, other: object) -> bool:
        return isinstance(other, DefaultDialect) and _kind(one) == _kind(other)

    # The dialect is part of each statement's key: those of one kind compile alike.
    Engine.__init__ = make  # type: ignore[method-assign]
    DefaultDialect.__eq__ = same  # type: ignore[method-assign,assignment]
    DefaultDialect.__hash__ = lambda one: hash(type(one))  # type: ignore[method-assign,assignment]


def _kind(dialect: DefaultDialect) -> tuple[object, ...]:
    return (type(dialect), getattr(dialect, "server_version_info", None))
