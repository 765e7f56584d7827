"""Ingestion on a starved machine: `python -m benchmarks.starved --export DISCORD_EXPORT.zip`.

The handbook of `samples/` (246 pages) and an export of a Discord server are added and ingested by a
worker as `scrubjay worker --until-idle` runs it, beside 20 processes that loop for ever, all of them
tied to one core. Counted are attempts, what was read and embedded against what there was to read and
embed, lines of the log, and in which state all ended. Nothing of the export is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.results import write_results

PAGES = Path(__file__).parents[1] / "samples" / "handbook" / "pages"
COUNTED = "counted.json"


@contextmanager
def loops(count: int) -> Iterator[None]:
    """So many processes that take all the processor they get.

    Each in a session of its own: Linux shares a core among sessions first (sched_autogroup), so that
    the loops of one session would take no more than one program does.
    """
    loop = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(loop, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def work(home: Path) -> int:
    """Be the worker of a data folder until it is idle, and count what is read and embedded."""
    from cli.main import main as scrubjay
    from engine.models.hashing import HashingEmbedder
    from engine.models.local import LocalEmbedder
    from ingestion.parsing import ParsingPool

    read: Counter[str] = Counter()
    embedded: Counter[str] = Counter()
    parse = ParsingPool.parse

    async def counted_parse(self: ParsingPool, data: bytes, name: str, **more: Any) -> Any:
        read[f"{hash(data)}"] += 1
        return await parse(self, data, name, **more)

    def counting(embed: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(self: object, texts: Sequence[str]) -> Any:
            embedded.update(texts)
            return await embed(self, texts)

        return counted

    ParsingPool.parse = counted_parse  # type: ignore[method-assign]
    for kind in (LocalEmbedder, HashingEmbedder):
        setattr(kind, "embed_documents", counting(kind.embed_documents))  # noqa: B010
    try:
        return scrubjay(["worker", "--until-idle"])
    finally:
        counted = {
            "documents_read": sum(read.values()),
            "documents_read_again": sum(read.values()) - len(read),
            "texts_embedded": sum(embedded.values()),
            "texts_embedded_again": sum(embedded.values()) - len(embedded),
        }
        (home / COUNTED).write_text(json.dumps(counted))


async def examine(home: Path) -> dict[str, object]:
    """What the database says at the end."""
    from engine.config import load_settings
    from engine.db.session import open_database
    from engine.db.tables import Chunk, Document, Job, Message

    async with open_database(load_settings(home, environ={}).database_url) as db, db.read() as s:
        states = select(Document.state, Document.vectors, func.count()).group_by(
            Document.state, Document.vectors
        )
        jobs = select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)
        return {
            "documents": {f"{a}, vectors {b}": n for a, b, n in await s.execute(states)},
            "jobs": {f"{kind} {state}": n for kind, state, n in await s.execute(jobs)},
            "messages": await s.scalar(select(func.count()).select_from(Message)),
            "chunks": await s.scalar(select(func.count()).select_from(Chunk)),
            "attempts_beyond_the_first": await s.scalar(
                select(func.coalesce(func.sum(Job.attempts - 1), 0)).where(Job.attempts > 1)
            ),
            "attempts_lost": await s.scalar(select(func.coalesce(func.sum(Job.lost), 0))),
            "errors": sorted(set(await s.scalars(select(Document.error)))),
        }


def run(
    command: Sequence[str], home: Path, log: Path, deadline: float, model: str
) -> tuple[int | None, float]:
    """Exit status (None: stopped at the deadline) and seconds of a command of Scrubjay."""
    environ = os.environ | {"SCRUBJAY_HOME": str(home), "SCRUBJAY_EMBEDDING__MODEL": model}
    started = time.monotonic()
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=out)
        try:
            status: int | None = process.wait(max(1.0, deadline - started))
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
            status = None
    return status, round(time.monotonic() - started, 1)


def measure(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, object]:
    usable = sorted(os.sched_getaffinity(0))
    core = usable[args.core % len(usable)]
    os.sched_setaffinity(0, {core})  # children inherit it
    scrubjay = [sys.executable, "-c", "import sys; from cli.main import main; sys.exit(main())"]
    with tempfile.TemporaryDirectory(prefix="scrubjay-starved-") as folder:
        home, log = Path(folder) / "home", Path(folder) / "log"
        deadline = time.monotonic() + args.minutes * 60
        steps: dict[str, object] = {}
        with loops(args.loops):
            for name, command in {
                "add_pages": [*scrubjay, "add", str(PAGES), "--kb", "handbook", "--no-wait"],
                "add_export": [*scrubjay, "add", str(args.export), "--kb", "chat", "--no-wait"],
                "work": [sys.executable, "-m", "benchmarks.starved", "--work", str(home)],
            }.items():
                status, seconds = run(command, home, log, deadline, args.model)
                steps[name] = {"exit": status, "seconds": seconds}
                say(f"{name}: exit {status} after {seconds} s")
            load = os.getloadavg()[0]
        os.sched_setaffinity(0, set(usable))
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        if args.keep_log:
            args.keep_log.write_text("\n".join(lines))
        counted = home / COUNTED
        return {
            "loops": args.loops,
            "model": args.model,
            "steps": steps,
            "load_average_at_the_end": round(load, 1),
            "log_lines": len(lines),
            **(json.loads(counted.read_text()) if counted.exists() else {}),
            **asyncio.run(examine(home)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export", type=Path, help="a Discord export")
    parser.add_argument("--core", type=int, default=0, help="which of the usable cores")
    parser.add_argument("--loops", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=45, help="then it is stopped")
    parser.add_argument("--model", default="minilm", help="minilm or hashing")
    parser.add_argument("--keep-log", type=Path)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        sys.exit(work(args.work))
    if args.export is None:
        parser.error("give --export")
    found = measure(args, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(found, indent=2))
    write_results("starved", {args.model: found})


if __name__ == "__main__":
    main()
