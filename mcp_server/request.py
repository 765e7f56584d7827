"""The request being served, for handlers of the SDK that get no context: lists and completion."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

_context: ContextVar[ServerRequestContext[Any, Any]] = ContextVar("mcp_request_context")


async def remember_request(
    ctx: ServerRequestContext[Any, Any], call_next: CallNext
) -> HandlerResult:
    """Middleware: keep the context, because what a list shows depends on who asks."""
    _context.set(ctx)
    return await call_next(ctx)


def current_request() -> Any:  # noqa: ANN401 (a Starlette request, which only http.py knows)
    """The HTTP request being served; None on stdio."""
    return _context.get().request
