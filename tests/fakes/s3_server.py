"""A local S3: moto's server in a thread of this process, with one empty bucket a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx2

from engine.clock import new_id

KEYS = {"access_key_id": "scrubjay-test", "secret_access_key": "scrubjay-test-secret"}


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and a bucket that is there."""

    endpoint: str
    bucket: str
    backend: Any  # moto's, of the account every key belongs to

    def make_old(self, key: str) -> None:
        """Let an object look as if it had been put in 1970."""
        self.backend.buckets[self.bucket].keys[key].last_modified = datetime(1970, 1, 2)  # noqa: DTZ001 (moto's are naive)

    def stored(self) -> list[str]:
        """The objects of the bucket."""
        return sorted(self.backend.buckets[self.bucket].keys.keys())


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server; the bucket is made over HTTP, as an operator would."""
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        bucket = f"scrubjay-{new_id()}"
        httpx2.put(f"{endpoint}/{bucket}", trust_env=False).raise_for_status()
        yield S3Server(endpoint, bucket, s3_backends["123456789012"]["aws"])
    finally:
        server.stop()
