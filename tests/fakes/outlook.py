"""Outlook messages as files: a container of streams with the properties that a test names."""

from __future__ import annotations

import struct
from collections.abc import Mapping

SECTOR = 512
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD

Storage = Mapping[str, "bytes | Storage"]


def message(
    subject: str, body: str, *, sender: str = "Ann <ann@b.example>", kind: str = "IPM.Note"
) -> dict[str, bytes | Storage]:
    """The streams of a message."""
    texts = {0x0037: subject, 0x1000: body, 0x0C1A: sender, 0x001A: kind}
    streams: dict[str, bytes | Storage] = {"__properties_version1.0": b"\0" * 64}
    for number, text in texts.items():
        streams[f"__substg1.0_{number:04X}001F"] = text.encode("utf-16-le")
    return streams


def attached(number: int, name: str, content: bytes | Storage) -> dict[str, bytes | Storage]:
    """A file or a message attached to a message."""
    inner: bytes | Storage = content
    kind = "0102" if isinstance(content, bytes) else "000D"
    return {
        f"__attach_version1.0_#{number:08X}": {
            "__properties_version1.0": b"\0" * 24,
            "__substg1.0_3707001F": name.encode("utf-16-le"),
            f"__substg1.0_3701{kind}": inner,
        }
    }


def container(root: Storage) -> bytes:
    """An OLE container [MS-CFB]; streams are filled up to 4,096 bytes, so that none is a mini one."""
    entries: list[bytes] = []
    sectors: list[bytes] = []
    fat: list[int] = []

    def chain(data: bytes) -> int:
        first = len(sectors)
        pieces = [data[at : at + SECTOR].ljust(SECTOR, b"\0") for at in range(0, len(data), SECTOR)]
        sectors.extend(pieces)
        fat.extend([*range(first + 1, first + len(pieces)), END])
        return first

    def add(name: str, content: bytes | Storage, sibling: int, kind: int) -> int:
        at = len(entries)
        entries.append(b"")
        child, start, size = FREE, 0, 0
        if isinstance(content, bytes):
            data = content.ljust(4096, b"\0")
            start, size = chain(data), len(data)
        else:
            for inner, what in content.items():
                child = add(inner, what, child, 2 if isinstance(what, bytes) else 1)
            start = END if kind == 5 else 0
        wide = name.encode("utf-16-le")
        entries[at] = struct.pack(
            "<64sHBBIII16sIQQIQ",
            *(wide, len(wide) + 2, kind, 1, FREE, sibling, child, b"", 0, 0, 0, start, size),
        )
        return at

    add("Root Entry", root, FREE, 5)
    directory = chain(b"".join(entries))
    tables = 1
    while tables * 128 < len(sectors) + tables:
        tables += 1
    first = len(sectors)
    fat.extend([FAT] * tables)
    packed = struct.pack(f"<{len(fat)}I", *fat).ljust(tables * SECTOR, b"\xff")
    sectors.append(packed)
    difat = [*range(first, first + tables), *[FREE] * (109 - tables)]
    head = struct.pack(
        "<8s16sHHHHH6sIIIIIIIII109I",
        *(
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            b"",
            0x3E,
            3,
            0xFFFE,
            9,
            6,
            b"",
            0,
            tables,
            directory,
        ),
        *(0, 4096, END, 0, END, 0, *difat),
    )
    return head + b"".join(sectors)
