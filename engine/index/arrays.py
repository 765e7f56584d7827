"""Files of named numpy arrays, written once and read through a memory map.

Layout: magic, length and CRC of a JSON header, the header (dtype, shape, offset and CRC of each
array, free metadata), then the arrays, each aligned to 64 bytes. A file cut short or with a bad
header fails at opening; `verify` also checks the bytes of the arrays.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_MAGIC = b"SJIDX001"
_HEAD = struct.Struct("<8sII")  # magic, header length, header CRC
_ALIGN = 64
_BLOCK = 1 << 20


class Damaged(Exception):  # a detail of this package: doors see `IndexDamaged`
    """A file is not what was written."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An array too large to hold: its blocks of rows are written as they come."""

    dtype: str
    shape: tuple[int, ...]
    blocks: Iterable[Array]


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """An opened file: arrays share one memory map, which lives as long as any of them."""

    arrays: Mapping[str, Array]
    meta: Mapping[str, Any]
    size_bytes: int


def write_arrays(
    path: Path, arrays: Mapping[str, Array | Stream], meta: Mapping[str, Any], *, sync: bool = True
) -> int:
    """Write a new file, through to the disk when `sync`; returns its size in bytes."""
    names = {name: _described(value) for name, value in arrays.items()}
    reserved = len(_render(names, meta)) + 96 * (len(names) + 1)  # room for offsets and CRCs
    start = _aligned(_HEAD.size + reserved)
    with path.open("wb") as file:
        file.seek(start)
        for name, value in arrays.items():
            offset = _aligned(file.tell())
            file.seek(offset)
            crc = 0
            for block in _blocks(value):
                data = block.data.cast("B") if block.size else b""
                crc = zlib.crc32(data, crc)
                file.write(data)
            names[name] |= {"offset": offset, "crc": crc, "end": file.tell()}
        size = max(file.tell(), start)
        file.truncate(size)
        header = _render(names, {**meta}, size).ljust(reserved)
        file.seek(0)
        file.write(_HEAD.pack(_MAGIC, len(header), zlib.crc32(header)))
        file.write(header)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    return size


def open_arrays(path: Path) -> ArrayFile:
    """Map a file; raises `Damaged` where its head or its size is wrong, FileNotFoundError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(file.read(_HEAD.size + _BLOCK), path, size)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {}
    for name, spec in header["arrays"].items():
        shape = tuple(spec["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        flat = np.frombuffer(mapped, dtype=spec["dtype"], count=count, offset=spec["offset"])
        arrays[name] = flat.reshape(shape)
    return ArrayFile(arrays, header["meta"], size)


def verify(path: Path) -> None:
    """Read the whole file and compare every array with its CRC; raises `Damaged`."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(file.read(_HEAD.size + _BLOCK), path, size)
        for name, spec in header["arrays"].items():
            file.seek(spec["offset"])
            crc, left = 0, spec["end"] - spec["offset"]
            while left > 0 and (data := file.read(min(left, _BLOCK))):
                crc = zlib.crc32(data, crc)
                left -= len(data)
            if left or crc != spec["crc"]:
                raise Damaged(f"{path.name}: the bytes of {name} changed")


def _read_header(head: bytes, path: Path, size: int) -> dict[str, Any]:
    if len(head) < _HEAD.size:
        raise Damaged(f"{path.name} is truncated")
    magic, length, crc = _HEAD.unpack_from(head)
    if magic != _MAGIC:
        raise Damaged(f"{path.name} is not an index file")
    text = head[_HEAD.size : _HEAD.size + length]
    if len(text) < length:
        with path.open("rb") as file:
            file.seek(_HEAD.size)
            text = file.read(length)
    if len(text) < length or zlib.crc32(text) != crc:
        raise Damaged(f"{path.name} has a damaged head")
    header: dict[str, Any] = json.loads(text)
    if header["size"] != size:
        raise Damaged(f"{path.name} has {size} bytes instead of {header['size']}")
    return header


def _described(value: Array | Stream) -> dict[str, Any]:
    dtype = value.dtype if isinstance(value, Stream) else value.dtype.str
    return {"dtype": dtype, "shape": list(value.shape)}


def _blocks(value: Array | Stream) -> Iterator[Array]:
    if isinstance(value, Stream):
        yield from map(np.ascontiguousarray, value.blocks)
    else:
        yield np.ascontiguousarray(value)


def _render(names: Mapping[str, Any], meta: Mapping[str, Any], size: int = 0) -> bytes:
    return json.dumps({"size": size, "arrays": names, "meta": meta}).encode()


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN) * _ALIGN
