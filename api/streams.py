"""Server-sent events: how a stream of an answer, or of document progress, is written."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping

from starlette.responses import StreamingResponse

from api.problems import problem_of
from engine.errors import EngineError
from engine.telemetry import correlation_id

log = logging.getLogger(__name__)

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
