from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from engine.db.session import Database, open_database
from engine.db.tables import Embedding
from engine.index.port import Space
from engine.models.cache import get_many, put_many, text_hash

SPACE = Space("hashing_test_384", 4)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    file = tmp_path / "scrubjay.db"
    file.touch()
    async with open_database(f"sqlite:///{file}") as db:
        async with db.write() as session:
            connection = await session.connection()
            await connection.run_sync(Embedding.metadata.create_all)
        yield db


def vectors(count: int) -> np.ndarray:
    return np.arange(count * 4, dtype=np.float32).reshape(count, 4)


async def test_what_was_put_is_got_back_exactly(db: Database) -> None:
    hashes = [text_hash(f"text {i}") for i in range(1200)]
    async with db.write() as session:
        await put_many(session, "t1", SPACE, hashes, vectors(1200))

    async with db.read() as session:
        found = await get_many(session, "t1", SPACE, [text_hash("new"), *hashes, hashes[0]])

    assert set(found) == set(hashes)
    np.testing.assert_array_equal(np.stack([found[key] for key in hashes]), vectors(1200))


async def test_tenants_and_spaces_do_not_share(db: Database) -> None:
    async with db.write() as session:
        await put_many(session, "t1", SPACE, [b"k" * 16], vectors(1))

    async with db.read() as session:
        assert await get_many(session, "t2", SPACE, [b"k" * 16]) == {}
        assert await get_many(session, "t1", Space("other", 4), [b"k" * 16]) == {}
        assert await get_many(session, "t1", Space(SPACE.name, 8), [b"k" * 16]) == {}
        assert await get_many(session, "t1", SPACE, []) == {}


async def test_putting_twice_keeps_the_first(db: Database) -> None:
    async with db.write() as session:
        await put_many(session, "t1", SPACE, [b"k" * 16], vectors(2)[:1])
    async with db.write() as session:
        await put_many(session, "t1", SPACE, [b"k" * 16, b"l" * 16], vectors(3)[1:])
        await put_many(session, "t1", SPACE, [], vectors(0))

    async with db.read() as session:
        found = await get_many(session, "t1", SPACE, [b"k" * 16, b"l" * 16])
    np.testing.assert_array_equal(found[b"k" * 16], vectors(1)[0])
    np.testing.assert_array_equal(found[b"l" * 16], vectors(3)[2])


async def test_vectors_of_another_shape_are_refused(db: Database) -> None:
    async with db.write() as session:
        with pytest.raises(ValueError, match="2 hashes"):
            await put_many(session, "t1", SPACE, [b"k" * 16, b"l" * 16], vectors(1))


def test_the_key_is_of_the_exact_text() -> None:
    assert text_hash("a").hex() == "27c35e6e9373877f29e562464e46497e"
    assert text_hash("a ") != text_hash("a")
