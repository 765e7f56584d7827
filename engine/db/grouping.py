"""Many short writes as one transaction, where they come at once.

`Database.run_grouped` runs use cases through this. While one transaction is under way, those that
come wait and are committed together by the next: twenty messages that arrive at once take two
commits. No caller hears that its own is done before it is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from engine.errors import Unavailable

T = TypeVar("T")
UseCase = Callable[[AsyncSession], Awaitable[Any]]
RunWrite = Callable[[UseCase], Awaitable[Any]]

GROUP_MAX = 32  # use cases a transaction: the last waits for all of them


@dataclass(frozen=True, slots=True)
class _Waiting:
    use_case: UseCase
    done: asyncio.Future[Any]


class Grouping:
    """Runs use cases, by several a transaction of `run_write`."""

    def __init__(self, run_write: RunWrite) -> None:
        self._run_write = run_write
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self, use_case: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """What a use case returns, once its transaction is committed; its error alone is raised.

        It starts again where another of its group fails: it must leave nothing behind but rows.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(use_case, done))
        if self._task is None:  # a separate task: a caller may be cancelled, the group not
            self._task = asyncio.create_task(self._work())
        return await done

    async def aclose(self) -> None:
        """Wait for what is under way."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            while self._waiting:
                group = self._waiting[:GROUP_MAX]
                del self._waiting[:GROUP_MAX]
                await self._commit([item for item in group if not item.done.cancelled()])
        finally:
            self._task = None

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        async def all_of_them(session: AsyncSession) -> list[Any]:
            return [await item.use_case(session) for item in group]

        try:
            results = await self._run_write(all_of_them)
        except Exception as error:  # noqa: BLE001 (handed to whom it concerns)
            # A database that went away may have committed: nothing starts again.
            if len(group) == 1 or isinstance(error, Unavailable):
                for one in group:
                    _fail(one, error)
                return
            for one in group:  # nothing was written: each by itself, so that one fails alone
                await self._commit([one])
            return
        for one, result in zip(group, results, strict=True):
            if not one.done.done():
                one.done.set_result(result)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
