"""Kill worker, server, or both, with SIGKILL at named states, and count what was lost: nothing.

`python -m benchmarks.kill [--rounds 30] [--seed 7]`. Each round is a fresh data folder with real
processes and a slowed embedder (`tests/fakes/kill_rounds.py`); its end is compared with a run that
nobody disturbed. Fails where a round ends otherwise, or where a state was hit less than three times.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import write_results
from tests.fakes.kill_rounds import Kill, Round, examine, play, prepare
from tests.fakes.killable_worker import STATES, VICTIMS

LEAST_HITS = 3
LATEST = {"claimed": 20, "parsed": 18, "fed": 18, "switching": 18, "switched": 18, "cleaned": 6}


def plan(rounds: int, chance: random.Random) -> list[list[Kill]]:
    """For each round one to three kills; states and victims take turns, moments are drawn."""
    plans = []
    for number in range(rounds):
        kills = []
        for step in range(1 + number % 3):
            state = STATES[(number + step) % len(STATES)]
            victim = VICTIMS[(number // len(STATES) + step) % len(VICTIMS)]
            latest = max(1, LATEST[state] // (1 + 2 * step))  # less is left after each kill
            kills.append(Kill(state, victim, chance.randint(1, latest)))
        plans.append(kills)
    return plans


async def measure(rounds: int, seed: int, folder: Path) -> dict[str, object]:
    template, undisturbed = folder / "template", folder / "undisturbed"
    await prepare(template)
    quiet = await play(undisturbed, template, [])
    expected = await examine(undisturbed)
    played: list[Round] = []
    wrong: list[str] = []
    for number, kills in enumerate(plan(rounds, random.Random(seed))):
        home = folder / f"round-{number:02}"
        ended = await play(home, template, kills)
        played.append(ended)
        try:
            found = await examine(home)
        except AssertionError as error:
            wrong.append(f"round {number}: {kills}: {error}")
        else:
            if found != expected:
                wrong.append(f"round {number}: {kills}: {found['counts']}")
        print(f"round {number + 1} of {rounds}: {ended.elapsed_s:.1f} s, {ended.hits}", flush=True)
    hits = [kill for ended in played for kill in ended.hits]
    return {
        "rounds": rounds,
        "seed": seed,
        "rounds_that_ended_otherwise": wrong,
        "counts_of_every_round": expected["counts"],
        "kills": len(hits),
        "hits_by_state": dict(sorted(Counter(kill.state for kill in hits).items())),
        "hits_by_victim": dict(sorted(Counter(kill.victim for kill in hits).items())),
        "undisturbed_s": round(quiet.elapsed_s, 1),
        "round_s": {
            "median": round(statistics.median(ended.elapsed_s for ended in played), 1),
            "longest": round(max(ended.elapsed_s for ended in played), 1),
        },
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="scrubjay-kill-") as folder:
        found = asyncio.run(measure(options.rounds, options.seed, Path(folder)))
    path = write_results("kill", found)
    print(path.read_text(encoding="utf-8"))
    by_state = Counter(found["hits_by_state"])
    seldom = [state for state in STATES if by_state[state] < LEAST_HITS]
    if seldom:
        print(f"hit less than {LEAST_HITS} times: {', '.join(seldom)}", file=sys.stderr)
    return 1 if found["rounds_that_ended_otherwise"] or seldom else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
