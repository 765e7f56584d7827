"""Random people, folders, moves, grants and removals: who sees what, against the rules by hand."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from engine.access.gate import principal_of_user
from engine.access.permissions import GrantLevel
from engine.db.tables import FileEntry
from engine.domain import Principal, Role
from engine.engine import Engine
from engine.errors import EngineError, NotFound
from engine.people import groups, members
from engine.runtime import open_engine
from tests.fakes.homes import home_settings

LEVELS = {1: GrantLevel.READ, 2: GrantLevel.WRITE, 3: GrantLevel.MANAGE}
STEPS = 60


@pytest.fixture
async def engine(tmp_path: Path, database_url: str) -> AsyncIterator[Engine]:
    settings = home_settings(tmp_path, database__url=database_url, system__secret_key="k" * 40)
    async with open_engine(settings) as opened:
        yield opened


@dataclass
class Node:
    parent: str | None
    owner: str | None
    given: dict[str, int] = field(default_factory=dict)


@dataclass
class Wood:
    """What the tree should be, and who may what in it, read from the rules and nothing else."""

    engine: Engine
    draw: random.Random
    people: list[str]
    team: str
    nodes: dict[str, Node] = field(default_factory=dict)

    def holds(self, user: str) -> set[str]:
        return {f"u:{user}", "tenant"} | ({self.team} if user == self.people[-1] else set())

    def level(self, user: str, id_: str | None) -> int:
        best = 0
        while id_ is not None:
            node = self.nodes[id_]
            if node.parent is None and node.owner == user:
                best = 3
            best = max([best, *(lv for tok, lv in node.given.items() if tok in self.holds(user))])
            id_ = node.parent
        return best

    def top(self, id_: str) -> str:
        while (parent := self.nodes[id_].parent) is not None:
            id_ = parent
        return id_

    def may_place(self, user: str, id_: str) -> bool:
        return self.level(user, id_) == 3 or self.level(user, self.nodes[id_].parent) >= 2

    def some(self) -> str:
        return self.draw.choice(sorted(self.nodes))

    async def who(self, user: str) -> Principal:
        boss = await self.engine.people.owner()
        async with self.engine.db.read() as session:
            return await principal_of_user(session, boss.tenant_id, user)

    async def tried(self, may: bool, act: Awaitable[object]) -> object | None:
        """What an act returned, which has to be refused where it may not be."""
        try:
            done = await act
        except EngineError:
            return None
        assert may
        return done if done is not None else True

    async def create(self, user: str, name: str) -> None:
        parent = self.some() if self.nodes and self.draw.random() < 0.7 else None
        may = parent is None or self.level(user, parent) >= 2
        me = await self.who(user)
        made = await self.tried(may, self.engine.files.create_folder(me, name, parent or ""))
        if made is not None:
            self.nodes[made.id] = Node(parent, None if parent else user)
        else:
            assert not may

    async def move(self, user: str, name: str) -> None:
        id_ = self.some()
        to = self.some() if self.draw.random() < 0.8 else None
        may = self.may_place(user, id_) and (to is None or self.level(user, to) >= 2)
        if to is None or self.top(to) != self.top(id_):
            may = may and self.level(user, id_) == 3
        me = await self.who(user)
        moving = self.engine.files.change(me, id_, folder=to or "", name=name)
        if await self.tried(may, moving) is not None:
            node = self.nodes[id_]
            stays = node.parent is None and to is None
            node.owner = node.owner if stays else (None if to else user)
            node.parent = to

    async def grant(self, user: str, _: str) -> None:
        id_, how = self.some(), self.draw.choice([1, 2, 3])
        to = self.draw.choice([f"u:{self.draw.choice(self.people)}", self.team, "tenant"])
        may = self.level(user, id_) == 3
        me = await self.who(user)
        if await self.tried(may, self.engine.files.grant(me, id_, to, LEVELS[how])) is not None:
            self.nodes[id_].given[to] = how

    async def revoke(self, user: str, _: str) -> None:
        id_ = self.some()
        for to in sorted(self.nodes[id_].given):
            may = self.level(user, id_) == 3
            me = await self.who(user)
            if await self.tried(may, self.engine.files.revoke(me, id_, to)) is not None:
                del self.nodes[id_].given[to]

    async def delete(self, user: str, _: str) -> None:
        id_ = self.some()
        me = await self.who(user)
        if await self.tried(self.may_place(user, id_), self.engine.files.delete(me, id_)) is None:
            return
        gone = {id_}
        while more := {i for i, node in self.nodes.items() if node.parent in gone} - gone:
            gone |= more
        for one in gone:
            del self.nodes[one]

    async def step(self, number: int) -> None:
        user = self.draw.choice(self.people)
        acts: list[Callable[[str, str], Awaitable[None]]] = [
            self.create,
            self.create,
            self.create,
            self.move,
            self.move,
            self.grant,
            self.grant,
            self.revoke,
            self.delete,
        ]
        act = self.draw.choice(acts) if self.nodes else self.create
        await act(user, f"n{number}")

    async def check(self, user: str) -> None:
        me = await self.who(user)
        expected = {id_ for id_ in self.nodes if self.level(user, id_)}
        for id_ in self.nodes:
            if id_ in expected:
                info = await self.engine.files.get(me, id_)
                assert info.level == LEVELS[self.level(user, id_)]
            else:
                with pytest.raises(NotFound):
                    await self.engine.files.get(me, id_)
        listed: list[str] = []
        folders = [""]
        while folders:
            page = await self.engine.files.page(me, folders.pop(), limit=1000)
            listed += [entry.id for entry in page.entries]
            folders += [entry.id for entry in page.entries]
        assert sorted(listed) == sorted(expected)  # each once


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_nobody_lists_or_reaches_what_no_owner_and_no_grant_gives_them(engine, seed):
    boss = await engine.people.owner()
    people = []
    async with engine.db.write() as session:
        for at in range(4):
            added = await members.add_member(
                session, boss, email=f"p{at}@x.example", role=Role.CURATOR
            )
            people.append(added.user_id)
        group = await groups.create_group(session, boss, "team")
        await groups.add_to_group(session, boss, group.id, people[-1])
    wood = Wood(engine, random.Random(seed), people, f"g:{group.id}")
    for number in range(STEPS):
        await wood.step(number)
    for user in people:
        await wood.check(user)
    async with engine.db.read() as session:
        rows = {row.id: row.parent_id for row in await session.scalars(select(FileEntry))}
    assert rows == {id_: node.parent for id_, node in wood.nodes.items()}
