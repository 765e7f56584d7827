"""Embedding models in this process: onnxruntime and a tokenizer, no torch, no download.

`LocalEmbedder` loads at first use (MiniLM in about 0.3 s), runs in threads, and frees everything on
`release` or `aclose`. Which models there are is `catalogue.py`'s, where their files are `weights.py`'s,
and what is computed `minilm.py`'s and `e5.py`'s. Gathering texts of many documents into good batches
is `batching.py`'s work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidInput, Unavailable
from engine.index.port import Space
from engine.models.batching import BATCH_TOKENS, plan_batches
from engine.models.bert import HIDDEN
from engine.models.catalogue import MINILM, LocalModel
from engine.models.port import TokenVectors
from engine.models.tokenising import Ids, ModelTokenizer, Offsets
from engine.models.weights import ModelFiles, require_model

_RUN_TOKENS = 256  # that one run of the model sees
_SLICE = 512  # texts tokenised at a time, so that a large call doesn't hold all its tokens

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Runnable:
    """A model's files, opened: its graph and what its inputs are for tokens [texts, tokens]."""

    graph: bytes
    inputs: Callable[[Ids], Feeds]


class LocalEmbedder:
    """A model on the processor.

    A query never waits for the batches of documents: it runs beside them.
    `threads` 0 leaves the number to onnxruntime (the physical cores).
    """

    def __init__(
        self,
        models_folder: Path,
        model: LocalModel = MINILM,
        *,
        threads: int = 0,
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        self.model = model
        self.space: Space = model.space
        self.max_tokens = model.max_tokens
        self.languages = model.languages
        self._models_folder = models_folder
        self._threads = threads
        self._batch_tokens = batch_tokens
        self._loading = threading.Lock()
        self._files: ModelFiles | None = None
        self._tokenizer: ModelTokenizer | None = None
        self._session: Any = None
        self._inputs: Callable[[Ids], Feeds] | None = None
        self._prefixes: dict[str, Ids] = {}
        self._turn = anyio.Lock()  # one batch of documents at a time bounds the memory

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text with the special ones, not counting the model's own prefix."""
        encode = self._load_tokenizer().encode
        counts: list[int] = []
        for start in range(0, len(texts), _SLICE):
            counts += [len(ids) + 2 for ids in encode(texts[start : start + _SLICE])]
        return counts

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of `text`, in order."""
        return self._load_tokenizer().offsets(text)

    def tokenizer_json(self) -> bytes | None:
        """The model's tokenizer, where it is one of `tokenizers`.

        Its caller must switch off truncation and padding.
        """
        return self._load_files().tokenizer.read_bytes() if self.model.has_json else None

    async def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors in the order given, computed in batches of similar length."""
        vectors = np.empty((len(texts), HIDDEN), np.float32)
        if not texts:
            return vectors
        tokens = await anyio.to_thread.run_sync(self._tokenise, texts, self.model.passage_prefix)
        for index, ids in enumerate(tokens):
            if len(ids) > self.model.window:
                raise InvalidInput(
                    f"Text {index} has {len(ids)} tokens and the embedding model takes "
                    f"{self.model.max_tokens}: split it into smaller chunks.",
                    field=f"texts[{index}]",
                )
        for batch in plan_batches([len(ids) for ids in tokens], self._batch_tokens):
            async with self._turn:
                vectors[batch] = await anyio.to_thread.run_sync(
                    self._run, [tokens[index] for index in batch]
                )
        return vectors

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        """The vector of a query; one too long is cut."""
        return await anyio.to_thread.run_sync(self._embed_query, text)

    async def embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The tokens of each text with their vectors; beside the batches of documents, as a query."""
        return await anyio.to_thread.run_sync(self._embed_tokens, texts) if texts else []

    async def load(self) -> None:
        """Load now rather than at first use."""
        await anyio.to_thread.run_sync(self._load_session)

    async def release(self) -> None:
        """Free the model's memory; the next use loads it again."""
        async with self._turn:
            self._session = self._inputs = self._tokenizer = self._files = None
            self._prefixes = {}

    async def aclose(self) -> None:
        """Free the model."""
        await self.release()

    def _tokenise(self, texts: Sequence[str], prefix: str) -> list[Ids]:
        encode = self._load_tokenizer().encode
        tokens: list[Ids] = []
        for start in range(0, len(texts), _SLICE):
            tokens += [self._framed(ids, prefix) for ids in encode(texts[start : start + _SLICE])]
        return tokens

    def _framed(self, ids: Ids, prefix: str) -> Ids:
        """Between the tokens that begin and end a text, after the prefix; not cut."""
        before, after = self.model.first_token, self.model.last_token
        return np.concatenate([[before], self._prefix(prefix), ids, [after]]).astype(np.int64)

    def _prefix(self, prefix: str) -> Ids:
        if prefix not in self._prefixes:
            self._prefixes[prefix] = self._load_tokenizer().encode([prefix])[0]
        return self._prefixes[prefix]

    def _cut(self, ids: Ids) -> Ids:
        window = self.model.window
        return ids if len(ids) <= window else np.append(ids[: window - 1], self.model.last_token)

    def _embed_query(self, text: str) -> NDArray[np.float32]:
        ids = self._cut(self._tokenise([text], self.model.query_prefix)[0])
        vector: NDArray[np.float32] = self._run([ids])[0]
        return vector

    def _embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        prefix = self.model.passage_prefix
        skipped = 1 + len(self._prefix(prefix))
        places: list[Offsets] = []
        tokens: list[Ids] = []
        for ids, offsets in self._load_tokenizer().with_offsets(texts):
            framed = self._cut(self._framed(ids, prefix))
            tokens.append(framed)
            places.append(offsets[: len(framed) - skipped - 1])
        found: dict[int, TokenVectors] = {}
        for batch in plan_batches([len(ids) for ids in tokens], self._batch_tokens):
            pooled, states = self._ask(["embedding", "states"], [tokens[index] for index in batch])
            states = states.reshape(len(batch), -1, HIDDEN)
            for place, index in enumerate(batch):
                vectors = states[place, skipped : skipped + len(places[index])]
                found[index] = TokenVectors(places[index], vectors, pooled[place])
        return [found[index] for index in range(len(texts))]

    def _run(self, tokens: Sequence[Ids]) -> NDArray[np.float32]:
        vectors = np.empty((len(tokens), HIDDEN), np.float32)
        # Long texts one by one: beside each other they are padded, and leave the processor's caches.
        for some in plan_batches([len(ids) for ids in tokens], _RUN_TOKENS):
            (vectors[some],) = self._ask(["embedding"], [tokens[index] for index in some])
        return vectors

    def _ask(self, outputs: Sequence[str], tokens: Sequence[Ids]) -> list[NDArray[np.float32]]:
        session, inputs = self._load_session()
        ids = np.full((len(tokens), max(len(row) for row in tokens)), self.model.padding, np.int64)
        mask = np.zeros_like(ids)
        for row, values in enumerate(tokens):
            ids[row, : len(values)] = values
            mask[row, : len(values)] = 1
        found: list[NDArray[np.float32]]
        found = session.run(list(outputs), {**inputs(ids), "attention_mask": mask})
        return found

    def _load_files(self) -> ModelFiles:
        if self._files is None:
            self._files = require_model(self._models_folder, self.model)
        return self._files

    def _load_tokenizer(self) -> ModelTokenizer:
        tokenizer = self._tokenizer
        if tokenizer is None:
            with self._loading:
                tokenizer = self._tokenizer
                if tokenizer is None:
                    tokenizer = self._tokenizer = _open_tokenizer(self.model, self._load_files())
        return tokenizer

    def _load_session(self) -> tuple[Any, Callable[[Ids], Feeds]]:
        session, inputs = self._session, self._inputs
        if session is None or inputs is None:
            with self._loading:
                session, inputs = self._session, self._inputs
                if session is None or inputs is None:
                    session, inputs = _open_session(
                        self.model, self._load_files(), threads=self._threads
                    )
                    self._session, self._inputs = session, inputs
        return session, inputs


def _open_tokenizer(model: LocalModel, files: ModelFiles) -> ModelTokenizer:
    from engine.models import e5, tokenising  # noqa: PLC0415 (only where a model is used)

    if model.has_json:
        return tokenising.WordPieces(files.tokenizer)
    return tokenising.SentencePieces(files.tokenizer, e5.read_letters(files.weights))


def _runnable(model: LocalModel, files: ModelFiles) -> Runnable:
    from engine.models import e5, minilm  # noqa: PLC0415

    if model.has_json:
        return Runnable(minilm.build_graph(files.weights), lambda ids: {"input_ids": ids})
    embeddings = e5.Embeddings(files.weights)
    return Runnable(e5.build_graph(files.weights), lambda ids: {"embedded": embeddings(ids)})


def _open_session(
    model: LocalModel, files: ModelFiles, *, threads: int
) -> tuple[Any, Callable[[Ids], Feeds]]:
    import onnxruntime  # noqa: PLC0415 (takes 0.1 s)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1  # the graph is one line of operators
    options.log_severity_level = 3  # errors only
    # Server and worker share the cores, and threads that spin while they wait take them from each
    # other: beside other work two threads answer a query in 10 ms without and 13 ms with it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(files.weights.parent)
    )
    try:
        opened = _runnable(model, files)
        # Fused, adding and normalising take four times as long as one after the other.
        session = onnxruntime.InferenceSession(
            opened.graph,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],
        )
    except Exception as error:
        raise Unavailable(
            "The embedding model could not be loaded. Run `scrubjay doctor`."
        ) from error
    return session, opened.inputs
