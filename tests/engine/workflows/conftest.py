"""A data folder with pages, an engine over it, and a worker that runs what is queued."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.access import gate
from engine.domain import Principal, Role
from engine.engine import Engine
from engine.people import members
from engine.runtime import open_engine
from engine.workflows.component import WorkflowServices
from engine.workflows.runs import RunInfo
from ingestion.host import run_worker
from tests.fakes.homes import fill, home_settings


@dataclass
class Desk:
    """An installation with its owner, and short ways to run something."""

    engine: Engine
    owner: Principal
    replies: list[Any] = field(default_factory=list)

    async def work(self) -> None:
        """Be a worker until nothing is queued."""
        await run_worker(self.engine, asyncio.Event(), idle_exit_s=0)

    async def run(
        self,
        ref: str,
        inputs: dict[str, Any] | None = None,
        *,
        who: Principal | None = None,
        **more: Any,
    ) -> RunInfo:
        """A run after a worker has done what it could."""
        who = who or self.owner
        run_id = await self.engine.workflows.start(who, ref, inputs or {}, **more)
        await self.work()
        return await self.engine.workflows.get_run(who, run_id)

    async def publish(self, name: str, dsl: str) -> None:
        """A workflow that can be run."""
        await self.engine.workflows.create(self.owner, name, dsl)
        await self.engine.workflows.publish(self.owner, name)

    async def reply(self, run: RunInfo, *, who: Principal | None = None, **said: Any) -> RunInfo:
        """The run after a reply, and after a worker has done what it could."""
        await self.engine.workflows.reply(who or self.owner, run.id, **said)
        await self.work()
        return await self.engine.workflows.get_run(self.owner, run.id)

    def set_model(self, model: Any) -> None:
        """Have runs use this model from now on."""
        workflows = self.engine.workflows
        kept = workflows._services
        workflows._services = WorkflowServices(
            **{name: getattr(kept, name) for name in WorkflowServices.__slots__} | {"model": model}
        )


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that is filled once; each test works on a copy."""
    home = tmp_path_factory.mktemp("filled") / "home"
    asyncio.run(fill(home_settings(home)))
    return home


@pytest.fixture
async def desk(filled: Path, tmp_path: Path) -> AsyncIterator[Desk]:
    shutil.copytree(filled, tmp_path / "home")
    settings = home_settings(tmp_path / "home")
    async with open_engine(settings) as engine:
        yield Desk(engine, await engine.people.owner())


async def member_of(engine: Engine, owner: Principal, email: str, role: Role) -> Principal:
    """A member of the tenant."""
    async with engine.db.write() as session:
        added = await members.add_member(session, owner, email=email, role=role)
    async with engine.db.read() as session:
        return await gate.principal_of_user(session, owner.tenant_id, added.user_id)


@pytest.fixture
async def member(desk: Desk) -> Principal:
    """Reads what all members read: `team`, and not `board`."""
    return await member_of(desk.engine, desk.owner, "member@example.com", Role.MEMBER)
