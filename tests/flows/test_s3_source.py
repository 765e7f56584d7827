"""A bucket as a source: listed by keys, read by tags, signed as Amazon's own library signs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from engine.errors import InvalidInput
from engine.sources.sources import NewSource
from ingestion.connectors import s3
from ingestion.connectors.s3 import S3Connector
from ingestion.connectors.s3_signing import NOTHING
from tests.fakes.api_server import Asked, Reply, open_api
from tests.fakes.installations import parse_inline
from tests.fakes.s3_server import KEYS, S3Server, s3_server
from tests.fakes.sources import SourceInstallation, open_sources, settled

ODD = "sub/a b+c ü&=?;%20.md"


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(store: S3Server) -> Iterator[Any]:
    """The bucket's objects: put and delete by key."""
    held = store.backend.buckets[store.bucket]

    class Bucket:
        def put(self, key: str, text: str) -> None:
            store.backend.put_object(store.bucket, key, text.encode())

        def delete(self, key: str) -> None:
            store.backend.delete_object(store.bucket, key)

    made = Bucket()
    made.put("a.md", "# Apples\n\nApples are red.")
    made.put(ODD, "# Pears\n\nPears are green.")
    made.put("sub/", "")
    yield made
    for key in list(held.keys.keys()):
        made.delete(key)


@pytest.fixture
async def notes(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SourceInstallation]:
    parse_inline(monkeypatch)
    monkeypatch.setattr(S3Connector, "rate_per_s", 0.0)
    monkeypatch.setattr("engine.jobs.endings.FIRST_RETRY_S", 0.01)
    monkeypatch.setattr("engine.sources.fetching.FIRST_RETRY_S", 0.01)
    async with open_sources(home) as opened:
        await opened.engine.credentials.add(opened.owner, kind="s3", name="keys", secret=KEYS)
        yield opened


async def connect(notes: SourceInstallation, endpoint: str, bucket: str, **more: object):
    settings = {"endpoint": endpoint, "bucket": bucket, **more}
    new = NewSource("s3", "s3", "notes", settings, every_s=0, credential="keys")
    await notes.engine.sources.add(notes.owner, new)
    await notes.drain()
    return await notes.source("s3")


async def test_objects_are_found_changed_and_deleted_as_the_bucket_is(notes, store, bucket):
    info = await connect(notes, store.endpoint, store.bucket)
    assert (info.last_run.state, await notes.titles()) == ("ok", ["Apples", "Pears"])
    info = await notes.sync("s3")
    assert info.last_run.counts == {"listed": 2, "unchanged": 2}
    bucket.put("a.md", "# Apples\n\nApples are yellow.")
    bucket.put("b.md", "# Plums\n\nPlums are blue.")
    bucket.delete(ODD)
    info = await notes.sync("s3")
    assert (info.last_run.state, info.last_run.counts["removed"]) == ("ok", 1)
    assert await notes.titles() == ["Apples", "Plums"]
    assert await notes.found("yellow") != []
    assert await notes.found("pears") == []


async def test_pages_go_on_behind_the_last_key(notes, store, bucket, monkeypatch):
    monkeypatch.setattr(s3, "PAGE", 4)
    for number in range(11):
        bucket.put(f"n/{number:02}.md", f"# Note {number:02}\n\nText {number}.")
    info = await connect(notes, store.endpoint, store.bucket)
    assert (info.last_run.state, len(await notes.titles())) == ("ok", 13)


async def test_only_what_is_wanted_below_the_prefix_is_taken(notes, store, bucket):
    bucket.put("sub/c.txt", "Not wanted.")
    bucket.put("sub/empty.md", "")
    info = await connect(notes, store.endpoint, store.bucket, prefix="sub/", include=["*.md"])
    assert (info.last_run.state, await notes.titles()) == ("ok", ["Pears"])
    why = [(one.id, one.reason) for one in await notes.engine.sources.why(notes.owner, "s3")]
    assert why == [("sub/empty.md", "It is empty.")]


async def test_an_emptied_or_missing_bucket_removes_nothing(notes, store, bucket):
    await connect(notes, store.endpoint, store.bucket)
    bucket.delete("a.md")
    bucket.delete(ODD)
    bucket.delete("sub/")
    info = await notes.sync("s3")
    assert (info.last_run.state, await notes.titles()) == ("partial", ["Apples", "Pears"])
    with pytest.raises(InvalidInput, match="NoSuchBucket"):
        await notes.engine.sources.update(
            notes.owner, "s3", settings={"bucket": "there-is-no-such-bucket"}
        )


async def test_a_store_that_lists_without_order_or_is_none_is_refused(notes):
    keys = ["b.md", "a.md"]

    def listing(asked: Asked) -> Reply:
        items = "".join(
            f'<Contents><Key>{key}</Key><ETag>"1"</ETag><Size>3</Size></Contents>' for key in keys
        )
        text = f"<ListBucketResult>{items}</ListBucketResult>"
        return Reply(text.encode(), headers={"content-type": "application/xml"})

    async with open_api(listing) as server:
        s3_page, s3.PAGE = s3.PAGE, 2
        try:
            info = await connect(notes, server.url, "bucket")
        finally:
            s3.PAGE = s3_page
        assert "order" in info.scopes[0].error
        server.answer = lambda _: Reply(b"<html>hello</html>")
        info = await notes.sync("s3")
        assert "no object store" in info.scopes[0].error


async def test_requests_are_signed_as_the_vendors_library_signs_them(notes):
    wrong: list[tuple[str, str, str]] = []
    objects = {ODD: b"# Pears", "a.md": b"# Apples"}

    def checked(asked: Asked) -> Reply:
        at = asked.headers["x-amz-date"]
        target = server.asked[-1].partition(" ")[2]
        request = AWSRequest(method=asked.method, url=f"http://{asked.headers['host']}{target}")
        request.headers["x-amz-content-sha256"] = NOTHING
        request.context["timestamp"] = at
        request.headers["X-Amz-Date"] = at
        held = BotoCredentials(KEYS["access_key_id"], KEYS["secret_access_key"])
        judge = S3SigV4Auth(held, "s3", "eu-north-1")
        canonical = judge.canonical_request(request)
        to_sign = judge.string_to_sign(request, canonical)
        signature = judge.signature(to_sign, request)
        if not asked.headers["authorization"].endswith(f"Signature={signature}"):
            wrong.append((target, canonical, asked.headers["authorization"]))
        if "list-type" in asked.query:
            after = asked.query.get("start-after", "")
            return Reply(_listing([key for key in sorted(objects) if key > after]))
        found = objects.get(_key(asked.path))
        return Reply(b"", 404) if found is None else Reply(found, headers={"etag": '"1"'})

    async with open_api(checked) as server:
        info = await connect(notes, server.url, "bucket", region="eu-north-1", prefix="")
        assert wrong == []
        assert (info.last_run.state, await notes.titles()) == ("ok", ["Apples", "Pears"])


def _listing(keys: list[str]) -> bytes:
    from urllib.parse import quote_plus

    items = "".join(
        f'<Contents><Key>{quote_plus(key, safe="/")}</Key><ETag>"1"</ETag><Size>9</Size>'
        f"<LastModified>{datetime(2026, 1, 1, tzinfo=UTC).isoformat()}</LastModified></Contents>"
        for key in keys
    )
    return f"<ListBucketResult><EncodingType>url</EncodingType>{items}</ListBucketResult>".encode()


def _key(path: str) -> str:
    from urllib.parse import unquote

    return unquote(path.removeprefix("/bucket/"))


@pytest.mark.parametrize("fault", ["500", "cut", "429"])
async def test_a_storm_of_faults_loses_nothing(notes, fault):
    objects = {f"{number:02}.md": f"# Note {number:02}".encode() for number in range(7)}

    def answer(asked: Asked) -> Reply:
        if "list-type" in asked.query:
            return Reply(_listing(sorted(objects)))
        return Reply(objects[_key(asked.path)])

    async with open_api(answer) as server:
        settings = {"endpoint": server.url, "bucket": "bucket"}
        new = NewSource("s3", "s3", "notes", settings, every_s=0, credential="keys")
        await notes.engine.sources.add(notes.owner, new)
        server.before = lambda _: (
            server.faults.append(fault)
            if len(server.asked) % 3 == 1 and len(server.asked) < 12
            else None
        )
        info = await settled(notes, "s3")
    assert (info.last_run.state, len(await notes.titles())) == ("ok", 7)


async def test_refused_keys_ask_for_others(notes, store, bucket):
    def refused(_: Asked) -> Reply:
        text = "<Error><Code>InvalidAccessKeyId</Code></Error>"
        return Reply(text.encode(), 403, {"content-type": "application/xml"})

    await connect(notes, store.endpoint, store.bucket)
    async with open_api(refused) as server:
        with pytest.raises(InvalidInput, match="InvalidAccessKeyId"):
            await notes.engine.sources.update(notes.owner, "s3", settings={"endpoint": server.url})
    with pytest.raises(InvalidInput, match="address of a host"):
        await notes.engine.sources.update(
            notes.owner, "s3", settings={"endpoint": "http://user@host/path"}
        )
