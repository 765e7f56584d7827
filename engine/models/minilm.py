"""all-MiniLM-L6-v2: six layers of BERT over the published safetensors file, or over one in bytes.

`bert.py` has the layers, `local.py` runs the graph. The published file is used as it lies; `convert`
makes the other from it once, the same to the byte on every machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.models.bert import HIDDEN, Bert
from engine.models.onnx_graph import FLOAT, INT64
from engine.models.tensors import in_bytes, map_tensor, read_spans, write_tensors

LAYERS = 6
_WORDS = "embeddings.word_embeddings"


def convert(published: Path, made: Path) -> None:
    """Write the model in bytes: linear layers by output, words by word, each with its scale."""
    spans = read_spans(published)
    tensors: dict[str, NDArray[np.generic]] = {}
    for name in sorted(spans):
        if not name.startswith(("embeddings.", "encoder.")):
            continue  # the pooler, which sentence vectors don't use
        values = np.asarray(map_tensor(published, spans[name])).astype(np.float32)
        prefix, is_weight = name.removesuffix(".weight"), name.endswith(".weight")
        if is_weight and (prefix == _WORDS or _is_linear(prefix)):
            small, scales = in_bytes(values)
            tensors[name] = np.ascontiguousarray(small.T) if prefix == _WORDS else small
            tensors[f"{prefix}.scale"] = scales[:, None] if prefix == _WORDS else scales
        else:
            tensors[name] = values
    write_tensors(made, tensors)


def _is_linear(prefix: str) -> bool:
    return prefix.startswith("encoder.") and not prefix.endswith("LayerNorm")


def build_graph(weights: Path) -> bytes:
    """The model: `input_ids` and `attention_mask` (int64, [texts, tokens]) to two outputs.

    Padding is on the right. `embedding` is [texts, 384] and of unit length; `states` has each
    token's vector, [texts * tokens, 384]. The session must be given the folder of `weights`.
    """
    spans = read_spans(weights)
    bert = Bert(weights, spans)
    add = bert.graph.add_node
    ids = bert.graph.add_input("input_ids", INT64, ("texts", "tokens"))
    mask = bert.mask()
    shape = add("Shape", [ids])
    length = add("Slice", [shape, bert.integers(1), bert.integers(2)])
    words = add("Gather", [bert.weight(f"{_WORDS}.weight"), ids])
    if f"{_WORDS}.scale" in spans:
        scales = add("Gather", [bert.weight(f"{_WORDS}.scale"), ids])
        words = add("Mul", [add("Cast", [words], to=FLOAT), scales])
    zero, one = bert.integers(0), bert.integers(1)
    positions = bert.weight("embeddings.position_embeddings.weight")
    positions = add("Slice", [positions, zero, length, zero])
    kinds = bert.weight("embeddings.token_type_embeddings.weight")
    kind = add("Slice", [kinds, zero, one, zero])  # one text at a time: all of type 0
    summed = add("Add", [words, add("Add", [positions, kind])])
    summed = add("Reshape", [summed, bert.integers(-1, HIDDEN)])
    bert.encode(bert.norm(summed, "embeddings.LayerNorm"), mask, shape, LAYERS)
    return bert.render("all-MiniLM-L6-v2")
