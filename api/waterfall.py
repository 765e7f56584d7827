"""How long each step of a run took, as an SVG that needs no script and no style. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

WIDTH, LABEL, ROW, TOP = 720, 170, 26, 22
NAME_MAX = 24  # characters


@dataclass(frozen=True, slots=True)
class TimedStep:
    """A step: when it began and how long it worked."""

    name: str
    state: str
    started_at: datetime
    elapsed_s: float


def waterfall(bars: Sequence[TimedStep], *, title: str) -> str:
    """A row a step on one axis of time; nothing for no step."""
    if not bars:
        return ""
    began = min(bar.started_at for bar in bars)
    offsets = [(bar.started_at - began).total_seconds() for bar in bars]
    whole = max((o + b.elapsed_s for o, b in zip(offsets, bars, strict=True)), default=0) or 1e-3
    height = TOP + ROW * len(bars) + 6
    room = WIDTH - LABEL - 78  # what is left for the duration at a bar's end
    size = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" class="waterfall" {size}>']
    for part in range(5):
        x = LABEL + room * part / 4
        lines.append(
            f'<line class="tick" x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{height - 4}"/>'
            f'<text class="axis" x="{x:.1f}" y="12" text-anchor="middle">'
            f"{seconds(whole * part / 4)}</text>"
        )
    for number, (bar, offset) in enumerate(zip(bars, offsets, strict=True)):
        y = TOP + ROW * number
        x = LABEL + room * offset / whole
        width = max(3.0, room * bar.elapsed_s / whole)
        name = bar.name if len(bar.name) <= NAME_MAX else bar.name[: NAME_MAX - 1] + "…"
        lines.append(
            f'<g class="bar {escape(bar.state)}"><title>{escape(bar.name)}: {escape(bar.state)}, '
            f"{seconds(bar.elapsed_s)}</title>"
            f'<text x="0" y="{y + 16}">{escape(name)}</text>'
            f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="16" rx="3"/>'
            f'<text class="took" x="{x + width + 6:.1f}" y="{y + 16}">'
            f"{seconds(bar.elapsed_s)}</text></g>"
        )
    lines.append("</svg>")
    return "\n".join(lines)


def seconds(value: float) -> str:
    """A duration as people read it."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"
