"""Runs Python that people wrote into a workflow, where it reaches nothing: pydantic-monty.

Monty is an interpreter of its own in a process of its own: no files, no network, no environment, no
packages. Memory, time, recursion and questions to the host are limited; clock and random numbers are
those of the run, so that the same run gives the same result. `WorkflowRun` has one and closes it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from engine.errors import InvalidInput, TooLarge, Unavailable
from engine.flow.outputs import MAX_OUTPUT_BYTES

MEMORY_BYTES = 64 * 2**20
RUN_S = 2.0
RECURSION_MAX = 200
SUSPENSIONS_MAX = 50  # each costs this process, not the sandbox: a loop of refused `open` is one
REQUEST_S = 60.0  # of the wall: a busy machine must not fail what takes a moment
PRINTED_MAX = 20_000  # characters
SOURCE_MAX = 50_000  # characters

MISSING = "This needs the extra `workflows`: install scrubjay[workflows], then restart Scrubjay."

_MAIN = re.compile(r"^(?:async\s+)?def\s+main\s*\(", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CodeResult:
    """What the code came to, as JSON, and what it printed."""

    value: Any
    printed: str


class CodeSandbox:
    """Sandboxes of one run, opened by the first code that runs. `seed` decides random numbers."""

    def __init__(self, *, at: datetime, seed: str) -> None:
        self._at, self._seed = at, seed
        self._stack = AsyncExitStack()
        self._pool: Any = None

    async def run(self, source: str, inputs: Mapping[str, Any]) -> CodeResult:
        """Run `main(**inputs)` of the source, or the source with `inputs` as names, to its last value.

        Raises `InvalidInput` with the line where the code fails or takes too much.
        """
        monty = _library()
        if self._pool is None:
            pool = monty.AsyncMonty(
                min_processes=1, max_processes=2, request_timeout=REQUEST_S, checkout_timeout=60.0
            )
            self._pool = await self._stack.enter_async_context(pool)
        limits = {
            "max_memory": MEMORY_BYTES,
            "max_feed_duration_secs": RUN_S,
            "max_turn_duration_secs": RUN_S,
            "max_recursion_depth": RECURSION_MAX,
            "max_suspensions": SUSPENSIONS_MAX,
            "max_total_sleep_secs": 0.0,
        }
        policy = {"datetime": self._at, "sleep": "zero", "random_start": {"seed": self._seed}}
        printed = monty.CollectString(PRINTED_MAX * 4)
        given = {"__inputs__": json.loads(json.dumps(dict(inputs)))}
        is_main = _MAIN.search(source) is not None
        try:
            async with self._pool.checkout(
                script_name="code.py", limits=limits, os_policy=policy
            ) as session:
                if is_main:
                    await session.feed_run(source, print_callback=printed)
                    call = "await main(**__inputs__)" if _is_async(source) else "main(**__inputs__)"
                    value = await session.feed_run(call, inputs=given, print_callback=printed)
                else:
                    value = await session.feed_run(
                        source, inputs=given["__inputs__"], print_callback=printed
                    )
        except monty.MontyCrashedError:
            raise InvalidInput(
                f"the code took longer than {REQUEST_S:g} s or ended its process.", field="source"
            ) from None
        except monty.MontyError as error:
            raise InvalidInput(_told(error), field="source") from None
        except RuntimeError as error:  # the library's own: no worker, or none left
            raise Unavailable("The sandbox for code can't be started: try again.") from error
        return CodeResult(_as_json(value), printed.output[:PRINTED_MAX])

    async def aclose(self) -> None:
        """End its processes."""
        self._pool = None
        await self._stack.aclose()


def is_installed() -> bool:
    """Whether the extra `workflows` is there, without loading it."""
    from importlib.util import find_spec  # noqa: PLC0415 (only who asks)

    return find_spec("pydantic_monty") is not None and find_spec("minijinja") is not None


def _library() -> Any:  # noqa: ANN401 (a module that may be missing)
    try:
        import pydantic_monty  # noqa: PLC0415 (lazy: an extra)
    except ImportError:
        raise Unavailable(MISSING) from None
    return pydantic_monty


def _is_async(source: str) -> bool:
    found = _MAIN.search(source)
    return found is not None and found.group().startswith("async")


def _told(error: Any) -> str:  # noqa: ANN401 (a MontyError)
    """What went wrong, and where: never more than the code's own words."""
    frames = error.traceback() if hasattr(error, "traceback") else []
    last = frames[-1] if frames else None
    is_ours = last is not None and last.filename.endswith("-1>")  # the call of main
    where = f"line {last.line}: " if last is not None and not is_ours else ""
    return f"the code failed: {where}{str(error)[:500]}"


def _as_json(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """A value of the sandbox as JSON; `InvalidInput` for what has no form in it."""
    try:
        text = json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the code returns what is not JSON: {error}", field="source") from None
    if len(text) > MAX_OUTPUT_BYTES:
        raise TooLarge(f"The code returns more than {MAX_OUTPUT_BYTES:,} bytes: return less.")
    return json.loads(text)


def _plain(value: object) -> object:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    raise TypeError(f"{type(value).__name__} can't be written as JSON")
