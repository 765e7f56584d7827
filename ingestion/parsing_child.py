"""A child process that reads files: `python -m ingestion.parsing_child`, started by `parsing.py`.

It imports the converters, the chunker and the tokenizer, nothing of the engine; warms up, gives
away its rights, then serves one request after another over its standard streams. It trusts none of
the bytes it is given, and its parent trusts none of what it answers. The frames are described in
`parsing_frames.py`.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from ingestion.chunking import Chunking, split
from ingestion.contexts import TokenOffsets
from ingestion.convert import document as documents
from ingestion.convert.document import ConversionError, ConversionLimits, NoText
from ingestion.convert.formats import convert
from ingestion.convert.ocr import Recogniser, open_engine
from ingestion.convert.progress import told_to
from ingestion.convert.warmup import warm_up
from ingestion.parsing_frames import Frame, read_frame, write_frame
from ingestion.sandbox import (
    deny_by_audit_hook,
    deny_system_calls,
    limit_memory,
    note_attempts,
)
from ingestion.word_tokens import open_token_offsets

GC_THRESHOLD = 50_000  # a document is many small objects, and hardly one in a circle
Engine = Callable[[Any], Any]  # of pictures: what `open_engine` opens

TELL_EVERY_S = 0.25


def main() -> None:
    """Serve until standard input ends; then leave at once, whatever is being read."""
    requests, answers = _take_streams()
    start = read_frame(requests)
    if start is None:
        return
    if hasattr(os, "nice"):
        os.nice(1)  # the worker, which feeds it, goes first
    token_offsets = open_token_offsets(start.body) if start.body else None
    warm_up()
    engine = open_engine(int(start.head["ocr_threads"])) if start.head.get("ocr_threads") else None
    if token_offsets is not None:
        token_offsets("warm")
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    limit_memory(int(start.head["memory_bytes"]))
    missing = deny_system_calls()
    attempts = note_attempts()
    if missing:
        deny_by_audit_hook()
    inbox: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, inbox), daemon=True).start()
    write_frame(answers, Frame({"ready": True, "unsandboxed": missing}))
    while True:
        with told_to(_Pages(answers)):
            request = inbox.get()
            attempts.clear()
            write_frame(answers, _judged(_answer(request, token_offsets, engine), attempts))


class _Pages:
    """Sends how many pages are read, first and then a few times a second, ahead of the answer."""

    def __init__(self, answers: BinaryIO) -> None:
        self._answers = answers
        self._told_at = float("-inf")

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._told_at >= TELL_EVERY_S:
            self._told_at = time.monotonic()
            write_frame(self._answers, Frame({"pages": [done, total]}))


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Standard streams for frames alone: what a library prints goes to standard error."""
    requests = os.fdopen(os.dup(0), "rb", buffering=1 << 20)
    answers = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return requests, answers


def _receive(requests: BinaryIO, inbox: queue.SimpleQueue[Frame]) -> None:
    """Take requests while another is served: so that the parent's end is seen at any time."""
    try:
        while (frame := read_frame(requests)) is not None:
            inbox.put(frame)
    finally:
        os._exit(0)


def _judged(answer: Frame, attempts: list[str]) -> Frame:
    """An answer with what the sandbox refused on the way to it.

    A file that "can't be read" because of that is well: its reader lacks something, which is ours.
    """
    if not attempts:
        return answer
    head = {**answer.head, "refused": attempts[:5]}
    if head.get("error") == "unreadable":
        head |= {"error": "sandbox", "message": ""}
    return Frame(head, answer.body)


def _answer(request: Frame, token_offsets: TokenOffsets | None, engine: Engine | None) -> Frame:
    try:
        if request.head["op"] == "convert":
            return _convert(request, engine)
        return _split(request, token_offsets)
    except NoText as error:
        return Frame({"error": error.code, "message": error.message, "pictures": True})
    except ConversionError as error:
        return Frame({"error": error.code, "message": error.message})
    except MemoryError:
        return Frame({"error": "too_large", "message": "", "detail": "MemoryError"})
    except Exception as error:  # noqa: BLE001 (the edge: a fault in a reader ends this document only)
        detail = traceback.format_exc(limit=20)[-4000:]
        ours = isinstance(error, ImportError | PermissionError)  # nothing in a file asks for either
        code = "sandbox" if ours else "unreadable"
        return Frame({"error": code, "message": "", "detail": detail})


def _convert(request: Frame, engine: Engine | None) -> Frame:
    limits = ConversionLimits(**request.head["limits"])
    recogniser = None
    if engine is not None:
        seconds = float(request.head["seconds"])
        recogniser = Recogniser(engine, seconds=seconds, pages=limits.ocr_pages)
    converted = convert(request.body, str(request.head["filename"]), limits, recogniser)
    pictures = engine is None and "pages_without_text" in converted.metadata
    return Frame({"done": True, "pictures": pictures}, documents.encode(converted))


def _split(request: Frame, token_offsets: TokenOffsets | None) -> Frame:
    if token_offsets is None:
        raise ValueError("this child was started without a tokenizer")
    spans = split(
        documents.decode(request.body), Chunking(**request.head["chunking"]), token_offsets
    )
    rows = [dataclasses.astuple(span) for span in spans]
    return Frame({"done": True}, json.dumps(rows, separators=(",", ":")).encode("ascii"))


if __name__ == "__main__":
    sys.setrecursionlimit(600)
    main()
