"""Permissions of a source hold here as they do there: random worlds, against their own oracle."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from engine import clock
from engine.db.tables import AccessNode, User
from engine.domain import Role
from tests.contracts.sources import Rig, agrees
from tests.fakes import source_worlds
from tests.fakes.databases import SqliteDatabases
from tests.fakes.installations import parse_inline
from tests.fakes.source_worlds import World, WorldConnector, WorldContainer
from tests.fakes.sources import SourceInstallation, open_sources

PEOPLE = ["ada", "bob", "cyd"]


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture
def home(sqlite_databases: SqliteDatabases, tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    sqlite_databases.new(folder)
    return folder


@asynccontextmanager
async def rig_of(home: Path, world: World) -> AsyncIterator[Rig]:
    """An installation that reads a world, with its people as members who proved their address."""
    async with open_sources(home, connectors={"world": WorldConnector(world)}) as notes:
        for name in PEOPLE:
            await notes.engine.people.add_member(notes.owner, f"{name}@example.com")
        await prove(notes)
        await notes.engine.knowledge_bases.revoke(notes.owner, "notes", "tenant")
        rig = Rig(
            notes, dict.fromkeys(PEOPLE, notes.owner), lambda: set(world.items), world.can_read
        )
        await notes.connect("world", "it", domains=["example.com"])
        await rig.refresh()
        yield rig


async def prove(notes: SourceInstallation) -> None:
    async with notes.engine.db.write() as session:
        await session.execute(
            update(User).where(User.email.is_not(None)).values(email_verified_at=clock.now())
        )


@pytest.fixture
def connected(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[World], object]:
    parse_inline(monkeypatch)
    return lambda world: rig_of(home, world)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_after_each_sync_everybody_sees_exactly_what_they_may(connected, seed):
    chance = random.Random(seed)
    world = source_worlds.random_world(chance, PEOPLE)
    async with connected(world) as rig:
        await agrees(rig, "at first")
        for _ in range(6):
            said = source_worlds.change(chance, world)
            await rig.sync()
            await agrees(rig, said)


def small_world() -> World:
    """A space with a restricted page above another, and a folder of its own people."""
    world = World(users=set(PEOPLE), groups={"staff": {"u:ada", "u:bob"}})
    world.containers = {
        "space": WorldContainer(any_of={"g:staff"}),
        "page": WorldContainer(parent="space", is_layer=True),
        "below": WorldContainer(parent="page", is_layer=True),
        "folder": WorldContainer(any_of={"u:cyd"}),
    }
    world.put("inside", "below", "# inside\n\nThe budget is said here.")
    world.put("other", "folder", "# other\n\nThe holiday is said here.")
    return world


async def test_a_restriction_above_hides_all_that_is_below_at_once(connected):
    world = small_world()
    async with connected(world) as rig:
        assert await rig.readable("bob") == {"inside"}
        world.containers["page"].restricted_to = {"u:ada"}
        await rig.sync()
        assert await rig.readable("bob") == set()
        assert await rig.readable("ada") == {"inside"}


async def test_a_restriction_below_does_not_lift_the_one_above(connected):
    world = small_world()
    world.containers["page"].restricted_to = {"u:ada"}
    world.containers["below"].restricted_to = {"u:ada", "u:bob"}
    async with connected(world) as rig:
        assert await rig.readable("bob") == set()


async def test_a_change_of_sharing_touches_no_document(connected):
    world = small_world()
    async with connected(world) as rig:
        world.containers["space"].any_of = {"u:cyd"}
        await rig.sync()
        info = await rig.notes.source("it")
        assert (info.last_run.counts.get("retold", 0), world.opened) == (0, 2)
        await agrees(rig)


async def test_a_permission_that_cant_be_read_is_nobodys_and_others_stay(connected):
    world = small_world()
    async with connected(world) as rig:
        world.containers["folder"].known = False
        await rig.sync()
        assert await rig.readable("cyd") == set()
        assert await rig.readable("ada") == {"inside"}


async def test_permissions_that_grow_old_are_nobodys(connected):
    world = small_world()
    async with connected(world) as rig:
        notes = rig.notes
        await notes.engine.sources.pause(notes.owner, "it")
        await rig.refresh()
        assert await rig.readable("ada") == {"inside"}
        async with notes.engine.db.write() as session:
            old = clock.now() - timedelta(hours=27)
            await session.execute(update(AccessNode).values(synced_at=old))
        await rig.refresh()
        assert await rig.readable("ada") == set()


async def test_a_failed_reading_of_groups_takes_nobody_out(connected):
    world = small_world()
    async with connected(world) as rig:
        world.faults = [source_worlds.REFUSED, source_worlds.REFUSED]
        await rig.sync()
        assert await rig.readable("ada") == {"inside"}


async def test_an_address_that_was_not_proved_gives_nothing(connected):
    world = small_world()
    async with connected(world) as rig:
        notes = rig.notes
        async with notes.engine.db.write() as session:
            await session.execute(update(User).values(email_verified_at=None))
        await rig.refresh()
        assert await rig.readable("ada") == set()


async def test_an_address_of_a_domain_that_the_source_may_not_vouch_for_gives_nothing(connected):
    world = small_world()
    async with connected(world) as rig:
        await rig.notes.engine.sources.update(rig.notes.owner, "it", domains=["other.example"])
        await rig.notes.drain()
        await rig.refresh()
        assert await rig.readable("ada") == set()


async def test_a_released_address_unlinks_at_the_next_question(connected):
    world = small_world()
    async with connected(world) as rig:
        notes = rig.notes
        async with notes.engine.db.write() as session:
            await session.execute(
                update(User).where(User.email == "ada@example.com").values(email="new@example.com")
            )
        ada = await notes.engine.people.act_as(notes.owner, "new@example.com")
        rig.people["ada"] = ada
        assert await rig.readable("ada") == set()


async def test_what_is_public_there_is_for_members_here_and_for_no_guest(connected):
    world = small_world()
    world.containers["folder"] = WorldContainer(public=True)
    async with connected(world) as rig:
        notes = rig.notes
        assert await rig.readable("bob") == {"inside", "other"}
        await notes.engine.people.add_member(notes.owner, "gus@example.com", role=Role.GUEST)
        await prove(notes)
        rig.people["gus"] = notes.owner
        await rig.refresh()
        assert await rig.readable("gus") == set()


async def test_the_same_account_in_another_tenants_source_opens_nothing(connected):
    world = small_world()
    async with connected(world) as rig:
        engine, owner = rig.notes.engine, rig.notes.owner
        assert await engine.search.find(rig.people["ada"], "budget", mode="keyword")
        await engine.people.remove_member(owner, "ada@example.com")
        hits = await rig.notes.engine.search.find(owner, "budget", mode="keyword")
        assert hits.hits == []  # the owner's role opens nothing either


async def test_an_expired_cursor_lists_anew_and_keeps_everything_meanwhile(connected):
    world = small_world()
    async with connected(world) as rig:
        world.put("third", "space", "# third\n\nThe office is said here.")
        world.delete("other")
        world.log.append(world.named("third"))
        world.forgets = len(world.log)
        await rig.sync()
        info = await rig.notes.source("it")
        assert info.last_run.counts["cursors_expired"] == 1
        await agrees(rig)


async def test_a_storm_of_refusals_costs_time_and_nothing_else(connected, monkeypatch):
    monkeypatch.setattr("engine.jobs.endings.FIRST_RETRY_S", 0.01)
    monkeypatch.setattr("engine.sources.fetching.FIRST_RETRY_S", 0.01)
    world = small_world()
    chance = random.Random(7)

    def stormy(world: World) -> None:
        if chance.random() < 0.4:
            world.faults = [chance.choice(source_worlds.STORM)]

    async with connected(world) as rig:
        world.on_call = stormy
        for number in range(8):
            world.put(f"n{number}", "space", f"# n{number}\n\nNote {number} is said here.")
        await rig.sync()
        world.on_call = None
        await rig.sync()
        assert (await rig.notes.source("it")).last_run.state == "ok"
        await agrees(rig)


async def test_edits_between_any_two_pages_are_not_lost(connected):
    world = small_world()
    for number in range(9):
        world.put(f"n{number}", "space", f"# n{number}\n\nNote {number} is said here.")
    chance = random.Random(3)

    def busy(world: World) -> None:
        if world.calls % 2:
            source_worlds.change_container(chance, world, "space")
            number = chance.randrange(12)
            if f"n{number}" in world.items and chance.random() < 0.4:
                world.delete(f"n{number}")
            else:
                world.put(f"n{number}", chance.choice(["space", "below", "folder"]), f"# n{number}\n\n{chance.random()} said here.")  # fmt: skip

    world.on_call = busy
    async with connected(world) as rig:
        world.on_call = None
        await rig.sync()
        await agrees(rig)
