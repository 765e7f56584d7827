"""Where every tenant's spaces live in Vespa: rows in SQL, the same for all processes.

The application package is rendered from these rows alone, under one lock: a process that needs a schema
writes its row, waits for the lock, and deploys whatever rows ask for by then, its own and others'.
A schema goes only when its row says so. `engine/runtime.py` gives it to the Vespa adapter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.clock import new_id
from engine.db.session import Database, upsert
from engine.db.tables import IndexPlacement, Tenant
from engine.errors import ConfigurationError, NotFound, Unavailable
from engine.index.port import Space
from engine.index.vespa import SpacePlace
from engine.limits import Limits
from vespa_app.tenancy import BaseSchema, Cells, Kind, Placement, choose_kind

log = logging.getLogger(__name__)

LOCK = "vespa:deploy"
LOCK_LEASE_S = 30.0  # renewed while a deploy is under way; a process that dies blocks no longer
LOCK_POLL_S = 0.2

Policy = Literal["auto", "dedicated", "pooled"]


class Deploy(Protocol):
    """Makes the cluster be what these placements say; `removed` are the schemas it may drop."""

    async def __call__(self, placements: Sequence[Placement], *, removed: Sequence[str]) -> None:
        """Return once every schema is searched and fed; raises `EngineError`."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A placement and what is to be done about it."""

    placement: Placement
    state: str
    languages: tuple[str, ...]

    @property
    def place(self) -> SpacePlace:
        schema = self.placement.schema
        return SpacePlace(
            schema=schema.name,
            cells=schema.base.cells,
            is_pooled=self.placement.kind == "pooled",
            languages=self.languages,
        )


class SqlPlaces:
    """`engine.index.vespa.Places` over the table `index_placement`."""

    def __init__(
        self,
        db: Database,
        limits: Limits,
        deploy: Deploy,
        *,
        cells: Cells = "bfloat16",
        policy: Policy = "auto",
        max_dedicated: int = 50,
        wait_s: float = 600.0,
    ) -> None:
        self._db = db
        self._limits = limits
        self._deploy = deploy
        self._cells: Cells = cells
        self._policy: Policy = policy
        self._max_dedicated = max_dedicated
        self._wait_s = wait_s

    async def find(self, tenant_id: str, space: Space) -> SpacePlace | None:
        """Where a space is, or None where there is none yet or no more."""
        row = await self._row(tenant_id, space)
        return row.place if row is not None and row.state == "deployed" else None

    async def make(self, tenant_id: str, space: Space) -> SpacePlace:
        """Where a space is, placed and deployed first where there is none."""
        row = await self._row(tenant_id, space)
        if row is None or row.state != "deployed":
            await self._db.run_write(lambda session: self._place(session, tenant_id, space))
            await self._deploy_what_waits(tenant_id, space)
            row = await self._row(tenant_id, space)
        if row is None:
            raise Unavailable(
                f"The space {space.name} was dropped while it was created; try again."
            )
        return row.place

    async def drop(self, tenant_id: str, space: Space) -> None:
        """Forget a space, and remove its schema where it had one to itself."""

        async def mark(session: AsyncSession) -> None:
            await session.execute(
                update(IndexPlacement)
                .where(IndexPlacement.tenant_id == tenant_id, IndexPlacement.space == space.name)
                .values(state="dropping")
            )

        await self._db.run_write(mark)
        await self._deploy_what_waits(tenant_id, space)

    async def spaces(self, tenant_id: str) -> list[Space]:
        """The spaces of a tenant, by name."""
        query = (
            select(IndexPlacement.space, IndexPlacement.dimension)
            .where(IndexPlacement.tenant_id == tenant_id, IndexPlacement.state != "dropping")
            .order_by(IndexPlacement.space)
        )
        async with self._db.read() as session:
            return [Space(name, dimension) for name, dimension in await session.execute(query)]

    async def learn(self, tenant_id: str, space: Space, languages: frozenset[str]) -> None:
        """Remember that a space holds texts in these languages."""

        async def add(session: AsyncSession) -> None:
            row = await session.get(IndexPlacement, (tenant_id, space.name), with_for_update=True)
            if row is not None:
                row.languages = sorted({*row.languages, *languages})

        await self._db.run_write(add)

    async def all(self) -> list[Placement]:
        """Every placement that is to stay: what a package is rendered from."""
        kept, _ = await self.wanted()
        return kept

    async def wanted(self) -> tuple[list[Placement], list[str]]:
        """What rows ask for: the placements that stay, and the schemas that may go."""
        async with self._db.read() as session:
            return _wanted(await _rows(session))

    async def listed(self) -> list[tuple[Placement, str]]:
        """Every placement with its state: placed, deployed or dropping."""
        async with self._db.read() as session:
            return [(row.placement, row.state) for row in await _rows(session)]

    async def deploy(self) -> None:
        """Deploy what the rows ask for, also where nothing changed."""
        async with self._alone():
            await self._deploy_rows()

    async def _row(self, tenant_id: str, space: Space) -> _Row | None:
        async with self._db.read() as session:
            rows = await _rows(session, tenant_id, space.name)
        if rows and rows[0].placement.base.dimension != space.dimension:
            raise ConfigurationError(
                f"The space {space.name} has vectors of {rows[0].placement.base.dimension} "
                f"numbers, not {space.dimension}: another model needs a space of another name."
            )
        return rows[0] if rows else None

    async def _place(self, session: AsyncSession, tenant_id: str, space: Space) -> None:
        """Write the row of a space that has none; where it goes is decided once."""
        if await session.get(Tenant, tenant_id) is None:
            raise NotFound(f"There is no tenant {tenant_id}.")
        dedicated = await session.scalar(
            select(func.count())
            .select_from(IndexPlacement)
            .where(IndexPlacement.kind == "dedicated")
        )
        try:
            kind: Kind = choose_kind(
                dedicated=dedicated or 0, max_dedicated=self._max_dedicated, policy=self._policy
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        statement = upsert(session, IndexPlacement).values(
            tenant_id=tenant_id,
            space=space.name,
            dimension=space.dimension,
            cells=self._cells,
            kind=kind,
            state="placed",
            languages=[],
        )
        await session.execute(
            statement.on_conflict_do_nothing(index_elements=["tenant_id", "space"])
        )

    async def _deploy_what_waits(self, tenant_id: str, space: Space) -> None:
        """Deploy unless another process has done so for us while we waited for the lock."""
        async with self._alone():
            row = await self._row(tenant_id, space)
            if row is not None and row.state != "deployed":
                await self._deploy_rows()

    async def _deploy_rows(self) -> None:
        async with self._db.read() as session:
            rows = await _rows(session)
        kept, removed = _wanted(rows)
        await self._deploy(kept, removed=removed)

        async def settle(session: AsyncSession) -> None:
            for row in rows:
                mine = (
                    IndexPlacement.tenant_id == row.placement.tenant_id,
                    IndexPlacement.space == row.placement.space,
                    IndexPlacement.state == row.state,
                )
                if row.state == "dropping":
                    await session.execute(delete(IndexPlacement).where(*mine))
                elif row.state == "placed":
                    await session.execute(
                        update(IndexPlacement).where(*mine).values(state="deployed")
                    )

        await self._db.run_write(settle)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Hold the lock that all processes share; `Unavailable` where it is not free in time."""
        owner = new_id()
        try:
            async with asyncio.timeout(self._wait_s):
                # The lock is another process's: there is no event of ours to wait for.
                while not await self._limits.acquire(LOCK, owner, lease_s=LOCK_LEASE_S):  # noqa: ASYNC110
                    await asyncio.sleep(LOCK_POLL_S)
        except TimeoutError:
            raise Unavailable(
                "Another process deploys to Vespa and has not finished: see `scrubjay vespa "
                "status`."
            ) from None
        renewing = asyncio.create_task(self._renew(owner))
        try:
            yield
        finally:
            renewing.cancel()
            await self._limits.release(LOCK, owner)

    async def _renew(self, owner: str) -> None:
        """Hold on to the lock for as long as the deploy takes."""
        while True:
            await asyncio.sleep(LOCK_LEASE_S / 3)
            try:
                await self._limits.acquire(LOCK, owner, lease_s=LOCK_LEASE_S)
            except Unavailable as error:
                log.warning("the lock of the Vespa deploy was not renewed: %s", error)


def _wanted(rows: Sequence[_Row]) -> tuple[list[Placement], list[str]]:
    kept = [row.placement for row in rows if row.state != "dropping"]
    stay = {placement.schema.name for placement in kept}
    going = {row.placement.schema.name for row in rows if row.state == "dropping"}
    return kept, sorted(going - stay)


async def _rows(session: AsyncSession, tenant_id: str = "", space: str = "") -> list[_Row]:
    query = (
        select(IndexPlacement, Tenant.key)
        .join(Tenant, Tenant.id == IndexPlacement.tenant_id)
        .order_by(IndexPlacement.created_at, IndexPlacement.tenant_id, IndexPlacement.space)
    )
    if tenant_id:
        query = query.where(IndexPlacement.tenant_id == tenant_id, IndexPlacement.space == space)
    return [
        _Row(
            Placement(
                tenant_id=row.tenant_id,
                tenant_key=key,
                space=row.space,
                base=BaseSchema(row.dimension, "float" if row.cells == "float" else "bfloat16"),
                kind="pooled" if row.kind == "pooled" else "dedicated",
            ),
            row.state,
            tuple(row.languages),
        )
        for row, key in await session.execute(query)
    ]
