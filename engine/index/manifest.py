"""The manifest of a space: which files make it up. Swapping it is what commits.

One file, one line of head (format, epoch, generation, CRC of all) and a JSON body. A reader looks at
the head at each search and reads the rest when the generation moved. Files that no manifest names
are nobody's: leftovers of a writer that died, removed by the next one.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from engine.index.arrays import Damaged
from engine.index.port import Space
from engine.index.segments import SegmentEntry

NAME = "manifest"
_FORMAT = "scrubjay-index-1"
_HEAD_BYTES = 96


@dataclass(frozen=True, slots=True)
class SpaceManifest:
    """The files of a space. `generation` rises with every commit and also names new files."""

    space: Space
    generation: int = 0
    epoch: str = ""  # of this life of the space: dropped and made again, it is another
    segments: tuple[SegmentEntry, ...] = ()

    @property
    def head(self) -> str:
        """What distinguishes this manifest from any other of the same folder."""
        return f"{_FORMAT} {self.epoch} {self.generation}"

    def files(self) -> Iterator[str]:
        """The names of all files it needs."""
        for segment in self.segments:
            yield segment.base
            yield segment.fields
            if segment.dead:
                yield segment.dead


def read_head(folder: Path) -> str | None:
    """The head of the manifest as it is now, or None where there is no space."""
    try:
        with (folder / NAME).open("rb") as file:
            line = file.read(_HEAD_BYTES).partition(b"\n")[0]
    except FileNotFoundError:
        return None
    return line.rpartition(b" ")[0].decode(errors="replace")


def read_manifest(folder: Path) -> SpaceManifest:
    """The manifest as it is now; raises `Damaged`, or FileNotFoundError where there is none."""
    head, newline, body = (folder / NAME).read_bytes().partition(b"\n")
    words = head.decode(errors="replace").split(" ")
    if not newline or len(words) != 4 or words[0] != _FORMAT:
        raise Damaged("the manifest is not from this version")
    _, epoch, generation, crc = words
    if crc != f"{zlib.crc32(head.rpartition(b' ')[0] + body):08x}":
        raise Damaged("the manifest was changed or truncated")
    data = json.loads(body)  # its CRC is right: what we wrote, so what we expect
    entries = tuple(SegmentEntry(**entry) for entry in data["segments"])
    return SpaceManifest(Space(**data["space"]), int(generation), epoch, entries)


def write_manifest(folder: Path, manifest: SpaceManifest, *, sync: bool) -> None:
    """Put a manifest in place of the one before, in one step that no crash can halve."""
    entries = [_plain(entry) for entry in manifest.segments]
    body = json.dumps({"space": _plain(manifest.space), "segments": entries}).encode()
    temporary = folder / f"{NAME}.new"
    with temporary.open("wb") as file:
        file.write(f"{manifest.head} {zlib.crc32(manifest.head.encode() + body):08x}\n".encode())
        file.write(body)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    os.replace(temporary, folder / NAME)  # noqa: PTH105  the call tests break on purpose
    if sync:
        sync_folder(folder)


def _plain(value: SegmentEntry | Space) -> dict[str, Any]:
    """A flat dataclass as JSON takes it; `asdict` would copy every value, at every commit."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power cut, where the platform can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
