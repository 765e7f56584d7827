"""How quickly the Slack bot reacts: `python -m benchmarks.slack`.

Signed events are delivered at once to a bot over the fake Slack on loopback, whose desk works beside:
what is measured is ours, not Slack's. `ack` is the time until Slack is acknowledged, which is after
the job is written; `sign` until the eyes stand on the question; `answer` until the reply is posted.
Answers are quoted (no model), with the hashing embedder and SQLite. Every round is kept, with the
load of the machine; the one in the middle counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

from benchmarks.reaction import measure_reaction
from engine.db.migrations import migrate
from tests.fakes.slack import open_slack
from tests.fakes.slack_rooms import SlackRoom, open_slack_room

QUESTION = "How many hours of advanced sick leave can I request?"


def at_share(values: list[float], share: float) -> float:
    return round(1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))], 1)


async def measure(room: SlackRoom, count: int) -> dict[str, object]:
    began: dict[str, float] = {}
    acks: list[float] = []
    signs: dict[str, float] = {}
    answers: dict[str, float] = {}

    def noted(method: str, answer: dict[str, object]) -> None:
        del answer
        args = room.slack.calls[-1][1]
        if method == "reactions.add":
            signs.setdefault(args["timestamp"], time.perf_counter())
        if method == "chat.postMessage" and args.get("thread_ts"):
            answers.setdefault(args["thread_ts"], time.perf_counter())

    room.slack.after = noted

    async def ask(number: int) -> None:
        text = f"{room.mention} {QUESTION}"
        event = room.slack.write(room.team, "C2", "UADA" if number % 2 else "UBOB", text)
        began[event["ts"]] = at = time.perf_counter()
        await room.post(json.dumps(room.slack.envelope(room.team, event)))
        acks.append(time.perf_counter() - at)

    await room.command("UADA", "limits set user 0")
    stop = asyncio.Event()
    working = asyncio.create_task(room.bot.answer_worker.run(stop))
    await asyncio.gather(*(ask(number) for number in range(count)))
    while len(answers) < count:  # noqa: ASYNC110 (the fake tells nobody)
        await asyncio.sleep(0.02)
    stop.set()
    await working
    signed = [signs[ts] - began[ts] for ts in began if ts in signs]
    shown = [answers[ts] - began[ts] for ts in began]
    return {
        "questions_at_once": count,
        "ack_ms_p50": at_share(acks, 0.5),
        "ack_ms_max": at_share(acks, 1),
        "sign_ms_p50": at_share(signed, 0.5),
        "sign_ms_max": at_share(signed, 1),
        "signs": len(signed),
        "answer_ms_p50": at_share(shown, 0.5),
        "answer_ms_max": at_share(shown, 1),
        "load_average": round(os.getloadavg()[0], 1),
    }


async def one_round(count: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        migrate(f"sqlite:///{home / 'scrubjay.db'}")
        async with open_slack() as slack, open_slack_room(home, slack) as room:
            return await measure(room, count)


def main() -> None:
    measure_reaction("slack", one_round, by="ack_ms_max", about=__doc__)


if __name__ == "__main__":
    main()
