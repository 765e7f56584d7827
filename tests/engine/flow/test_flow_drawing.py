"""Flows as pictures: everything is in them, nothing stands on anything, no text breaks out."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.flow.drawing import mermaid, svg
from engine.flow.dsl import parse_flow
from engine.flow.registry import Registry
from tests.fakes.flow_components import COMPONENTS

REGISTRY = Registry(COMPONENTS)
SVG = "{http://www.w3.org/2000/svg}"


def graph_of(count: int, edges: set[tuple[int, int]]):
    return parse_flow(
        {
            "components": [{"id": f"n{number}", "type": "Note"} for number in range(count)],
            "edges": [{"source": f"n{a}", "target": f"n{b}"} for a, b in sorted(edges)],
        },
        REGISTRY,
    )


@st.composite
def graphs(draw: st.DrawFn):
    count = draw(st.integers(1, 9))
    pairs = list(combinations(range(count), 2))
    edges = draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    return graph_of(count, edges)


@given(graphs())
def test_every_component_and_edge_is_drawn_and_no_box_stands_on_another(graph) -> None:
    root = ET.fromstring(svg(graph, title="a <flow> & more"))
    boxes = [
        tuple(float(box.get(key)) for key in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
        if box.get("class") == "b"
    ]
    assert len(boxes) == len(graph.nodes)
    for (ax, ay, aw, ah), (bx, by, bw, bh) in combinations(boxes, 2):
        assert ax + aw <= bx or bx + bw <= ax or ay + ah <= by or by + bh <= ay
    paths = [path.get("d") for path in root.iter(f"{SVG}path") if path.get("class") == "e"]
    assert len(paths) == len(graph.edges)
    for path in paths:  # where an edge passes a row, it passes between the boxes
        points = [tuple(map(float, p)) for p in re.findall(r"(-?[\d.]+) (-?[\d.]+)(?= v)", path)]
        for x, y in points:
            assert not any(
                bx <= x <= bx + bw and by <= y + 1 <= by + bh for bx, by, bw, bh in boxes
            )
    _, _, width, height = map(float, root.get("viewBox").split())
    assert all(x >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)


def test_a_diamond_in_mermaid() -> None:
    drawn = mermaid(graph_of(4, {(0, 1), (0, 2), (1, 3), (2, 3)}))
    assert drawn == (
        "flowchart TD\n"
        '  n0["Note<br/>n0"]\n'
        '  n1["Note<br/>n1"]\n'
        '  n2["Note<br/>n2"]\n'
        '  n3["Note<br/>n3"]\n'
        "  n0 --> n1\n"
        "  n0 --> n2\n"
        "  n1 --> n3\n"
        "  n2 --> n3\n"
    )


@pytest.mark.parametrize(
    "hostile", ['"] --> x', "<script>alert(1)</script>", "a\n  b --> c", "`#quot;"]
)
def test_parameters_can_not_break_out_of_their_label(hostile: str) -> None:
    from ingestion.components import COMPONENTS as PIPELINE

    dsl = {
        "components": [
            {"id": "q", "type": "QualityControl", "param": {"technical_terms": [hostile]}},
            {"id": "s", "type": "Splitter"},
            {"id": "p", "type": "Parser"},
            {"id": "f", "type": "File"},
        ],
        "edges": [
            {"source": "f", "target": "p"},
            {"source": "p", "target": "s"},
            {"source": "s", "target": "q"},
        ],
    }
    graph = parse_flow(dsl, Registry(PIPELINE))
    lines = mermaid(graph).splitlines()
    assert len(lines) == 1 + 4 + 3
    assert all(line.count('"') in {0, 2} for line in lines)
    assert "<script" not in mermaid(graph) + svg(graph)
    ET.fromstring(svg(graph))
