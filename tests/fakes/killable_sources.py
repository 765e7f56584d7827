"""A worker that is killed at one of its calls to a source: `python -m tests.fakes.killable_sources`.

Arguments: the data folder, the seed of the world it reads, and the call at which it is killed (0:
never). The world is the same in every process, so that what is left is compared with a run that
nobody disturbed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

from engine.config import load_settings
from engine.runtime import open_engine
from ingestion import host
from ingestion.host import run_worker
from tests.fakes.installations import _inline_pool
from tests.fakes.source_worlds import World, WorldConnector, random_world

PEOPLE = ["ada", "bob", "cyd"]


def world_of(seed: int) -> World:
    return random_world(random.Random(seed), PEOPLE)


async def work(home: Path, seed: int, kill_at: int) -> None:
    """Work until idle, or until the call at which this process ends."""
    vars(host)["open_parsing_pool"] = _inline_pool
    world = world_of(seed)

    def count(world: World) -> None:
        if kill_at and world.calls >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    world.on_call = count
    settings = load_settings(home, None, {"embedding.model": "hashing"}, environ={})
    async with open_engine(settings, connectors={"world": WorldConnector(world)}) as engine:
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
