"""Answers under way: they go on when their reader reloads the page, and can be read again from the start.

An answer belongs to a conversation, and a conversation has one at a time. What it has sent is kept
until it is stored as a turn, so that whoever opens the conversation meanwhile sees all of it. Kept in
this process: after a restart, or in another process, the page asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from engine.errors import Conflict

LASTS_S = 30.0  # after its end, for readers who come back just then


@dataclass(slots=True)
class _UnderWay:
    question: str
    sent: list[str] = field(default_factory=list)
    moved: asyncio.Condition = field(default_factory=asyncio.Condition)
    task: asyncio.Task[None] | None = None
    ended_at: float | None = None
    refused: Exception | None = None  # before anything was sent


class Answering:
    """The answers under way of this process, by conversation."""

    def __init__(self) -> None:
        self._all: dict[str, _UnderWay] = {}

    def begin(self, conversation_id: str, question: str, events: AsyncIterator[str]) -> None:
        """Let an answer run to its end; `Conflict` where one of this conversation is under way."""
        self._forget()
        known = self._all.get(conversation_id)
        if known is not None and known.ended_at is None:
            raise Conflict("This conversation's last question is still being answered.")
        begun = _UnderWay(question)
        begun.task = asyncio.create_task(self._run(begun, events))
        self._all[conversation_id] = begun

    async def begun(self, conversation_id: str) -> None:
        """Wait for the first it sends; raises what kept it from sending anything."""
        known = self._all[conversation_id]
        async with known.moved:
            while not known.sent and known.ended_at is None:
                await known.moved.wait()
        if known.refused is not None:
            del self._all[conversation_id]
            raise known.refused

    def question(self, conversation_id: str) -> str:
        """What is being answered now; empty where nothing is."""
        known = self._all.get(conversation_id)
        return known.question if known is not None and known.ended_at is None else ""

    async def follow(self, conversation_id: str) -> AsyncIterator[str]:
        """All it has sent, and what it sends from now on, to its end; nothing where there is none."""
        known = self._all.get(conversation_id)
        at = 0
        while known is not None:
            async with known.moved:
                while at >= len(known.sent) and known.ended_at is None:
                    await known.moved.wait()
                some = known.sent[at:]
            for item in some:
                yield item
            at += len(some)
            if known.ended_at is not None and at >= len(known.sent):
                return

    def stop(self, conversation_id: str) -> bool:
        """End the answer of a conversation; False where none is under way."""
        known = self._all.get(conversation_id)
        if known is None or known.ended_at is not None or known.task is None:
            return False
        known.task.cancel()
        return True

    async def close(self) -> None:
        """End all, as the server stops."""
        tasks = [known.task for known in self._all.values() if known.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, under_way: _UnderWay, events: AsyncIterator[str]) -> None:
        try:
            async for item in events:
                await self._send(under_way, item)
        except Exception as error:  # noqa: BLE001 (who waits for its beginning raises it)
            under_way.refused = error
        finally:
            under_way.ended_at = asyncio.get_running_loop().time()
            with suppress(asyncio.CancelledError):
                await self._send(under_way)

    @staticmethod
    async def _send(under_way: _UnderWay, *items: str) -> None:
        async with under_way.moved:
            under_way.sent.extend(items)
            under_way.moved.notify_all()

    def _forget(self) -> None:
        now = asyncio.get_running_loop().time()
        over = [
            key
            for key, known in self._all.items()
            if known.ended_at is not None and now - known.ended_at > LASTS_S
        ]
        for key in over:
            del self._all[key]
