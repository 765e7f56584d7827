"""What every store of bytes does, whatever keeps them.

A suite subclasses `BlobStoreContract` and gives two fixtures: `blobs`, empty, and `make_old`, which
lets a blob look as if it had been put long ago.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.blobs.port import BlobStore, probe
from engine.errors import InvalidInput, NotFound

HELLO = hashlib.sha256(b"hello").hexdigest()
MANY = 3 * (8 << 20) + 12_345  # bytes: more than one part of an upload, and not a round number

MakeOld = Callable[[str, str], None]


class BlobStoreContract:
    @pytest.fixture
    def blobs(self) -> BlobStore:
        raise NotImplementedError

    @pytest.fixture
    def make_old(self) -> MakeOld:
        raise NotImplementedError

    async def test_bytes_come_back_by_their_hash(self, blobs: BlobStore) -> None:
        assert await blobs.put("acme", b"hello") == HELLO
        assert await blobs.get("acme", HELLO) == b"hello"
        assert type(await blobs.get("acme", HELLO)) is bytes
        async with blobs.open_file("acme", HELLO) as path:
            assert path.read_bytes() == b"hello"

    async def test_a_probe_writes_reads_and_leaves_no_tenant(self, blobs: BlobStore) -> None:
        assert await probe(blobs) == ""
        assert await blobs.tenants() == []

    async def test_no_bytes_are_bytes_too(self, blobs: BlobStore) -> None:
        assert await blobs.get("acme", await blobs.put("acme", b"")) == b""

    async def test_a_file_is_stored_as_its_bytes_are(
        self, blobs: BlobStore, tmp_path: Path
    ) -> None:
        for size in (3_000, MANY):
            file = tmp_path / "a.txt"
            file.write_bytes(b"0123456789abcdef" * (size // 16))
            stored = await blobs.put("acme", file)
            assert stored == await blobs.put("bolt", file.read_bytes())
            async with blobs.open_file("acme", stored) as path:
                assert path.read_bytes() == file.read_bytes()

    async def test_a_file_that_is_not_there_is_named(
        self, blobs: BlobStore, tmp_path: Path
    ) -> None:
        with pytest.raises(NotFound, match=r"gone\.txt"):
            await blobs.put("acme", tmp_path / "gone.txt")

    async def test_tenants_do_not_share_blobs(self, blobs: BlobStore) -> None:
        await blobs.put("acme", b"hello")
        assert not await blobs.exists("bolt", HELLO)
        with pytest.raises(NotFound):
            await blobs.get("bolt", HELLO)
        with pytest.raises(NotFound):
            async with blobs.open_file("bolt", HELLO):
                pass

    async def test_a_deleted_blob_is_gone_and_deleting_twice_is_fine(
        self, blobs: BlobStore
    ) -> None:
        await blobs.put("acme", b"hello")
        for _ in range(2):
            await blobs.delete("acme", HELLO)
        assert not await blobs.exists("acme", HELLO)

    async def test_tenants_and_hashes_are_listed(self, blobs: BlobStore) -> None:
        assert await blobs.tenants() == []
        hashes = sorted([await blobs.put("acme", bytes([n])) for n in range(5)])
        await blobs.put("bolt", b"hello")
        assert await blobs.tenants() == ["acme", "bolt"]
        assert await blobs.hashes("acme") == hashes
        assert await blobs.hashes("nobody") == []
        for _ in range(2):
            await blobs.delete_tenant("acme")
        assert await blobs.tenants() == ["bolt"]
        assert await blobs.hashes("bolt") == [HELLO]

    async def test_a_tenant_whose_name_begins_another_keeps_its_own(self, blobs: BlobStore) -> None:
        await blobs.put("acme", b"hello")
        await blobs.put("acme2", b"hello")
        await blobs.delete_tenant("acme")
        assert await blobs.exists("acme2", HELLO)

    async def test_what_was_put_again_counts_as_new(
        self, blobs: BlobStore, make_old: MakeOld
    ) -> None:
        await blobs.put("acme", b"hello")
        assert await blobs.hashes("acme", older_than_s=3600) == []
        make_old("acme", HELLO)
        assert await blobs.hashes("acme", older_than_s=3600) == [HELLO]
        await blobs.put("acme", b"hello")
        assert await blobs.hashes("acme", older_than_s=3600) == []

    async def test_the_same_bytes_may_be_put_at_once(self, blobs: BlobStore) -> None:
        assert set(await asyncio.gather(*(blobs.put("acme", b"hello") for _ in range(10)))) == {
            HELLO
        }
        assert await blobs.hashes("acme") == [HELLO]

    @pytest.mark.parametrize("tenant_id", ["", "..", "../x", "a/b", ".incoming", "A", "x" * 65])
    async def test_a_bad_tenant_id_is_refused(self, blobs: BlobStore, tenant_id: str) -> None:
        with pytest.raises(InvalidInput):
            await blobs.put(tenant_id, b"hello")
        with pytest.raises(InvalidInput):
            await blobs.delete_tenant(tenant_id)

    @pytest.mark.parametrize("blob_hash", ["", "../../etc/passwd", "0" * 63, HELLO.upper()])
    async def test_a_bad_hash_is_refused(self, blobs: BlobStore, blob_hash: str) -> None:
        with pytest.raises(InvalidInput):
            await blobs.get("acme", blob_hash)
