"""Whether the model in bytes is worth it on this processor: measured against the one it stands for.

Processors with instructions for bytes (AVX-512 VNNI and its kin) multiply them several times as fast
as numbers of 32 bits; others hardly. `scrubjay model install` runs it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.models.catalogue import MINILM, MINILM_INT8
from engine.models.local import LocalEmbedder

WORTH = 1.3  # times as fast, from which on it is recommended
CLOSE = 0.98  # cosine of each text's two vectors, below which the processor counts wrongly
ROUNDS = 3
_SENTENCES = (
    "Employees earn three weeks of paid vacation in their first year.",
    "Submit receipts within thirty days, and name the project they belong to.",
    "The database is copied every night at three and kept for ninety days.",
    "Error 0x80070057 means that a parameter is wrong: check the path.",
)
_TEXTS = [" ".join((_SENTENCES * 4)[i : i + 8]) for i in range(4)]  # about 110 tokens each


@dataclass(frozen=True, slots=True)
class SelfTest:
    """How many times as fast the model in bytes is, and how close its vectors are, 0 to 1."""

    speed: float
    closeness: float

    @property
    def is_worth_it(self) -> bool:
        """Whether to use it here."""
        return self.speed >= WORTH and self.closeness >= CLOSE


async def run_self_test(models_folder: Path) -> SelfTest:
    """Embed a few texts with both models, by processor time: about a second in all."""
    exact = LocalEmbedder(models_folder, MINILM, threads=1)
    small = LocalEmbedder(models_folder, MINILM_INT8, threads=1)
    try:
        first, second = await exact.embed_documents(_TEXTS), await small.embed_documents(_TEXTS)
        seconds = [(await _seconds(exact), await _seconds(small)) for _ in range(ROUNDS)]
    finally:
        await exact.aclose()
        await small.aclose()
    slow, quick = np.min(seconds, axis=0)
    return SelfTest(float(slow / quick), float((first * second).sum(axis=1).min()))


async def _seconds(embedder: LocalEmbedder) -> float:
    began = time.process_time()
    await embedder.embed_documents(_TEXTS)
    return time.process_time() - began
