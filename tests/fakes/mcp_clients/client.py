"""A Python client at work, on mcp 1.x or 2.x, whichever is installed: MODE PLAN.

MODE is `1`, `legacy` or `auto`; PLAN is JSON: {url} or {command, args, env}. Prints a JSON line after
its calls, waits for a line, calls once more, prints another; then gives a slow call up after two
reports of progress, and prints the last. Needs nothing of Scrubjay.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Self

NOWHERE = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 (for the whole process)


class Client:
    """The few calls this needs, the same on both libraries."""

    def __init__(self, mode: str, plan: dict[str, Any]) -> None:
        self.mode = mode
        self.plan = plan
        self.stack = AsyncExitStack()
        self.session: Any = None

    async def __aenter__(self) -> Self:
        """Connect."""
        from mcp import StdioServerParameters
        from mcp.client.stdio import stdio_client

        wire: Any
        if url := self.plan.get("url"):
            from mcp.client import streamable_http

            old, new = "streamablehttp_client", "streamable_http_client"
            wire = getattr(streamable_http, old if self.mode == "1" else new)(url)
        else:
            wire = stdio_client(
                StdioServerParameters(
                    command=self.plan["command"],
                    args=self.plan["args"],
                    env=dict(os.environ) | self.plan["env"],
                ),
                errlog=NOWHERE,
            )
        if self.mode == "1":
            from mcp import ClientSession

            read, write, *_ = await self.stack.enter_async_context(wire)
            self.session = await self.stack.enter_async_context(ClientSession(read, write))
            await self.session.initialize()
        else:
            from mcp.client import Client as Connected

            self.session = await self.stack.enter_async_context(Connected(wire, mode=self.mode))
        return self

    async def __aexit__(self, *failed: object) -> None:
        """Disconnect."""
        await self.stack.aclose()

    async def call(self, name: str, arguments: dict[str, Any], **how: Any) -> tuple[bool, Any, str]:
        """Whether it failed, the object, and the text."""
        found = await self.session.call_tool(name, arguments, **how)
        old = self.mode == "1"
        failed = found.isError if old else found.is_error
        value = found.structuredContent if old else found.structured_content
        return bool(failed), value, found.content[0].text


async def main(mode: str, plan: dict[str, Any]) -> None:
    """Do everything once."""
    async with Client(mode, plan) as client:
        tools = [tool.name for tool in (await client.session.list_tools()).tools]
        _, found, _ = await client.call("search", {"query": "lodging rate"})
        _, page, _ = await client.call("fetch", {"id": found["results"][0]["id"]})
        _, answer, _ = await client.call("ask", {"question": "How many hours of sick leave?"})
        failed, _, said = await client.call("search", {"query": "x", "top_k": 1})
        say(
            {
                "tools": tools,
                "title": page["title"],
                "found": found["results"][0]["title"],
                "grounded": answer["grounded"],
                "error": [failed, said],
            }
        )
        await asyncio.to_thread(sys.stdin.readline)
        _, again, _ = await client.call("search", {"query": "lodging rate"})
        say({"found": again["results"][0]["title"], "errors": []})
        enough = asyncio.Event()
        reports = 0

        async def on_progress(*_: object) -> None:
            nonlocal reports
            reports += 1
            if reports == 2:
                enough.set()

        wait: Any = timedelta(seconds=30) if mode == "1" else 30.0
        slow = asyncio.create_task(
            client.call(
                "ask",
                {"question": "Answer slowly, please"},
                progress_callback=on_progress,
                read_timeout_seconds=wait,
            )
        )
        await asyncio.wait_for(enough.wait(), 60)
        slow.cancel()
        outcome: object = (await asyncio.gather(slow, return_exceptions=True))[0]
        say({"progress": reports, "cancelled": isinstance(outcome, asyncio.CancelledError)})
        if mode == "1":
            # 1.x tells the server nothing when its caller gives up, and stumbles over the progress
            # that goes on coming while it closes.
            os._exit(0)


def say(value: dict[str, Any]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
