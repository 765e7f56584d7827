"""What a run knows: whose it is, what it may use, how it reports, how it is stopped.

The host (ingestion's actor, the answer workflow) makes the ids, the services and the token;
`run.py` makes the context from them and hands it to every component.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from engine.errors import Cancelled
from engine.flow.records import NodeRecord

Services = TypeVar("Services")

_log = logging.getLogger("scrubjay.flow")


@dataclass(frozen=True, slots=True)
class RunIds:
    """Everything a run can be traced by; each component sees it, each log line carries it."""

    tenant_id: str
    flow_id: str
    run_id: str
    kb_id: str = ""
    document_id: str = ""
    job_id: str = ""
    correlation_id: str = ""

    @property
    def log_key(self) -> str:
        """The key of the run's live log."""
        return f"{self.flow_id}-{self.run_id}-logs"


class CancelToken:
    """Stops a run: `cancel` may be called from any thread, at any time, more than once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self.reason: str | None = None

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self.reason is not None

    def cancel(self, reason: str = "cancelled") -> None:
        """Ask the run to stop; the first reason stays."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once, on cancellation or now; the result takes it back."""
        with self._lock:
            if self.reason is None:
                self._callbacks.append(callback)
                return lambda: self._remove(callback)
        callback()
        return lambda: None

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` once the token is cancelled."""
        if self.reason is not None:
            raise Cancelled(self.reason)

    def _remove(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


class Meter(Protocol):
    """What a run may spend; asked before each component starts."""

    def spend_node(self, path: str) -> None:
        """Count one component; raises `BudgetSpent` where the run may start no more."""


class ProgressSink(Protocol):
    """Where a run's reports go."""

    def add_text(self, component: str, text: str) -> None:
        """More of a text that a component shows while it writes it."""

    def record(self, node: NodeRecord) -> None:
        """Keep a checkpoint for the next write."""

    async def save_nodes(self) -> None:
        """Write the checkpoints kept so far before going on."""

    def report(self, component: str, fraction: float, message: str) -> None:
        """What a component says of itself; any thread, any number of times."""

    def note(
        self,
        component: str,
        progress: float,
        message: str,
        *,
        kind: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """What the runner says of a component: a start, an end, a failure (`events.py`: kinds)."""

    def has_reported(self, component: str) -> bool:
        """Whether the component said anything of itself."""


@dataclass(frozen=True, slots=True)
class RunContext(Generic[Services]):
    """One run as its components see it.

    `services` is the host's own object (blob store, embedder, index, ...); `input` is what the
    run was started with. `scope` is what references may begin with besides components. `saved` and
    `reply` are checkpoints of earlier attempts and people's replies, by path; a flow inside a
    component finds its own there. `log` writes ordinary log lines that carry the run's ids.
    """

    ids: RunIds
    services: Services
    input: Mapping[str, Any]
    token: CancelToken
    reporter: ProgressSink
    path: str = ""  # "loop[2]/" in a subgraph: the prefix of the ids of its components
    scope: Mapping[str, Any] = field(default_factory=dict)
    saved: Mapping[str, NodeRecord] = field(default_factory=dict, repr=False)
    reply: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    meter: Meter | None = None
    log: logging.LoggerAdapter[logging.Logger] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        adapter = logging.LoggerAdapter(_log, asdict(self.ids))
        object.__setattr__(self, "log", adapter)

    def progress(self, component: str, fraction: float, message: str = "") -> None:
        """Report how far `component` is, 0 to 1; may be called often and from any thread."""
        self.reporter.report(self.path + component, min(max(fraction, 0.0), 1.0), message)

    def add_text(self, component: str, text: str) -> None:
        """Show more of a text while it is written."""
        self.reporter.add_text(self.path + component, text)

    def check_cancelled(self) -> None:
        """Raise `Cancelled` once the run was stopped; for loops and code in threads."""
        self.token.raise_if_cancelled()
