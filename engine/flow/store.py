"""What of a run outlives its process: the port, and the values that cross it.

`checkpoints.py` adapts it to SQL. One write is one transaction, so that a checkpoint, the log up
to it and the state never disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypedDict

from engine.flow.context import RunIds
from engine.flow.records import NodeRecord, NodeState

__all__ = [
    "ENDED",
    "SUCCEEDED",
    "FlowEvent",
    "LogEntry",
    "NodeRecord",
    "NodeState",
    "RunState",
    "RunStore",
    "RunUpdate",
    "SavedRun",
]


class RunState(StrEnum):
    """queued → running ⇄ paused → done | partial | failed | cancelled | expired.

    Partial: done, though a component failed whose flow says how to go on. Expired: nobody replied
    in time.
    """

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


SUCCEEDED = frozenset({RunState.DONE, RunState.PARTIAL})
ENDED = SUCCEEDED | {RunState.FAILED, RunState.CANCELLED, RunState.EXPIRED}


class LogEntry(TypedDict):
    """A line of a run's live log; `progress` is the component's, -1 where it failed."""

    component: str
    progress: float
    message: str
    datetime: str
    timestamp: float


@dataclass(frozen=True, slots=True)
class FlowEvent:
    """One thing that happened in a run, as it is stored: a kind, and the line of the log.

    `data` is what the kind brings: seconds, a piece of text, a form.
    """

    kind: str
    entry: LogEntry
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What a run left behind: the DSL it ran, and its nodes so far."""

    dsl: str
    nodes: Mapping[str, NodeRecord]


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """What one write adds. `progress` None leaves progress and message as they are.

    `fresh` forgets what an earlier attempt of the run left. `state` and `error` are always set.
    Events get their sequence numbers in the order given.
    """

    dsl: str
    state: RunState = RunState.RUNNING
    progress: float | None = None
    message: str = ""
    error: str = ""
    fresh: bool = False
    nodes: Sequence[NodeRecord] = ()
    events: Sequence[FlowEvent] = ()
    output: Mapping[str, Any] | None = None  # of the run, once it has ended well


class RunStore(Protocol):
    """Keeps runs. Raises `Unavailable` when it can't; a write either happens whole or not.

    A write raises `Cancelled` when the run is no longer the caller's (its lease was taken over);
    that stops the run.
    """

    async def load(self, ids: RunIds) -> SavedRun | None:
        """What the run left behind, None for a new one."""

    async def write(self, ids: RunIds, change: RunUpdate) -> None:
        """Apply `change`; the run is created by its first. Writing a node again replaces it."""
