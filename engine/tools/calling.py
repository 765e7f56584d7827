"""Calls a tool of a plugin: arguments checked, in a thread of its own, within a time, cut to size."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.to_thread
from jsonschema import Draft202012Validator

from engine.errors import InvalidInput, Unavailable
from engine.tools.plugin_manager import FoundTool

CALL_S = 25.0
AT_ONCE = 8  # calls of this process; a thread that never ends keeps its place
RESULT_MAX = 100_000  # characters
_log = logging.getLogger("scrubjay.plugins")
_slots: dict[int, anyio.CapacityLimiter] = {}


def check_arguments(found: FoundTool, arguments: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` that names the argument that does not fit the tool."""
    validator = Draft202012Validator(found.metadata.schema_of_arguments())
    for fault in validator.iter_errors(dict(arguments)):
        name = str(next(iter(fault.absolute_path), "")) or "arguments"
        raise InvalidInput(
            f"{found.metadata.name}: {name}: {fault.message[:300]}.", field=f"arguments.{name}"
        )


async def call_tool(
    found: FoundTool, arguments: Mapping[str, Any], *, timeout_s: float = CALL_S
) -> str:
    """What the tool says. `InvalidInput` where it refuses what it got, `Unavailable` where it fails.

    A plugin's own error text is logged and not shown: it may name what callers must not see.
    """
    check_arguments(found, arguments)
    name = found.metadata.name

    def work() -> str:
        return found.tool.invoke(**arguments)

    try:
        with anyio.fail_after(timeout_s):
            said = await anyio.to_thread.run_sync(work, limiter=_limiter(), abandon_on_cancel=True)
    except TimeoutError:
        raise Unavailable(f"{name} did not end within {timeout_s:g} s.") from None
    except ValueError as error:
        raise InvalidInput(f"{name}: {str(error)[:300]}", field="arguments") from None
    except Exception as error:  # noqa: BLE001 (a plugin may fail in any way)
        _log.exception("the tool %s of %s failed", name, found.origin)
        raise Unavailable(f"{name} failed ({type(error).__name__}).") from None
    if not isinstance(said, str):
        raise Unavailable(f"{name} returned no text but {type(said).__name__}.")
    return said[:RESULT_MAX]


def _limiter() -> anyio.CapacityLimiter:
    """One an event loop: a process has one, and tests many."""
    loop = id(asyncio.get_running_loop())
    if loop not in _slots:
        _slots.clear()
        _slots[loop] = anyio.CapacityLimiter(AT_ONCE)
    return _slots[loop]
