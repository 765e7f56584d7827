"""kill -9 of worker, server or both, at named states: nothing is lost, nothing is there twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.kill_rounds import Kill, examine, play, prepare

NAMED = ("claimed", "parsed", "fed", "switched", "cleaned")
ROUNDS = (
    (Kill("claimed", "worker", 3), Kill("fed", "worker", 6), Kill("cleaned", "worker", 1)),
    (Kill("parsed", "both", 2), Kill("switched", "worker", 4), Kill("cleaned", "worker", 1)),
    (Kill("claimed", "server", 6), Kill("switching", "worker", 3), Kill("cleaned", "both", 1)),
    (Kill("parsed", "worker", 5), Kill("switched", "both", 2), Kill("claimed", "worker", 1)),
    (
        Kill("fed", "server", 4),
        Kill("parsed", "worker", 2),
        Kill("fed", "both", 2),
        Kill("switched", "worker", 1),
    ),
)


@pytest.mark.slow
async def test_whatever_is_killed_everything_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    template = tmp_path / "template"
    await prepare(template)
    undisturbed = tmp_path / "undisturbed"
    await play(undisturbed, template, [])
    expected = await examine(undisturbed)
    assert {item["state"] for item in expected["documents"].values()} == {"ready"}
    hits: Counter[str] = Counter()
    for number, kills in enumerate(ROUNDS):
        home = tmp_path / f"round-{number}"
        played = await play(home, template, kills)
        hits.update(kill.state for kill in played.hits)
        assert await examine(home) == expected, played
    assert min(hits[state] for state in NAMED) >= 3, hits
