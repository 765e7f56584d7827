"""Reads untrusted files in warm child processes: bounded time, memory and output.

The flow's Parser and Splitter call it. A child that dies, hangs or answers nonsense costs the one
document it had; the pool starts another. Children are started when first needed, leave when idle,
and end at once when this process does. What they may do is in `sandbox.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import logging
import os
import signal
import struct
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import anyio.to_thread

from engine.errors import DocumentError, Unavailable
from ingestion import chunking
from ingestion.chunking import Chunking, Span
from ingestion.contexts import TokenOffsets
from ingestion.convert import document as documents
from ingestion.convert.document import ConversionLimits, Converted
from ingestion.convert.ocr import is_installed
from ingestion.parsing_frames import HEAD_MAX, LENGTHS, Frame, pack_frame, parse_head
from ingestion.patience import within

log = logging.getLogger(__name__)

START_LIMIT_S = 30.0  # of time it could use: it takes about one
LONG_S = 4.0  # a file that takes longer gets a second child beside it, once a pool
PATIENCE = 5  # with the reading of pictures, which takes seconds a page on an idle machine
OCR_MEMORY_BYTES = 2 << 30  # what a page of 200 dots an inch takes, and as much again
CHILD_FROM_CHARS = 100_000  # a shorter document is cut before it could be sent there and back
HERE_UNDER_BYTES = 20_000
_ROOT = Path(__file__).resolve().parents[1]

_MESSAGES = {
    "too_large": "reading the file took more memory than one file may have: split it into smaller"
    " files and add those",
    "unreadable": "the file is damaged or uses something Scrubjay can't read: open it in its own"
    " program, save it again and add that",
    "sandbox": "the reader of this type of file needed something that its sandbox refuses: this is a"
    " fault of Scrubjay, not of the file; please report it with the log",
    "timeout": "reading the file took more than {timeout_s:g} s: split it into smaller files, or"
    " raise the limit in the settings",
}


Report = Callable[[int, int], None]  # pages read, of how many


class ParsingPool:
    """At most `size` children; `parse` and `split` wait for a free one.

    With the `ocr` extra (`ocr` None asks whether it is there), one more reads what is pictures.
    """

    def __init__(
        self,
        *,
        size: int = 1,
        timeout_s: float = 120.0,
        memory_bytes: int = 1024 * 1024 * 1024,
        output_bytes: int = 256 * 1024 * 1024,
        idle_s: float = 30.0,
        limits: ConversionLimits | None = None,
        tokenizer: Callable[[], bytes | None] | None = None,
        ocr: bool | None = None,
        ocr_threads: int = 1,
    ) -> None:
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._output_bytes = output_bytes
        self._idle_s = idle_s
        self._limits = limits or ConversionLimits()
        self._tokenizer = tokenizer
        self._told: bytes | None = None
        self._words = _Kind(asyncio.Semaphore(size), stands_in=True)
        # One at a time: it takes seconds a page and some 500 MB.
        self._pictures = _Kind(asyncio.Semaphore(1), PATIENCE, ocr_threads)
        self._ocr = is_installed() if ocr is None else ocr
        self._children: set[_Child] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._closed = False

    async def parse(
        self, data: bytes | Path, filename: str, *, report: Report | None = None
    ) -> Converted:
        """The document in `data`, a file's bytes or where they lie.

        `report` gets how many pages are read, and of how many, where the format has pages.
        Raises `DocumentError` with one sentence that says what to do.
        """
        if isinstance(data, Path):
            data = await anyio.to_thread.run_sync(_read_at_most, data, self._limits.size_bytes + 1)
        if len(data) > self._limits.size_bytes:
            raise DocumentError(
                f"the file is larger than {self._limits.size_bytes:,} bytes: split it, or raise"
                " the limit in the settings",
                code="too_large",
            )
        limits = dataclasses.asdict(self._limits)
        ask: dict[str, Any] = {"op": "convert", "filename": filename[-500:], "limits": limits}
        head, body = await self._ask(Frame(ask, data), self._words, report)
        if self._ocr and head.get("pictures"):
            # Enough is left to end in good order: a page, once started, is read to its end.
            ask["seconds"] = 0.6 * PATIENCE * self._timeout_s
            head, body = await self._ask(Frame(ask, data), self._pictures, report)
        if "error" in head:
            raise _refusal(head)
        decode = functools.partial(_checked, documents.decode, body)
        # A page is decoded sooner than a thread would be woken for it.
        found = decode() if len(body) < HERE_UNDER_BYTES else await anyio.to_thread.run_sync(decode)
        return cast("Converted", found)

    async def split(
        self, document: Converted, settings: Chunking, token_offsets: TokenOffsets
    ) -> list[Span]:
        """Spans of `document`: a long one's cut in a child where the pool has the tokenizer.

        `token_offsets` must count as that tokenizer does; the thread that cuts the others uses it.
        """
        if len(document.text) < CHILD_FROM_CHARS or not await self._tokens():
            return await anyio.to_thread.run_sync(chunking.split, document, settings, token_offsets)
        encoded = await anyio.to_thread.run_sync(documents.encode, document)
        request = Frame({"op": "split", "chunking": dataclasses.asdict(settings)}, encoded)
        head, body = await self._ask(request, self._words)
        if "error" in head:
            raise _refusal(head)
        decode = functools.partial(_decode_spans, length=len(document.text))
        return await anyio.to_thread.run_sync(_checked, decode, body)

    async def _tokens(self) -> bytes:
        """The tokenizer as the children get it; nothing where there is none."""
        if self._told is None:
            ask = self._tokenizer
            self._told = (await anyio.to_thread.run_sync(ask) if ask else None) or b""
        return self._told

    async def aclose(self) -> None:
        """End all children, also those at work; idempotent."""
        self._closed = True
        for child in list(self._children):
            await self._end(child)
        await asyncio.gather(*self._endings)

    async def _ask(
        self, request: Frame, kind: _Kind, report: Report | None = None
    ) -> tuple[dict[str, Any], bytes]:
        timeout_s = self._timeout_s * kind.patience
        async with kind.slot():
            child = await self._acquire(kind)
            try:
                asked = child.ask(request, self._output_bytes, report)
                head, body = await within(asked, child.pid, timeout_s)
            except TimeoutError:
                await self._end(child)
                raise DocumentError(
                    _MESSAGES["timeout"].format(timeout_s=timeout_s), code="timeout"
                ) from None
            except (OSError, EOFError, ValueError) as error:
                await self._end(child)
                raise self._death(child, error) from error
            except BaseException:  # cancelled: what the child is doing no longer matters
                await self._end(child)
                raise
            self._release(child, kind)
        if refused := head.get("refused"):
            log.warning("the sandbox refused what a reader tried: %s", str(refused)[:2000])
        return head, body

    def _death(self, child: _Child, error: Exception) -> DocumentError:
        """Why a child ended amid a document."""
        log.warning("parsing child ended: %r, status %s", error, child.status)
        if child.status == -getattr(signal, "SIGKILL", 9) or isinstance(error, MemoryError):
            return DocumentError(_MESSAGES["too_large"], code="too_large")
        return DocumentError(_MESSAGES["unreadable"], code="unreadable")

    async def _acquire(self, kind: _Kind) -> _Child:
        if self._closed:
            raise Unavailable("the parsing pool is closed: this process is stopping")
        while kind.idle:
            child = kind.idle.pop()
            child.stay()
            if child.status is None:
                return child
            await self._end(child)
        child = await _Child.start()
        self._children.add(child)
        try:
            tokens = await self._tokens()
            room = max(self._memory_bytes, OCR_MEMORY_BYTES if kind.ocr_threads else 0)
            head = {"memory_bytes": room, "ocr_threads": kind.ocr_threads}
            start = Frame(head, b"" if kind.ocr_threads else tokens)
            head, _ = await within(child.ask(start, 0), child.pid, START_LIMIT_S * kind.patience)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            await self._end(child)
            raise Unavailable(
                "the process that reads files did not start: see the log, then try again"
            ) from error
        except BaseException:
            await self._end(child)
            raise
        if head.get("unsandboxed"):
            log.info("files are read without a system call filter: %s", head["unsandboxed"])
        return child

    def _release(self, child: _Child, kind: _Kind) -> None:
        if self._closed:
            child.kill()
            return
        kind.idle.append(child)
        child.leave_in(self._idle_s, functools.partial(self._retire, kind))

    def _retire(self, kind: _Kind, child: _Child) -> None:
        if child in kind.idle:
            kind.idle.remove(child)
            ending = asyncio.create_task(self._end(child))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    async def _end(self, child: _Child) -> None:
        self._children.discard(child)
        for kind in (self._words, self._pictures):
            if child in kind.idle:
                kind.idle.remove(child)
        child.stay()
        child.kill()
        await child.wait()


@dataclasses.dataclass(slots=True)
class _Kind:
    """Children that get the same at their start, and how many may work at once."""

    slots: asyncio.Semaphore
    patience: int = 1  # how many times longer than usual they may take
    ocr_threads: int = 0  # those that read pictures
    stands_in: bool = False  # whether another may work beside one that takes long
    idle: list[_Child] = dataclasses.field(default_factory=list)

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot. Held for long, it is lent out, so that one file does not hold up all."""
        await self.slots.acquire()
        lent = False

        def lend() -> None:
            nonlocal lent
            if self.stands_in:
                self.stands_in, lent = False, True
                self.slots.release()

        lending = asyncio.get_running_loop().call_later(LONG_S, lend)
        try:
            yield
        finally:
            lending.cancel()
            if lent:
                self.stands_in = True
            else:
                self.slots.release()


@contextlib.asynccontextmanager
async def open_parsing_pool(**settings: Any) -> AsyncIterator[ParsingPool]:  # noqa: ANN401 (ParsingPool's own)
    """A pool that ends its children on exit; takes what `ParsingPool` takes."""
    pool = ParsingPool(**settings)
    try:
        yield pool
    finally:
        await pool.aclose()


class _Child:
    """One child process and the pipe to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._leaving: asyncio.TimerHandle | None = None
        self._errors = asyncio.create_task(self._log_errors())

    @classmethod
    async def start(cls) -> _Child:
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ingestion.parsing_child"),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=_environment(),
                cwd=_ROOT,
            )
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        return self._process.returncode

    async def ask(
        self, request: Frame, output_bytes: int, report: Report | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request and take its answer, no longer than `output_bytes`."""
        writer, reader = self._process.stdin, self._process.stdout
        if writer is None or reader is None:
            raise EOFError("no pipe")
        writer.write(pack_frame(request))
        writer.write(request.body)
        await writer.drain()
        try:
            while True:
                head_bytes, body_bytes = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
                if head_bytes > HEAD_MAX or body_bytes > output_bytes:
                    raise ValueError(f"an answer of {body_bytes} bytes is over the limit")
                head = parse_head(await reader.readexactly(head_bytes))
                if "pages" not in head:
                    return head, await reader.readexactly(body_bytes)
                done, total = map(int, head["pages"])
                if body_bytes or not 0 <= done <= total:
                    raise ValueError("pages that can't be")
                if report is not None:
                    report(done, total)
        except (asyncio.IncompleteReadError, struct.error):
            await self._process.wait()
            raise EOFError("the child ended amid its answer") from None

    async def _log_errors(self) -> None:
        """Drain standard error, so that the child never waits for it; crashes land in the log."""
        if self._process.stderr is None:
            return
        while line := await self._process.stderr.read(4096):
            log.debug("parsing child: %s", line.decode("utf-8", "replace").rstrip())

    def leave_in(self, delay_s: float, leave: Any) -> None:  # noqa: ANN401 (a callback)
        self._leaving = asyncio.get_running_loop().call_later(delay_s, leave, self)

    def stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def wait(self) -> None:
        """Until it has ended and its pipes are drained."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
        await self._errors


def _environment() -> dict[str, str]:
    """Nothing of ours: settings and keys in the environment are no business of a parser."""
    kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT", "LANG") if key in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(_ROOT),
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MALLOC_ARENA_MAX": "2",  # or every thread reserves 64 MB of the address space
    }


def _refusal(head: dict[str, Any]) -> DocumentError:
    code = str(head["error"])[:40]
    message = str(head.get("message", ""))[:1000]
    if detail := head.get("detail"):
        log.warning("a file could not be read: %s", str(detail)[:4000])
    return DocumentError(message or _MESSAGES.get(code, _MESSAGES["unreadable"]), code=code)


def _read_at_most(path: Path, size_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size_bytes)


def _checked(decode: Any, body: bytes) -> Any:  # noqa: ANN401 (one guard for both decoders)
    try:
        return decode(body)
    except (ValueError, TypeError, RecursionError) as error:
        log.warning("a parsing child returned an invalid response: %r", error)
        raise DocumentError(_MESSAGES["unreadable"], code="unreadable") from error


def _decode_spans(body: bytes, *, length: int) -> list[Span]:
    rows = json.loads(body)
    if not isinstance(rows, list):
        raise ValueError("spans are a list")  # noqa: TRY004 (one error a caller knows)
    spans = [
        Span(
            start=int(start),
            end=int(end),
            context=str(context),
            page=None if page is None else int(page),
            heading_path=tuple(str(name) for name in path),
            tokens=int(tokens),
            kind=kind if kind in documents.KINDS else "paragraph",
            place=str(place),
        )
        for start, end, context, page, path, tokens, kind, place in rows
    ]
    if any(not 0 <= span.start < span.end <= length for span in spans):
        raise ValueError("a span lies outside its text")
    return spans
