"""What a run may spend, and what it has spent. Everything is reserved before it is used.

Five currencies: components started, model requests, tokens, tool calls, and seconds of work. A run
that has spent one of them ends with its name as the reason; one that waits for a person spends
nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from engine.errors import BudgetSpent

CHARS_PER_TOKEN = 3  # a cautious guess, for what is reserved before a request


@dataclass(frozen=True, slots=True)
class RunBudget:
    """The limits of one run; `tokens` counts input and output of all its model requests."""

    nodes: int = 200
    requests: int = 30
    tokens: int = 100_000
    tool_calls: int = 20
    active_s: float = 900.0

    @classmethod
    def of(cls, stored: dict[str, Any]) -> RunBudget:
        """As a run's row keeps it; what it lacks is the default."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})

    def to_json(self) -> dict[str, Any]:
        """For the run's row."""
        return asdict(self)


@dataclass(slots=True)
class RunUsage:
    """What a run has spent so far."""

    nodes: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    active_s: float = 0.0

    @classmethod
    def of(cls, stored: dict[str, Any]) -> RunUsage:
        """As a run's row keeps it."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})

    def to_json(self) -> dict[str, Any]:
        """For the run's row."""
        return {**asdict(self), "active_s": round(self.active_s, 3)}


class RunMeter:
    """Counts for one run; `reserved` tokens are of requests under way."""

    def __init__(self, budget: RunBudget, usage: RunUsage) -> None:
        self.budget = budget
        self.usage = usage
        self._reserved = 0
        self._held: dict[str, RunBudget] = {}  # what runs that this one started may spend

    def spend_node(self, path: str) -> None:
        """Count one component that starts."""
        if self.usage.nodes + self._lent("nodes") >= self.budget.nodes:
            raise _spent("nodes", f"{self.budget.nodes} components, and {path!r} would be one more")
        self.usage.nodes += 1

    def spend_tool_call(self) -> None:
        """Count one call of a tool."""
        if self.usage.tool_calls + self._lent("tool_calls") >= self.budget.tool_calls:
            raise _spent("tool_calls", f"{self.budget.tool_calls} tool calls")
        self.usage.tool_calls += 1

    def reserve(self, prompt_chars: int, max_tokens: int) -> int:
        """Tokens set aside for a request that is about to be sent; hand them to `settle`."""
        if self.usage.requests + self._lent("requests") >= self.budget.requests:
            raise _spent("requests", f"{self.budget.requests} model requests")
        wanted = prompt_chars // CHARS_PER_TOKEN + max_tokens
        spent = self.usage.input_tokens + self.usage.output_tokens + self._reserved
        spent += self._lent("tokens")
        if spent + wanted > self.budget.tokens:
            raise _spent(
                "tokens", f"{self.budget.tokens:,} tokens; the next request may need {wanted:,}"
            )
        self.usage.requests += 1
        self._reserved += wanted
        return wanted

    def settle(self, reserved: int, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """Count what a request came to in place of what was set aside."""
        self._reserved -= reserved
        self.usage.input_tokens += input_tokens
        self.usage.output_tokens += output_tokens

    def lend(self, share: float) -> RunBudget:
        """A budget of that share of what is left; hand it to `hold` while it is spent."""
        used = self.usage
        tokens = used.input_tokens + used.output_tokens + self._reserved
        left = {
            "nodes": self.budget.nodes - used.nodes - self._lent("nodes"),
            "requests": self.budget.requests - used.requests - self._lent("requests"),
            "tokens": self.budget.tokens - tokens - self._lent("tokens"),
            "tool_calls": self.budget.tool_calls - used.tool_calls - self._lent("tool_calls"),
        }
        lent = {name: int(max(0, amount) * share) for name, amount in left.items()}
        if lent["nodes"] < 1:
            raise _spent("nodes", f"{self.budget.nodes} components; none is left for another run")
        active_s = max(1.0, (self.budget.active_s - used.active_s) * share)
        return RunBudget(**lent, active_s=active_s)

    def hold(self, path: str, lent: RunBudget) -> None:
        """Keep what a run that the component at `path` started may spend."""
        self._held[path] = lent

    def release(self, path: str, used: RunUsage) -> None:
        """Count what that run has spent in place of what was kept for it."""
        self._held.pop(path, None)
        for name in ("nodes", "requests", "input_tokens", "output_tokens", "tool_calls"):
            setattr(self.usage, name, getattr(self.usage, name) + getattr(used, name))

    def _lent(self, name: str) -> int:
        return sum(int(getattr(lent, name)) for lent in self._held.values())


def _spent(budget: str, what: str) -> BudgetSpent:
    return BudgetSpent(
        f"The run has used up what it may spend: {what}. Raise its budget, or make it do less.",
        budget=budget,
    )
