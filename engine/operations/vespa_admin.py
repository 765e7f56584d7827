"""What an operator asks about the Vespa application: render it, plan, deploy, look.

The `scrubjay vespa` commands call this; the adapter itself deploys through `placements.py` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.db.session import Database
from engine.operations.vespa_cluster import build_places, deploy_faults, open_deployer
from engine.settings import Settings
from vespa_app.deploy import ActionKind, Convergence, DeployPlan
from vespa_app.package import Package
from vespa_app.tenancy import Placement


@dataclass(frozen=True, slots=True)
class PlacedSpace:
    """Where one tenant's space is, by what people know them as."""

    tenant: str
    space: str
    dimension: int
    kind: str
    schema: str
    state: str  # placed, deployed, dropping; `missing` where Vespa does not have the schema


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """What is placed, what is deployed, and how far the cluster's services are.

    `unknown` are schemas of the cluster that no placement names.
    """

    spaces: Sequence[PlacedSpace]
    unknown: Sequence[str]
    convergence: Convergence | None


async def render_package(settings: Settings, db: Database) -> Package:
    """The package that a deploy would send now; asks no Vespa."""
    kept, _ = await build_places(settings, db).wanted()
    async with open_deployer(settings) as deployer:
        with deploy_faults():
            return deployer.render(kept)


async def plan_deploy(settings: Settings, db: Database) -> DeployPlan:
    """What a deploy would do now; nothing changes."""
    kept, removed = await build_places(settings, db).wanted()
    async with open_deployer(settings) as deployer:
        with deploy_faults():
            return await deployer.plan(kept, removed=removed)


async def deploy(
    settings: Settings, db: Database, *, accept: Sequence[ActionKind] = ()
) -> DeployPlan:
    """Deploy what placements ask for, under the lock of all processes; returns what was done.

    `accept` names kinds of work that somebody will do afterwards. Raises `ConfigurationError` for
    a deploy nobody asked for, `Unavailable` where Vespa is not there or not done in time.
    """
    done: list[DeployPlan] = []

    async def send(placements: Sequence[Placement], *, removed: Sequence[str]) -> None:
        async with open_deployer(settings) as deployer:
            with deploy_faults():
                done.append(await deployer.deploy(placements, removed=removed, accept=accept))

    await build_places(settings, db, send).deploy()
    return done[-1]


async def read_status(settings: Settings, db: Database) -> ClusterStatus:
    """Placements beside what the cluster says; `Unavailable` where it says nothing."""
    rows = await build_places(settings, db).listed()
    async with open_deployer(settings) as deployer:
        with deploy_faults():
            schemas, convergence = await deployer.status()
    deployed = set(schemas or [])
    spaces = [
        PlacedSpace(
            tenant=placement.tenant_key,
            space=placement.space,
            dimension=placement.base.dimension,
            kind=placement.kind,
            schema=placement.schema.name,
            state="missing"
            if state == "deployed" and placement.schema.name not in deployed
            else state,
        )
        for placement, state in rows
    ]
    unknown = sorted(deployed - {space.schema for space in spaces})
    return ClusterStatus(spaces, unknown, convergence)
