"""A worker process that kills itself, and if asked the server above it, at a named moment.

`python -m tests.fakes.killable_worker HOME STATE NTH VICTIM`: the n-th time STATE has just been
reached, VICTIM (worker, server, both) gets SIGKILL. This happens once a home: a marker beside it says
that it did, and workers after that run undisturbed. The product has no hooks for it: public seams
are wrapped in this process only.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio

from cli import work
from engine.config import load_settings
from engine.db.session import Database
from engine.documents import revisions
from engine.index.embedded import EmbeddedIndex
from engine.jobs import claims
from engine.models.hashing import HashingEmbedder
from ingestion.parsing import ParsingPool

STATES = ("claimed", "parsed", "fed", "switching", "switched", "cleaned")
VICTIMS = ("worker", "server", "both")
SLOW_S = 0.02  # a text, as a small machine embeds

Call = Callable[..., Awaitable[Any]]


def marker_of(home: Path, number: int) -> Path:
    """The file that says that kill `number` has happened."""
    return home.with_name(f"{home.name}.kill-{number}")


class Executioner:
    """Counts how often the state was reached, and strikes at the n-th time."""

    def __init__(self, marker: Path, nth: int, victim: str) -> None:
        self._marker = marker
        self._left = nth
        self._victim = victim

    def reached(self, times: int = 1) -> None:
        """The state was reached; does not return where that was the time."""
        if self._left <= 0:
            return
        self._left -= times
        if self._left > 0:
            return
        try:
            os.close(os.open(self._marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return
        if self._victim in {"server", "both"}:
            os.kill(os.getppid(), signal.SIGKILL)
        if self._victim in {"worker", "both"}:
            os.kill(os.getpid(), signal.SIGKILL)


def after(call: Call, reached: Callable[[Any], None]) -> Call:
    """`call`, which tells what came of it before whoever called gets it."""

    async def wrapped(*args: Any, **named: Any) -> Any:
        result = await call(*args, **named)
        reached(result)
        return result

    return wrapped


def arm(state: str, strike: Executioner) -> None:
    """Wrap the seam where `state` is reached."""
    if state == "switched":
        _arm_switched(strike)
        return
    seams: dict[str, tuple[object, str]] = {
        "claimed": (claims, "claim"),
        "parsed": (ParsingPool, "parse"),
        "fed": (EmbeddedIndex, "feed"),
        "switching": (revisions, "make_live"),  # inside the transaction, before it commits
        "cleaned": (EmbeddedIndex, "remove"),
    }
    owner, name = seams[state]

    def reached(result: object) -> None:
        strike.reached(len(result) if isinstance(result, list) else 1)  # a claim may find none

    setattr(owner, name, after(getattr(owner, name), reached))


def _arm_switched(strike: Executioner) -> None:
    """A switch counts once its transaction has committed."""
    switches = [0]
    make_live, run_write = revisions.make_live, Database.run_write

    async def noting(*args: Any, **named: Any) -> None:
        await make_live(*args, **named)
        switches[0] += 1

    async def committing(self: Database, use_case: Callable[..., Any]) -> Any:
        before = switches[0]
        result = await run_write(self, use_case)
        if switches[0] > before:
            strike.reached(switches[0] - before)
        return result

    setattr(revisions, "make_live", noting)  # noqa: B010 (in this process only)
    setattr(Database, "run_write", committing)  # noqa: B010


def slow_down() -> None:
    """Let the embedder take its time, so that there is something to interrupt."""
    embed = HashingEmbedder.embed_documents

    async def slowly(self: HashingEmbedder, texts: Any) -> Any:
        await anyio.sleep(SLOW_S * len(texts))
        return await embed(self, texts)

    setattr(HashingEmbedder, "embed_documents", slowly)  # noqa: B010


def main(home: Path, state: str, nth: int, victim: str, number: int) -> int:
    """Work until idle, unless killed."""
    slow_down()
    marker = marker_of(home, number)
    if state and not marker.exists():
        arm(state, Executioner(marker, nth, victim))
    return work.run(load_settings(home), until_idle=True, child=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
