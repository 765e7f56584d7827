"""How far a reader is: readers report, their caller may listen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int, int], None]  # pages done, of how many

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Let `listener` get what readers report in here."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell_pages(done: int, total: int) -> None:
    """Say that so many pages are read; costs next to nothing where nobody listens."""
    listener = _listener.get()
    if listener is not None:
        listener(done, total)
