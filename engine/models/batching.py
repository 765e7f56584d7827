"""Batches of similar length, and their sharing among documents.

A batch costs as much as its longest text times its number of texts, so texts are sorted by
length first. `plan_batches` is the rule for one call; `EmbeddingBatcher` applies it across the
documents that are being ingested at one time, and lets urgent ones go first.
"""

from __future__ import annotations

import time
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from engine.domain import Lane
from engine.errors import EngineError, InvalidInput
from engine.models.port import Embedder

BATCH_TOKENS = 2048  # padded; 0.3 s of MiniLM on two cores, so that an urgent text waits no longer
GROWTH = 32  # times BATCH_TOKENS, for a model or an endpoint that is quick
QUICK_S, SLOW_S = 0.2, 0.6  # twice a quick batch is no slow one
MAX_WAITING = 20_000  # texts; later bulk calls wait until fewer are left

_Key = tuple[int, int, int]  # length, minus the request's number (older sorts later), text index


def plan_batches(lengths: Sequence[int], budget_tokens: int) -> list[list[int]]:
    """Indices of texts grouped by length, longest first, each group padded within the budget.

    A text longer than the budget gets a group to itself. Longest first lets the runtime find its
    largest buffers at once and reuse them.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        # the first of a batch is its longest, so the padded size follows from it
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


@dataclass(slots=True, eq=False)
class _Request:
    number: int
    lane: Lane
    texts: Sequence[str]
    vectors: NDArray[np.float32]
    by_length: list[_Key] = field(default_factory=list)
    waiting: set[_Key] = field(default_factory=set)  # in no batch yet
    missing: set[_Key] = field(default_factory=set)  # those whose vector is not there yet
    error: EngineError | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)

    def longest(self) -> _Key:
        """The longest text still waiting; there must be one."""
        while self.by_length[-1] not in self.waiting:
            self.by_length.pop()
        return self.by_length[-1]

    async def wait(self) -> None:
        """Until a batch has ended or a request has left."""
        self.changed = anyio.Event()
        await self.changed.wait()


class EmbeddingBatcher:
    """Embeds the texts of concurrent callers in shared batches of similar length.

    Each batch starts from the oldest request of the most urgent lane and fills up with texts of
    nearly its length, whichever caller asked for them. There is no background task: a caller that waits and
    finds a free slot runs the next batch, so nothing outlives its callers.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        batch_tokens: int = BATCH_TOKENS,
        growth: int = 1,
        concurrency: int = 1,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """Batches have `batch_tokens`, and up to `growth` times as many while they are quick."""
        self.embedder = embedder
        self._batch_tokens = self._least_tokens = batch_tokens
        self._most_tokens = batch_tokens * growth
        self._concurrency = concurrency
        self._max_waiting = max_waiting
        self._running = 0
        self._requests: dict[int, _Request] = {}  # by number, so oldest first
        self._lanes: dict[Lane, list[_Key]] = {lane: [] for lane in Lane}  # most urgent first
        self._numbers = 0

    async def embed(
        self, texts: Sequence[str], *, lane: Lane = Lane.BULK, lengths: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of `texts` in the order given, as the embedder makes them.

        `lengths` are their token counts where the caller knows them. Raises what the embedder
        raises; an error about one caller's text reaches that caller only.
        """
        vectors = np.empty((len(texts), self.embedder.space.dimension), np.float32)
        if not texts:
            return vectors
        if lengths is None:
            lengths = await anyio.to_thread.run_sync(self.embedder.count_tokens, texts)
        self._check(lengths)
        self._numbers += 1
        request = self._requests[self._numbers] = _Request(self._numbers, lane, texts, vectors)
        try:
            while lane is Lane.BULK and not self._has_room(len(texts)):
                await request.wait()
            self._enter(request, lengths)
            while request.missing and request.error is None:
                if request.waiting and self._running < self._concurrency:
                    await self._run_next()
                else:
                    await request.wait()
        finally:
            self._leave(request)
        if request.error is not None:
            raise request.error
        return vectors

    def _check(self, lengths: Sequence[int]) -> None:
        for index, length in enumerate(lengths):
            if length > self.embedder.max_tokens:
                raise InvalidInput(
                    f"Text {index} has {length} tokens and the embedding model takes "
                    f"{self.embedder.max_tokens}: split it into smaller chunks.",
                    field=f"texts[{index}]",
                )

    def _has_room(self, texts: int) -> bool:
        waiting = sum(len(keys) for keys in self._lanes.values())
        return not waiting or waiting + texts <= self._max_waiting

    def _enter(self, request: _Request, lengths: Sequence[int]) -> None:
        keys = sorted((length, -request.number, index) for index, length in enumerate(lengths))
        request.by_length, request.waiting, request.missing = keys, set(keys), set(keys)
        # sorting two sorted runs is one merge
        self._lanes[request.lane] = sorted(self._lanes[request.lane] + keys)

    def _leave(self, request: _Request) -> None:
        del self._requests[request.number]
        self._withdraw(request)
        self._wake()

    def _withdraw(self, request: _Request) -> None:
        if request.waiting:
            keys = self._lanes[request.lane]
            self._lanes[request.lane] = [key for key in keys if key not in request.waiting]
            request.waiting.clear()

    def _wake(self) -> None:
        for request in self._requests.values():
            request.changed.set()

    async def _run_next(self) -> None:
        """Run one batch and hand out its vectors. Cancelled, it gives back what others asked."""
        batch = self._take()
        self._running += 1
        start = time.monotonic()
        try:
            await self._run(batch)
            self._fit(batch, time.monotonic() - start)
        except BaseException:
            for request, key in batch:
                if request.number in self._requests and key in request.missing:
                    request.waiting.add(key)
                    insort(request.by_length, key)
                    insort(self._lanes[request.lane], key)
            raise
        finally:
            self._running -= 1
            self._wake()

    def _take(self) -> list[tuple[_Request, _Key]]:
        """The next batch: the oldest urgent request's longest text and its neighbours in length."""
        lane, anchor = next(
            (lane, request.longest())
            for lane in self._lanes
            for request in self._requests.values()
            if request.lane is lane and request.waiting
        )
        room = max(1, self._batch_tokens // max(1, anchor[0]))
        batch = []
        for keys in list(self._lanes.values())[list(self._lanes).index(lane) :]:
            # a text of a less urgent lane rides along where its place would be left empty
            end = bisect_right(keys, anchor)
            start = max(0, end - room)
            for key in keys[start:end]:
                request = self._requests[-key[1]]
                request.waiting.discard(key)
                batch.append((request, key))
            del keys[start:end]
            room -= end - start
        return batch

    def _fit(self, batch: Sequence[tuple[_Request, _Key]], seconds: float) -> None:
        """Let the next batch be larger where this one was full and quick, smaller where slow."""
        padded = max(key[0] for _, key in batch) * len(batch)
        if seconds > SLOW_S:
            self._batch_tokens = max(self._least_tokens, self._batch_tokens // 2)
        elif seconds < QUICK_S and padded > self._batch_tokens // 2:
            self._batch_tokens = min(self._most_tokens, self._batch_tokens * 2)

    async def _run(self, batch: Sequence[tuple[_Request, _Key]]) -> None:
        try:
            vectors = await self.embedder.embed_documents(
                [request.texts[key[2]] for request, key in batch]
            )
        except InvalidInput as error:
            owners = {request.number: request for request, _ in batch}
            if len(owners) == 1:
                self._fail(next(iter(owners.values())), error)
                return
            for number in owners:  # one of them is at fault: let the others continue
                await self._run([item for item in batch if item[0].number == number])
        except EngineError as error:
            for request, _ in batch:
                self._fail(request, error)
        else:
            for (request, key), vector in zip(batch, vectors, strict=True):
                request.vectors[key[2]] = vector
                request.missing.discard(key)

    def _fail(self, request: _Request, error: EngineError) -> None:
        request.error = error
        self._withdraw(request)
