"""What of a run outlives its process: the port, and the values that cross it.

`checkpoints.py` adapts it to SQL. One write is one transaction, so that a checkpoint, the log up
to it and the state never disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypedDict

from engine.clock import now
from engine.flow.context import RunIds


class RunState(StrEnum):
    """running → paused | done | failed | cancelled; paused → running when it is resumed."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class NodeState(StrEnum):
    """How a node's part in a run ended; one still running has no record yet."""

    DONE = "done"
    SKIPPED = "skipped"
    PAUSED = "paused"
    FAILED = "failed"


class LogEntry(TypedDict):
    """A line of a run's live log; `progress` is the component's, -1 where it failed."""

    component: str
    progress: float
    message: str
    datetime: str
    timestamp: float


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node's checkpoint. `output` of a paused node is what its `Pause` saved.

    `fired` are the targets it chose, None where it fired every edge.
    """

    node_id: str
    state: NodeState
    output: Mapping[str, Any] = field(default_factory=dict)
    fired: tuple[str, ...] | None = None
    elapsed_s: float = 0.0
    error: str = ""
    started_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What a run left behind: the DSL it ran, and its nodes so far."""

    dsl: str
    nodes: Mapping[str, NodeRecord]


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """What one write adds. `progress` None leaves progress and message as they are.

    `fresh` forgets what an earlier attempt of the run left. `state` and `error` are always set.
    """

    dsl: str
    state: RunState = RunState.RUNNING
    progress: float | None = None
    message: str = ""
    error: str = ""
    fresh: bool = False
    nodes: Sequence[NodeRecord] = ()
    entries: Sequence[LogEntry] = ()


class RunStore(Protocol):
    """Keeps runs. Raises `Unavailable` when it can't; a write either happens whole or not.

    A write raises `Cancelled` when the run is no longer the caller's (its lease was taken over);
    that stops the run.
    """

    async def load(self, ids: RunIds) -> SavedRun | None:
        """What the run left behind, None for a new one."""

    async def write(self, ids: RunIds, change: RunUpdate) -> None:
        """Apply `change`; the run is created by its first. Writing a node again replaces it."""
