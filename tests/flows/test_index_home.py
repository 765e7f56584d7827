"""One database, two data folders: the index is in one of them, and the other one says so."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.config import load_settings
from engine.documents.adding import NewDocument
from engine.domain import Principal
from engine.engine import Engine
from engine.errors import Blocked
from engine.operations import index_home
from engine.operations.backup import backup, restore
from engine.runtime import build_blobs, open_engine
from ingestion.host import run_worker
from tests.fakes.databases import DIALECTS, postgres_databases
from tests.fakes.installations import parse_inline


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    parse_inline(monkeypatch)
    monkeypatch.setattr(index_home, "LOOK_AGAIN_S", 0.0)


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that several data folders can share."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shared.db'}"
        return
    with postgres_databases() as databases:
        yield databases.url


@asynccontextmanager
async def opened(home: Path, url: str = "") -> AsyncIterator[tuple[Engine, Principal]]:
    chosen = load_settings(
        home,
        overrides={
            "embedding.model": "hashing",
            "database.url": url,
            "storage.path": str(home.parent / "blobs"),
            "system.secret_key": "a-key-for-tests-with-enough-characters",
        },
        environ={},
    )
    async with open_engine(chosen) as engine:
        yield engine, await engine.people.owner()


async def work(engine: Engine) -> None:
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)


async def add(engine: Engine, text: str) -> None:
    owner = await engine.people.owner()
    if not await engine.knowledge_bases.list_readable(owner):
        await engine.knowledge_bases.create(owner, "notes")
        owner = await engine.people.owner()
    await engine.documents.add(owner, "notes", NewDocument(data=text.encode(), filename="n.md"))


async def found(engine: Engine, query: str) -> int:
    owner = await engine.people.owner()
    return len((await engine.search.find(owner, query, mode="keyword")).hits)


async def test_a_second_data_folder_neither_indexes_nor_answers_and_says_where(
    tmp_path: Path, url: str
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    async with opened(one, url) as (engine, _):
        await add(engine, "The zebra is striped.")
        await work(engine)
        assert await found(engine, "zebra") == 1
    async with opened(other, url) as (engine, _):
        await add(engine, "The walrus is large.")  # accepted: whoever has the index takes it
        with pytest.raises(Blocked, match="--adopt-index"):
            await work(engine)
        with pytest.raises(Blocked, match="in another data folder") as caught:
            await found(engine, "zebra")
        assert str(one) not in str(caught.value)  # the person who asks is no operator
        assert str(one) in (await engine.operations.health())["index"]
        with pytest.raises(Blocked, match=str(one)):
            await engine.operations.check_index_home()
    async with opened(one, url) as (engine, _):
        await work(engine)
        assert (await found(engine, "zebra"), await found(engine, "walrus")) == (1, 1)


async def test_an_operator_moves_the_index_and_the_earlier_folder_refuses(
    tmp_path: Path, url: str
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    async with opened(one, url) as (first, _):
        await add(first, "The zebra is striped.")
        await work(first)
        async with opened(other, url) as (engine, owner):
            await engine.operations.adopt_index(owner)
            await engine.operations.reconcile(owner)
            await work(engine)
            assert await found(engine, "zebra") == 1
            assert not (await engine.operations.health())["index"]
        with pytest.raises(Blocked, match="in another data folder"):  # it runs all the while
            await found(first, "zebra")


async def test_a_lost_index_is_rebuilt_and_a_moved_folder_is_the_same(
    tmp_path: Path, url: str
) -> None:
    one, moved = tmp_path / "one", tmp_path / "moved"
    async with opened(one, url) as (engine, _):
        await add(engine, "The zebra is striped.")
        await work(engine)
    shutil.rmtree(one / "index")
    one.rename(moved)
    async with opened(moved, url) as (engine, _):
        await work(engine)
        assert await found(engine, "zebra") == 1


async def test_a_claim_that_was_cut_short_is_taken_up(tmp_path: Path, url: str) -> None:
    home = tmp_path / "one"
    home.mkdir()
    (home / index_home.FILE).write_text("0198-killed claiming\n")
    async with opened(home, url) as (engine, _):
        await add(engine, "The zebra is striped.")
        await work(engine)
        assert await found(engine, "zebra") == 1
    assert (home / index_home.FILE).read_text() == "0198-killed\n"


async def test_of_two_folders_that_start_at_once_one_has_the_index(
    tmp_path: Path, url: str
) -> None:
    async with (
        opened(tmp_path / "one", url) as (first, _),
        opened(tmp_path / "other", url) as (second, _),
    ):
        await add(first, "The zebra is striped.")
        ends = await asyncio.gather(work(first), work(second), return_exceptions=True)
        assert sorted(type(end) for end in ends if end is not None) == [Blocked]
        winner = first if ends[0] is None else second
        await work(winner)
        assert await found(winner, "zebra") == 1


async def test_another_database_does_not_share_the_index_of_a_folder(tmp_path: Path) -> None:
    home = tmp_path / "one"
    async with opened(home, f"sqlite:///{tmp_path / 'a.db'}") as (engine, _):
        await add(engine, "The zebra is striped.")
        await work(engine)
    async with opened(home, f"sqlite:///{tmp_path / 'b.db'}") as (engine, _):
        await add(engine, "The walrus is large.")
        with pytest.raises(Blocked, match="of another database"):
            await work(engine)


async def test_a_copy_of_the_database_file_alone_finds_its_index_lost_not_elsewhere(
    tmp_path: Path,
) -> None:
    home, copy = tmp_path / "one", tmp_path / "copy"
    async with opened(home) as (engine, _):
        await add(engine, "The zebra is striped.")
        await work(engine)
    copy.mkdir()
    for file in home.glob("scrubjay.db*"):
        shutil.copy(file, copy)
    async with opened(copy) as (engine, _):
        await work(engine)
        assert await found(engine, "zebra") == 1


async def test_a_restored_database_keeps_its_own_folder(tmp_path: Path) -> None:
    home, target = tmp_path / "one", tmp_path / "target"
    file = tmp_path / "all.backup"
    async with opened(home) as (engine, _):
        await add(engine, "The zebra is striped.")
        await work(engine)
        await backup(engine.settings.database_url, engine.blobs, file)
    async with opened(target) as (engine, _):
        await add(engine, "The walrus is large.")
        await work(engine)
        settings = engine.settings
    await restore(file, settings.database_url, build_blobs(settings), force=True)
    async with opened(target) as (engine, owner):
        await engine.operations.check_index_home()
        await engine.operations.reconcile(owner)
        await work(engine)
        assert (await found(engine, "zebra"), await found(engine, "walrus")) == (1, 0)
