"""The call being served: what its tool notes about it, for progress and for the audit.

The server sets it around a tool (`server.py`); the tool finds it with `current`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from mcp_server.caller import McpCaller


@dataclass(slots=True)
class Call:
    """One call of a tool. `doing` is the progress message for the client."""

    caller: McpCaller
    tool: str
    doing: str = "Working"
    kb_ids: Sequence[str] = ()
    results: int = 0
    text: str = ""


_current: ContextVar[Call] = ContextVar("mcp_call")


def current() -> Call:
    """The call that the running tool serves."""
    return _current.get()


def serve(call: Call) -> None:
    """Make `call` the current one of this task, which serves no other."""
    _current.set(call)
