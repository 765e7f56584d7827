"""How a run is followed: a quick live log in memory, and a slow durable state behind it.

Every report goes to the live log at once. What must last (checkpoints, the run's progress and
message, the log's text) is gathered and written together, at most every `WRITE_INTERVAL_S`; a
run shorter than that costs one write. Losing the live log loses no state.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from engine.clock import now
from engine.errors import Cancelled, Unavailable
from engine.flow import events
from engine.flow.context import CancelToken, RunIds
from engine.flow.store import (
    ENDED,
    FlowEvent,
    LogEntry,
    NodeRecord,
    RunState,
    RunStore,
    RunUpdate,
)

WRITE_INTERVAL_S = 0.5  # twice a second

_log = logging.getLogger("scrubjay.flow")


class RunLog(Protocol):
    """The live log of runs. It may forget; it must not block and should not fail."""

    def append(self, ids: RunIds, entry: LogEntry) -> None:
        """Add `entry` under `ids.log_key`."""


class RingLog:
    """The last entries of the last runs, in memory; reading and waiting belong to one loop."""

    def __init__(self, *, entries_per_run: int = 1_000, runs: int = 256) -> None:
        self._entries_per_run = entries_per_run
        self._runs = runs
        self._logs: OrderedDict[str, tuple[deque[LogEntry], list[int]]] = OrderedDict()
        self._news = asyncio.Event()

    def append(self, ids: RunIds, entry: LogEntry) -> None:
        """Add `entry`; the oldest entry, or the longest untouched run, makes room."""
        entries, count = self._logs.setdefault(
            ids.log_key, (deque(maxlen=self._entries_per_run), [0])
        )
        entries.append(entry)
        count[0] += 1
        self._logs.move_to_end(ids.log_key)
        if len(self._logs) > self._runs:
            self._logs.popitem(last=False)
        self._news.set()
        self._news = asyncio.Event()

    def read(self, key: str, *, after: int = 0) -> tuple[list[LogEntry], int]:
        """The entries of `key` behind position `after`, and the position to continue from."""
        if key not in self._logs:
            return [], after
        entries, (count,) = self._logs[key]
        behind = min(max(count - after, 0), len(entries))
        return list(entries)[len(entries) - behind :], count

    async def wait(self, key: str, *, after: int = 0) -> tuple[list[LogEntry], int]:
        """Like `read`, but not before there is an entry."""
        while True:
            news = self._news
            entries, position = self.read(key, after=after)
            if entries:
                return entries, position
            await news.wait()


class Reporter:
    """Gathers what one run reports and writes it to log and store. Made and closed by `run.py`."""

    def __init__(
        self,
        ids: RunIds,
        dsl: str,
        weights: Mapping[str, float],
        *,
        log: RunLog | None,
        store: RunStore | None,
        token: CancelToken,
        clock: Callable[[], datetime] = now,
        interval_s: float = WRITE_INTERVAL_S,
        tells_end: bool = False,
    ) -> None:
        """`tells_end`: the last stored event of a run is how it ended, however it did."""
        self.message = ""
        self._tells_end = tells_end
        self._ids, self._dsl, self._weights = ids, dsl, weights
        self._log, self._store, self._token, self._clock = log, store, token, clock
        self._interval_s = interval_s
        self._fractions = dict.fromkeys(weights, 0.0)
        self._reported: set[str] = set()
        self._nodes: dict[str, NodeRecord] = {}
        self._events: dict[object, FlowEvent] = {}
        self._offsets: dict[str, int] = {}
        self._fresh = True
        self._dirty = False
        self._writing = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._writer: asyncio.Task[None] | None = None

    @property
    def progress(self) -> float:
        """How far the run is, 0 to 1, each component counted by its weight."""
        total = sum(self._weights.values())
        done = sum(self._fractions[i] * w for i, w in self._weights.items())
        return done / total if total else 0.0

    def start(self, *, resumed: bool) -> None:
        """Begin to write now and then; `resumed` keeps what an earlier attempt left."""
        self._fresh = not resumed
        if self._store is not None:
            self._writer = asyncio.create_task(self._write_regularly())

    def report(self, component: str, fraction: float, message: str) -> None:
        """What a component says of itself; safe in any thread."""
        if threading.get_ident() == self._thread:
            self._report(component, fraction, message)
        else:
            self._loop.call_soon_threadsafe(self._report, component, fraction, message)

    def note(
        self,
        component: str,
        progress: float,
        message: str,
        *,
        kind: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """An event that is always stored: a start, an end, a failure."""
        self._add(object(), component, progress, message, kind or events.NODE_PROGRESS, data)

    def add_text(self, component: str, text: str) -> None:
        """More of a text while it is written; pieces between two writes become one event."""
        key = (events.DELTA, component)
        waiting = self._events.get(key)
        offset = self._offsets.get(component, 0)
        self._offsets[component] = offset + len(text)
        if waiting is not None:
            offset, text = waiting.data["offset"], waiting.data["text"] + text
        data = {"offset": offset, "text": text}
        self._events[key] = FlowEvent(events.DELTA, self._entry(component, 0.0, ""), data)
        self._dirty = True

    def has_reported(self, component: str) -> bool:
        """Whether the component said anything of itself."""
        return component in self._reported

    def settle(self, component: str) -> None:
        """Count a component that was skipped or is done already as complete."""
        self._advance(component, 1.0)

    def record(self, node: NodeRecord) -> None:
        """Keep a checkpoint for the next write."""
        self._nodes[node.node_id] = node
        self._dirty = True

    async def save_nodes(self) -> None:
        """Write the checkpoints kept so far before going on, and what led to them."""
        if self._store is not None:
            await self._write(
                lambda nodes, happened: RunUpdate(
                    self._dsl, fresh=self._fresh, nodes=nodes, events=happened
                )
            )

    async def finish(
        self,
        state: RunState,
        *,
        message: str,
        error: str = "",
        output: Mapping[str, Any] | None = None,
    ) -> None:
        """Stop writing regularly and write the final state, with all that is still unwritten."""
        await self.stop()
        final = {RunState.DONE: 1.0, RunState.PARTIAL: 1.0, RunState.FAILED: -1.0}
        progress = final.get(state, self.progress)
        if self._tells_end and state in ENDED:
            data = {"state": str(state)}
            self.note("", progress, message, kind=events.RUN_FINISHED, data=data)
        self.message = message
        if self._store is not None:
            await self._write(
                lambda nodes, happened: RunUpdate(
                    self._dsl, state, progress, message, error, self._fresh, nodes, happened, output
                )
            )

    async def stop(self) -> None:
        """Stop writing regularly; a write under way ends first."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        async with self._writing:
            writer.cancel()
        await asyncio.wait([writer])
        if not writer.cancelled() and (error := writer.exception()) is not None:
            _log.error("run %s: the regular write broke off", self._ids.run_id, exc_info=error)

    def _report(self, component: str, fraction: float, message: str) -> None:
        self._reported.add(component)
        # Between two writes only the latest of a component's own reports is kept for SQL.
        self._add(component, component, fraction, message, events.NODE_PROGRESS, None)

    def _add(
        self,
        key: object,
        component: str,
        progress: float,
        message: str,
        kind: str,
        data: Mapping[str, Any] | None,
    ) -> None:
        self._advance(component, progress)
        entry = self._entry(component, progress, message)
        self._events.pop(key, None)
        self._events[key] = FlowEvent(kind, entry, data or {})
        self.message = f"{component}: {message}" if message else component
        self._dirty = True
        if self._log is not None:
            try:
                self._log.append(self._ids, entry)
            except Exception:  # noqa: BLE001 (the live log may fail in any way, the run continues)
                _log.warning("the live log refused an entry and is left out", exc_info=True)
                self._log = None

    def _entry(self, component: str, progress: float, message: str) -> LogEntry:
        at = self._clock()
        return LogEntry(
            component=component,
            progress=progress,
            message=message,
            datetime=at.isoformat(timespec="milliseconds"),
            timestamp=at.timestamp(),
        )

    def _advance(self, component: str, fraction: float) -> None:
        if component in self._fractions:  # a component of a subgraph has no share of its own
            self._fractions[component] = max(self._fractions[component], fraction)

    async def _write_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            if not self._dirty:
                continue
            try:
                await self._write(self._current)
            except Unavailable as error:  # nothing is lost: the next write takes it along
                _log.warning("run %s: progress not written: %s", self._ids.run_id, error)
            except Cancelled as error:  # the store says that the run is no longer ours
                self._token.cancel(str(error))

    def _current(self, nodes: Sequence[NodeRecord], happened: Sequence[FlowEvent]) -> RunUpdate:
        return RunUpdate(
            self._dsl,
            progress=self.progress,
            message=self.message,
            fresh=self._fresh,
            nodes=nodes,
            events=happened,
        )

    async def _write(
        self, make: Callable[[Sequence[NodeRecord], Sequence[FlowEvent]], RunUpdate]
    ) -> None:
        assert self._store is not None  # noqa: S101 (callers asked)
        async with self._writing:
            nodes, happened = self._nodes, self._events
            self._nodes, self._events, self._dirty = {}, {}, False
            try:
                await self._store.write(
                    self._ids, make(list(nodes.values()), list(happened.values()))
                )
            except BaseException:
                self._nodes = {**nodes, **self._nodes}
                self._events = {**happened, **self._events}
                self._dirty = True
                raise
            self._fresh = False
