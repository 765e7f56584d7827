"""Hold an installation against its description, and make what differs so.

Each change is a transaction of its own, in an order in which each finds what it needs. Ended in the
middle, the next run finds the rest: what is made already no longer differs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from engine.deployment import kinds, profiles
from engine.deployment.changes import Change, Plan
from engine.deployment.comparison import CheckPipeline, Comparison
from engine.deployment.described import Deployment
from engine.domain import Principal
from engine.engine import Engine

# What later ones name comes first; removals go the other way.
_ORDER: tuple[Callable[[Comparison], Awaitable[list[Change]]], ...] = (
    kinds.tenants,
    kinds.members,
    kinds.groups,
    kinds.identity_providers,
    kinds.language_models,
    kinds.quotas,
    kinds.pipelines,
    kinds.knowledge_bases,
    profiles.assistants,
    profiles.search_apps,
    kinds.workflows,
    kinds.sources,
)


async def plan(
    engine: Engine,
    principal_now: Callable[[], Awaitable[Principal]],
    wanted: Deployment,
    folder: Path,
    *,
    check_pipeline: CheckPipeline,
    prune: bool = False,
) -> Plan:
    """What differs from the description; nothing is changed.

    `principal_now` gives who asks, with all they hold at that moment. `folder` is where the description's files are. Of the kinds it has tables for, `prune` removes
    what it does not name. Raises the error of whatever in it can't be made: a graph with faults, a
    secret that is missing, a setting that is unknown.
    """
    at = Comparison(
        engine, await principal_now(), principal_now, wanted, folder, check_pipeline, prune=prune
    )
    found = [await kind(at) for kind in _ORDER]
    made = [change for some in found for change in some if change.verb != "remove"]
    removed = [change for some in reversed(found) for change in some if change.verb == "remove"]
    return Plan([*made, *removed], at.unnamed)


async def apply(planned: Plan) -> AsyncIterator[Change]:
    """Make the changes, in their order; each is given when it is made."""
    for change in planned.changes:
        await change.make()
        yield change
