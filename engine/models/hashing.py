"""An embedder without a model, for tests and for measuring everything around the model.

It hashes words into slots, so that texts which share words are near each other and nothing else
is. It must never replace a model: its space is named for what it is, and no default uses it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidInput
from engine.index.port import Space

DIMENSION = 384
_MEMO_MAX = 200_000  # distinct words remembered; about 20 MB
_ROWS = 512  # texts a step, which bounds the counting matrix to 3 MB
_MARKS = ".,;:!?…\"'`´‘’“”()[]{}<>|*#_=-–—/\\"  # noqa: RUF001 (quotes people type)
_WORD = re.compile(r"\S+")  # white space as `str.split` sees it


class _HashSlots(dict[str, int]):
    """Word to 2·slot + sign, remembered, because hashing is slower than looking up."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MEMO_MAX:
            self.clear()
        plain = (word.strip(_MARKS) or word).lower()
        digest = blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        value = self[word] = int.from_bytes(digest, "little") % (2 * DIMENSION)
        return value


class HashingEmbedder:
    """Signed feature hashing of words, L2-normalised; a token is a run without white space."""

    space = Space("hashing_test_384", DIMENSION)
    languages: frozenset[str] = frozenset()

    def __init__(self, *, max_tokens: int = 256) -> None:
        self.max_tokens = max_tokens
        self._slots = _HashSlots()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words of each text; there are no special tokens."""
        return [len(text.split()) for text in texts]

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character span of each word of `text`."""
        return [match.span() for match in _WORD.finditer(text)]

    def tokenizer_json(self) -> bytes | None:
        """One token a run without white space, as `token_offsets` counts."""
        from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415 (seldom asked)

        tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))  # noqa: S106
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return tokenizer.to_str().encode()

    async def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors in the order given."""
        return await anyio.to_thread.run_sync(self._embed_documents, texts)

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        """The vector of a query; words after `max_tokens` are left out."""
        vector: NDArray[np.float32] = self._embed([text.split()[: self.max_tokens]])[0]
        return vector

    async def aclose(self) -> None:
        """Nothing to free."""

    def _embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), DIMENSION), np.float32)
        for start in range(0, len(texts), _ROWS):
            words = [text.split() for text in texts[start : start + _ROWS]]
            for index, row in enumerate(words, start):
                if len(row) > self.max_tokens:
                    raise InvalidInput(
                        f"Text {index} has {len(row)} tokens and the hashing embedder takes "
                        f"{self.max_tokens}: split it into smaller chunks.",
                        field=f"texts[{index}]",
                    )
            vectors[start : start + len(words)] = self._embed(words)
        return vectors

    def _embed(self, words: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        lengths = [len(row) for row in words]
        slots = np.fromiter(
            map(self._slots.__getitem__, chain.from_iterable(words)), np.int64, sum(lengths)
        )
        slots += np.repeat(np.arange(len(words)) * (2 * DIMENSION), lengths)
        counts = np.bincount(slots, minlength=len(words) * 2 * DIMENSION)
        signed = counts.reshape(len(words), DIMENSION, 2)
        vectors = (signed[:, :, 0] - signed[:, :, 1]).astype(np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[norms[:, 0] == 0, 0] = 1.0  # no words, or words that cancel out
        norms[norms == 0] = 1.0
        unit: NDArray[np.float32] = vectors / norms
        return unit
