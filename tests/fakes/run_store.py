"""A run store in memory, for tests; it passes the same contract as the SQL one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from engine.flow.context import RunIds
from engine.flow.store import FlowEvent, NodeRecord, RunState, RunUpdate, SavedRun


class MemoryRunStore:
    """What was written, by run; `writes` counts, `failing` makes every write raise it.

    `tried` is set by any write, `wrote` by one that succeeds.
    """

    def __init__(self) -> None:
        self.states: dict[str, RunUpdate] = {}
        self.progress: dict[str, float] = {}
        self.nodes: dict[str, dict[str, NodeRecord]] = {}
        self.events: dict[str, list[FlowEvent]] = {}
        self.writes = 0
        self.failing: Exception | None = None
        self.tried = asyncio.Event()
        self.wrote = asyncio.Event()

    async def load(self, ids: RunIds) -> SavedRun | None:
        if ids.run_id not in self.states:
            return None
        return SavedRun(self.states[ids.run_id].dsl, dict(self.nodes[ids.run_id]))

    async def write(self, ids: RunIds, change: RunUpdate) -> None:
        self.tried.set()
        if self.failing is not None:
            raise self.failing
        self.writes += 1
        self.wrote.set()
        self.states[ids.run_id] = replace(change, nodes=(), events=())
        if change.fresh:
            self.nodes[ids.run_id] = {}
        if change.progress is not None:
            self.progress[ids.run_id] = change.progress
        nodes = self.nodes.setdefault(ids.run_id, {})
        nodes |= {node.node_id: node for node in change.nodes}
        self.events.setdefault(ids.run_id, []).extend(change.events)

    def state(self, run_id: str) -> RunState:
        return self.states[run_id].state
