"""What a flow says should happen when a component fails: try again, use a default, or branch.

Every component takes both beside its parameters:

    {"id": "fetch", "type": "HTTP", "param": {…},
     "retry": {"times": 3, "wait_s": 2, "on": ["timeout", "unavailable", "rate_limited"]},
     "on_error": {"branch": "sorry"}}

`dsl.py` reads them, `execution.py` obeys them. A cancelled run and a spent budget are never handled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.errors import BudgetSpent, Cancelled, EngineError, OverTime, RateLimited, Unavailable

ErrorKind = Literal["timeout", "unavailable", "rate_limited"]

ERROR_KEYS = frozenset({"error", "error_code"})  # what a handled failure writes
WAIT_MAX_S = 60.0


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Retry(_Model):
    """How often a failed component is tried again, and after which failures."""

    times: int = Field(default=2, ge=1, le=5)
    wait_s: float = Field(default=1.0, ge=0, le=WAIT_MAX_S)
    on: tuple[ErrorKind, ...] = ("timeout", "unavailable", "rate_limited")

    def wait_before(self, attempt: int, error: Exception) -> float | None:
        """Seconds until the next attempt after `attempt` (from 1) failed; None: there is none."""
        if attempt > self.times or kind_of(error) not in self.on:
            return None
        asked = error.retry_after_s if isinstance(error, RateLimited | Unavailable) else None
        return min(WAIT_MAX_S, max(self.wait_s, asked or 0.0))


class OnError(_Model):
    """What follows a failure that is not tried again: `default` or `branch`, else the run fails."""

    default: dict[str, Any] | None = None
    branch: str | None = Field(default=None, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _one_of_them(self) -> OnError:
        if (self.default is None) == (self.branch is None):
            raise ValueError("give either `default` (an output) or `branch` (a component's id)")
        return self

    def output(self, error: Exception) -> Mapping[str, Any]:
        """What the component then wrote."""
        code = error.code if isinstance(error, EngineError) else "internal"
        said = str(error) if isinstance(error, EngineError) else "It failed unexpectedly."
        return {**(self.default or {}), "error": said, "error_code": code}


def kind_of(error: Exception) -> ErrorKind | None:
    """What `retry.on` calls this failure; None where another attempt would not help."""
    if isinstance(error, OverTime | TimeoutError):
        return "timeout"
    if isinstance(error, RateLimited):
        return "rate_limited"
    return "unavailable" if isinstance(error, Unavailable) else None


def may_be_handled(error: Exception) -> bool:
    """Whether `on_error` applies: not to what ends the whole run."""
    return not isinstance(error, BudgetSpent | Cancelled)
