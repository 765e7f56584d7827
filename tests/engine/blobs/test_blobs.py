from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from engine.blobs import folder
from engine.blobs.folder import FolderBlobs
from engine.errors import Unavailable
from tests.contracts.blobs import HELLO, BlobStoreContract, MakeOld


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


class TestFolderBlobs(BlobStoreContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> FolderBlobs:
        return FolderBlobs(tmp_path / "blobs")

    @pytest.fixture
    def make_old(self, blobs: FolderBlobs) -> MakeOld:
        return lambda tenant, name: os.utime(blobs.root / tenant / name[:2] / name, (0, 0))


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
    assert list(old.parent.iterdir()) == []


def test_a_file_that_is_put_in_its_place_during_the_sweep_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = tmp_path / ".incoming"
    incoming.mkdir()
    (incoming / "moving").write_bytes(b"half")
    seen = folder._entries(incoming)
    monkeypatch.setattr(folder, "_entries", lambda _: seen)
    (incoming / "moving").unlink()  # as another thread's put does
    FolderBlobs(tmp_path)._sweep(incoming)
