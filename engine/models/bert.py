"""BERT as an ONNX graph over tensors where they lie: what MiniLM and multilingual-e5 have in common.

`minilm.py` and `e5.py` say which tensors and how many layers. Nothing is copied but the description:
the model is a few kilobytes built in milliseconds, and the runtime maps the weights.

The linear layers see all tokens of a batch as rows of one matrix; only attention looks at texts one
by one. Where a weight has scales beside it, it is in bytes ([in, out]), and a row is multiplied in
bytes as well: each token is scaled by its own largest number, so that a text's vector does not
depend on the texts beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from engine.models.onnx_graph import FLOAT, INT8, INT64, UINT8, GraphWriter
from engine.models.tensors import TensorSpan

HIDDEN, HEADS = 384, 12
_EPSILON = 1e-12  # layer_norm_eps in the models' config.json
_MICROSOFT = "com.microsoft"  # onnxruntime's own operators, in every build of it
_MIDDLE = 128  # zero of what is stored as bytes without a sign
_LARGEST = 127
_INT32 = 6
_TINY = 1e-9  # a token of nothing but zeros divides by it


class Bert:
    """A graph under construction: one method a building block."""

    def __init__(self, file: Path, spans: Mapping[str, TensorSpan]) -> None:
        self.graph = GraphWriter()
        self._spans = spans
        self._file = file.name
        self._named: set[str] = set()
        self._as_bytes: dict[str, tuple[str, str]] = {}

    def weight(self, name: str) -> str:
        """A tensor of the file, by its name."""
        span = self._spans[name]
        if name in self._named:
            return name
        self._named.add(name)
        kind = {"F32": FLOAT, "I8": INT8, "U8": UINT8}[span.kind]
        return self.graph.add_external(
            name, kind, span.shape, file=self._file, offset=span.offset, size=span.size
        )

    def integers(self, *values: int) -> str:
        """A small constant."""
        return self.graph.add_constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Another one."""
        return self.graph.add_constant(np.array(value, np.float32))

    def linear(self, rows: str, prefix: str) -> str:
        """Rows times a weight, plus its bias."""
        if f"{prefix}.scale" in self._spans:
            return self._linear_in_bytes(rows, prefix)
        inputs = [rows, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")]
        return self.graph.add_node("Gemm", inputs, transB=1)

    def _linear_in_bytes(self, rows: str, prefix: str) -> str:
        add = self.graph.add_node
        small, scale = self._rounded(rows)
        middle = self.graph.add_constant(np.array(_MIDDLE, np.uint8))
        product = add("MatMulInteger", [small, self.weight(f"{prefix}.weight"), middle])
        product = add("Mul", [add("Cast", [product], to=FLOAT), scale])
        product = add("Mul", [product, self.weight(f"{prefix}.scale")])
        return add("Add", [product, self.weight(f"{prefix}.bias")])

    def _rounded(self, rows: str) -> tuple[str, str]:
        """Rows as bytes, and what each is to be multiplied by; query, key and value share them."""
        if rows not in self._as_bytes:
            add = self.graph.add_node
            largest = add("ReduceMax", [add("Abs", [rows])], axes=(1,), keepdims=1)
            largest = add("Max", [largest, self.number(_TINY)])
            scale = add("Mul", [largest, self.number(1 / _LARGEST)])
            whole = add("Round", [add("Div", [rows, scale])])
            small = add("Cast", [add("Add", [whole, self.number(_MIDDLE)])], to=UINT8)
            self._as_bytes[rows] = (small, scale)
        return self._as_bytes[rows]

    def norm(self, value: str, prefix: str) -> str:
        """Layer normalisation."""
        inputs = [value, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")]
        return self.graph.add_node("LayerNormalization", inputs, axis=-1, epsilon=_EPSILON)

    def add_norm(self, value: str, residual: str, prefix: str) -> str:
        """Layer normalisation of a sum."""
        return self.norm(self.graph.add_node("Add", [value, residual]), prefix)

    def layer(self, rows: str, number: int, mask: str, by_text: str) -> str:
        """One layer of the encoder."""
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

    def encode(self, rows: str, mask: str, shape: str, layers: int) -> None:
        """All layers over embedded `rows` ([texts * tokens, 384]), and the model's two outputs.

        `mask` is the model's attention mask, `shape` its shape. `embedding` is the mean over real
        tokens, brought to unit length: [texts, 384]. `states` has each token's vector.
        """
        add = self.graph.add_node
        by_text = add("Concat", [shape, self.integers(HIDDEN)], axis=0)
        key_mask = add("Cast", [mask], to=_INT32)
        for number in range(layers):
            rows = self.layer(rows, number, key_mask, by_text)
        states = add("Reshape", [rows, by_text])
        weights = add("Unsqueeze", [add("Cast", [mask], to=FLOAT), self.integers(1)])
        summed = add("Squeeze", [add("MatMul", [weights, states]), self.integers(1)])
        # the norm makes dividing by the number of tokens moot
        norm = add("ReduceL2", [summed], axes=(1,), keepdims=1)
        add("Div", [summed, norm], output="embedding")
        add("Identity", [rows], output="states")
        self.graph.add_output("embedding", FLOAT, ("texts", HIDDEN))
        self.graph.add_output("states", FLOAT, ("rows", HIDDEN))

    def mask(self) -> str:
        """The input that says which tokens are real: int64, [texts, tokens]."""
        return self.graph.add_input("attention_mask", INT64, ("texts", "tokens"))

    def render(self, name: str) -> bytes:
        """The model."""
        return self.graph.render(name, opsets=[("", 17), (_MICROSOFT, 1)])
