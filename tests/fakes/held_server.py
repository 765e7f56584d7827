"""`scrubjay up` whose answers stop halfway until the file GATE exists: arguments HOME PORT GATE."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

from cli import up
from engine.answers.ask import Asker
from engine.config import load_settings
from engine.domain import AnswerEvent, Delta

HALF = "The first half of the answer"


def main(home: str, port: str, gate: str) -> int:
    """Serve until told to stop, without the sample."""
    ask = Asker.ask

    async def held(self: Asker, *given: Any, **more: Any) -> AsyncIterator[AnswerEvent]:
        yield Delta(HALF)
        while not await anyio.Path(gate).exists():  # noqa: ASYNC110 (another process makes it)
            await anyio.sleep(0.05)
        async for event in ask(self, *given, **more):
            yield event

    setattr(Asker, "ask", held)  # noqa: B010 (in this process only)
    return up.run(load_settings(Path(home), None, {"server.port": int(port)}), sample=False)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
