"""all-MiniLM-L6-v2 in this process: onnxruntime and tokenizers, no torch, no download.

`LocalEmbedder` loads at first use (about 0.3 s), runs in threads, and frees everything on
`release` or `aclose`. Weights are mapped from where `weights.py` finds them; the graph over them
is `minilm.py`'s. Gathering texts of many documents into good batches is `batching.py`'s work.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from engine.models.minilm import HIDDEN, build_graph
from engine.models.port import TokenVectors
from engine.models.weights import ModelFiles, require_model

MAX_TOKENS = 256  # what the model was trained for, [CLS] and [SEP] included
_SLICE = 512  # texts tokenised at a time, so that a large call doesn't hold all its encodings
_SEP = 102


@dataclass(frozen=True, slots=True)
class _Loaded:
    tokenizer: Any
    session: Any


class LocalEmbedder:
    """MiniLM on the processor. Good at English only; other languages need another embedder.

    A query never waits for the batches of documents: it runs beside them.
    `threads` 0 leaves the number to onnxruntime (the physical cores).
    """

    space = Space("minilm_l6_v2_fp32", HIDDEN)
    max_tokens = MAX_TOKENS
    languages = frozenset({"en"})

    def __init__(
        self, models_folder: Path, *, threads: int = 0, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        self._models_folder = models_folder
        self._threads = threads
        self._batch_tokens = batch_tokens
        self._loading = threading.Lock()
        self._files: ModelFiles | None = None
        self._tokenizer: Any = None
        self._session: Any = None
        self._turn = anyio.Lock()  # one batch of documents at a time bounds the memory

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, [CLS] and [SEP] included."""
        return [len(ids) for ids in self._tokenise(texts)]

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of `text`, in order."""
        return list(self._load_tokenizer().encode(text, add_special_tokens=False).offsets)

    def tokenizer_json(self) -> bytes | None:
        """The model's tokenizer; its caller must switch off truncation and padding."""
        return self._load_files().tokenizer.read_bytes()

    async def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors in the order given, computed in batches of similar length."""
        vectors = np.empty((len(texts), HIDDEN), np.float32)
        if not texts:
            return vectors
        tokens = await anyio.to_thread.run_sync(self._tokenise, texts)
        for index, ids in enumerate(tokens):
            if len(ids) > MAX_TOKENS:
                raise InvalidInput(
                    f"Text {index} has {len(ids)} tokens and the embedding model takes "
                    f"{MAX_TOKENS}: split it into smaller chunks.",
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
            self._session = self._tokenizer = self._files = None

    async def aclose(self) -> None:
        """Free the model."""
        await self.release()

    def _tokenise(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        encode = self._load_tokenizer().encode_batch_fast
        tokens: list[NDArray[np.int64]] = []
        for start in range(0, len(texts), _SLICE):
            with _only_unicode():
                encodings = encode(list(texts[start : start + _SLICE]))
            tokens += [np.array(encoding.ids, np.int64) for encoding in encodings]
        return tokens

    def _embed_query(self, text: str) -> NDArray[np.float32]:
        ids = self._tokenise([text])[0]
        if len(ids) > MAX_TOKENS:
            ids = ids[:MAX_TOKENS]
            ids[-1] = _SEP
        vector: NDArray[np.float32] = self._run([ids])[0]
        return vector

    def _embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        with _only_unicode():
            encodings = self._load_tokenizer().encode_batch(list(texts))
        tokens = [np.array(encoding.ids[:MAX_TOKENS], np.int64) for encoding in encodings]
        found: dict[int, TokenVectors] = {}
        for batch in plan_batches([len(ids) for ids in tokens], self._batch_tokens):
            feeds = _feeds([tokens[index] for index in batch])
            pooled, states = self._load_session().run(["embedding", "states"], feeds)
            states = states.reshape(len(batch), -1, HIDDEN)
            for place, index in enumerate(batch):
                # without [CLS] and [SEP], which are no part of the text
                offsets = encodings[index].offsets[1 : len(tokens[index]) - 1]
                vectors = states[place, 1 : len(offsets) + 1]
                found[index] = TokenVectors(offsets, vectors, pooled[place])
        return [found[index] for index in range(len(texts))]

    def _run(self, tokens: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32]
        vectors = self._load_session().run(["embedding"], _feeds(tokens))[0]
        return vectors

    def _load_files(self) -> ModelFiles:
        if self._files is None:
            self._files = require_model(self._models_folder)
        return self._files

    def _load_tokenizer(self) -> Any:  # noqa: ANN401 (tokenizers has no usable types)
        tokenizer = self._tokenizer
        if tokenizer is None:
            with self._loading:
                tokenizer = self._tokenizer
                if tokenizer is None:
                    tokenizer = self._tokenizer = _open_tokenizer(self._load_files())
        return tokenizer

    def _load_session(self) -> Any:  # noqa: ANN401 (onnxruntime has no types)
        session = self._session
        if session is None:
            with self._loading:
                session = self._session
                if session is None:
                    files = self._load_files()
                    session = self._session = _open_session(files, threads=self._threads)
        return session


@contextmanager
def _only_unicode() -> Iterator[None]:
    try:
        yield
    except TypeError as error:  # what the tokenizer says of a lone surrogate
        raise InvalidInput(
            "A text contains characters that are not Unicode: read the file with its own encoding.",
            field="texts",
        ) from error


def _feeds(tokens: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    ids = np.zeros((len(tokens), max(len(row) for row in tokens)), np.int64)
    mask = np.zeros_like(ids)
    for row, values in enumerate(tokens):
        ids[row, : len(values)] = values
        mask[row, : len(values)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def _open_tokenizer(files: ModelFiles) -> Any:  # noqa: ANN401
    from tokenizers import Tokenizer  # noqa: PLC0415 (only where a model is used)

    tokenizer = Tokenizer.from_file(str(files.tokenizer))
    # the shipped file cuts at 128 tokens and pads everything to 128
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _open_session(files: ModelFiles, *, threads: int) -> Any:  # noqa: ANN401
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
        model = build_graph(files.weights)
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Unavailable(
            "The embedding model could not be loaded. Run `scrubjay doctor`."
        ) from error
