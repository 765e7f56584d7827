"""A process that reads channels of the fake Slack until nothing is left: one to be killed.

    python -m tests.fakes.killable_backfill DATABASE_URL BLOBS SLACK_URL

It claims jobs as a worker does, and takes over what a killed one had.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from engine import jobs
from engine.blobs import FolderBlobs
from engine.db.session import open_database
from engine.limits import SqlLimits
from ingestion.channel_jobs import channel_handlers
from ingestion.sources.slack import SlackAccess, SlackReader
from tests.fakes.slack_web import TOKEN

LEASE_S = 0.5
PAUSE_S = 0.05


async def work(url: str, blobs: Path, slack_url: str) -> None:
    """Until no job of channels is queued or running."""

    async def access_of(_: Any) -> SlackAccess:
        return SlackAccess(TOKEN, slack_url, timeout_s=5)

    async with open_database(url) as db:
        reader = SlackReader(access_of, SqlLimits(db))
        handlers = channel_handlers(db, FolderBlobs(blobs), {"slack": reader})
        kinds = list(handlers)
        while await jobs.next_due_at(db, kinds) is not None:
            await jobs.take_back_lapsed(db)
            for job in await jobs.claim(db, "killable", kinds=kinds, lease_s=LEASE_S):
                if not await handlers[job.kind].run(job):
                    async with db.write() as session:
                        await jobs.finish(session, job)
            await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
