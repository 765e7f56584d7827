"""Fits the judge of answers on the half `dev` and writes engine/answers/judge.json.

    python -m benchmarks.judge_fit --work DIR [--models DIR] [--cache DIR]

Searching and aligning takes minutes and is kept in DIR; the fit takes seconds. Run it anew when
search, analysis or evidence change. Nothing of the texts enters the repository, only fitted numbers;
docs/explanation/ranking.md names the data and what came of it.

Two steps. A logistic regression says of each sentence how much speaks for it. Platt's scaling of
the best sentence's logit, and of its lead over the next, then says how often it is right: it is
fitted on logits of questions whose documents the regression had not seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import numpy as np

from benchmarks.judge_data import Rows, fitting_sets, read_rows
from engine.answers.evidence import FEATURES
from engine.answers.judge import AHEAD_MAX, WEIGHTS

FOLDS, L2, SPREAD_MIN = 4, 10.0, 0.05
# People ask what a page says more often than what it nearly says: near misses count for less. The
# handbook has few questions and is what teams' documents are most like.
NEAR_MISS = 0.6
SET_WEIGHTS = {"selqa-dev": 1.5, "handbook-dev": 4.0}  # the second in the calibration alone


def weight_of(rows: Rows) -> np.ndarray:
    """How much each question counts."""
    weights = np.array([SET_WEIGHTS.get(str(name), 1.0) for name in rows.sets])
    return np.where((rows.sets == "squad-dev") & ~rows.answerable, NEAR_MISS, weights)


def fit_logistic(
    features: np.ndarray, labels: np.ndarray, weight: np.ndarray, *, l2: float
) -> np.ndarray:
    """Bias and weights by Newton's method; `l2` keeps correlated features from running away."""
    rows = np.c_[np.ones(len(features)), features]
    penalty = l2 * np.diag(np.r_[0.0, np.ones(rows.shape[1] - 1)])
    found = np.zeros(rows.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-np.clip(rows @ found, -30, 30)))
        slope = rows.T @ (weight * (labels - chance)) - penalty @ found
        curve = (rows * (weight * chance * (1 - chance))[:, None]).T @ rows + penalty
        step = np.linalg.solve(curve + 1e-9 * np.eye(len(found)), slope)
        found += step
        if np.abs(step).max() < 1e-6:
            break
    return found


def best_of(rows: Rows, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each question's best sentence: logit, lead over the next, structured; and if it is usable."""
    tops, right = [], []
    for start, end in zip(rows.first[:-1], rows.first[1:], strict=True):
        order = np.sort(logits[start:end])[::-1]
        lead = min(order[0] - order[1], AHEAD_MAX) if len(order) > 1 else AHEAD_MAX
        best = start + int(logits[start:end].argmax())
        tops.append((order[0], lead, rows.structured[best]))
        right.append(rows.usable[best])
    return np.array(tops), np.array(right, float)


def fit(rows: Rows) -> dict[str, object]:
    """The numbers of judge.json."""
    mean = rows.evidence.mean(0)
    spread = np.maximum(rows.evidence.std(0), SPREAD_MIN)
    features = ((rows.evidence - mean) / spread).astype(np.float64)
    sizes = np.diff(rows.first)
    weight = weight_of(rows)
    by_row = np.repeat(np.where(rows.sets == "handbook-dev", 1.0, weight), sizes)
    labels = rows.right.astype(float)
    names = sorted(set(rows.groups.tolist()))
    np.random.default_rng(5).shuffle(names)
    fold = {name: place % FOLDS for place, name in enumerate(names)}
    folds = np.repeat([fold[name] for name in rows.groups.tolist()], sizes)
    apart = np.zeros(len(features))
    for number in range(FOLDS):
        inside = folds != number
        found = fit_logistic(features[inside], labels[inside], by_row[inside], l2=L2)
        apart[~inside] = found[0] + features[~inside] @ found[1:]
    tops, right = best_of(rows, apart)
    calibration = fit_logistic(tops, right, weight, l2=1.0)
    whole = fit_logistic(features, labels, by_row, l2=L2)
    columns = zip(FEATURES, mean, spread, whole[1:], strict=True)
    return {
        "bias": round(float(whole[0]), 4),
        "calibration": [round(float(value), 4) for value in calibration],
        "features": {
            name: [round(float(value), 4) for value in values] for name, *values in columns
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="keeps what was found")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the models folder")
    parser.add_argument("--cache", type=Path, help="keep vectors in this folder between runs")
    options = parser.parse_args()
    rows = asyncio.run(
        read_rows(fitting_sets(), work=options.work, models=options.models, cache=options.cache)
    )
    text = json.dumps(fit(rows), indent=1).replace("[\n   ", "[").replace(",\n   ", ", ")
    WEIGHTS.write_text(text.replace("\n  ]", "]") + "\n", encoding="utf-8")
    print(WEIGHTS)


if __name__ == "__main__":
    main()
