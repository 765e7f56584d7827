"""Frames between `parsing.py` and its children: a JSON head and a body of bytes, each with a length.

No pickle: what a child sends is as untrusted as the files it read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

LENGTHS = struct.Struct(">IQ")
HEAD_MAX = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One request or answer."""

    head: Mapping[str, Any]
    body: bytes = b""


def pack_frame(frame: Frame) -> bytes:
    """The lengths and the head; the body follows unchanged."""
    head = json.dumps(frame.head).encode("ascii")
    return LENGTHS.pack(len(head), len(frame.body)) + head


def parse_head(data: bytes) -> dict[str, Any]:
    """The head of a frame; `ValueError` where it is not a JSON object."""
    head = json.loads(data)
    if not isinstance(head, dict):
        raise ValueError("a frame's head is a JSON object")  # noqa: TRY004 (one error a caller knows)
    return head


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Send one frame."""
    stream.write(pack_frame(frame))
    stream.write(frame.body)
    stream.flush()


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next frame, None at the end of the stream."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head_bytes, body_bytes = LENGTHS.unpack(lengths)
    head = stream.read(head_bytes)
    body = stream.read(body_bytes)
    if len(head) < head_bytes or len(body) < body_bytes:
        return None
    return Frame(parse_head(head), body)
