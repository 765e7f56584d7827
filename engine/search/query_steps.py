"""What was read into a query, in words, for every door. Pure and light: doors import it at their start."""

from __future__ import annotations

from collections.abc import Sequence

from engine.domain import QueryStep

_SAID = {
    "spelling": "“{said}” read as “{read}”",
    "acronym": "{said} read as “{read}”",
    "filter": "“{said}” read as the filter {read}",
    "follow_up": "the question read as “{read}”",
}


def describe_step(step: QueryStep) -> str:
    """One thing that was read into a query: `“leeve” read as “leave”`."""
    return _SAID[step.kind].format(said=step.said, read=step.read)


def describe_steps(steps: Sequence[QueryStep]) -> str:
    """All that was read into a query, in a sentence; empty for nothing."""
    said = "; ".join(map(describe_step, steps))
    return f"{said[0].upper()}{said[1:]}." if said else ""
