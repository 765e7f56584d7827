"""Blobs in S3 or anything that speaks it: `<prefix>/<tenant>/<2 digits>/<hash>`.

The layout is that of the folder, so a folder of blobs can be copied into a bucket as it is.
`engine/runtime.py` opens it; obstore does the talking (signing, retries, multipart uploads).
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from engine.blobs.port import BLOB_HASH, is_listed, is_tenant
from engine.clock import now
from engine.errors import ConfigurationError, InvalidInput, NotFound, Unavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Store

PART_BYTES = 8 << 20  # of a multipart upload; S3 takes 5 MiB and more, 10,000 of them
RENEW_AFTER = timedelta(minutes=10)  # an upload younger than this needs no second one
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


class S3Blobs:
    """Blobs as objects of one bucket, under an optional prefix.

    Without keys, what the environment of the process offers is used (an instance's or a pod's
    role). `endpoint` names a server that is not AWS; plain http only where it says so.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str = "",
        region: str = "us-east-1",
        access_key_id: str = "",
        secret_access_key: str = "",
        timeout_s: float = 60,
    ) -> None:
        try:
            from obstore.store import S3Store  # noqa: PLC0415 (an optional extra)
        except ImportError:
            raise ConfigurationError(
                'storage.type is "s3", which needs the extra s3: install scrubjay[s3].'
            ) from None
        prefix = prefix.strip("/")
        if prefix and (not _PREFIX.fullmatch(prefix) or ".." in prefix.split("/")):
            raise ConfigurationError(
                f"storage.prefix is {prefix!r}: use letters, digits, '.', '_', '-' and '/'."
            )
        self._prefix = f"{prefix}/" if prefix else ""
        self._bucket = bucket
        config: S3Config = {"region": region}
        client: ClientConfig = {
            "timeout": timedelta(seconds=timeout_s),
            "connect_timeout": timedelta(seconds=min(5.0, timeout_s)),
        }
        if endpoint:
            config["endpoint"] = endpoint
            client["allow_http"] = endpoint.startswith("http://")
        if access_key_id:
            config["access_key_id"] = access_key_id
            config["secret_access_key"] = secret_access_key
        self._store: S3Store = S3Store(
            bucket,
            config=config,
            client_options=client,
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=timeout_s)},
        )

    def __repr__(self) -> str:
        return f"S3Blobs({self._bucket}/{self._prefix})"

    async def put(self, tenant_id: str, content: bytes | Path) -> str:
        """Store bytes, or a file's; the hash to fetch them by."""
        blob_hash, size = await to_thread.run_sync(_measure, content)
        key = self._key(tenant_id, blob_hash)
        if await self._is_fresh(key):
            return blob_hash
        import obstore  # noqa: PLC0415

        with self._faults():
            if isinstance(content, Path) and size > PART_BYTES:
                pieces = _pieces(content, blob_hash)
                await obstore.put_async(
                    self._store, key, pieces, use_multipart=True, chunk_size=PART_BYTES
                )
            else:
                data = content if isinstance(content, bytes) else await _read(content, blob_hash)
                await obstore.put_async(self._store, key, data, use_multipart=False)
        return blob_hash

    async def get(self, tenant_id: str, blob_hash: str) -> bytes:
        """The whole blob."""
        key = self._key(tenant_id, blob_hash)
        import obstore  # noqa: PLC0415

        with self._faults(absent=f"There is no blob {blob_hash}."):
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())

    @asynccontextmanager
    async def open_file(self, tenant_id: str, blob_hash: str) -> AsyncIterator[Path]:
        """A copy of the blob in a temporary file, compared with its hash."""
        key = self._key(tenant_id, blob_hash)
        with await to_thread.run_sync(
            lambda: tempfile.TemporaryDirectory(prefix="scrubjay-blob-")
        ) as folder:
            path = Path(folder) / blob_hash
            await self._fetch(key, blob_hash, path)
            yield path

    async def exists(self, tenant_id: str, blob_hash: str) -> bool:
        """Whether the blob is stored."""
        return await self._last_modified_age(self._key(tenant_id, blob_hash)) is not None

    async def delete(self, tenant_id: str, blob_hash: str) -> None:
        """Forget a blob."""
        await self._delete([self._key(tenant_id, blob_hash)])

    async def delete_tenant(self, tenant_id: str) -> None:
        """Forget all blobs of a tenant."""
        import obstore  # noqa: PLC0415

        prefix = self._folder(tenant_id)
        with self._faults():
            async for page in obstore.list(self._store, prefix=prefix, chunk_size=1000):
                await self._delete([found["path"] for found in page])

    async def tenants(self) -> list[str]:
        """The tenants that have blobs, sorted."""
        import obstore  # noqa: PLC0415

        with self._faults():
            found = await obstore.list_with_delimiter_async(
                self._store, prefix=self._prefix or None
            )
        names = [path.removeprefix(self._prefix).strip("/") for path in found["common_prefixes"]]
        return sorted(filter(is_listed, names))

    async def hashes(self, tenant_id: str, *, older_than_s: float = 0) -> list[str]:
        """Hashes of a tenant's blobs that were last put so long ago, sorted."""
        import obstore  # noqa: PLC0415

        prefix = self._folder(tenant_id)
        # S3 gives whole seconds, cut: one put within this second counts as old enough for 0.
        before = now() - timedelta(seconds=older_than_s)
        hashes: list[str] = []
        with self._faults():
            async for page in obstore.list(self._store, prefix=prefix, chunk_size=1000):
                hashes += [
                    found["path"].rpartition("/")[2]
                    for found in page
                    if older_than_s <= 0 or found["last_modified"] <= before
                ]
        return sorted(filter(BLOB_HASH.fullmatch, hashes))

    async def _is_fresh(self, key: str) -> bool:
        """Whether the blob is there and was put so lately that a sweep under way spares it."""
        age = await self._last_modified_age(key)
        return age is not None and age < RENEW_AFTER

    async def _last_modified_age(self, key: str) -> timedelta | None:
        import obstore  # noqa: PLC0415

        try:
            with self._faults(absent="There is no such blob."):
                found = await obstore.head_async(self._store, key)
        except NotFound:
            return None
        return now() - found["last_modified"]

    async def _delete(self, keys: list[str]) -> None:
        import obstore  # noqa: PLC0415

        try:
            with self._faults(absent="There is no such blob."):
                await obstore.delete_async(self._store, keys)
        except NotFound:
            pass

    async def _fetch(self, key: str, blob_hash: str, path: Path) -> None:
        import obstore  # noqa: PLC0415

        digest = hashlib.sha256()
        with self._faults(absent=f"There is no blob {blob_hash}."):
            found = await obstore.get_async(self._store, key)
            out = await to_thread.run_sync(path.open, "wb")
            try:
                async for piece in found.stream(min_chunk_size=1 << 20):

                    def write(data: bytes = bytes(piece)) -> None:
                        out.write(data)
                        digest.update(data)

                    await to_thread.run_sync(write)
            finally:
                await to_thread.run_sync(out.close)
        if digest.hexdigest() != blob_hash:
            raise Unavailable(
                f"Blob {blob_hash} came back with other bytes than were stored: check the bucket "
                f"{self._bucket}, and restore it from a backup."
            )

    def _folder(self, tenant_id: str) -> str:
        if not is_tenant(tenant_id):
            raise InvalidInput(f"{tenant_id!r} is not a tenant id.", field="tenant_id")
        return f"{self._prefix}{tenant_id}/"

    def _key(self, tenant_id: str, blob_hash: str) -> str:
        if not BLOB_HASH.fullmatch(blob_hash):
            raise InvalidInput(f"{blob_hash!r} is not a SHA-256.", field="blob_hash")
        return f"{self._folder(tenant_id)}{blob_hash[:2]}/{blob_hash}"

    @contextmanager
    def _faults(self, *, absent: str = "") -> Iterator[None]:
        """What obstore raises, as ours; its texts name requests and stay out of the message."""
        from obstore import exceptions  # noqa: PLC0415

        try:
            yield
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
            raise Unavailable(
                f"S3 rejected the keys for bucket {self._bucket}: check storage.access_key_id, "
                "storage.secret_access_key and what they allow."
            ) from None
        except (exceptions.NotFoundError, FileNotFoundError):
            if absent:
                raise NotFound(absent) from None
            raise Unavailable(
                f"There is no bucket {self._bucket}: create it, or correct storage.bucket."
            ) from None
        except exceptions.BaseError:
            raise Unavailable(
                f"The bucket {self._bucket} can't be reached: check that storage.endpoint is "
                "right and that its server runs."
            ) from None


def _measure(content: bytes | Path) -> tuple[str, int]:
    """The hash of bytes or of a file's, and how many they are."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest(), len(content)
    try:
        with content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), content.stat().st_size
    except OSError as error:
        raise NotFound(f"There is no file {content} to read ({error.strerror}).") from error


async def _read(path: Path, blob_hash: str) -> bytes:
    data = await to_thread.run_sync(path.read_bytes)
    if hashlib.sha256(data).hexdigest() != blob_hash:
        raise _changed()
    return data


async def _pieces(path: Path, blob_hash: str) -> AsyncIterator[bytes]:
    """A file's bytes; ends with an error, and so without an object, where they have changed."""
    digest = hashlib.sha256()
    file = await to_thread.run_sync(path.open, "rb")
    try:
        while piece := await to_thread.run_sync(file.read, PART_BYTES):
            digest.update(piece)
            yield piece
    finally:
        await to_thread.run_sync(file.close)
    if digest.hexdigest() != blob_hash:
        raise _changed()


def _changed() -> InvalidInput:
    return InvalidInput("The file changed while it was read; add it again.")
