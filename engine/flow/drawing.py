"""A flow as a picture: Mermaid text or SVG. Pure.

`scrubjay flow draw` calls it. Components are in rows by how many come before them, each row
ordered so that few edges cross (by the mean place of what leads there). An edge that passes a row
has a lane in it, so that it runs beside the boxes (Sugiyama, Tagawa and Toda, 1981).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from engine.flow.component import ComponentParam
from engine.flow.graph import Edge, Graph, Node

BOX_HEIGHT = 56
GAP_X, GAP_Y = 28, 46
MARGIN = 24
LETTER = 8.2  # width of a letter of 14 px bold, about
SMALL = 6.4  # of 11 px
PARAM_MAX = 44  # characters of parameters shown in a box
LANE = 16  # the width of an edge that passes a row
PORT = 14  # between edges that meet a box side by side

_Stop = tuple[str, str, int]  # of an edge in a row it passes: source, target, row


@dataclass(frozen=True, slots=True)
class _Box:
    """A component, or with no title the lane of an edge."""

    title: str
    note: str
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def mermaid(graph: Graph) -> str:
    """The flow in Mermaid's language, as GitHub and many wikis draw it."""
    names = {node_id: f"n{number}" for number, node_id in enumerate(graph.order)}
    lines = ["flowchart TD"]
    for node_id in graph.order:
        node = graph.nodes[node_id]
        label = node.component.type
        if node_id.lower() != label.lower():
            label = f"{label}<br/>{_mermaid_text(node_id)}"
        note = _params(node.param)
        if note:
            label += f"<br/><small>{_mermaid_text(note)}</small>"
        lines.append(f'  {names[node_id]}["{label}"]')
    lines += [f"  {names[edge.source]} --> {names[edge.target]}" for edge in graph.edges]
    return "\n".join(lines) + "\n"


def svg(graph: Graph, *, title: str = "") -> str:
    """The flow as an SVG document that draws the same everywhere, light or dark."""
    boxes, width, height = _place(graph)
    top = MARGIN if not title else MARGIN + 26
    heading = ""
    if title:
        heading = f'<text class="h" x="{MARGIN}" y="{MARGIN + 6}">{_xml(title)}</text>'
    edges = "\n".join(_paths(graph, boxes, top))
    nodes = "\n".join(_node(box, top) for box in boxes.values() if box.title)
    width = max(width, MARGIN * 2 + len(title) * LETTER * 1.2)
    label = _xml(title or "A flow")
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height + top:.0f}" \
width="{width:.0f}" height="{height + top:.0f}" role="img" aria-label="{label}">
<style>
text {{ font-family: system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1d2733; }}
.h {{ font-size: 16px; font-weight: 600; }}
.t {{ font-size: 14px; font-weight: 600; text-anchor: middle; }}
.p {{ font-size: 11px; fill: #51606f; text-anchor: middle; }}
.b {{ fill: #eef4fa; stroke: #4a7fb0; stroke-width: 1.2; }}
.e {{ fill: none; stroke: #7c8b99; stroke-width: 1.4; marker-end: url(#a); }}
</style>
<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" \
orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#7c8b99"/></marker></defs>
<rect width="100%" height="100%" fill="#ffffff"/>
{heading}
{edges}
{nodes}
</svg>
"""


def _place(graph: Graph) -> tuple[dict[str | _Stop, _Box], float, float]:
    """Boxes and lanes, and how wide and high all of it is."""
    rows = _rows(graph)
    sizes: dict[str | _Stop, tuple[str, str, float]] = {
        cell: _label(graph.nodes[cell]) if isinstance(cell, str) else ("", "", LANE)
        for row in rows
        for cell in row
    }
    row_widths = [sum(sizes[cell][2] for cell in row) + GAP_X * (len(row) - 1) for row in rows]
    widest = max(row_widths, default=0)
    boxes: dict[str | _Stop, _Box] = {}
    for number, (row, row_width) in enumerate(zip(rows, row_widths, strict=True)):
        x = MARGIN + (widest - row_width) / 2
        for cell in row:
            boxes[cell] = _Box(*sizes[cell][:2], x, number * (BOX_HEIGHT + GAP_Y), sizes[cell][2])
            x += sizes[cell][2] + GAP_X
    height = len(rows) * (BOX_HEIGHT + GAP_Y) - GAP_Y + MARGIN
    return boxes, widest + 2 * MARGIN, height


def _ranks(graph: Graph) -> dict[str, int]:
    rank: dict[str, int] = {}
    for node_id in graph.order:
        rank[node_id] = max((rank[source] + 1 for source in graph.upstream[node_id]), default=0)
    return rank


def _stops(graph: Graph) -> dict[Edge, list[str | _Stop]]:
    """What each edge runs by: its source, its lane in each row it passes, its target."""
    rank = _ranks(graph)
    return {
        edge: [
            edge.source,
            *(
                (edge.source, edge.target, row)
                for row in range(rank[edge.source] + 1, rank[edge.target])
            ),
            edge.target,
        ]
        for edge in graph.edges
    }


def _rows(graph: Graph) -> list[list[str | _Stop]]:
    rank = _ranks(graph)
    rows: list[list[str | _Stop]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for node_id in graph.order:
        rows[rank[node_id]].append(node_id)
    before: dict[str | _Stop, list[str | _Stop]] = {}
    for stops in _stops(graph).values():
        for source, stop in pairwise(stops):
            before.setdefault(stop, []).append(source)
            if isinstance(stop, tuple):
                rows[stop[2]].append(stop)
    place: dict[str | _Stop, float] = {}
    for row in rows:
        row.sort(key=lambda item: _mean(place, before.get(item, ())))
        place |= {item: number - (len(row) - 1) / 2 for number, item in enumerate(row)}
    return rows


def _mean(place: Mapping[str | _Stop, float], sources: Sequence[str | _Stop]) -> float:
    known = [place[source] for source in sources]
    return sum(known) / len(known) if known else 0.0


def _label(node: Node) -> tuple[str, str, float]:
    title = node.component.type
    note = _params(node.param)
    if node.id.lower() != title.lower():
        note = f"{node.id} · {note}" if note else node.id
    width = max(_letters(title) * LETTER, _letters(note) * SMALL) + 32
    return title, note, max(120.0, width)


def _letters(text: str) -> float:
    """The width of a text in letters; those of East Asia take about two."""
    return sum(1.8 if unicodedata.east_asian_width(letter) in "WF" else 1.0 for letter in text)


def _params(param: ComponentParam) -> str:
    """What is set of the parameters, short."""
    given = param.model_dump(mode="json", exclude_unset=True, exclude_defaults=True)
    parts = []
    for key, value in given.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        parts.append(f"{key} {text}")
    joined = ", ".join(parts)
    return joined if len(joined) <= PARAM_MAX else joined[: PARAM_MAX - 1].rstrip() + "…"


def _node(box: _Box, top: float) -> str:
    y = box.y + top
    middle = box.middle
    title_y = y + (BOX_HEIGHT / 2 + 5 if not box.note else 24)
    lines = [
        f'<rect class="b" x="{box.x:.1f}" y="{y:.1f}" {_size(box)} rx="9"/>',
        f'<text class="t" x="{middle:.1f}" y="{title_y:.1f}">{_xml(box.title)}</text>',
    ]
    if box.note:
        lines.append(f'<text class="p" x="{middle:.1f}" y="{y + 42:.1f}">{_xml(box.note)}</text>')
    return "\n".join(lines)


def _size(box: _Box) -> str:
    return f'width="{box.width:.1f}" height="{BOX_HEIGHT}"'


def _paths(graph: Graph, boxes: Mapping[str | _Stop, _Box], top: float) -> Iterator[str]:
    """Each edge as a curve through its lanes; edges that share a box meet it side by side."""
    routes = _stops(graph)
    for edge, stops in routes.items():
        leaving = [route[1] for other, route in routes.items() if other.source == edge.source]
        coming = [route[-2] for other, route in routes.items() if other.target == edge.target]
        source, target = boxes[edge.source], boxes[edge.target]
        x = source.middle + _port(boxes, leaving, stops[1])
        y = source.y + BOX_HEIGHT + top
        path = [f"M{x:.1f} {y:.1f}"]
        for stop in stops[1:-1]:
            lane = boxes[stop]
            path += [_curve(x, y, lane.middle, lane.y + top), f"v{BOX_HEIGHT}"]
            x, y = lane.middle, lane.y + top + BOX_HEIGHT
        end = target.middle + _port(boxes, coming, stops[-2])
        path.append(_curve(x, y, end, target.y + top - 2))
        yield f'<path class="e" d="{" ".join(path)}"/>'


def _port(
    boxes: Mapping[str | _Stop, _Box], others: Sequence[str | _Stop], mine: str | _Stop
) -> float:
    """How far from the middle of a box the edge by way of `mine` meets it."""
    ordered = sorted(others, key=lambda item: boxes[item].middle)
    return (ordered.index(mine) - (len(ordered) - 1) / 2) * PORT


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = (y2 - y1) / 2
    return f"C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"


def _xml(text: str) -> str:
    return escape("".join(c for c in text if c.isprintable()), quote=True)


def _mermaid_text(text: str) -> str:
    """Text that can't end its label or start markup."""
    text = "".join(c for c in text if c.isprintable())
    for letter, code in (
        ("#", "#35;"),
        ('"', "#quot;"),
        ("<", "#lt;"),
        (">", "#gt;"),
        ("`", "#96;"),
    ):
        text = text.replace(letter, code)
    return text
