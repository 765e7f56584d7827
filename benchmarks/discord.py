"""How quickly the Discord bot reacts: `python -m benchmarks.discord`.

Interactions and mentions are told at once to a bot that holds the fake Discord's gateway on loopback:
what is measured is ours, not Discord's. `defer` is the time until an interaction is deferred, which
Discord waits three seconds for; `private` until its answer stands in place of "thinking"; `sign` until
the eyes stand on a mention, `answer` until its reply is posted. Answers are quoted (no model), with the
hashing embedder and SQLite. Every round is kept, with the load of the machine; the one in the middle
counts.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.reaction import measure_reaction
from benchmarks.slack import at_share
from engine.db.migrations import migrate
from tests.fakes.discord import Interaction, open_discord
from tests.fakes.discord_rooms import ADA, BOB, HELP, DiscordRoom, open_discord_room

QUESTION = "How many hours of advanced sick leave can I request?"


async def measure(room: DiscordRoom, count: int) -> dict[str, object]:
    stop = asyncio.Event()
    working = asyncio.create_task(room.bot.answer_worker.run(stop))
    try:
        measured = await _interactions(room, count) | await _mentions(room, count)
    finally:
        stop.set()
        await working
    return {"at_once": count, **measured, "load_average": round(os.getloadavg()[0], 1)}


async def _interactions(room: DiscordRoom, count: int) -> dict[str, object]:
    deferred: dict[str, float] = {}
    answered: dict[str, float] = {}
    fake: Any = room.discord.interactions
    respond, rewrite = fake._answer, fake._rewrite

    def note_answer(found: Interaction, *rest: Any) -> None:
        deferred.setdefault(found.token, time.perf_counter())
        respond(found, *rest)

    def note_rewrite(found: Interaction, *rest: Any) -> Any:
        answered[found.token] = time.perf_counter()
        return rewrite(found, *rest)

    fake._answer, fake._rewrite = note_answer, note_rewrite
    began: dict[str, float] = {}
    for number in range(count):
        used = fake.slash(ADA if number % 2 else BOB, HELP, "ask", question=QUESTION)
        began[used.token] = time.perf_counter()
    await room.discord.until(lambda: all(fake.all[token].is_done for token in began), 60)
    fake._answer, fake._rewrite = respond, rewrite
    defers = [deferred[token] - at for token, at in began.items()]
    shown = [answered[token] - at for token, at in began.items()]
    return {
        "defer_ms_p50": at_share(defers, 0.5),
        "defer_ms_max": at_share(defers, 1),
        "private_ms_p50": at_share(shown, 0.5),
        "private_ms_max": at_share(shown, 1),
    }


async def _mentions(room: DiscordRoom, count: int) -> dict[str, object]:
    signs: dict[str, float] = {}
    answers: dict[str, float] = {}
    fake: Any = room.discord
    react, keep = fake.talk.react, fake.world.keep

    def note_react(channel: str, message: str, *rest: Any) -> None:
        signs.setdefault(message, time.perf_counter())
        react(channel, message, *rest)

    def note_keep(message: dict[str, Any]) -> dict[str, Any]:
        if message["author"]["id"] == fake.bot_id and message["type"] == 0:
            answers.setdefault(message["channel_id"], time.perf_counter())
        return dict(keep(message))

    fake.talk.react, fake.world.keep = note_react, note_keep
    began: dict[str, float] = {}
    for number in range(count):
        text = f"{room.mention} {QUESTION}"
        message = fake.talk.say(HELP, ADA if number % 2 else BOB, text)
        began[message["id"]] = time.perf_counter()
    await room.discord.until(lambda: all(id_ in answers for id_ in began), 60)
    signed = [signs[id_] - at for id_, at in began.items() if id_ in signs]
    shown = [answers[id_] - at for id_, at in began.items()]
    return {
        "sign_ms_p50": at_share(signed, 0.5),
        "sign_ms_max": at_share(signed, 1),
        "signs": len(signed),
        "answer_ms_p50": at_share(shown, 0.5),
        "answer_ms_max": at_share(shown, 1),
    }


async def one_round(count: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        migrate(f"sqlite:///{home / 'scrubjay.db'}")
        limits = {f"bots.questions_per_{whose}": 0 for whose in ("person", "channel", "tenant")}
        async with open_discord() as fake, open_discord_room(home, fake, **limits) as room:
            return await measure(room, count)


def main() -> None:
    measure_reaction("discord", one_round, by="defer_ms_max", about=__doc__)


if __name__ == "__main__":
    main()
