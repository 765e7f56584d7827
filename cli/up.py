"""`scrubjay up`: everything on this machine with one command, and a first cited answer.

One process holds the data folder's server lock: it serves, answers, and supervises one worker
child. The first time it loads the sample knowledge base and asks it a question.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cli import render, sample
from cli.supervisor import Supervisor, worker_command
from cli.work import quieter

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.domain import Answer, Principal
    from engine.engine import Engine
    from engine.operations.status import KbStatus

FIRST_ANSWER_S = (
    30.0  # how long the first answer is waited for before the greeting continues without
)


def run(settings: Settings, *, sample: bool = True) -> int:
    """Serve until Ctrl-C; returns 0 after an orderly stop."""
    from engine.telemetry import configure_logging

    # People read this terminal: only what needs them is printed over the greeting.
    configure_logging(level=quieter(settings.system.log_level), style=settings.system.log_format)
    return asyncio.run(_up(settings, with_sample=sample))


async def _up(settings: Settings, *, with_sample: bool) -> int:
    from engine.errors import EngineError
    from engine.locks import hold
    from engine.runtime import open_engine

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
            loop.add_signal_handler(name, stop.set)
    with hold(settings.home, "server", "scrubjay up"):
        async with open_engine(settings) as engine:
            await engine.operations.check_index_home()
            owner = await engine.people.owner()
            try:
                await _run_together(engine, settings, owner, stop, with_sample=with_sample)
            except ExceptionGroup as group:
                ours, other = group.split(EngineError)
                if ours is None or other is not None:
                    raise
                raise ours.exceptions[0] from None
    return 0


async def _run_together(
    engine: Engine, settings: Settings, owner: Principal, stop: asyncio.Event, *, with_sample: bool
) -> None:
    """The server, the worker's supervisor and the greeting, until `stop` or until one fails."""
    from api.keyless import is_same_user
    from cli.serve import serve

    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(engine, settings, ready=ready, stop=stop, keyless=is_same_user))
        address = await ready
        _say(f"\nScrubjay is at {address}\n")
        tasks.create_task(Supervisor(engine, worker_command(settings)).run(stop))
        tasks.create_task(_greet(engine, owner, stop, with_sample=with_sample))
        await stop.wait()
        _say("\nStopping. Nothing is lost: run the command again to continue.")


async def _greet(
    engine: Engine, owner: Principal, stop: asyncio.Event, *, with_sample: bool
) -> None:
    pages = await sample.seed(engine, owner) if with_sample else 0
    owner = await engine.people.owner()  # who may read the sample now
    if pages:
        _say(f"Loading a sample knowledge base: {pages} pages of a real employee handbook.")
        answer = await _first_answer(engine, owner, stop)
        if answer is not None:
            _say(f"\nYou ask:  {sample.QUESTION}\n")
            _say(render.answer(answer).plain)
    _say(_what_next())
    if pages:
        await _follow_vectors(engine, owner, stop)


async def _first_answer(engine: Engine, owner: Principal, stop: asyncio.Event) -> Answer | None:
    """Ask once all pages are searchable by keywords, long before their vectors are done."""
    deadline = time.monotonic() + FIRST_ANSWER_S
    while not stop.is_set() and time.monotonic() < deadline:
        kb = await _sample_status(engine, owner)
        if kb is not None and kb.documents == sum(kb.states.values()):
            return await engine.answers.answer(owner, sample.QUESTION, kb=sample.NAME, door="cli")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.3)
    return None


async def _sample_status(engine: Engine, owner: Principal) -> KbStatus | None:
    status = await engine.operations.status(owner)
    return next((kb for kb in status.knowledge_bases if kb.name == sample.NAME), None)


async def _follow_vectors(engine: Engine, owner: Principal, stop: asyncio.Event) -> None:
    """One line with the progress of the vectors; plain text without a terminal."""
    started = time.monotonic()
    watched = sys.stdout.isatty()
    while not stop.is_set():
        kb = await _sample_status(engine, owner)
        if kb is None or not kb.without_vectors:
            break
        total = sum(kb.states.values())
        done = total - kb.without_vectors
        if watched:
            rate = done / (time.monotonic() - started)
            left = f", about {kb.without_vectors / rate:.0f} s left" if rate > 0.1 else ""
            sys.stdout.write(f"\r\x1b[KEmbedding: {done} of {total} pages{left} ")
            sys.stdout.flush()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.5)
    else:
        return
    clear = "\r\x1b[K" if watched else ""
    _say(f"{clear}All pages are searchable by meaning as well as by keywords.")


NEXT = """
What next?
  ask                     {scrubjay} ask "How many hours can I work in a single day?"
  add your own folder     {scrubjay} add ~/notes --kb notes
  connect your assistant  claude mcp add scrubjay -- {anywhere} mcp

Ctrl-C stops it.
"""


def _what_next() -> str:
    launcher = Path("scrubjay").absolute()  # an assistant starts it from another folder
    if not launcher.is_file():
        return NEXT.format(scrubjay="scrubjay", anywhere="scrubjay")
    return NEXT.format(scrubjay="./scrubjay", anywhere=shlex.quote(str(launcher)))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
