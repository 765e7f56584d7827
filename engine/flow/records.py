"""How a component's part in a run ended, as it is kept: the checkpoint of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from engine.clock import now


class NodeState(StrEnum):
    """How a node's part in a run ended; one still running has no record yet."""

    DONE = "done"
    SKIPPED = "skipped"
    PAUSED = "paused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node's checkpoint. `output` of a paused node is what its `Pause` saved, `form` its form.

    `fired` are the targets it chose, None where it fired every edge. `error` of a node that is done
    is a failure that its flow handled.
    """

    node_id: str
    state: NodeState
    output: Mapping[str, Any] = field(default_factory=dict)
    fired: tuple[str, ...] | None = None
    elapsed_s: float = 0.0
    error: str = ""
    started_at: datetime = field(default_factory=now)
    form: Mapping[str, Any] = field(default_factory=dict, compare=False)
