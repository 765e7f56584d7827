"""A registry of small components, a desk they work at, and a run that takes one line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.db.session import Database, open_database
from engine.db.tables import Base, Tenant
from engine.flow.context import RunIds
from engine.flow.dsl import parse_flow
from engine.flow.execution import RunResult
from engine.flow.graph import Graph
from engine.flow.registry import Registry
from engine.flow.run import run_flow
from tests.fakes.flow_components import COMPONENTS, IDS, Desk


@pytest.fixture
def registry() -> Registry:
    return Registry(COMPONENTS)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


Run = Callable[..., Awaitable[RunResult]]


@pytest.fixture
def run(registry: Registry, desk: Desk) -> Run:
    async def run(dsl: Any, ids: RunIds = IDS, **options: Any) -> RunResult:
        inputs = options.get("input", {})
        graph = dsl if isinstance(dsl, Graph) else parse_flow(dsl, registry, inputs=inputs)
        return await asyncio.wait_for(run_flow(graph, ids, desk, **options), 60)

    return run


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    file = tmp_path / "scrubjay.db"
    file.touch()
    async with open_database(f"sqlite:///{file}") as database:
        async with database.write() as session:
            connection = await session.connection()
            await connection.run_sync(Base.metadata.create_all)
            session.add(Tenant(id="t1", key="one", name="One"))
        yield database
