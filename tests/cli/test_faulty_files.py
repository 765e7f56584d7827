"""`add` with something among its files that can't be read: the rest is added, and it is told."""

from __future__ import annotations

import json
import os
import socket
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.inputs import expand
from cli.main import main
from engine.errors import InvalidInput
from ingestion.sources.exports import is_export
from tests.fakes import discord_pages

GOOD = "The zetagood pump is checked in May.\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("home")
        patch.setenv("SCRUBJAY_HOME", str(root))
        patch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
        yield root


def damaged_zip(path: Path, names: tuple[str, ...] = ("a.txt",)) -> None:
    """An end of the central directory that is well, before it a directory that is not."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "[]")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at : at + 4] = b"XXXX"
    path.write_bytes(data)


def spoiled_slack_export(path: Path) -> None:
    """A Slack export whose directory is well and whose messages are not."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("users.json", "[]")
        archive.writestr("channels.json", json.dumps([{"id": "C1", "name": "general"}]))
        archive.writestr("general/2024-01-01.json", json.dumps([{"ts": "1.0", "text": "a" * 999}]))
    data = bytearray(path.read_bytes())
    name = b"general/2024-01-01.json"
    at = data.index(name) + len(name)
    data[at : at + 6] = b"\xff" * 6
    path.write_bytes(data)


def added(capsys: pytest.CaptureFixture[str], *what: str, code: int) -> dict[str, tuple[str, str]]:
    """State and reason by title, of what `add` tells."""
    capsys.readouterr()
    assert main(["add", *what, "--json"]) == code
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["documents"]
    return {row["title"]: (row["state"], row["error"]) for row in rows}


def test_one_bad_file_of_a_folder_stops_no_other(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.md").write_text(GOOD, encoding="utf-8")
    damaged_zip(tmp_path / "damaged.zip")
    spoiled_slack_export(tmp_path / "slack.zip")
    (tmp_path / "cut.json").write_text('{"guild": {"id": "1"}, "channel": {', encoding="utf-8")
    (tmp_path / "firmware.html").write_text(discord_pages.as_html(), encoding="utf-8")
    cut = discord_pages.as_html([""], told=None)
    (tmp_path / "cut [1467229984284088776].html").write_text(cut, encoding="utf-8")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere")
    (tmp_path / "ring.md").symlink_to(tmp_path / "ring.md")
    os.mkfifo(tmp_path / "pipe.md")
    os.mkfifo(tmp_path / "pipe.json")
    told = added(capsys, str(tmp_path), "--kb", "mixed", code=5)
    assert told.pop("good.md") == ("ready", "")
    assert {title: state for title, (state, _) in told.items()} == dict.fromkeys(
        (
            *("damaged.zip", "slack.zip", "cut.json", "gone.md", "ring.md", "pipe.md", "pipe.json"),
            *("firmware.html", "cut [1467229984284088776].html"),
        ),
        "failed",
    )
    assert "does not tell its channel's id: rename it" in told["firmware.html"][1]
    assert "is damaged" in told["cut [1467229984284088776].html"][1]
    assert "is damaged or truncated" in told["damaged.zip"][1]
    assert "damaged" in told["slack.zip"][1]
    assert "not JSON" in told["cut.json"][1]
    assert told["gone.md"][1] == "is a link that leads nowhere"
    assert told["ring.md"][1].startswith("can't be read: ")
    assert told["pipe.md"][1].startswith("is a pipe, a socket or a device")


def test_a_name_that_is_not_utf8_is_added_under_an_escaped_one(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.md").write_text(GOOD, encoding="utf-8")
    bad = os.fsencode(tmp_path) + b"/bad\xff\xfebytes.md"
    Path(os.fsdecode(bad)).write_text("The zetabad pump.\n", encoding="utf-8")
    told = added(capsys, str(tmp_path), "--kb", "names", code=0)
    assert told == {"good.md": ("ready", ""), "bad%FF%FEbytes.md": ("ready", "")}
    told = added(capsys, os.fsdecode(bad), "--kb", "names", code=0)
    assert list(told) == ["bad%FF%FEbytes.md"]
    assert main(["docs", "list", "--kb", "names"]) == 0
    assert capsys.readouterr().out.count("bytes.md") == 1


def test_a_file_that_vanishes_while_others_are_added_is_told(
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("good.md", "gone.md", "gone.zip", "secret.md"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    read = Path.read_bytes

    def refused(self: Path) -> bytes:
        if self.name == "secret.md":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self)

    def then_vanish(given: Any) -> Any:
        (tmp_path / "gone.md").unlink()
        (tmp_path / "gone.zip").unlink()
        return part(given)

    from cli import exports

    part = exports.part
    monkeypatch.setattr(exports, "part", then_vanish)
    monkeypatch.setattr(Path, "read_bytes", refused)
    told = added(capsys, str(tmp_path), "--kb", "vanish", code=5)
    assert told == {
        "good.md": ("ready", ""),
        "gone.md": ("failed", "can't be read: No such file or directory"),
        "gone.zip": ("failed", "can't be read: No such file or directory"),
        "secret.md": ("failed", "can't be read: Permission denied"),
    }


def test_a_missing_argument_beside_others_is_told_and_not_the_end(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.md").write_text(GOOD, encoding="utf-8")
    told = added(
        capsys, str(tmp_path / "good.md"), str(tmp_path / "missing.md"), "--kb", "args", code=5
    )
    assert told["good.md"] == ("ready", "")
    assert "does not exist" in told["missing.md"][1]


def test_the_summary_tells_how_many_files_failed_and_why(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.md").write_text(GOOD, encoding="utf-8")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere")
    capsys.readouterr()
    assert main(["add", str(tmp_path), "--kb", "told", "--no-wait"]) == 5
    said = capsys.readouterr().err
    assert "queued 1 document\n" in said
    assert "1 document failed:\n  gone.md: is a link that leads nowhere\n" in said


def test_a_folder_that_may_not_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "good.md").write_text(GOOD, encoding="utf-8")
    listed = Path.iterdir

    def iterdir(self: Path) -> Iterator[Path]:
        if self.name == "locked":
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    given = expand([str(tmp_path)])
    assert [(item.label, item.fault) for item in given] == [
        ("good.md", ""),
        ("locked", "can't be read: Permission denied"),
    ]


def test_a_socket_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has room for few characters
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.md")
        assert [item.fault[:9] for item in expand([str(tmp_path / "socket.md")])] == ["is a pipe"]


def test_arguments_that_lead_to_nothing_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"a\.md does not exist.*; .*b\.md does not exist"):
        expand([str(tmp_path / "a.md"), str(tmp_path / "b.md")])


@pytest.mark.parametrize("at", range(0, 200, 7))
def test_no_damage_to_a_zip_is_an_error_of_ours(tmp_path: Path, at: int) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", '{"guild": {}, "channel": {}}' + "x" * 500)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0xFF
    for size in (len(data), len(data) - at):
        path.write_bytes(data[:size])
        assert is_export(path) in {True, False}
    path.write_bytes(data[:-22] + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, 9, at, 0))
    assert is_export(path) in {True, False}


def test_what_a_reader_had_to_guess_is_said_at_once(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "name.txt").write_bytes("Dvořák\n".encode("cp1250"))
    assert main(["add", str(tmp_path / "name.txt"), "--kb", "guessed"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "The encoding was guessed as cp1250 from few letters" in said
