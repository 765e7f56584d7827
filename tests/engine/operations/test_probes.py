"""Models that other servers run, probed for the operator."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from engine.errors import Unavailable
from engine.operations.probes import Probed, run_probes


async def answers() -> None:
    await anyio.lowlevel.checkpoint()


async def hangs() -> None:
    await anyio.sleep_forever()


async def refuses() -> None:
    raise Unavailable("The reranker rejected the key: check search.rerank_api_key.")


async def breaks() -> None:
    raise RuntimeError


async def test_each_probe_ends_and_says_what_it_found():
    found = await run_probes(
        {"a": hangs, "b": answers, "c": refuses}, timeout_s=0.05
    )  # one that hangs holds up no other
    assert [probed.name for probed in found] == ["a", "b", "c"]
    assert found[0].fault.startswith("It did not respond within 0.05 s")
    assert (found[1].fault, found[1].detail[:11]) == ("", "answered in")
    assert found[2] == Probed(
        "c", "does not answer", "The reranker rejected the key: check search.rerank_api_key."
    )


async def test_a_fault_of_ours_is_not_called_one_of_the_model():
    with pytest.raises(ExceptionGroup):
        await run_probes({"a": breaks})
