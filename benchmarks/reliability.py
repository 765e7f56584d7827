"""How often what is said with a confidence is right, as a picture: `python -m benchmarks.reliability`.

Draws the reliability diagram of `results/answers.json` (the half that was not fitted on) as an SVG
that docs/explanation/ranking.md shows. One panel a set: a dot for each tenth of confidence, as large
as it holds many answers, against the diagonal on which what is said comes true.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.results import RESULTS

PICTURE = Path(__file__).parent.parent / "docs" / "explanation" / "reliability.svg"
SETS = {
    "squad-held": "SQuAD 2.0, half unanswerable",
    "selqa-held": "SelQA",
    "handbook-held": "handbook",
}
SIDE, GAP, TOP, LEFT = 200, 60, 40, 50


def draw(measured: Mapping[str, Mapping]) -> str:
    """The diagrams of these sets, side by side."""
    width = LEFT + len(SETS) * (SIDE + GAP)
    height = TOP + SIDE + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        '<g font-family="sans-serif" font-size="12" fill="#222">',
        "<title>How often answers are right, by the confidence they were given with</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for place, (name, label) in enumerate(SETS.items()):
        if name in measured:
            left = LEFT + place * (SIDE + GAP)
            parts += _panel(left, label, measured[name])
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _panel(left: int, label: str, figures: Mapping) -> list[str]:
    bottom = TOP + SIDE
    error = figures["calibration_error"]
    parts = [
        f'<text x="{left}" y="{TOP - 12}">{label}: error {error:.3f}</text>',
        f'<rect x="{left}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#999"/>',
        f'<line x1="{left}" y1="{bottom}" x2="{left + SIDE}" y2="{TOP}" stroke="#bbb"/>',
    ]
    for value in (0.0, 0.5, 1.0):
        at = round(value * SIDE)
        parts.append(
            f'<text x="{left + at}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>'
        )
        parts.append(
            f'<text x="{left - 6}" y="{bottom - at + 4}" text-anchor="end">{value:g}</text>'
        )
    parts.append(
        f'<text x="{left + SIDE / 2:g}" y="{bottom + 34}" text-anchor="middle">confidence</text>'
    )
    parts += _dots(left, bottom, figures["reliability"])
    return parts


def _dots(left: int, bottom: int, rows: Sequence[Mapping[str, float]]) -> list[str]:
    total = sum(row["n"] for row in rows)
    dots = []
    for row in rows:
        x, y = left + row["said"] * SIDE, bottom - row["true"] * SIDE
        radius = 3 + 14 * (row["n"] / total) ** 0.5
        dots.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#2563eb" fill-opacity="0.6">'
            f"<title>{row['n']} answers said {row['said']:.2f}, {row['true']:.2f} right</title>"
            "</circle>"
        )
    return dots


def main() -> None:
    measured = json.loads((RESULTS / "answers.json").read_text(encoding="utf-8"))["results"]
    PICTURE.write_text(draw(measured), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main()
