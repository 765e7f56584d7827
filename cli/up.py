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
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli import render, sample
from cli.supervisor import Supervisor, worker_command
from cli.work import quieter

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.documents.documents import DocumentInfo
    from engine.domain import Answer, Principal
    from engine.engine import Engine
    from engine.operations.status import KbStatus

FIRST_ANSWER_S = 120.0  # how long the first answer is waited for: the machine may be a busy one
TELL_S = 5.0  # between two lines about what it waits for


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
    from ingestion.connectors.kinds import open_connectors

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
            loop.add_signal_handler(name, stop.set)
    with hold(settings.home, "server", "scrubjay up"):
        async with open_engine(settings, connectors=open_connectors()) as engine:
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
        if await engine.people.sign_in.needs_owner():
            link = await engine.people.sign_in.make_owner_link(owner)
            _say(
                f"To sign in with a password, open this once within an hour:\n{address}/welcome#{link}\n"
            )
        tasks.create_task(Supervisor(engine, worker_command(settings)).run(stop))
        tasks.create_task(_greet(engine, owner, stop, with_sample=with_sample))
        await stop.wait()
        _say("\nStopping. Nothing is lost: run the command again to continue.")


async def _greet(
    engine: Engine, owner: Principal, stop: asyncio.Event, *, with_sample: bool
) -> None:
    begun = await sample.begin(engine, owner) if with_sample else None
    if begun is None:
        _say(_what_next())
        return
    owner = await engine.people.owner()  # who may read the sample now
    _say(f"Loading a sample knowledge base: {begun.pages} pages of a real employee handbook.")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sample.finish(engine, begun))
        answer = await _first_answer(engine, owner, begun.first, stop)
        if answer is not None:
            _say(f"\nYou ask:  {sample.QUESTION}\n")
            _say(render.answer(answer).plain)
        _say(_what_next())
    await _follow_vectors(engine, owner, stop)


async def _first_answer(
    engine: Engine, owner: Principal, document_ids: Sequence[str], stop: asyncio.Event
) -> Answer | None:
    """Ask once the pages that answer are searchable, which are read first."""
    started = told_at = time.monotonic()
    while not stop.is_set() and time.monotonic() - started < FIRST_ANSWER_S:
        pages = [await engine.documents.get(owner, id_) for id_ in document_ids]
        if all(page.state == "ready" for page in pages):
            return await engine.answers.answer(owner, sample.QUESTION, kb=sample.NAME, door="cli")
        if time.monotonic() - told_at > TELL_S:
            told_at = time.monotonic()
            _say(await _awaited(engine, owner, pages))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.3)
    if not stop.is_set():
        _say(
            f"The first answer takes longer than {FIRST_ANSWER_S:.0f} s; the pages are still read."
        )
    return None


async def _awaited(engine: Engine, owner: Principal, pages: Sequence[DocumentInfo]) -> str:
    """What the first answer waits for, in a sentence."""
    status = await engine.operations.status(owner)
    if failed := [page for page in pages if page.state == "failed"]:
        return f"The page with the first answer can't be read: {failed[0].error}"
    if not status.workers:
        return "Waiting for the worker, which reads the pages, to start."
    if all(page.state == "pending" for page in pages):
        return "Waiting for the worker to begin with the pages."
    done = min(page.progress for page in pages)
    return f"Reading the page with the first answer: {max(done, 0):.0%} done."


async def _sample_status(engine: Engine, owner: Principal) -> KbStatus | None:
    status = await engine.operations.status(owner)
    return next((kb for kb in status.knowledge_bases if kb.name == sample.NAME), None)


async def _follow_vectors(engine: Engine, owner: Principal, stop: asyncio.Event) -> None:
    """One line with the progress of the vectors; plain text without a terminal."""
    started = time.monotonic()
    watched = sys.stdout.isatty()
    while not stop.is_set():
        kb = await _sample_status(engine, owner)
        if kb is None or not (waiting := kb.waiting):
            break
        total = sum(kb.states.values())
        done = total - waiting
        if watched:
            rate = done / (time.monotonic() - started)
            left = f", about {waiting / rate:.0f} s left" if rate > 0.1 else ""
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
