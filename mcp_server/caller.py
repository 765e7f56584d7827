"""Who calls a tool: what a transport has to find out before one runs.

Over HTTP the host has let the caller in; on stdio it is whoever started the process. Asked anew for
each call, because what a principal holds may change between two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcp.server.mcpserver import Context

if TYPE_CHECKING:  # the engine takes seconds to load, and on stdio `initialize` must not wait
    from engine.domain import Principal
    from engine.engine import Engine
    from engine.links import Links


@dataclass(frozen=True, slots=True)
class Caller:
    """An open engine, who asks, and addresses they can open."""

    engine: Engine
    principal: Principal
    links: Links


@dataclass(frozen=True, slots=True)
class Door:
    """What the tools are built on."""

    caller: Callable[[Context], Awaitable[Caller]]
