"""Renders templates that people wrote, in a process that is held to memory and time.

MiniJinja itself reaches neither files nor Python, and its fuel ends most of what grows; `['x'] * 10**9`
it does not count. `WorkflowRun` has one renderer and closes it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.errors import InvalidInput, TooLarge, Unavailable
from engine.workflows.sandbox import MISSING, is_installed

RENDER_S = 60.0  # its start included: what bounds its work is the processor time it may use
LINE_MAX = 8 * 2**20  # bytes of a reply: what is written at most, escaped

_CHILD = Path(__file__).with_name("template_child.py")


class TemplateRenderer:
    """Renders one template after another; its process starts with the first."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def render(self, template: str, values: Mapping[str, Any]) -> str:
        """The text of a template, which sees these values and nothing else.

        Raises `InvalidInput` for a fault of the template, `TooLarge` where it writes too much.
        """
        asked = json.dumps({"template": template, "values": dict(values)})
        async with self._turn:
            reply = await self._ask(asked)
        if "text" in reply:
            return str(reply["text"])
        if "too_long" in reply:
            raise TooLarge(f"The template writes more than {reply['too_long']} characters.")
        raise InvalidInput(f"the template failed: {reply['fault']}.", field="template")

    async def _ask(self, asked: str) -> Mapping[str, Any]:
        process = await self._started()
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018, S101 (pipes)
        try:
            async with asyncio.timeout(RENDER_S):
                process.stdin.write(asked.encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
        except (TimeoutError, ConnectionError, ValueError):
            line = b""
        except BaseException:
            await self.aclose()  # its reply would be taken for that to the next
            raise
        if not line:
            await self.aclose()
            return {"fault": "it needs too much memory or time"}
        found: Mapping[str, Any] = json.loads(line)
        return found

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            if not is_installed():
                raise Unavailable(MISSING)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(_CHILD),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
                limit=LINE_MAX,
            )
        return self._process

    async def aclose(self) -> None:
        """End its process."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
