"""Crashes, damage, merging and clean-up of the embedded index's folders."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from engine.errors import AlreadyRunning, Conflict, IndexDamaged, InvalidInput, Unavailable
from engine.index import legs, manifest, merging, space, vectors
from engine.index.embedded import EmbeddedIndex
from engine.index.port import IndexChunk, IndexDocument, RevisionRef, Space
from tests.contracts.search_index import ALL, SPACE, TENANT, X, asking, document, names, ref


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
async def index(root: Path) -> AsyncIterator[EmbeddedIndex]:
    index = EmbeddedIndex(root, sync=False)
    yield index
    await index.aclose()


def folder_of(root: Path) -> Path:
    return root / TENANT / SPACE.name


async def found(index: EmbeddedIndex, text: str) -> list[str]:
    return sorted(names((await index.search(asking(text, limit=500))).hits))


async def fresh_found(root: Path, text: str) -> list[str]:
    other = EmbeddedIndex(root, sync=False)
    try:
        return await found(other, text)
    finally:
        await other.aclose()


async def test_feeds_that_wait_together_share_one_segment(index: EmbeddedIndex, root: Path) -> None:
    await index.ensure_space(TENANT, SPACE)
    await asyncio.gather(
        *(index.feed(TENANT, SPACE, [document(f"{n:03}", "fox")]) for n in range(100))
    )
    assert len(await found(index, "fox")) == 100
    entries = manifest.read_manifest(folder_of(root))
    assert entries.generation < 20
    assert len(entries.segments) < 10


async def test_one_bad_document_does_not_fail_the_others(index: EmbeddedIndex) -> None:
    bad = document("bad", ("fox", np.full(4, np.nan, np.float32)))
    results = await asyncio.gather(
        index.feed(TENANT, SPACE, [document("good", "fox")]),
        index.feed(TENANT, SPACE, [bad]),
        index.feed(TENANT, SPACE, [document("long", ("fox", np.ones(5, np.float32)))]),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), InvalidInput, InvalidInput]
    assert await found(index, "fox") == ["good"]


async def test_a_space_keeps_its_dimension(index: EmbeddedIndex) -> None:
    await index.ensure_space(TENANT, SPACE)
    with pytest.raises(Conflict, match="4 dimensions, not 8"):
        await index.ensure_space(TENANT, Space(SPACE.name, 8))


async def test_a_commit_that_dies_before_the_swap_never_happened(
    index: EmbeddedIndex, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index.feed(TENANT, SPACE, [document("a", "fox")])
    copy = root.with_name("killed")
    swap = os.replace

    def dies(source: object, target: object) -> None:
        shutil.copytree(root, copy)  # what a kill at this moment leaves on the disk
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest.os, "replace", dies)
    with pytest.raises(Unavailable, match="No space left"):
        await index.feed(TENANT, SPACE, [document("b", "fox")])
    monkeypatch.setattr(manifest.os, "replace", swap)
    assert await found(index, "fox") == ["a"]
    await index.feed(TENANT, SPACE, [document("b", "fox")])  # and it is tried again
    assert await found(index, "fox") == ["a", "b"]

    assert len(list(folder_of(copy).iterdir())) == 3 + 1 + 2  # the leftovers are there,
    assert await fresh_found(copy, "fox") == ["a"]
    other = EmbeddedIndex(copy, sync=False)
    await other.feed(TENANT, SPACE, [document("c", "fox")])
    assert await found(other, "fox") == ["a", "c"]
    await other.aclose()
    named = {*manifest.read_manifest(folder_of(copy)).files(), "manifest"}
    assert {path.name for path in folder_of(copy).iterdir()} == named  # and then cleared


@pytest.mark.parametrize(
    ("kind", "harm"),
    [
        (kind, harm)
        for kind in ("manifest", ".segment", ".fields", ".dead")
        for harm in ("cut", "head", "gone")
        if (kind, harm) != ("manifest", "gone")  # a folder without manifest is no space
    ],
)
async def test_a_damaged_folder_is_named_with_what_to_do(
    index: EmbeddedIndex, root: Path, kind: str, harm: str
) -> None:
    await index.feed(TENANT, SPACE, [document(name, "fox") for name in "abcdef"])
    await index.remove(TENANT, SPACE, [ref("a")])
    await index.aclose()
    files = [*manifest.read_manifest(folder_of(root)).files(), "manifest"]
    path = folder_of(root) / next(name for name in files if name.endswith(kind))
    if harm == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if harm == "cut" else b"\0" * 40 + data[40:])
    other = EmbeddedIndex(root, sync=False)
    with pytest.raises(IndexDamaged, match=f"{folder_of(root)}.*scrubjay reconcile"):
        await other.search(asking("fox"))
    assert "scrubjay reconcile" in await other.health()
    with pytest.raises(IndexDamaged):
        await other.feed(TENANT, SPACE, [document("c", "fox")])
    await other.drop_space(TENANT, SPACE)  # what `reconcile` does before it feeds all again
    await other.feed(TENANT, SPACE, [document("c", "fox")])
    assert await found(other, "fox") == ["c"]
    assert await other.health() == ""
    await other.aclose()


async def test_changed_bytes_are_found_by_health(index: EmbeddedIndex, root: Path) -> None:
    await index.feed(TENANT, SPACE, [document("a", ("fox", X))])
    await index.aclose()
    path = next(folder_of(root).glob("*.segment"))
    data = bytearray(path.read_bytes())
    data[-3] ^= 0xFF
    path.write_bytes(data)
    other = EmbeddedIndex(root)
    assert "changed" in await other.health()
    await other.aclose()


async def test_a_second_writer_is_refused_with_the_holder(index: EmbeddedIndex, root: Path) -> None:
    await index.feed(TENANT, SPACE, [document("a", "fox")])
    second = EmbeddedIndex(root)
    assert await found(second, "fox") == ["a"]
    with pytest.raises(AlreadyRunning, match=str(os.getpid())) as caught:
        await second.feed(TENANT, SPACE, [document("b", "fox")])
    assert caught.value.holder == str(os.getpid())
    await index.aclose()
    await second.feed(TENANT, SPACE, [document("b", "fox")])
    await second.aclose()


async def test_a_closed_index_refuses_to_write(index: EmbeddedIndex) -> None:
    await index.aclose()
    with pytest.raises(Unavailable):
        await index.feed(TENANT, SPACE, [document("a", "fox")])


@pytest.mark.parametrize("tenant", ["..", "a/b", ""])
async def test_names_can_not_leave_the_folder(index: EmbeddedIndex, tenant: str) -> None:
    with pytest.raises(InvalidInput):
        await index.drop_tenant(tenant)
    with pytest.raises(InvalidInput):
        await index.drop_space(TENANT, Space("../x", 4))


async def test_segments_stay_few_and_searches_see_each_document_once(
    index: EmbeddedIndex, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "TIER_CHUNKS", 8)
    stop = asyncio.Event()
    fed = 0

    async def search_on() -> int:
        searches = 0
        while not stop.is_set():
            least = fed
            result = await index.search(asking("fox", X, limit=500, candidates=500))
            seen = names(result.hits)
            assert len(seen) == len(set(seen))
            assert len(seen) >= least
            searches += 1
        return searches

    async with asyncio.TaskGroup() as group:
        searcher = group.create_task(search_on())
        for number in range(120):
            # Text first, then its vector: half of what is fed replaces something.
            await index.feed(TENANT, SPACE, [document(f"{number:03}", "fox")])
            await index.feed(TENANT, SPACE, [document(f"{number:03}", ("fox", X))])
            fed += 1
        stop.set()
    assert searcher.result() > 0
    assert len(await found(index, "fox")) == 120
    await index.aclose()
    assert len(manifest.read_manifest(folder_of(root)).segments) <= merging.MAX_SEGMENTS
    assert len(await fresh_found(root, "fox")) == 120


async def test_what_changes_during_a_merge_is_carried_over(index: EmbeddedIndex) -> None:
    for name in "abcd":
        await index.feed(TENANT, SPACE, [document(name, (f"fox {name}", X))])
    writer = index._writer._spaces[folder_of(index._root)]
    index._writer._settle_merge(wait=True)
    sources = list(writer.segments)
    merged = merging.merge(writer.folder, "late.segment", sources, sync=False)
    writer.apply(
        [
            space.SpaceChanges(remove=[ref("a")]),
            space.SpaceChanges(feed=[document("b", "wolf")]),
            space.SpaceChanges(update=[space.FieldUpdate("d-c", "r-c", hidden=True)]),
        ]
    )
    writer.install(merged)
    assert await found(index, "fox") == ["d"]
    assert await found(index, "wolf") == ["b"]
    assert await index.revisions(TENANT, SPACE) == {ref("b"): 1, ref("c"): 1, ref("d"): 1}
    everything = ALL.__class__(ALL.tokens, ALL.kb_ids, include_hidden=True)
    hits = (await index.search(asking("fox", filter=everything))).hits
    assert sorted(names(hits)) == ["c", "d"]


async def test_purge_removes_the_bytes(root: Path) -> None:
    index = EmbeddedIndex(root, sync=False, retain_s=3600)
    keep, gone = document("keep", "fox"), document("secretname", "fox")
    await index.feed(TENANT, SPACE, [keep, gone])
    await index.remove(TENANT, SPACE, [ref("secretname")])

    def mentions() -> bool:
        return any(b"secretname" in path.read_bytes() for path in folder_of(root).iterdir())

    assert mentions()
    await index.purge()
    assert not mentions()
    assert await found(index, "fox") == ["keep"]
    await index.remove(TENANT, SPACE, [ref("keep")])
    await index.purge()
    assert [path.name for path in folder_of(root).iterdir()] == ["manifest"]
    await index.aclose()


async def test_superseded_files_go_after_their_time(root: Path) -> None:
    index = EmbeddedIndex(root, sync=False, retain_s=0)
    for _ in range(10):
        await index.feed(TENANT, SPACE, [document("a", "fox")])
    await index.aclose()
    assert len(list(folder_of(root).iterdir())) <= 2 * 3 + 1


async def test_a_reader_that_loses_the_race_reads_again(
    index: EmbeddedIndex, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index.feed(TENANT, SPACE, [document("a", "fox")])
    reader = EmbeddedIndex(root)
    old = manifest.read_manifest(folder_of(root))
    await index.feed(TENANT, SPACE, [document("a", "wolf")])
    await index.purge()
    answers = [old]

    def stale_once(folder: Path) -> manifest.SpaceManifest:
        return answers.pop() if answers else manifest.read_manifest(folder)

    monkeypatch.setattr("engine.index.snapshot.read_manifest", stale_once)
    assert await found(reader, "wolf") == ["a"]
    assert not answers
    await reader.aclose()


async def test_large_segments_find_by_lists_what_reading_all_finds(
    index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "CLUSTER_FROM", 500)
    random = np.random.default_rng(1)
    centers = random.standard_normal((20, 4))
    points = centers[random.integers(20, size=3000)] + 0.1 * random.standard_normal((3000, 4))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    documents = [
        IndexDocument(
            f"d-{n:04}",
            f"r-{n:04}",
            0,
            "kb",
            ["tenant"],
            "",
            [IndexChunk(i, "fox", vector=points[3 * n + i]) for i in range(3)],
        )
        for n in range(1000)
    ]
    await index.feed(TENANT, SPACE, documents)
    shares = []
    for query in points[:40]:
        request = asking("", query, limit=10, candidates=20)
        exact = (await index.search(request)).hits
        with monkeypatch.context() as patch:
            patch.setattr(legs, "EXACT_VECTORS", 100)
            patch.setattr(legs, "PROBED_VECTORS", 400)
            near = (await index.search(request)).hits
        cosines = {hit.document_id: hit.parts.cosine for hit in exact}
        shares.append(len(cosines.keys() & {hit.document_id for hit in near}) / 10)
        for hit in near:  # completed: every chunk of a candidate counts, read or not
            if hit.document_id in cosines:
                assert hit.parts.cosine == cosines[hit.document_id]
        assert len(near[0].passages) == 3
    assert np.mean(shares) >= 0.95

    only = ALL.__class__(ALL.tokens, ALL.kb_ids, document_ids=frozenset(["d-0990", "d-0991"]))
    with monkeypatch.context() as patch:  # what passes may lie far from the query
        patch.setattr(legs, "EXACT_VECTORS", 1)
        patch.setattr(legs, "PROBED_VECTORS", 10)
        hits = (await index.search(asking("", points[0], filter=only))).hits
    assert sorted(names(hits)) == ["0990", "0991"]


async def test_merging_large_segments_keeps_every_vector_with_its_chunk(
    index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "CLUSTER_FROM", 10)
    random = np.random.default_rng(2)
    expected = {}
    for name in range(40):
        vector = random.standard_normal(4).astype(np.float32)
        vector /= np.linalg.norm(vector)
        expected[f"{name:02}"] = vector
        await index.feed(TENANT, SPACE, [document(f"{name:02}", ("fox", vector), "wolf")])
    await index.remove(TENANT, SPACE, [ref("00"), ref("07")])
    await index.purge()
    for name, vector in expected.items():
        hits = (await index.search(asking("", vector, limit=1))).hits
        if name in {"00", "07"}:
            assert names(hits) != [name]
        else:
            assert names(hits) == [name]
            assert hits[0].parts.cosine == pytest.approx(1.0, abs=1e-5)
            assert hits[0].passages[0].ordinal == 0
    stats = await index.stats(TENANT, SPACE)
    assert (stats.documents, stats.chunks, stats.vectors) == (38, 76, 38)
    assert RevisionRef("d-00", "r-00") not in await index.revisions(TENANT, SPACE)
