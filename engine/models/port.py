"""The model ports: what turns text into vectors, reorders passages, and writes text.

`local.py` (MiniLM on onnxruntime), `http.py` (OpenAI-compatible embeddings, Cohere-like rerank)
and `llm.py` (pydantic-ai) adapt them; the hashing embedder for tests lives in `hashing.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from engine.index.port import Space

T = TypeVar("T", bound=BaseModel)


class Embedder(Protocol):
    """Turns text into L2-normalised vectors of one space.

    Raises `InvalidInput` on a text longer than `max_tokens` rather than cutting it, and
    `Unavailable` when the model is not there.
    """

    space: Space
    max_tokens: int
    languages: frozenset[str]  # ISO 639-1 codes it is good at; empty = all

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model counts them, special tokens included."""

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of `text`, special tokens left out, in order."""

    def tokenizer_json(self) -> bytes | None:
        """What `token_offsets` counts with, as the `tokenizers` library stores it.

        With it another process can count the same; None where there is no such tokenizer.
        """

    async def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors, shape [len(texts), dimension], in the order given."""

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        """The vector of a query, shape [dimension]; a query too long is cut at `max_tokens`."""

    async def aclose(self) -> None:
        """Free the model or the connection; idempotent."""


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """A text token by token: where each is in it, and its vector in its context.

    `vectors` is [tokens, dimension], `pooled` [dimension]: the text's own vector, of unit length.
    """

    offsets: Sequence[tuple[int, int]]
    vectors: NDArray[np.float32]
    pooled: NDArray[np.float32]


@runtime_checkable
class TokenEmbedder(Protocol):
    """An embedder that also shows the vectors it makes a text's vector from."""

    async def embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The tokens of each text, in the order given; a text too long is cut at `max_tokens`."""


class Reranker(Protocol):
    """Scores passages against a query, higher is better; `Unavailable` degrades to base order."""

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One score a text, in the order given."""

    async def aclose(self) -> None:
        """Free the connection; idempotent."""


@dataclass(frozen=True, slots=True)
class Completion:
    """Text a model wrote and what it cost."""

    text: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Extraction(Generic[T]):
    """What a model read out of a prompt, as an instance of the schema asked for."""

    value: T
    input_tokens: int
    output_tokens: int


class LanguageModel(Protocol):
    """Any LLM, for writing. Raises `Unavailable` when it can't be reached in time."""

    name: str

    async def complete(self, system: str, prompt: str, *, max_tokens: int = 1024) -> Completion:
        """One answer to one prompt."""

    def stream(
        self, system: str, prompt: str, *, max_tokens: int = 1024
    ) -> AsyncIterator[str | Completion]:
        """Pieces of the answer as they come; the last item is the whole `Completion`."""

    async def extract(
        self, system: str, prompt: str, schema: type[T], *, max_tokens: int = 1024
    ) -> Extraction[T]:
        """What the prompt says, as an instance of the pydantic model `schema`."""

    async def aclose(self) -> None:
        """Free the connection; idempotent."""
