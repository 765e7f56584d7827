"""A folder as a source: kept in step, and never emptied by a mount that is away."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.errors import Forbidden, InvalidInput
from engine.sources.sources import NewSource
from tests.fakes.installations import parse_inline
from tests.fakes.sources import SourceInstallation, open_sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "shared"
    made.mkdir()
    for name, text in (("a.md", "# Apples\n\nApples are red."), ("b.md", "# Pears\n\nPears.")):
        (made / name).write_text(text)
    return made


@pytest.fixture
async def notes(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SourceInstallation]:
    parse_inline(monkeypatch)
    async with open_sources(home, {"sources.folders": str(folder)}) as opened:
        yield opened


async def test_files_are_found_changed_and_deleted_as_the_folder_is(notes, folder):
    info = await notes.connect("folder", path=str(folder))
    assert (info.last_run.state, info.items, info.coverage) == ("ok", {"kept": 2}, 1.0)
    assert await notes.titles() == ["Apples", "Pears"]
    (folder / "a.md").write_text("# Apples\n\nApples are green this year.")
    (folder / "b.md").unlink()
    (folder / "sub").mkdir()
    (folder / "sub" / "c.md").write_text("# Plums\n\nPlums are blue.")
    info = await notes.sync("folder")
    assert info.last_run.state == "ok"
    assert info.last_run.counts["removed"] == 1
    assert await notes.titles() == ["Apples", "Plums"]
    assert await notes.found("green") != []
    assert await notes.found("pears") == []


async def test_a_file_that_did_not_change_is_not_opened_again(notes, folder):
    await notes.connect("folder", path=str(folder))
    info = await notes.sync("folder")
    assert info.last_run.counts == {"listed": 2, "unchanged": 2}


async def test_an_empty_or_missing_mount_removes_nothing(notes, folder, tmp_path):
    await notes.connect("folder", path=str(folder))
    moved = tmp_path / "away"
    folder.rename(moved)
    info = await notes.sync("folder")
    assert "is not there" in info.error
    folder.mkdir()
    info = await notes.sync("folder")
    assert info.last_run.state == "partial"
    assert "mount" in info.scopes[0].error
    assert await notes.titles() == ["Apples", "Pears"]
    shutil.rmtree(folder)
    moved.rename(folder)
    assert (await notes.sync("folder")).last_run.state == "ok"


async def test_a_mass_deletion_waits_for_a_yes(notes, folder):
    for number in range(30):
        (folder / f"n{number:02}.md").write_text(f"# Note {number}\n\nText {number}.")
    await notes.connect("folder", path=str(folder))
    for number in range(20):
        (folder / f"n{number:02}.md").unlink()
    info = await notes.sync("folder")
    assert (info.last_run.state, info.withheld) == ("withheld", 20)
    assert len(await notes.titles()) == 32
    assert await notes.engine.sources.unwell(notes.owner) != []
    await notes.engine.sources.confirm(notes.owner, "folder")
    await notes.drain()
    info = await notes.source("folder")
    assert (info.last_run.state, info.withheld) == ("ok", 0)
    assert len(await notes.titles()) == 12
    assert await notes.engine.sources.unwell(notes.owner) == []


async def test_a_yes_to_some_deletions_is_none_to_many_more(notes, folder):
    for number in range(40):
        (folder / f"n{number:02}.md").write_text(f"# Note {number}\n\nText {number}.")
    await notes.connect("folder", path=str(folder))
    for number in range(12):
        (folder / f"n{number:02}.md").unlink()
    await notes.sync("folder")
    for number in range(12, 38):
        (folder / f"n{number:02}.md").unlink()
    await notes.engine.sources.confirm(notes.owner, "folder")
    await notes.drain()
    assert (await notes.source("folder")).last_run.state == "withheld"
    assert len(await notes.titles()) == 42


async def test_links_lead_nowhere(notes, folder, tmp_path):
    secret = tmp_path / "secret.md"
    secret.write_text("# Secret\n\nHidden elsewhere.")
    (folder / "link.md").symlink_to(secret)
    (folder / "dir").symlink_to(tmp_path)
    await notes.connect("folder", path=str(folder))
    assert await notes.titles() == ["Apples", "Pears"]


async def test_a_file_that_becomes_a_link_before_it_is_opened_is_gone(notes, folder, tmp_path):
    secret = tmp_path / "secret.md"
    secret.write_text("# Secret\n\nHidden elsewhere.")
    connector = notes.engine.sources.connectors["folder"]
    whole_open = connector.open

    async def swapped(ctx, scope, item):
        (folder / "a.md").unlink()
        (folder / "a.md").symlink_to(secret)
        return await whole_open(ctx, scope, item)

    connector.open = swapped
    await notes.connect("folder", path=str(folder), include=["a.md"])
    assert await notes.titles() == []


async def test_a_folder_that_the_operator_did_not_name_is_refused(notes, tmp_path):
    with pytest.raises(InvalidInput, match=r"sources\.folders"):
        await notes.connect("folder", path=str(tmp_path))
    with pytest.raises(InvalidInput, match=r"sources\.folders"):
        await notes.connect("folder", path=f"{tmp_path}/shared/..")


async def test_what_is_left_out_has_a_reason(notes, folder):
    (folder / "empty.md").write_text("")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 not really")
    info = await notes.connect("folder", path=str(folder))
    why = {one.id: one.reason for one in await notes.engine.sources.why(notes.owner, "folder")}
    assert why["empty.md"] == "It is empty."
    assert why["broken.pdf"]
    assert info.items == {"kept": 3, "left_out": 1}


async def test_a_removed_source_answers_at_once_no_more(notes, folder):
    await notes.connect("folder", path=str(folder))
    assert await notes.engine.sources.remove(notes.owner, "folder") == 2
    assert await notes.found("apples") == []
    await notes.drain()
    assert await notes.engine.sources.list_all(notes.owner) == []
    kbs = await notes.engine.knowledge_bases.list_readable(notes.owner)
    assert [kb.document_count for kb in kbs if kb.name == "notes"] == [0]
    await notes.connect("folder", path=str(folder))
    assert await notes.titles() == ["Apples", "Pears"]


async def test_a_paused_source_is_not_read_until_it_is_resumed(notes, folder):
    await notes.connect("folder", path=str(folder))
    await notes.engine.sources.pause(notes.owner, "folder")
    (folder / "c.md").write_text("# Plums\n\nPlums.")
    await notes.drain()
    assert await notes.titles() == ["Apples", "Pears"]
    await notes.engine.sources.resume(notes.owner, "folder")
    await notes.drain()
    assert await notes.titles() == ["Apples", "Pears", "Plums"]


async def test_other_settings_take_away_what_they_no_longer_cover(notes, folder):
    await notes.connect("folder", path=str(folder))
    await notes.engine.sources.update(notes.owner, "folder", settings={"exclude": ["b.md"]})
    await notes.drain()
    assert await notes.titles() == ["Apples"]


async def test_only_admins_connect_sources(notes, folder):
    await notes.engine.people.add_member(notes.owner, "m@example.com", role="member")
    member = await notes.engine.people.act_as(notes.owner, "m@example.com")
    new = NewSource("folder", "mine", "notes", {"path": str(folder)})
    with pytest.raises(Forbidden):
        await notes.engine.sources.add(member, new)


async def test_a_preview_shows_what_a_sync_would_take_and_stores_nothing(notes, folder):
    (folder / "empty.md").write_text("")
    shown = await notes.engine.sources.preview(notes.owner, "folder", {"path": str(folder)})
    assert [(one.id, bool(one.reason)) for one in shown] == [
        ("a.md", False),
        ("b.md", False),
        ("empty.md", True),
    ]
    assert await notes.engine.sources.list_all(notes.owner) == []


async def test_names_of_any_kind_are_kept(notes, folder):
    odd = folder / "größe & ✓.md"
    odd.write_text("# Odd\n\nOdd name.")
    (folder / "a").mkdir()  # sorts between a.md's parts
    (folder / "a" / "z.md").write_text("# Deep\n\nDeep.")
    info = await notes.connect("folder", path=str(folder))
    assert info.items == {"kept": 4}
    assert (await notes.sync("folder")).last_run.counts["unchanged"] == 4
