"""The model ports: what turns text into vectors, reorders passages, and writes text.

`local.py` (MiniLM on onnxruntime), `http.py` (OpenAI-compatible embeddings, Cohere-like rerank)
and `llm.py` (pydantic-ai) adapt them; the hashing embedder for tests lives in `hashing.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

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


@runtime_checkable
class TunableModel(LanguageModel, Protocol):
    """A model whose provider has others, and lets a request choose how freely it writes."""

    def tuned(self, *, name: str = "", temperature: float | None = None) -> LanguageModel:
        """The same provider's model `name` (empty: this one), at this temperature.

        It shares this one's connections: closing either closes both. `ConfigurationError` where the
        name is another provider's.
        """


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model is told of it; `schema` is the JSON schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RequestedCall:
    """A call a model asks for; `arguments` None where they are no JSON object."""

    id: str
    name: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call came to, as the model reads it."""

    call_id: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ModelTurn:
    """What a model said in one turn: text, calls of tools, or both; and what it cost."""

    text: str
    calls: Sequence[RequestedCall] = ()
    input_tokens: int = 0
    output_tokens: int = 0


Message = str | ModelTurn | ToolResult  # a text is what the asker says


@runtime_checkable
class ToolLanguageModel(Protocol):
    """A language model that may call tools natively."""

    takes_tools: bool  # False once its endpoint has refused them

    def converse(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        *,
        max_tokens: int = 1024,
    ) -> AsyncIterator[str | ModelTurn]:
        """Pieces of the next turn's text as they come; the last item is the whole `ModelTurn`.

        Raises `ToolsRefused` where the endpoint takes no tools.
        """
