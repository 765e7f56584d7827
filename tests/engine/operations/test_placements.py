"""Where spaces live: placed once, deployed together, dropped only when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from engine.db.session import Database
from engine.db.tables import Ephemeral
from engine.errors import ConfigurationError, NotFound, Unavailable
from engine.index.port import Space
from engine.limits import SqlLimits
from engine.operations import placements
from engine.operations.placements import Policy, SqlPlaces
from tests.engine.conftest import Clock
from vespa_app.tenancy import Placement

SPACE, OTHER = Space("minilm", 4), Space("large", 8)


class Cluster:
    """Notes what is deployed; may be told to fail or to take its time."""

    def __init__(self) -> None:
        self.deploys: list[tuple[list[str], list[str]]] = []
        self.fails = False
        self.may_go = asyncio.Event()
        self.may_go.set()

    async def __call__(self, placed: Sequence[Placement], *, removed: Sequence[str]) -> None:
        await self.may_go.wait()
        if self.fails:
            raise Unavailable("the config server is away")
        self.deploys.append((sorted({p.schema.name for p in placed}), list(removed)))


def build(
    db: Database, cluster: Cluster, *, policy: Policy = "auto", most: int = 50, wait_s: float = 60
) -> SqlPlaces:
    return SqlPlaces(db, SqlLimits(db), cluster, policy=policy, max_dedicated=most, wait_s=wait_s)


async def test_a_space_is_placed_deployed_and_found_by_all(database: Database) -> None:
    cluster = Cluster()
    one, two = build(database, cluster), build(database, cluster)
    assert await one.find("acme", SPACE) is None
    made = await one.make("acme", SPACE)
    assert made.schema == "t_acme_minilm"
    assert await two.find("acme", SPACE) == made
    await two.make("acme", SPACE)
    assert cluster.deploys == [(["t_acme_minilm"], [])]
    await one.learn("acme", SPACE, frozenset({"de", "en"}))
    found = await two.find("acme", SPACE)
    assert found is not None
    assert found.languages == ("de", "en")


async def test_many_that_come_together_are_deployed_together(database: Database) -> None:
    cluster = Cluster()
    cluster.may_go.clear()
    places = build(database, cluster)
    making = [
        asyncio.create_task(places.make(tenant, space))
        for tenant in ("acme", "bolt", "cobb")
        for space in (SPACE, OTHER)
    ]
    async with asyncio.timeout(60):
        while len(await places.listed()) < 6:  # noqa: ASYNC110 (rows change in the database)
            await asyncio.sleep(0.01)
        cluster.may_go.set()
        await asyncio.gather(*making)
    assert len(cluster.deploys) <= 2
    assert len(cluster.deploys[-1][0]) == 6


async def test_a_failed_deploy_is_an_error_and_the_next_one_makes_up_for_it(
    database: Database,
) -> None:
    cluster = Cluster()
    places = build(database, cluster)
    cluster.fails = True
    with pytest.raises(Unavailable, match="config server"):
        await places.make("acme", SPACE)
    assert await places.find("acme", SPACE) is None
    cluster.fails = False
    assert (await places.make("acme", SPACE)).schema == "t_acme_minilm"


async def test_only_what_was_dropped_is_removed_and_a_pool_stays_while_others_use_it(
    database: Database,
) -> None:
    cluster = Cluster()
    places = build(database, cluster, most=1)
    assert (await places.make("acme", SPACE)).is_pooled is False
    assert (await places.make("bolt", SPACE)).is_pooled is True
    pool = (await places.make("cobb", SPACE)).schema
    await places.drop("bolt", SPACE)
    assert cluster.deploys[-1] == ([pool, "t_acme_minilm"], [])
    await places.drop("acme", SPACE)
    assert cluster.deploys[-1] == ([pool], ["t_acme_minilm"])
    await places.drop("cobb", SPACE)
    assert cluster.deploys[-1] == ([], [pool])
    assert await places.all() == []
    assert await places.spaces("cobb") == []


async def test_what_can_not_be_placed_is_refused(database: Database) -> None:
    places = build(database, Cluster(), policy="dedicated", most=1)
    await places.make("acme", SPACE)
    with pytest.raises(ConfigurationError, match=r"vespa\.max_dedicated"):
        await places.make("bolt", SPACE)
    with pytest.raises(NotFound):
        await places.make("nobody", SPACE)
    with pytest.raises(ConfigurationError, match="another name"):
        await places.find("acme", Space(SPACE.name, 5))


async def test_the_lock_of_one_that_died_lapses_and_of_one_that_works_does_not(
    database: Database, monkeypatch: pytest.MonkeyPatch, fixed_clock: Clock
) -> None:
    monkeypatch.setattr(placements, "LOCK_LEASE_S", 0.3)
    cluster = Cluster()
    await SqlLimits(database).acquire(placements.LOCK, "a process that was killed", lease_s=0.3)
    with pytest.raises(Unavailable, match="Another process deploys"):
        await build(database, cluster, wait_s=0.5).make("acme", SPACE)
    fixed_clock.advance(0.3)
    await build(database, cluster).make("acme", SPACE)

    async def locked_until() -> float:
        async with database.read() as session:
            query = select(Ephemeral.until).where(Ephemeral.key == f"lock:{placements.LOCK}")
            return await session.scalar(query) or 0.0

    cluster.may_go.clear()
    slow = asyncio.create_task(build(database, cluster).make("bolt", SPACE))
    async with asyncio.timeout(60):
        for _ in range(9):  # three leases long: renewed, or another would deploy beside it
            while await locked_until() <= fixed_clock.now().timestamp() + 0.2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            fixed_clock.advance(0.1)
    with pytest.raises(Unavailable, match="Another process deploys"):
        await build(database, cluster, wait_s=0.5).make("cobb", SPACE)
    cluster.may_go.set()
    await slow
