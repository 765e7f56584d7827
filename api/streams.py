"""Server-sent events: how a stream of an answer, or of document progress, is written."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

from starlette.responses import StreamingResponse

from api.problems import problem_of
from engine.errors import EngineError
from engine.telemetry import correlation_id

log = logging.getLogger(__name__)

T = TypeVar("T")

MEDIA_TYPE = "text/event-stream"
COMMENT = ": nothing new\n\n"  # keeps a proxy from closing an idle stream


def event(kind: str, data: Mapping[str, object]) -> str:
    """One event; JSON holds no line ends, so the data is one line."""
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def stream(events: AsyncIterator[str]) -> StreamingResponse:
    """A response that sends events at once, through proxies that buffer."""
    return StreamingResponse(
        events,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def begun(events: AsyncIterator[T]) -> AsyncIterator[T]:
    """The same events once the first is there: what goes wrong before it is raised here.

    So a refusal is a response with its status, not the first event of a stream that has begun.
    """
    try:
        first = [await anext(events)]
    except StopAsyncIteration:
        first = []

    async def all_of() -> AsyncIterator[T]:
        for item in first:
            yield item
        async for item in events:
            yield item

    return all_of()


def failure(error: Exception) -> str:
    """The last event of a stream that failed."""
    if not isinstance(error, EngineError):
        log.error("a stream broke off", exc_info=error)
    problem = problem_of(error)
    return event(
        "error",
        {
            "code": problem.code,
            "title": problem.title,
            "detail": problem.detail,
            "correlation_id": correlation_id(),
        },
    )
