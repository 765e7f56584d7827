"""Who calls a tool, and the door they came through: what a transport must know before a tool runs.

Over HTTP the host has authenticated the caller; on stdio it is the person who started the process.
It is computed again for each call, because what a principal holds can change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mcp_server.buckets import Buckets, Rate

if TYPE_CHECKING:  # the engine takes seconds to load, and on stdio `initialize` must not wait
    from starlette.requests import Request

    from engine.domain import Principal
    from engine.engine import Engine
    from engine.search.links import Links

Profile = Literal["full", "chatgpt"]


@dataclass(frozen=True, slots=True)
class McpCaller:
    """An open engine, who asks, and links they can open."""

    engine: Engine
    principal: Principal
    links: Links

    @property
    def only_asks(self) -> bool:
        """Whether their key is bound to assistants: it asks these, and nothing else is here for it."""
        return self.principal.assistants is not None


async def _anybody(_: Request | None) -> None:
    return None


async def _unchanged(_: Request | None) -> None:
    return


def _every_tool(_: Request | None) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Door:
    """What a server needs of its transport. Functions get the HTTP request; None on stdio."""

    caller: Callable[[Request | None], Awaitable[McpCaller]]
    # Who a list is for. None: whoever may see everything, without waiting for the engine to open.
    reader: Callable[[Request | None], Awaitable[Principal | None]] = _anybody
    # Raises where the caller may by now read less than when their request came.
    again: Callable[[Request | None], Awaitable[None]] = _unchanged
    # The tools a caller asked for by name; None is all.
    chosen_tools: Callable[[Request | None], frozenset[str] | None] = _every_tool
    name: str = "http"  # its name in the audit
    write_tools: bool = False
    statistics: bool = False  # whether numbers of what was asked are offered
    plugin_tools: bool = False  # whether tools of plugins are offered
    calls: Buckets = field(default_factory=lambda: Buckets(Rate(per_minute=60, burst=20)))
