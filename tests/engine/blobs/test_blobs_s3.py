"""Blobs in S3, against moto's server: the contract, and what only a network can do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.blobs import s3
from engine.blobs.s3 import PART_BYTES, S3Blobs
from engine.config import load_settings
from engine.errors import ConfigurationError, InvalidInput, Unavailable
from engine.runtime import build_blobs
from tests.contracts.blobs import HELLO, BlobStoreContract, MakeOld
from tests.fakes.s3_server import KEYS, S3Server, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def open_blobs(server: S3Server, **changes: str) -> S3Blobs:
    values = {"endpoint": server.endpoint, "region": "us-east-1", **KEYS, **changes}
    return S3Blobs(values.pop("bucket", server.bucket), timeout_s=60, **values)


class TestS3Blobs(BlobStoreContract):
    prefix = ""

    @pytest.fixture
    def blobs(self, server: S3Server) -> S3Blobs:
        server.backend.buckets[server.bucket].keys.clear()
        return open_blobs(server, prefix=self.prefix)

    @pytest.fixture
    def make_old(self, server: S3Server) -> MakeOld:
        start = f"{self.prefix}/" if self.prefix else ""
        return lambda tenant, name: server.make_old(f"{start}{tenant}/{name[:2]}/{name}")


class TestS3BlobsUnderAPrefix(TestS3Blobs):
    prefix = "backups/scrubjay"


async def test_a_bucket_may_hold_other_things(server: S3Server) -> None:
    one, other = open_blobs(server, prefix="one"), open_blobs(server, prefix="other")
    await one.put("acme", b"hello")
    assert await other.tenants() == []
    assert not await other.exists("acme", HELLO)
    assert f"one/acme/{HELLO[:2]}/{HELLO}" in server.stored()


@pytest.mark.parametrize("size", [10, PART_BYTES + 10])
async def test_a_file_that_changes_while_it_is_sent_is_refused_and_not_stored(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    file = tmp_path / "growing.log"
    file.write_bytes(b"a" * size)
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    measure = s3._measure

    def then_change(content: bytes | Path) -> tuple[str, int]:
        measured = measure(content)
        file.write_bytes(b"b" * size)
        return measured

    monkeypatch.setattr(s3, "_measure", then_change)
    blobs = open_blobs(server)
    with pytest.raises(InvalidInput, match="changed while it was read"):
        await blobs.put("changing", file)
    assert not await blobs.exists("changing", before)


async def test_damaged_bytes_are_not_handed_out_as_a_file(server: S3Server) -> None:
    blobs = open_blobs(server)
    await blobs.put("acme", b"hello")
    server.backend.buckets[server.bucket].keys[f"acme/{HELLO[:2]}/{HELLO}"].value = b"jello"
    with pytest.raises(Unavailable, match="other bytes"):
        async with blobs.open_file("acme", HELLO):
            pass


async def test_what_is_wrong_with_the_bucket_is_named_without_its_keys(server: S3Server) -> None:
    with pytest.raises(Unavailable, match=r"no bucket nowhere.*storage\.bucket"):
        await open_blobs(server, bucket="nowhere").put("acme", b"other bytes")
    away = S3Blobs("b", endpoint="http://127.0.0.1:9", timeout_s=0.5, **KEYS)
    with pytest.raises(Unavailable, match=r"can't be reached.*storage\.endpoint") as caught:
        await away.get("acme", HELLO)
    assert KEYS["secret_access_key"] not in f"{caught.value!r}{away!r}"


def test_a_prefix_outside_the_alphabet_is_refused() -> None:
    for prefix in ("../x", "a b", "a//b", "é"):
        with pytest.raises(ConfigurationError, match=r"storage\.prefix"):
            S3Blobs("b", prefix=prefix)


def test_settings_choose_the_bucket(tmp_path: Path) -> None:
    environ = {
        "SCRUBJAY_STORAGE__TYPE": "s3",
        "SCRUBJAY_STORAGE__BUCKET": "docs",
        "SCRUBJAY_STORAGE__PREFIX": "team",
        "SCRUBJAY_STORAGE__ENDPOINT": "http://minio:9000",
        "SCRUBJAY_STORAGE__ACCESS_KEY_ID": "key",
        "SCRUBJAY_STORAGE__SECRET_ACCESS_KEY": "secret-of-tests",
    }
    assert repr(build_blobs(load_settings(tmp_path, environ=environ))) == "S3Blobs(docs/team/)"
    del environ["SCRUBJAY_STORAGE__BUCKET"]
    with pytest.raises(ConfigurationError, match=r"storage\.bucket"):
        build_blobs(load_settings(tmp_path, environ=environ))
