"""From a workflow's text to the graph that runs.

Accepted are our DSL (`engine/flow/dsl.py`), the same with RAGFlow's and Dify's names of components,
and a list of `steps` (`steps.py`). A Begin is put first where there is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from engine.errors import FlowError
from engine.flow.dsl import load_dsl, parse_flow
from engine.flow.graph import Graph
from engine.flow.registry import Registry
from engine.workflows.component import WorkflowComponent
from engine.workflows.components import COMPONENTS
from engine.workflows.components.begin import Begin, all_fields, fields_schema
from engine.workflows.steps import flow_of_steps

SYS = frozenset({"query", "user_name", "now", "run_id", "workflow", "language"})
ROOTS = {"sys": SYS}
REGISTRY = Registry(COMPONENTS)
_ALIASES = {alias: item.type for item in COMPONENTS for alias in item.aliases}


def load_workflow(
    text: str, *, registry: Registry = REGISTRY, offers: Collection[str] | None = None
) -> Graph:
    """The graph of a workflow. Raises `FlowError` with every fault."""
    graph = parse_flow(complete(text, registry), registry, offers=offers, roots=ROOTS)
    begins = [node.id for node in graph.nodes.values() if node.component is Begin]
    faults = [
        f"component {node.id!r}: {node.component.type} is not for workflows"
        for node in graph.nodes.values()
        if not issubclass(node.component, WorkflowComponent)
    ]
    if len(begins) > 1:
        faults.append(f"{len(begins)} components are of type Begin; a workflow has one")
    elif begins and graph.upstream[begins[0]]:
        faults.append(f"component {begins[0]!r}: Begin comes first, nothing can lead to it")
    if faults:
        raise FlowError(faults)
    return graph


def complete(text: str, registry: Registry = REGISTRY) -> str | dict[str, Any]:
    """The DSL that runs: steps as components, other products' names as ours, Begin first.

    `text` itself where there is nothing to change.
    """
    _, loaded = load_dsl(text)
    flow = flow_of_steps(loaded) if "steps" in loaded else loaded
    components = flow.get("components")
    if not isinstance(components, list) or not all(isinstance(item, dict) for item in components):
        return text  # `parse_flow` says what is wrong
    renamed = [_renamed(item, registry) for item in components]
    edges = flow.get("edges", [])
    if not isinstance(edges, list) or not all(isinstance(item, dict) for item in edges):
        return text
    if not any(item.get("type") == Begin.type for item in renamed) and renamed:
        targets = {edge.get("target") for edge in edges}
        roots = [item["id"] for item in renamed if item.get("id") and item["id"] not in targets]
        ids = {item.get("id") for item in renamed}
        begin = next(name for name in ("begin", "begin_1", "begin_2", "begin_3") if name not in ids)
        renamed.insert(0, {"id": begin, "type": Begin.type, "param": _begin_param(flow)})
        edges = [*({"source": begin, "target": root} for root in roots), *edges]
    changed = {**flow, "components": renamed, "edges": edges}
    return text if changed == loaded else changed


def _begin_param(flow: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that a flow declares for itself, as Begin takes them."""
    schema = flow.get("inputs")
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    if not isinstance(properties, dict) or not isinstance(schema, dict):
        return {}
    required = schema.get("required", [])
    return {
        "inputs": {
            name: {**item, "required": name in required}
            for name, item in properties.items()
            if name != "query" and isinstance(item, dict)
        }
    }


def _renamed(component: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """A component by our name of its type, and so those of the flow inside it."""
    kind = component.get("type")
    if isinstance(kind, str) and kind not in registry and kind in _ALIASES:
        component = {**component, "type": _ALIASES[kind]}
    body = (
        component.get("param", {}).get("body") if isinstance(component.get("param"), dict) else None
    )
    if isinstance(body, dict) and isinstance(body.get("components"), list):
        inner = [
            _renamed(item, registry) if isinstance(item, dict) else item
            for item in body["components"]
        ]
        component = {
            **component,
            "param": {**component["param"], "body": {**body, "components": inner}},
        }
    return component


def begin_of(graph: Graph) -> Begin.Param:
    """The parameters of a workflow's Begin."""
    for node in graph.nodes.values():
        if node.component is Begin and isinstance(node.param, Begin.Param):
            return node.param
    return Begin.Param()


def input_schema(graph: Graph) -> dict[str, Any]:
    """What a run is started with, as JSON schema."""
    return fields_schema(all_fields(begin_of(graph).inputs))


def effects_of(graph: Graph) -> frozenset[str]:
    """What running it may do: pure, read, paid, write."""
    found: set[str] = set()
    for node in graph.nodes.values():
        found.add(node.component.effect_of(node.param))
        if node.subgraph is not None:
            found |= effects_of(node.subgraph)
    return frozenset(found)


def meaning_of(text: str) -> str:
    """A hash of what a workflow does: two that differ in `ui` alone have the same."""
    _, loaded = load_dsl(text)
    rest = {key: value for key, value in loaded.items() if key != "ui"}
    canonical = json.dumps(rest, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
