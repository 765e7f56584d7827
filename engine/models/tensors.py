"""Tensors in a file: where they lie in one, and how one is written.

The layout is safetensors': eight bytes of length, a JSON header, then the numbers. `weights.py`
knows which files there are, `bert.py` points a graph at what lies in them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_TYPES = {"F32": "<f4", "I8": "i1", "U8": "u1"}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
_HEADER_MAX = 1_000_000  # bytes; the models' have some 20 kB, so more means another file
_ALIGNMENT = 64  # bytes; what a processor reads at once


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """Where a tensor lies in its file. `kind` is safetensors' name of its numbers: F32, I8, U8."""

    shape: tuple[int, ...]
    offset: int
    size: int
    kind: str = "F32"


def read_spans(weights: Path) -> dict[str, TensorSpan]:
    """The tensors of a file by name, those of other kinds left out. `ValueError` where it is no such file."""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _HEADER_MAX:
            raise ValueError("not a safetensors file of these models")
        header = json.loads(file.read(length))
    spans = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in _TYPES:
            start, end = entry["data_offsets"]
            spans[name] = TensorSpan(
                tuple(entry["shape"]), 8 + length + start, end - start, entry["dtype"]
            )
    return spans


def map_tensor(weights: Path, span: TensorSpan) -> NDArray[np.generic]:
    """The numbers of a tensor, read from the file as they are touched."""
    return np.memmap(weights, _TYPES[span.kind], "r", span.offset, span.shape)


def in_bytes(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A weight ([out, in]) as signed bytes ([in, out]) and a scale for each output."""
    scales = (np.abs(weight).max(axis=1) / np.float32(127)).astype(np.float32)
    small = np.clip(np.rint(weight / scales[:, None]), -127, 127).astype(np.int8)
    return np.ascontiguousarray(small.T), scales


def write_tensors(file: Path, tensors: Mapping[str, NDArray[np.generic]]) -> None:
    """Store tensors in the order given: the same bytes for the same numbers, on every machine."""
    header: dict[str, object] = {}
    at = 0
    for name, values in tensors.items():
        header[name] = {
            "dtype": _NAMES[values.dtype],
            "shape": list(values.shape),
            "data_offsets": [at, at + values.nbytes],
        }
        at += -(-values.nbytes // _ALIGNMENT) * _ALIGNMENT
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-(8 + len(said)) % _ALIGNMENT)
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(said)) + said)
        for values in tensors.values():
            out.write(np.ascontiguousarray(values).tobytes())
            out.write(bytes(-values.nbytes % _ALIGNMENT))
