"""Embeddings and reranking by a server: OpenAI's API and those that speak like it.

`HttpEmbedder` works with OpenAI, Ollama, vLLM, TEI and others that serve `POST /embeddings`;
`HttpReranker` with Cohere, Jina and Hugging Face's text-embeddings-inference. `endpoint.py` does
the talking.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any, Literal

import anyio
import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigurationError, InvalidInput
from engine.index.port import Space
from engine.models.endpoint import Endpoint

RerankStyle = Literal["cohere", "jina", "tei"]

_ATTEMPTS = 5  # of a batch of documents: with the waits between, up to half a minute
_QUERY_ATTEMPTS = 2  # a person waits for it
_TEI_BATCH = 32  # texts, its --max-client-batch-size unless set otherwise
# A guess at pieces that is rarely too low: four letters of lower case, two of upper case or two
# digits make one token, and any other character (accents, CJK, marks) one each. Measured against
# MiniLM's tokenizer it gives 1.27 times as many for English pages (never under 0.95) and 1.16 for
# code; languages that tokenizer cuts to pieces (German) come out lower, 0.88.
_PIECE = re.compile(r"[A-Z]?[a-z]{1,4}|[A-Z]{1,2}|[0-9]{1,2}|\S")
_SPECIAL = 2


def space_name(model: str, dimension: int) -> str:
    """A space's name for a model of a server: its own name, cut with a hash where it is long."""
    slug = re.sub(r"[^a-z0-9]+", "_", model.lower()).strip("_")
    name = f"{slug}_{dimension}"
    if len(name) <= 40:
        return name
    digest = blake2b(model.encode(), digest_size=4).hexdigest()
    return f"{slug[: 40 - len(digest) - len(str(dimension)) - 2]}_{digest}_{dimension}"


class HttpEmbedder:
    """Embeds through an OpenAI-compatible `/embeddings`.

    Nothing here has the server's tokenizer, so tokens are estimated (a little high): a text near
    `max_tokens` may be refused although the server would take it, seldom the other way round.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        dimension: int,
        api_key: str = "",
        max_tokens: int = 512,
        languages: frozenset[str] = frozenset(),
        request_dimension: bool = False,
        batch_texts: int = 64,
        concurrency: int = 4,
        timeout_s: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.space = Space(space_name(model, dimension), dimension)
        self.max_tokens = max_tokens
        self.languages = languages
        self._model = model
        self._extra = {"dimensions": dimension} if request_dimension else {}
        self._batch_texts = batch_texts
        self._slots = anyio.CapacityLimiter(concurrency)
        self._endpoint = Endpoint(
            base_url,
            api_key=api_key,
            what="The embeddings endpoint",
            settings="embedding.",
            timeout_s=timeout_s,
            sleep=sleep,
        )

    def __repr__(self) -> str:
        return f"HttpEmbedder({self._model} at {self._endpoint.host})"

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """An estimate of each text's tokens, a little high."""
        return [len(_PIECE.findall(text)) + _SPECIAL for text in texts]

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character span of each piece that `count_tokens` counts."""
        return [match.span() for match in _PIECE.finditer(text)]

    def tokenizer_json(self) -> bytes | None:
        """None: the server's tokenizer is not here."""
        return None

    async def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors in the order given, in several requests at once."""
        for index, count in enumerate(self.count_tokens(texts)):
            if count > self.max_tokens:
                raise InvalidInput(
                    f"Text {index} has about {count} tokens and the embedding model takes "
                    f"{self.max_tokens}: split it into smaller chunks.",
                    field=f"texts[{index}]",
                )
        vectors = np.empty((len(texts), self.space.dimension), np.float32)
        faults: list[Exception] = []

        async def embed_from(start: int) -> None:
            some = texts[start : start + self._batch_texts]
            try:
                async with self._slots:
                    vectors[start : start + len(some)] = await self._request(some, _ATTEMPTS)
            except Exception as error:  # noqa: BLE001 (raised below, outside the group)
                faults.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for start in range(0, len(texts), self._batch_texts):
                group.start_soon(embed_from, start)
        if faults:
            raise faults[0]
        return vectors

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        """The vector of a query, cut where its estimate passes `max_tokens`."""
        offsets = self.token_offsets(text)
        if len(offsets) + _SPECIAL > self.max_tokens:
            text = text[: offsets[self.max_tokens - _SPECIAL - 1][1]]
        vector: NDArray[np.float32] = (await self._request([text], _QUERY_ATTEMPTS))[0]
        return vector

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    async def _request(self, texts: Sequence[str], attempts: int) -> NDArray[np.float32]:
        # OpenAI refuses an empty text; a blank one means the same
        body = {"model": self._model, "input": [text or " " for text in texts], **self._extra}
        body["encoding_format"] = "float"
        answer = await self._endpoint.post("/embeddings", body, attempts=attempts)
        try:
            return self._vectors(answer, len(texts))
        except (KeyError, TypeError, ValueError):
            raise self._endpoint.unreadable() from None

    def _vectors(self, answer: Any, count: int) -> NDArray[np.float32]:  # noqa: ANN401 (parsed JSON)
        by_index = {row["index"]: row["embedding"] for row in answer["data"]}
        if sorted(by_index) != list(range(count)):
            raise ValueError("rows missing")
        vectors = np.array([by_index[index] for index in range(count)], np.float32)
        if vectors.ndim != 2 or not vectors.shape[1]:
            raise ValueError("not vectors of one size")
        if vectors.shape[1] != self.space.dimension:
            raise ConfigurationError(
                f"The model {self._model} returns vectors of dimension {vectors.shape[1]}, but "
                f"embedding.dimension is {self.space.dimension}: set it to {vectors.shape[1]} and "
                "reindex."
            )
        return _unit(vectors)


class HttpReranker:
    """Scores passages through a `/rerank` endpoint.

    `style` is whose API it speaks: Cohere's and Jina's are alike, TEI's names its fields
    differently, answers a bare list and takes 32 texts at a time.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str = "",
        style: RerankStyle = "cohere",
        timeout_s: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._model = model
        self._style = style
        self._endpoint = Endpoint(
            base_url,
            api_key=api_key,
            what="The rerank endpoint",
            settings="search.rerank_",
            timeout_s=timeout_s,
            sleep=sleep,
        )

    def __repr__(self) -> str:
        return f"HttpReranker({self._model} at {self._endpoint.host}, {self._style})"

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One score a text, in the order given."""
        size = _TEI_BATCH if self._style == "tei" else max(1, len(texts))
        scores: list[float] = []
        for start in range(0, len(texts), size):
            scores += await self._request(query, texts[start : start + size])
        return scores

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    async def _request(self, query: str, texts: Sequence[str]) -> list[float]:
        body: dict[str, object]
        if self._style == "tei":
            body = {"query": query, "texts": list(texts), "truncate": True}
        else:
            body = {"model": self._model, "query": query, "documents": list(texts)}
            body["top_n"] = len(texts)
        answer = await self._endpoint.post("/rerank", body, attempts=_QUERY_ATTEMPTS)
        try:
            return self._scores(answer, len(texts))
        except (KeyError, TypeError, ValueError):
            raise self._endpoint.unreadable() from None

    def _scores(self, answer: Any, count: int) -> list[float]:  # noqa: ANN401 (parsed JSON)
        rows = answer if self._style == "tei" else answer["results"]
        name = "score" if self._style == "tei" else "relevance_score"
        by_index = {row["index"]: float(row[name]) for row in rows}
        if sorted(by_index) != list(range(count)):
            raise ValueError("rows missing")
        return [by_index[index] for index in range(count)]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise ValueError("a vector without a direction")
    unit: NDArray[np.float32] = vectors / norms
    return unit
