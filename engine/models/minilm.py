"""all-MiniLM-L6-v2 as an ONNX graph over the published safetensors file.

`build_graph` describes the network (BERT with 6 layers, mean pooling over the mask, L2 norm) and
points at the weights where they lie; nothing is copied or converted, and the model is a few
kilobytes built in milliseconds. `local.py` runs it.

The linear layers see all tokens of a batch as rows of one matrix, because `Gemm` reads a weight
the way safetensors stores it ([out, in]); only attention looks at texts one by one.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.models.onnx_graph import FLOAT, INT64, GraphWriter

LAYERS, HIDDEN, HEADS, INTERMEDIATE = 6, 384, 12, 1536
POSITIONS = 512
_EPSILON = 1e-12  # layer_norm_eps in the model's config.json
_MICROSOFT = "com.microsoft"  # onnxruntime's own operators, in every build of it
_HEADER_MAX = 1_000_000  # bytes; ours has 11 kB, so more means another file


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """Where a float32 tensor lies in its file."""

    shape: tuple[int, ...]
    offset: int
    size: int


def read_spans(weights: Path) -> dict[str, TensorSpan]:
    """The float32 tensors of a safetensors file by name. `ValueError` where it is not one."""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _HEADER_MAX:
            raise ValueError("not a safetensors file of this model")
        header = json.loads(file.read(length))
    spans = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            spans[name] = TensorSpan(tuple(entry["shape"]), 8 + length + start, end - start)
    return spans


class _Bert:
    """The graph under construction: one method a building block."""

    def __init__(self, weights: Path) -> None:
        self.graph = GraphWriter()
        self._spans = read_spans(weights)
        self._file = weights.name

    def weight(self, name: str) -> str:
        span = self._spans[name]
        return self.graph.add_external(
            name, FLOAT, span.shape, file=self._file, offset=span.offset, size=span.size
        )

    def integers(self, *values: int) -> str:
        return self.graph.add_constant(np.array(values, np.int64))

    def linear(self, rows: str, prefix: str) -> str:
        inputs = [rows, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")]
        return self.graph.add_node("Gemm", inputs, transB=1)

    def norm(self, value: str, prefix: str) -> str:
        inputs = [value, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")]
        return self.graph.add_node("LayerNormalization", inputs, axis=-1, epsilon=_EPSILON)

    def add_norm(self, value: str, residual: str, prefix: str) -> str:
        inputs = [value, residual, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")]
        return self.graph.add_node(
            "SkipLayerNormalization", inputs, domain=_MICROSOFT, epsilon=_EPSILON
        )

    def embeddings(self, ids: str, length: str) -> str:
        add = self.graph.add_node
        words = add("Gather", [self.weight("embeddings.word_embeddings.weight"), ids])
        zero, one = self.integers(0), self.integers(1)
        positions = self.weight("embeddings.position_embeddings.weight")
        positions = add("Slice", [positions, zero, length, zero])
        kinds = self.weight("embeddings.token_type_embeddings.weight")
        kind = add("Slice", [kinds, zero, one, zero])  # one text at a time: all of type 0
        summed = add("Add", [words, add("Add", [positions, kind])])
        summed = add("Reshape", [summed, self.integers(-1, HIDDEN)])
        return self.norm(summed, "embeddings.LayerNorm")

    def layer(self, rows: str, number: int, mask: str, by_text: str) -> str:
        add, prefix = self.graph.add_node, f"encoder.layer.{number}"
        projected = [
            add("Reshape", [self.linear(rows, f"{prefix}.attention.self.{name}"), by_text])
            for name in ("query", "key", "value")
        ]
        attended = add(
            "MultiHeadAttention", [*projected, "", mask], domain=_MICROSOFT, num_heads=HEADS
        )
        attended = add("Reshape", [attended, self.integers(-1, HIDDEN)])
        attended = self.linear(attended, f"{prefix}.attention.output.dense")
        rows = self.add_norm(attended, rows, f"{prefix}.attention.output.LayerNorm")
        inner = self.linear(rows, f"{prefix}.intermediate.dense")
        inner = add("Gelu", [inner], domain=_MICROSOFT)
        outer = self.linear(inner, f"{prefix}.output.dense")
        return self.add_norm(outer, rows, f"{prefix}.output.LayerNorm")

    def pool(self, rows: str, mask: str, by_text: str) -> str:
        """Mean over real tokens, then unit length: the norm makes dividing by their number moot."""
        add = self.graph.add_node
        states = add("Reshape", [rows, by_text])
        weights = add("Unsqueeze", [add("Cast", [mask], to=FLOAT), self.integers(1)])
        summed = add("Squeeze", [add("MatMul", [weights, states]), self.integers(1)])
        norm = add("ReduceL2", [summed], axes=(1,), keepdims=1)
        return add("Div", [summed, norm], output="embedding")


def build_graph(weights: Path) -> bytes:
    """The model: `input_ids` and `attention_mask` (int64, [texts, tokens]) to two outputs.

    Padding is on the right. `embedding` is [texts, 384] and of unit length; `states` has each
    token's vector, [texts * tokens, 384]. The session must be given the folder of `weights`.
    """
    bert = _Bert(weights)
    graph, add = bert.graph, bert.graph.add_node
    ids = graph.add_input("input_ids", INT64, ("texts", "tokens"))
    mask = graph.add_input("attention_mask", INT64, ("texts", "tokens"))
    shape = add("Shape", [ids])
    length = add("Slice", [shape, bert.integers(1), bert.integers(2)])
    by_text = add("Concat", [shape, bert.integers(HIDDEN)], axis=0)
    rows = bert.embeddings(ids, length)
    key_mask = add("Cast", [mask], to=6)
    for number in range(LAYERS):
        rows = bert.layer(rows, number, key_mask, by_text)
    bert.pool(rows, mask, by_text)
    graph.add_node("Identity", [rows], output="states")
    graph.add_output("embedding", FLOAT, ("texts", HIDDEN))
    graph.add_output("states", FLOAT, ("rows", HIDDEN))
    return graph.render("all-MiniLM-L6-v2", opsets=[("", 17), (_MICROSOFT, 1)])
