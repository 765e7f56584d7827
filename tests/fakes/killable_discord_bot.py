"""A Discord bot's process that kills itself right after a named call of Discord's REST returned.

`python -m tests.fakes.killable_discord_bot HOME API_URL GATEWAY_URL CALL`: with a CALL ("POST
channels/.*/messages 2") it is killed by the second such call that was answered, without one it works
until nothing is left. It holds no gateway: a question is answered by any process. The product has no hook for it.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from bots.discord import streaming
from bots.discord.bot import open_discord_bot
from bots.discord.rest import DiscordApi
from tests.fakes.discord import TOKEN
from tests.fakes.installations import open_installation
from tests.fakes.killable_bot import LEASE_S, SlowModel


def arm(wanted: str) -> None:
    """Let a call be this process's last: method, pattern of the path, and the how-manieth it is."""
    call = DiscordApi.call
    method, pattern, nth = wanted.split()
    left = int(nth)

    async def fatal(self: DiscordApi, called: str, path: str, *args: Any, **more: Any) -> Any:
        nonlocal left
        answer = await call(self, called, path, *args, **more)
        if called == method and re.fullmatch(pattern, path):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(DiscordApi, "call", fatal)  # noqa: B010 (in this process only)


async def work(home: Path, api_url: str, gateway_url: str, wanted: str) -> None:
    """Answer what waits."""
    if wanted:
        arm(wanted)
    streaming.EDIT_S = 0.0
    settings = {
        "discord.bot_token": TOKEN,
        "discord.api_base_url": api_url,
        "discord.gateway_url": gateway_url,
        "jobs.lease_s": LEASE_S,
    }
    async with open_installation(home, settings) as notes, open_discord_bot(notes.engine) as bot:
        setattr(notes.engine.answers._asker, "_model", SlowModel())  # noqa: B010 (there is no other seam)
        await bot.answer_worker.run(asyncio.Event(), until_idle=True)


if __name__ == "__main__":
    _, folder, api, gateway, *named = sys.argv
    asyncio.run(work(Path(folder), api, gateway, named[0] if named else ""))
