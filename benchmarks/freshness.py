"""How soon what is said in Slack is found: `python -m benchmarks.freshness [--messages 40]`.

People write in a channel whose history is kept, one message every one to three seconds, every third
a reply in a thread. The clock of a message runs from the moment its signed event arrives at the bot
(the fake Slack on loopback) until a search, as people search, returns it. Beside the bot works
`scrubjay worker` with MiniLM, warm; the database is SQLite. What is measured is ours, not Slack's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from pathlib import Path

from benchmarks.results import write_results
from benchmarks.slack import at_share
from benchmarks.workers import running_worker
from engine.db.migrations import migrate
from tests.fakes.slack import open_slack
from tests.fakes.slack_rooms import SlackRoom, open_slack_room

CHANNEL = "C1"
PAUSE_S = (1.0, 3.0)  # between messages
LOOK_AGAIN_S = 0.05
LONGEST_S = 60.0
CONFIG = '[embedding]\nmodel = "minilm"\n'


async def until_found(room: SlackRoom, word: str) -> None:
    """Search for the word until a passage with it is among the hits."""
    async with asyncio.timeout(LONGEST_S):
        while True:
            result = await room.notes.engine.search.find(room.notes.owner, word, kb="notes")
            if any(word in passage.text for hit in result.hits for passage in hit.passages):
                return
            await asyncio.sleep(LOOK_AGAIN_S)


async def say(room: SlackRoom, word: str, thread: str) -> tuple[float, str]:
    """One message; the moment its event was there, and its timestamp on Slack."""
    text = f"The part called {word} lies on the second shelf of the workshop."
    more = {"thread_ts": thread} if thread else {}
    event = room.slack.write(room.team, CHANNEL, "UBOB", text, **more)
    at = time.perf_counter()
    answer = await room.event(event)
    if answer.status != 200:
        raise RuntimeError(f"the bot answered {answer.status}")
    return at, str(event["ts"])


async def measure(room: SlackRoom, count: int) -> dict[str, object]:
    drawn = random.Random(7)
    acks: list[float] = []
    waits: list[float] = []
    loads: list[float] = []

    async def follow(word: str, at: float) -> None:
        await until_found(room, word)
        waits.append(time.perf_counter() - at)

    await room.command("UADA", f"bind <#{CHANNEL}> notes", channel=CHANNEL)
    await room.command("UADA", f"ingest add <#{CHANNEL}>", channel=CHANNEL)
    room.notes.owner = (
        await room.notes.engine.people.owner()
    )  # who is Ada, and in the channel by now
    await say(room, "zyxwarm", "")
    await until_found(room, "zyxwarm")
    root = ""
    async with asyncio.TaskGroup() as following:
        for number in range(count):
            word = f"zyxpart{number}"
            at, ts = await say(room, word, root if number % 3 == 2 else "")
            acks.append(time.perf_counter() - at)
            following.create_task(follow(word, at))
            root = ts if number % 3 == 0 else root
            loads.append(os.getloadavg()[0])
            await asyncio.sleep(drawn.uniform(*PAUSE_S))
    return {
        "messages": count,
        "found_s_p50": round(at_share(waits, 0.5) / 1000, 2),
        "found_s_p95": round(at_share(waits, 0.95) / 1000, 2),
        "found_s_max": round(max(waits), 2),
        "ack_ms_p50": at_share(acks, 0.5),
        "ack_ms_max": at_share(acks, 1),
        "found_s": [round(wait, 2) for wait in waits],
        "load": round(max(loads), 1),
    }


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        config = Path(folder) / "bench.toml"
        config.write_text(CONFIG, encoding="utf-8")
        migrate(f"sqlite:///{home / 'scrubjay.db'}")
        minilm = {"embedding.model": "minilm"}
        async with (
            open_slack() as slack,
            open_slack_room(home, slack, **minilm) as room,
            running_worker(home, config),
        ):
            found = await measure(room, count)
    print(json.dumps(found))
    print(write_results("freshness", {"channel": found}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=40)
    asyncio.run(main(parser.parse_args().messages))
