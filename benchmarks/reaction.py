"""How soon a bot reacts to many questions at once, in rounds; of these the middle one counts."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable

from benchmarks.results import write_results


def measure_reaction(
    name: str, one_round: Callable[[int], Awaitable[dict[str, object]]], *, by: str, about: str
) -> None:
    """Run as many rounds as asked for, each of its own; `by` is the figure that orders them."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()

    async def run() -> dict[str, object]:
        return await one_round(given.questions)

    rounds = [asyncio.run(run()) for _ in range(given.rounds)]
    for one in rounds:
        print(json.dumps(one))
    middle = sorted(rounds, key=lambda item: float(str(item[by])))[len(rounds) // 2]
    print(write_results(name, {"reaction": {**middle, "rounds": rounds}}))
