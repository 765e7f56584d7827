"""Server-sent events: how a stream of an answer is written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

from starlette.responses import StreamingResponse

MEDIA_TYPE = "text/event-stream"


def event(kind: str, data: Mapping[str, object]) -> str:
    """One event; JSON holds no line ends, so the data is one line."""
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def stream(events: AsyncIterator[str]) -> StreamingResponse:
    """A response that sends events as they come, through proxies that would rather wait."""
    return StreamingResponse(
        events,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
