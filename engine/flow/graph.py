"""A checked flow: nodes, edges, their order, and who may see whose output. Pure.

`dsl.py` makes one from text and says what is wrong with it; `run.py` executes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.flow.component import ComponentParam
from engine.flow.handling import OnError, Retry
from engine.flow.registry import AnyComponent

INPUT = "$input"  # the run's own input, as if it were a component before all others


@dataclass(frozen=True, slots=True)
class Node:
    """One component of a flow: its class, its checked parameters, and what follows a failure."""

    id: str
    component: AnyComponent
    param: ComponentParam
    subgraph: Graph | None = None
    retry: Retry | None = None
    on_error: OnError | None = None
    label: str = field(default="", compare=False)  # how people call it


@dataclass(frozen=True, slots=True)
class Edge:
    """`target` starts after `source`."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"


@dataclass(frozen=True, slots=True)
class Graph:
    """A flow that may run. Two are equal when their nodes, edges and input keys are.

    `text` is the DSL exactly as it was given, `order` topological (ties as written), `ancestors`
    every node before a node, `writers` for each key a node reads those ancestors that may write
    it, the latest first. `input_schema` is what the flow says of the input of its runs.
    """

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    inputs: frozenset[str]
    text: str = field(compare=False)
    order: tuple[str, ...] = field(compare=False)
    upstream: Mapping[str, tuple[str, ...]] = field(compare=False)
    downstream: Mapping[str, tuple[str, ...]] = field(compare=False)
    ancestors: Mapping[str, frozenset[str]] = field(compare=False)
    writers: Mapping[str, Mapping[str, tuple[str, ...]]] = field(compare=False)
    name: str = field(default="", compare=False)
    input_schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def terminals(self) -> list[str]:
        """The nodes nothing follows, in order."""
        return [node for node in self.order if not self.downstream[node]]


def build_graph(
    nodes: Mapping[str, Node],
    edges: Sequence[Edge],
    *,
    inputs: frozenset[str],
    text: str,
    name: str = "",
    input_schema: Mapping[str, Any] | None = None,
) -> Graph:
    """The graph of `nodes` and acyclic `edges` between them."""
    upstream, downstream = neighbours(nodes, edges)
    order = topological_order(nodes, edges)
    ancestors = ancestors_of(order, upstream)
    position = {node: i for i, node in enumerate(order)}
    writers = {}
    for node in nodes.values():
        before = sorted(ancestors[node.id], key=lambda other: -position[other])
        writes = [(other, nodes[other].component.writes_of(nodes[other].param)) for other in before]
        writers[node.id] = {
            key: tuple(other for other, keys in writes if key in keys) for key in keys_read(node)
        }
    return Graph(
        nodes=nodes,
        edges=tuple(edges),
        inputs=inputs,
        text=text,
        order=order,
        upstream=upstream,
        downstream=downstream,
        ancestors=ancestors,
        writers=writers,
        name=name,
        input_schema=input_schema or {},
    )


def keys_read(node: Node) -> list[str]:
    """The keys of the merged view of `node`, sorted."""
    return sorted(node.component.reads_of(node.param) | node.component.optional)


def neighbours(
    nodes: Iterable[str], edges: Iterable[Edge]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Per node the sources of its incoming and the targets of its outgoing edges."""
    upstream: dict[str, tuple[str, ...]] = dict.fromkeys(nodes, ())
    downstream = dict(upstream)
    for edge in edges:
        upstream[edge.target] += (edge.source,)
        downstream[edge.source] += (edge.target,)
    return upstream, downstream


def topological_order(nodes: Iterable[str], edges: Iterable[Edge]) -> tuple[str, ...]:
    """Nodes, each after its sources and else as written, without those on or behind a cycle."""
    nodes = list(nodes)
    upstream, downstream = neighbours(nodes, edges)
    waiting = {node: len(sources) for node, sources in upstream.items()}
    ready = [node for node in nodes if not waiting[node]]
    order: list[str] = []
    for node in ready:  # grows while it is read
        order.append(node)
        for target in downstream[node]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return tuple(order)


def ancestors_of(
    order: Iterable[str], upstream: Mapping[str, Iterable[str]]
) -> dict[str, frozenset[str]]:
    """Every node before each node of a topological `order`."""
    found: dict[str, frozenset[str]] = {}
    for node in order:
        found[node] = frozenset().union(*({source, *found[source]} for source in upstream[node]))
    return found


def latest(writers: Iterable[str], ancestors: Mapping[str, frozenset[str]]) -> list[str]:
    """Those of `writers` that no other of them follows: more than one is an ambiguity."""
    writers = list(writers)
    return [w for w in writers if not any(w in ancestors[other] for other in writers)]


def find_cycles(nodes: Sequence[str], edges: Sequence[Edge]) -> list[list[str]]:
    """Disjoint cycles, each in the order of its edges and beginning with its first node written.

    Breaking every one of them may leave cycles that share nodes with them; those show then.
    """
    cycles: list[list[str]] = []
    while True:
        done = set(topological_order(nodes, edges))
        left = [node for node in nodes if node not in done]
        if not left:
            return cycles
        upstream, _ = neighbours(left, [e for e in edges if e.source in left and e.target in left])
        walk = [left[0]]  # each node left has a source that is left: backwards we must meet again
        while (source := upstream[walk[-1]][0]) not in walk:
            walk.append(source)
        cycle = walk[walk.index(source) :][::-1]
        start = min(range(len(cycle)), key=lambda i: nodes.index(cycle[i]))
        cycles.append(cycle[start:] + cycle[:start])
        nodes = [node for node in nodes if node not in cycle]
        edges = [e for e in edges if e.source in nodes and e.target in nodes]
