"""A git repository as a source, read from a real git over HTTP."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from engine.db.tables import Credential, Source
from engine.errors import Conflict, InvalidInput, Unavailable
from engine.sources.contract import SourceRefused
from engine.sources.sources import NewSource
from ingestion.connectors.git import GitConnector
from ingestion.connectors.git_transfer import measure_pack, packet_lines, parse_refs
from tests.fakes.git_server import GitServer, open_git
from tests.fakes.installations import parse_inline
from tests.fakes.sources import SourceInstallation, open_sources

TOKEN = "ghp_a_token_nobody_may_see"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[GitServer]:
    root = tmp_path / "git"
    root.mkdir()
    async with open_git(root) as server:
        server.commit(a_md="# Apples\n\nApples are red.", docs__b_md="# Pears\n\nPears are green.")
        yield server


@pytest.fixture
async def notes(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SourceInstallation]:
    parse_inline(monkeypatch)
    monkeypatch.setattr(GitConnector, "rate_per_s", 0.0)
    monkeypatch.setattr("engine.jobs.endings.FIRST_RETRY_S", 0.01)
    async with open_sources(home) as opened:
        yield opened


async def test_files_follow_the_branch_also_through_a_forced_push(notes, server):
    info = await notes.connect("git", url=server.url)
    assert (info.last_run.state, await notes.titles()) == ("ok", ["Apples", "Pears"])
    server.commit(
        a_md="# Apples\n\nApples are green this year.", docs__b_md=None, c_md="# Figs\n\nFigs."
    )
    await notes.sync("git")
    assert await notes.titles() == ["Apples", "Figs"]
    assert await notes.found("green") != []
    server.git("checkout", "-q", "--orphan", "other")
    server.git("branch", "-q", "-D", "main")
    server.git("branch", "-q", "-m", "main")
    server.commit(a_md="# Apples\n\nApples, told from the beginning.")
    await notes.sync("git")
    assert await notes.titles() == ["Apples", "Figs"]
    assert await notes.found("beginning") != []
    assert await notes.found("green") == []


async def test_a_commit_that_changes_one_file_makes_one_revision(notes, server):
    await notes.connect("git", url=server.url)
    server.commit(a_md="# Apples\n\nApples are yellow.")
    info = await notes.sync("git")
    assert (info.last_run.counts["changed"], info.last_run.counts["unchanged"]) == (1, 1)


async def test_a_rename_keeps_the_text_and_loses_the_old_path(notes, server):
    await notes.connect("git", url=server.url)
    server.git("mv", "a.md", "z.md")
    server.push()
    await notes.sync("git")
    page = await notes.engine.documents.page(notes.owner, "notes")
    assert sorted(one.external_id for one in page.documents) == ["docs/b.md", "z.md"]


async def test_links_submodules_and_large_files_elsewhere_are_left_out(notes, server):
    (server.work / "link.md").symlink_to("/etc/passwd")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    server.commit(big_md=pointer)
    await notes.connect("git", url=server.url)
    why = {one.id: one.reason for one in await notes.engine.sources.why(notes.owner, "git")}
    assert "link" in why["link.md"]
    assert "LFS" in why["big.md"]
    assert await notes.titles() == ["Apples", "Pears"]


async def test_an_answer_that_is_cut_short_is_asked_for_again(notes, server):
    server.cut = 2
    info = await notes.connect("git", url=server.url)
    assert (info.last_run.state, await notes.titles()) == ("ok", ["Apples", "Pears"])


async def test_a_repository_that_went_away_removes_nothing(notes, server):
    await notes.connect("git", url=server.url)
    (server.root / "repo.git").rename(server.root / "away.git")
    info = await notes.sync("git")
    assert "Nothing was removed" in info.scopes[0].error
    assert await notes.titles() == ["Apples", "Pears"]


async def test_a_branch_that_did_not_move_costs_one_request(notes, server):
    await notes.connect("git", url=server.url)
    server.asked.clear()
    info = await notes.sync("git")
    assert (info.last_run.state, server.asked) == (
        "ok",
        ["GET /repo.git/info/refs?service=git-upload-pack"],
    )


async def test_a_long_listing_is_of_the_commit_it_began_at(notes, server, monkeypatch):
    monkeypatch.setattr("ingestion.connectors.git.AT_A_TIME", 2)
    server.commit(**{f"more__{n}__x_md": f"# Note {n}\n\nText {n}." for n in range(5)})
    info = await notes.connect("git", url=server.url)
    assert info.last_run.state == "ok"
    assert len(await notes.titles()) == 7
    assert sum(one.startswith("POST") for one in server.asked) == 1
    home = notes.engine.settings.home / "sources"
    assert not [path for path in home.rglob("*") if path.is_file()]


async def test_larger_files_are_not_transferred(notes, server):
    server.git("-C", "../repo.git", "config", "uploadpack.allowFilter", "true")
    server.commit(big_md="word " * 600_000)
    new = NewSource("git", "git", "notes", {"url": server.url}, every_s=0)
    opener = notes.engine.sources.opener
    object.__setattr__(opener, "max_bytes", 1000)
    await notes.engine.sources.add(notes.owner, new)
    await notes.drain()
    why = {one.id: one.reason for one in await notes.engine.sources.why(notes.owner, "git")}
    assert why == {"big.md": "It is larger than 1,000 bytes."}


async def connect_with_token(notes: SourceInstallation, server: GitServer):
    await notes.engine.credentials.add(
        notes.owner, kind="git", name="forge", secret={"token": TOKEN}
    )
    new = NewSource("git", "git", "notes", {"url": server.url}, every_s=0, credential="forge")
    info, _ = await notes.engine.sources.add(notes.owner, new)
    await notes.drain()
    return await notes.source(info.name)


async def test_a_private_repository_is_read_with_a_token_that_nobody_sees(notes, server, caplog):
    server.password = TOKEN
    with pytest.raises(InvalidInput, match="credential"):
        await notes.connect("git", url=server.url)
    info = await connect_with_token(notes, server)
    assert (info.last_run.state, info.credential) == ("ok", "forge")
    kept = await notes.engine.credentials.list_all(notes.owner)
    shown = json.dumps(
        [str(info), str(kept), str(await notes.engine.sources.list_all(notes.owner))]
    )
    async with notes.engine.db.read() as session:
        row = (await session.scalars(select(Credential))).one()
    assert TOKEN not in shown + caplog.text + repr(row.__dict__)
    assert row.secret.startswith("v1.")


async def test_a_revoked_token_stops_the_source_and_another_one_resumes_it(notes, server):
    server.password = TOKEN
    await connect_with_token(notes, server)
    server.password = "another token that is valid"
    info = await notes.sync("git")
    assert info.state == "needs_login"
    assert (await notes.engine.credentials.get(notes.owner, "forge")).state == "needs_login"
    assert await notes.titles() == ["Apples", "Pears"]
    await notes.engine.credentials.replace(notes.owner, "forge", secret={"token": server.password})
    await notes.drain()
    info = await notes.source("git")
    assert (info.state, info.last_run.state) == ("active", "ok")


async def test_a_secret_that_was_copied_to_another_row_opens_nothing(notes, server):
    server.password = TOKEN
    await connect_with_token(notes, server)
    async with notes.engine.db.write() as session:
        await session.execute(update(Credential).values(id="f" * 32))
        await session.execute(
            update(Source).where(Source.name == "git").values(credential_id="f" * 32)
        )
    await notes.engine.sources.sync(notes.owner, "git")
    await notes.drain()
    info = await notes.source("git")
    assert (info.state, "damaged" in info.error) == ("needs_login", True)


async def test_a_credential_in_use_is_kept_and_tried_by_its_sources(notes, server):
    server.password = TOKEN
    await connect_with_token(notes, server)
    with pytest.raises(Conflict, match="git"):
        await notes.engine.credentials.remove(notes.owner, "forge")
    assert [one.ok for one in await notes.engine.sources.try_credential(notes.owner, "forge")] == [
        True
    ]
    server.password = "changed"
    [found] = await notes.engine.sources.try_credential(notes.owner, "forge")
    assert (found.ok, "credential" in found.text) == (False, True)
    await notes.engine.sources.remove(notes.owner, "git")
    await notes.drain()
    await notes.engine.credentials.remove(notes.owner, "forge")
    async with notes.engine.db.read() as session:
        assert (await session.scalars(select(Credential))).all() == []


async def test_a_wrong_field_of_a_secret_is_named_without_its_value(notes):
    for secret in ({"tokn": TOKEN}, {"token": ""}, {}):
        with pytest.raises(InvalidInput) as caught:
            await notes.engine.credentials.add(notes.owner, kind="git", name="x", secret=secret)
        assert TOKEN not in str(caught.value)
        assert "token" in str(caught.value)


def test_packets_are_read_and_what_is_no_git_is_refused():
    data = b"001e# service=git-upload-pack\n0000" + b"0032" + b"1" * 40 + b" HEAD\n"
    found = parse_refs(data)
    assert (found.refs, found.default) == ({"HEAD": "1" * 40}, "")
    for bad in (b"<html>", b"00ff1234", b"0003", b"00"):
        with pytest.raises(Unavailable):
            list(packet_lines(io.BytesIO(bad)))


def pack_of(kind: int, says: int, data: bytes) -> io.BytesIO:
    head, rest = (kind << 4) | (says & 15), says >> 4
    sizes = bytearray([head | (128 if rest else 0)])
    while rest:
        sizes.append((rest & 127) | (128 if rest >> 7 else 0))
        rest >>= 7
    return io.BytesIO(b"PACK" + struct.pack(">II", 2, 1) + bytes(sizes) + zlib.compress(data))


def test_a_pack_that_blows_up_is_refused_before_it_is_opened(monkeypatch):
    monkeypatch.setattr("ingestion.connectors.git_transfer.OBJECT_MAX_BYTES", 1000)
    measure_pack(pack_of(3, 900, b"a" * 900))
    with pytest.raises(SourceRefused, match="opened"):
        measure_pack(pack_of(3, 2000, b"a" * 2000))
    with pytest.raises(Unavailable):  # it says less than it is
        measure_pack(pack_of(3, 10, b"a" * 5_000_000))
    with pytest.raises(Unavailable):
        measure_pack(io.BytesIO(pack_of(3, 900, b"a" * 900).getvalue()[:-4]))
