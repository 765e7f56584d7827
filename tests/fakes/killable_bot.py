"""A bot process that kills itself right after a named call of Slack's API returned.

`python -m tests.fakes.killable_bot HOME BASE_URL METHOD`: with a METHOD it is killed by the first such
call, without one it works until nothing is left. The product has no hook for it: the API's one method
is wrapped in this process only.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bots.slack import streaming
from bots.slack.bot import open_slack_bot
from bots.slack.client import SlackApi
from engine.models.port import Completion
from tests.fakes.installations import open_installation
from tests.fakes.library import ScriptedModel

WRITTEN = "You can request up to 240 hours of advanced sick leave [1]. Ask for it early [1]. "
LEASE_S = 300.0  # longer than any answer takes; a test ends the leases of those it killed


MORE = "Advanced sick leave is up to 240 hours [1]."  # sentences are shown one by one, once checked


class SlowModel(ScriptedModel):
    """Writes the same answer whenever it is asked, a piece at a time."""

    async def stream(
        self, system: str, prompt: str, *, max_tokens: int = 1024
    ) -> AsyncIterator[str | Completion]:
        """Pieces with pauses between them."""
        self.replies = [f"{WRITTEN} {MORE}"]
        async for piece in super().stream(system, prompt, max_tokens=max_tokens):
            await asyncio.sleep(0.01)
            yield piece


def arm(method: str) -> None:
    """Let the first call of `method` be this process's last."""
    call = SlackApi.call

    async def fatal(self: SlackApi, token: str, called: str, **arguments: Any) -> dict[str, Any]:
        answer = await call(self, token, called, **arguments)
        if called == method:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(SlackApi, "call", fatal)  # noqa: B010 (in this process only)


async def work(home: Path, base_url: str, method: str) -> None:
    """Answer what waits."""
    if method:
        arm(method)
    streaming.FLUSH_S = streaming.UPDATE_S = 0.0
    settings = {"slack.api_base_url": base_url, "jobs.lease_s": LEASE_S}
    async with open_installation(home, settings) as notes, open_slack_bot(notes.engine) as bot:
        setattr(notes.engine.answers._asker, "_model", SlowModel())  # noqa: B010 (there is no other seam)
        await bot.answer_worker.run(asyncio.Event(), until_idle=True)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
