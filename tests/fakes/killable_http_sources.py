"""A worker that is killed at one of its calls to a web service: `python -m tests.fakes.killable_http_sources`.

Arguments: the data folder, and the call at which it is killed (0: never). It reads with the connectors
that ship; the service is the test's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from engine.config import load_settings
from engine.runtime import open_engine
from engine.sources.http import ConnectorHttp
from ingestion import host
from ingestion.connectors.kinds import open_connectors
from ingestion.host import run_worker
from tests.fakes.installations import _inline_pool


async def work(home: Path, kill_at: int) -> None:
    """Work until idle, or until the call at which this process ends."""
    vars(host)["open_parsing_pool"] = _inline_pool
    calls = 0
    request = ConnectorHttp.request

    async def counted(http: ConnectorHttp, *arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if kill_at and calls >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return await request(http, *arguments, **more)

    ConnectorHttp.request = counted  # type: ignore[method-assign, assignment]
    chosen = {"embedding.model": "hashing", "processing.allow_private_urls": True}
    connectors = open_connectors()
    for one in connectors.values():
        type(one).rate_per_s = 0.0
    settings = load_settings(home, None, chosen, environ={})
    async with open_engine(settings, connectors=connectors) as engine:
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2])))
