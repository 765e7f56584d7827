"""A process that reads channels of a fake platform until nothing is left: one to be killed.

    python -m tests.fakes.killable_backfill DATABASE_URL BLOBS PLATFORM_URL [slack | discord]

It claims jobs as a worker does, and takes over what a killed one had.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from engine.blobs.folder import FolderBlobs
from engine.db.session import Database, open_database
from engine.errors import Unavailable
from engine.jobs import backlog, claims, endings, leases
from engine.limits import SqlLimits
from ingestion.channel_jobs import channel_handlers
from ingestion.sources.discord import DiscordReader
from ingestion.sources.discord_rest import DiscordAccess
from ingestion.sources.reader import Reader
from ingestion.sources.slack import SlackAccess, SlackReader
from tests.fakes import discord, slack_web

LEASE_S = 300.0  # longer than any page takes
PAUSE_S = 0.05
AWAY_S = 0.5  # after a platform that is away


def reader_of(platform: str, url: str, db: Database) -> Reader:
    """The reader of a platform, with what gets it in."""

    async def slack(_: Any) -> SlackAccess:
        return SlackAccess(slack_web.TOKEN, url, timeout_s=60)

    async def discord_(_: Any) -> DiscordAccess:
        return DiscordAccess(discord.TOKEN, url, timeout_s=60)

    limits = SqlLimits(db)
    return SlackReader(slack, limits) if platform == "slack" else DiscordReader(discord_, limits)


async def work(url: str, blobs: Path, platform_url: str, platform: str) -> None:
    """Until no job of channels is queued or running."""
    async with open_database(url) as db:
        readers = {platform: reader_of(platform, platform_url, db)}
        handlers = channel_handlers(db, FolderBlobs(blobs), readers)
        kinds = list(handlers)
        await leases.take_over_all(db)  # the lease of one that was killed is over
        while await backlog.next_due_at(db, kinds) is not None:
            await leases.take_back_lapsed(db)
            for job in await claims.claim(db, "killable", kinds=kinds, lease_s=LEASE_S):
                try:
                    ended = await handlers[job.kind].run(job)
                except Unavailable:
                    await asyncio.sleep(AWAY_S)
                    await leases.take_over_all(db)  # its lease is over, and it is taken up again
                    continue
                if not ended:
                    async with db.write() as session:
                        await endings.finish(session, job)
            await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    chosen = sys.argv[4] if len(sys.argv) > 4 else "slack"
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), sys.argv[3], chosen))
