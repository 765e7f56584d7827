"""Probes of the models that are reached over the network: asked by `doctor`, never by `/ready`.

A call may cost money and take seconds, and Scrubjay answers without any of them: by quotes, by
keywords, in the order of the first ranking. So each is asked once, when a person wants to know.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio

from engine.errors import EngineError
from engine.models.port import Embedder, LanguageModel, Reranker
from engine.settings import Settings

PROBE_S = 20.0  # a person waits
_ASKED, _PASSAGES = "Reply with the word ok.", ("Bicycles are parked here.", "Tea is at four.")
_MAX_TOKENS = 16  # the least that every provider takes

Probe = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of a probe; `fault` says what is wrong and what to do, empty where nothing is."""

    name: str
    detail: str
    fault: str = ""


def model_probes(
    settings: Settings,
    *,
    embedder: Embedder,
    reranker: Reranker | None,
    model: LanguageModel | None,
) -> dict[str, Probe]:
    """A probe for each model of the settings that another server runs, by name."""
    probes: dict[str, Probe] = {}
    if model is not None:
        probes["language model"] = lambda: model.complete("", _ASKED, max_tokens=_MAX_TOKENS)
    if settings.embedding.base_url:
        probes["embeddings"] = lambda: embedder.embed_query(_ASKED)
    if reranker is not None:
        probes["reranker"] = lambda: reranker.rerank("Where are bicycles parked?", _PASSAGES)
    return probes


async def run_probes(probes: Mapping[str, Probe], *, timeout_s: float = PROBE_S) -> list[Probed]:
    """All of them at once; each ends within `timeout_s`."""
    found: dict[str, Probed] = {}

    async def run(name: str, probe: Probe) -> None:
        found[name] = await _run(name, probe, timeout_s)

    async with anyio.create_task_group() as tasks:
        for name, probe in probes.items():
            tasks.start_soon(run, name, probe)
    return [found[name] for name in probes]


async def _run(name: str, probe: Probe, timeout_s: float) -> Probed:
    started = time.monotonic()
    try:
        with anyio.fail_after(timeout_s):
            await probe()
    except TimeoutError:
        fault = f"It did not respond within {timeout_s:g} s: try again, or check its address."
        return Probed(name, "does not answer", fault)
    except EngineError as error:
        return Probed(name, "does not answer", str(error))
    return Probed(name, f"answered in {time.monotonic() - started:.1f} s")
