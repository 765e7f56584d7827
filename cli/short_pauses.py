"""Keeps the garbage collector from stopping a server: what it will hold for ever is looked at once.

A full collection walks every object of the process, with everything else standing still: some
hundred milliseconds for what the libraries alone bring. What is there when the server starts, or when
a library was loaded later, stays until it ends; `gc.freeze` takes it out of further collections.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

OLDEST = 2  # the generation of a full collection
LONG_S = 0.02  # of processor time; a shorter collection finds little that stays
FREEZES = 8  # after the first: libraries that a first question loads, and no leak without end


@contextmanager
def short_pauses() -> Iterator[None]:
    """In this block full collections are short, but for the one at its start and a few early ones."""
    left, started_s = FREEZES, 0.0

    def note(phase: str, info: Mapping[str, int]) -> None:
        nonlocal left, started_s
        if info["generation"] != OLDEST:
            return
        if phase == "start":
            started_s = time.thread_time()
        elif time.thread_time() - started_s > LONG_S and left:
            left -= 1
            gc.freeze()

    gc.collect()
    gc.freeze()
    gc.callbacks.append(note)
    try:
        yield
    finally:
        gc.callbacks.remove(note)
        gc.unfreeze()
