"""Blocking calls in threads; those of a probe in threads of its own.

`run_sync` is anyio's, with one thing more: inside `of_limiter` it takes its thread from that
limiter, so that a probe waits for no thread that searches and uploads have taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_limiter: ContextVar[anyio.CapacityLimiter | None] = ContextVar("thread_limiter", default=None)


@contextmanager
def of_limiter(limiter: anyio.CapacityLimiter) -> Iterator[None]:
    """Take threads from `limiter` in this block, whatever it calls."""
    token = _limiter.set(limiter)
    try:
        yield
    finally:
        _limiter.reset(token)


async def run_sync(
    work: Callable[[*Ts], T], *args: *Ts, limiter: anyio.CapacityLimiter | None = None
) -> T:
    """The result of `work(*args)`; of threads from `limiter`, unless a block has its own."""
    return await anyio.to_thread.run_sync(work, *args, limiter=_limiter.get() or limiter)
