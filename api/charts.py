"""Charts as SVG without a script: bars in parts, and lines, day by day.

Colours come from `app.css` by class, so that both palettes and the strict CSP hold. A chart has a
name that says what it shows; the page puts the table of the same numbers behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 640, 200  # of the drawing's own units: it fits any width
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 12, 24
GAP = 0.2  # of a bar's place


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers in the order of the labels; None where there is none. `name` is also in the legend."""

    name: str
    style: str  # a class of app.css: one, two, three, four
    values: Sequence[float | None]


def bars(title: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """A bar for each label, in parts from the ground up."""
    totals = [sum(one.values[n] or 0 for one in series) for n in range(len(labels))]
    top = _round_up(max(totals, default=0))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    drawn = []
    for n, label in enumerate(labels):
        ground = 0.0
        for one in series:
            value = one.values[n] or 0
            if value:
                y, height = _y(ground + value, top), _y(ground, top) - _y(ground + value, top)
                x = LEFT + n * step + step * GAP / 2
                said = escape(f"{label}, {one.name}: {value:,.0f}")
                drawn.append(
                    f'<rect class="{one.style}" x="{x:.1f}" y="{y:.1f}"'
                    f' width="{step * (1 - GAP):.1f}" height="{height:.1f}">'
                    f"<title>{said}</title></rect>"
                )
            ground += value
    return _drawing(title, labels, top, step, "".join(drawn), series)


def lines(title: str, labels: Sequence[str], series: Sequence[Series], *, unit: str) -> Markup:
    """A line for each series, with a dot for each number; broken where there is none."""
    known = [value for one in series for value in one.values if value is not None]
    top = _round_up(max(known, default=0))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    drawn = []
    for one in series:
        for points in _unbroken(one.values):
            at = [(LEFT + (n + 0.5) * step, _y(value, top)) for n, value in points]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
            drawn.append(f'<polyline class="{one.style}" points="{path}"/>')
            for (n, value), (x, y) in zip(points, at, strict=True):
                said = escape(f"{labels[n]}, {one.name}: {value:,.0f} {unit}")
                drawn.append(
                    f'<circle class="{one.style}" cx="{x:.1f}" cy="{y:.1f}" r="2.5">'
                    f"<title>{said}</title></circle>"
                )
    return _drawing(title, labels, top, step, "".join(drawn), series)


def _drawing(
    title: str,
    labels: Sequence[str],
    top: float,
    step: float,
    drawn: str,
    series: Sequence[Series],
) -> Markup:
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(v, top):.1f}" y2="{_y(v, top):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{_y(v, top) + 4:.1f}" text-anchor="end">{_short(v)}</text>'
        for v in (0, top / 2, top)
    )
    every = max(1, round(len(labels) / 6))
    below = "".join(
        f'<text x="{LEFT + (n + 0.5) * step:.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(label[5:])}</text>"
        for n, label in enumerate(labels)
        if n % every == 0
    )
    legend = "".join(
        f'<li><span class="swatch {one.style}"></span>{escape(one.name)}</li>' for one in series
    )
    return Markup(  # noqa: S704 (what others wrote is escaped above)
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<g>{grid}{below}</g>{drawn}</svg><ul>{legend}</ul></figure>"
    )


def _unbroken(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = [[]]
    for n, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((n, value))
    return [run for run in runs if run]


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _round_up(value: float) -> float:
    """The next 2, 4, 6, 10, 20 … above, so that half of it is whole too."""
    top = 2.0
    while value > top:
        for factor in (1, 2, 3, 5):
            if value <= top * factor:
                return top * factor
        top *= 10
    return top


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
