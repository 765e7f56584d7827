from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from pathlib import Path

import pytest

from engine import blobs as module
from engine.blobs import FolderBlobs
from engine.errors import InvalidInput, NotFound, Unavailable

HELLO = hashlib.sha256(b"hello").hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


async def test_bytes_come_back_by_their_hash(blobs):
    assert await blobs.put("acme", b"hello") == HELLO
    assert await blobs.get("acme", HELLO) == b"hello"
    async with blobs.open_file("acme", HELLO) as path:
        assert path.read_bytes() == b"hello"


async def test_a_file_is_stored_as_its_bytes_are(blobs, tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x" * 3_000_000)
    assert await blobs.put("acme", file) == await blobs.put("bolt", b"x" * 3_000_000)


async def test_tenants_do_not_share_blobs(blobs):
    await blobs.put("acme", b"hello")
    assert not await blobs.exists("bolt", HELLO)
    with pytest.raises(NotFound):
        await blobs.get("bolt", HELLO)
    with pytest.raises(NotFound):
        async with blobs.open_file("bolt", HELLO):
            pass


async def test_a_deleted_blob_is_gone_and_deleting_twice_is_fine(blobs):
    await blobs.put("acme", b"hello")
    for _ in range(2):
        await blobs.delete("acme", HELLO)
    assert not await blobs.exists("acme", HELLO)


async def test_tenants_and_hashes_are_listed(blobs):
    hashes = sorted([await blobs.put("acme", bytes([n])) for n in range(5)])
    await blobs.put("bolt", b"hello")
    assert await blobs.tenants() == ["acme", "bolt"]
    assert await blobs.hashes("acme") == hashes
    assert await blobs.hashes("nobody") == []
    await blobs.delete_tenant("acme")
    assert await blobs.tenants() == ["bolt"]


async def test_what_was_put_again_counts_as_new(blobs):
    await blobs.put("acme", b"hello")
    async with blobs.open_file("acme", HELLO) as path:
        os.utime(path, (0, 0))
    assert await blobs.hashes("acme", older_than_s=3600) == [HELLO]
    await blobs.put("acme", b"hello")
    assert await blobs.hashes("acme", older_than_s=3600) == []


async def test_the_same_bytes_may_be_put_at_once(blobs):
    assert set(await asyncio.gather(*(blobs.put("acme", b"hello") for _ in range(10)))) == {HELLO}
    assert list((blobs.root / ".incoming").iterdir()) == []


async def test_a_full_disk_is_named_and_leaves_nothing(blobs, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="disk is full"):
        await blobs.put("acme", b"hello")
    assert list((blobs.root / ".incoming").iterdir()) == []
    assert not await blobs.exists("acme", HELLO)


async def test_halves_of_processes_that_died_are_swept(blobs):
    old = blobs.root / ".incoming" / "half"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"ha")
    os.utime(old, (0, 0))
    await blobs.put("acme", b"hello")
    assert not old.exists()


@pytest.mark.parametrize("tenant_id", ["", "..", "../x", "a/b", ".incoming", "A", "x" * 65])
async def test_a_bad_tenant_id_is_refused(blobs, tenant_id):
    with pytest.raises(InvalidInput):
        await blobs.put(tenant_id, b"hello")


@pytest.mark.parametrize("blob_hash", ["", "../../etc/passwd", "0" * 63, HELLO.upper()])
async def test_a_bad_hash_is_refused(blobs, blob_hash):
    with pytest.raises(InvalidInput):
        await blobs.get("acme", blob_hash)


def test_a_file_that_is_put_in_its_place_during_the_sweep_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = tmp_path / ".incoming"
    incoming.mkdir()
    (incoming / "moving").write_bytes(b"half")
    seen = module._entries(incoming)
    monkeypatch.setattr(module, "_entries", lambda _: seen)
    (incoming / "moving").unlink()  # as another thread's put does
    FolderBlobs(tmp_path)._sweep(incoming)
