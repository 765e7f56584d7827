"""Writes an ONNX model: just enough of its protobuf form to describe a graph by hand.

`minilm.py` is its only user. Large weights are not copied into the model: they are named by file,
offset and length ("external data"), so that the runtime maps them from where they already lie.
Field numbers are those of `onnx.proto` (ONNX 1.x, IR version 8).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FLOAT, UINT8, INT8, INT32, INT64 = 1, 2, 3, 6, 7  # TensorProto.DataType
_DATA_TYPES = {"float32": FLOAT, "uint8": UINT8, "int8": INT8, "int32": INT32, "int64": INT64}
_IR_VERSION = 8
_EXTERNAL = 1  # TensorProto.DataLocation
_VARINT, _BYTES, _FIXED32 = 0, 2, 5  # wire types

Attribute = int | float | Sequence[int]


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # a negative int64 is ten bytes of two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | _BYTES) + _varint(len(data)) + data


def _attribute(name: str, value: Attribute) -> bytes:
    out = _bytes(1, name)
    if isinstance(value, int):
        return out + _integer(3, value) + _integer(20, 2)
    if isinstance(value, float):
        return out + _varint(2 << 3 | _FIXED32) + struct.pack("<f", value) + _integer(20, 1)
    return out + b"".join(_integer(8, item) for item in value) + _integer(20, 7)


def _value_info(name: str, data_type: int, shape: Sequence[int | str]) -> bytes:
    dimensions = b"".join(
        _bytes(1, _bytes(2, size) if isinstance(size, str) else _integer(1, size)) for size in shape
    )
    tensor = _integer(1, data_type) + _bytes(2, dimensions)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


class GraphWriter:
    """Collects nodes and tensors, then renders the model; names are given out in order."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def add_input(self, name: str, data_type: int, shape: Sequence[int | str]) -> str:
        """Declare a model input; a text in `shape` is a size known only when it runs."""
        self._inputs.append(_value_info(name, data_type, shape))
        return name

    def add_output(self, name: str, data_type: int, shape: Sequence[int | str]) -> None:
        """Declare that the value `name` leaves the model."""
        self._outputs.append(_value_info(name, data_type, shape))

    def add_constant(self, value: NDArray[np.generic]) -> str:
        """Copy a small array into the model."""
        name = f"c{len(self._tensors)}"
        data = np.ascontiguousarray(value)
        if data.dtype.byteorder == ">":
            data = data.astype(data.dtype.newbyteorder("<"))
        head = b"".join(_integer(1, size) for size in value.shape)
        head += _integer(2, _DATA_TYPES[data.dtype.name]) + _bytes(8, name)
        self._tensors.append(head + _bytes(9, data.tobytes()))
        return name

    def add_external(
        self, name: str, data_type: int, shape: Sequence[int], *, file: str, offset: int, size: int
    ) -> str:
        """Name `size` bytes at `offset` of `file`, which is in the folder that the session is given."""
        out = b"".join(_integer(1, item) for item in shape)
        out += _integer(2, data_type) + _bytes(8, name)
        for key, value in (("location", file), ("offset", str(offset)), ("length", str(size))):
            out += _bytes(13, _bytes(1, key) + _bytes(2, value))
        self._tensors.append(out + _integer(14, _EXTERNAL))
        return name

    def add_node(
        self,
        kind: str,
        inputs: Sequence[str],
        *,
        domain: str = "",
        output: str = "",
        outputs: int = 1,
        **attributes: Attribute,
    ) -> str:
        """Apply an operator and return its first output's name; the others are `<name>_1`, ….

        An empty text among `inputs` leaves an optional input out.
        """
        name = output or f"n{len(self._nodes)}"
        out = b"".join(_bytes(1, item) for item in inputs) + _bytes(2, name)
        out += b"".join(_bytes(2, f"{name}_{i}") for i in range(1, outputs))
        out += _bytes(3, f"{kind}_{name}") + _bytes(4, kind)
        out += b"".join(_bytes(5, _attribute(key, value)) for key, value in attributes.items())
        self._nodes.append(out + (_bytes(7, domain) if domain else b""))
        return name

    def render(self, name: str, *, opsets: Sequence[tuple[str, int]]) -> bytes:
        """The model's bytes, nodes in the order they were added."""
        graph = b"".join(_bytes(1, node) for node in self._nodes) + _bytes(2, name)
        graph += b"".join(_bytes(5, tensor) for tensor in self._tensors)
        graph += b"".join(_bytes(11, value) for value in self._inputs)
        graph += b"".join(_bytes(12, value) for value in self._outputs)
        imports = b"".join(_bytes(8, _bytes(1, d) + _integer(2, v)) for d, v in opsets)
        return _integer(1, _IR_VERSION) + _bytes(2, "scrubjay") + _bytes(7, graph) + imports
