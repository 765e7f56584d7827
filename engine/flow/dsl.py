"""From a flow's DSL to a checked graph and back.

    {"components": [{"id": "parse", "type": "Parser", "param": {}}],
     "edges": [{"source": "file", "target": "parse"}]}

A flow may also have `schema` (1), `name`, `description`, `inputs` (a JSON schema of what its runs
are started with) and `ui`, which is an editor's and never changes what a run does; a component may
have `retry` and `on_error` (`handling.py`), `label` and `note`.

`parse_flow` collects every fault before it refuses, so that one look is enough to mend a flow;
each fault names the component or the edge it is about.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from pydantic import ValidationError

from engine.errors import FlowError
from engine.flow.component import ComponentParam
from engine.flow.graph import (
    Edge,
    Graph,
    Node,
    ancestors_of,
    build_graph,
    find_cycles,
    keys_read,
    latest,
    neighbours,
    topological_order,
)
from engine.flow.handling import OnError, Retry
from engine.flow.reference_checks import Roots, wiring_faults
from engine.flow.registry import AnyComponent, Registry

Dsl = str | Mapping[str, Any]

MAX_TEXT = 1_000_000  # characters of DSL
MAX_COMPONENTS = 500
MAX_DEPTH = 8  # of flows inside flows
SCHEMA = 1  # of this DSL
FLOW_KEYS = ("schema", "name", "description", "inputs", "components", "edges", "ui")
COMPONENT_KEYS = ("id", "type", "param", "retry", "on_error", "label", "note")

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}")  # run_node.node_id holds 100


NEEDS = {  # what a component may need of its host, and what to do where that is lacking
    "language_model": "a language model, and none is configured: set llm.model",
    "workflows_extra": "the extra `workflows`, which is not installed: install scrubjay[workflows]",
}


def parse_flow(
    dsl: Dsl,
    registry: Registry,
    *,
    inputs: Iterable[str] = (),
    offers: Collection[str] | None = None,
    roots: Roots = MappingProxyType({}),
) -> Graph:
    """The graph that `dsl`, JSON text or the same as a dict, describes.

    `inputs` are the keys a run of it is started with; `offers` is what the host has of what
    components need, None where that is not to be looked at. `roots` are what references may begin
    with besides components. Raises `FlowError` with all faults.
    """
    graph = _parse(dsl, registry, frozenset(inputs), roots, depth=0)
    lacking = [] if offers is None else _lacking(graph, offers)
    if lacking:
        raise FlowError(lacking)
    return graph


def _lacking(graph: Graph, offers: Collection[str]) -> list[str]:
    faults = []
    for node in graph.nodes.values():
        where = f"component {node.id!r}"
        faults += [
            f"{where}: {node.component.type} needs {NEEDS.get(need, need)}"
            for need in sorted(node.component.needs - set(offers))
        ]
        if node.subgraph is not None:
            faults += [f"{where}: inside it, {fault}" for fault in _lacking(node.subgraph, offers)]
    return faults


def render_flow(graph: Graph) -> str:
    """The DSL of `graph` as JSON text; `parse_flow` of it is equal to `graph`.

    Parameters are written as they were given, defaults left out. A stored flow keeps its own
    text (`Graph.text`), byte for byte.
    """
    components = [
        {
            "id": node.id,
            "type": node.component.type,
            "param": node.param.model_dump(mode="json", by_alias=True, exclude_unset=True),
            **_handling(node),
        }
        for node in graph.nodes.values()
    ]
    edges = [{"source": edge.source, "target": edge.target} for edge in graph.edges]
    head: dict[str, Any] = {"schema": SCHEMA, "name": graph.name} if graph.name else {}
    if graph.input_schema:
        head["inputs"] = dict(graph.input_schema)
    flow = {**head, "components": components, "edges": edges}
    return json.dumps(flow, ensure_ascii=False, indent=2)


def _handling(node: Node) -> dict[str, Any]:
    """What a component has beside its parameters, as far as it is given."""
    found: dict[str, Any] = {"label": node.label} if node.label else {}
    if node.retry is not None:
        found["retry"] = node.retry.model_dump(mode="json", exclude_unset=True)
    if node.on_error is not None:
        found["on_error"] = node.on_error.model_dump(mode="json", exclude_unset=True)
    return found


def load_dsl(dsl: Dsl) -> tuple[str, dict[str, Any]]:
    """The DSL as text and as an object; `FlowError` where it is not one JSON object."""
    text = dsl if isinstance(dsl, str) else _dump(dsl)
    if len(text) > MAX_TEXT:
        raise FlowError([f"the flow is {len(text):,} characters long, at most {MAX_TEXT:,} go"])
    try:
        loaded = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise FlowError(
            [f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"]
        ) from None
    except RecursionError:
        raise FlowError(["not JSON that can be read: nested too deeply"]) from None
    except ValueError as error:
        raise FlowError([f"not JSON that can be read: {error}"]) from None
    if not isinstance(loaded, dict):
        raise FlowError(['a flow is an object {"components": [...], "edges": [...]}'])
    return text, loaded


def _parse(
    dsl: Dsl, registry: Registry, inputs: frozenset[str], roots: Roots, *, depth: int
) -> Graph:
    text, loaded = load_dsl(dsl)
    faults = [*_unknown_keys("the flow", loaded, FLOW_KEYS), *_head_faults(loaded)]
    raw_nodes = _objects(loaded, "components", COMPONENT_KEYS, faults)
    raw_edges = _objects(loaded, "edges", ("source", "target"), faults)
    if not raw_nodes and not faults:
        faults.append("the flow has no components")
    if len(raw_nodes) > MAX_COMPONENTS:
        raise FlowError([f"{len(raw_nodes)} components, at most {MAX_COMPONENTS} go"])

    ids = _node_ids(raw_nodes, faults)
    nodes: dict[str, Node] = {}
    for raw, node_id in zip(raw_nodes, ids, strict=True):
        node = _node(raw, node_id, registry, inputs, roots, depth, faults)
        if node is not None and node_id is not None:
            nodes.setdefault(node_id, node)
    known = list(dict.fromkeys(i for i in ids if i is not None))
    edges = _edges(raw_edges, known, faults)
    cycles = find_cycles(known, edges)
    faults += [f"cycle: {' → '.join([*cycle, cycle[0]])}" for cycle in cycles]
    if not cycles:
        faults += _ambiguities(known, nodes, edges)
    if not cycles and len(nodes) == len(known):
        upstream, downstream = neighbours(known, edges)
        ancestors = ancestors_of(topological_order(known, edges), upstream)
        faults += wiring_faults(nodes, ancestors, downstream, roots)
    if not faults:
        faults += _missing_reads(nodes, edges, inputs)
    if faults:
        raise FlowError(faults)
    return build_graph(
        nodes,
        edges,
        inputs=inputs,
        text=text,
        name=loaded.get("name", ""),
        input_schema=loaded.get("inputs"),
    )


def _head_faults(loaded: Mapping[str, Any]) -> list[str]:
    """What is wrong with the keys of a flow that are neither components nor edges."""
    faults = []
    if loaded.get("schema", SCHEMA) != SCHEMA:
        faults.append(f"`schema` is {_short(loaded['schema'])}; this version reads {SCHEMA}")
    for key, kind, called in (
        ("name", str, "a text"),
        ("description", str, "a text"),
        ("inputs", dict, "an object (a JSON schema)"),
        ("ui", dict, "an object"),
    ):
        if not isinstance(loaded.get(key, kind()), kind):
            faults.append(f"`{key}` must be {called}, not {_short(loaded[key])}")
    return faults


def _node_ids(raw_nodes: Sequence[Mapping[str, Any]], faults: list[str]) -> list[str | None]:
    ids: list[str | None] = []
    for index, raw in enumerate(raw_nodes):
        node_id = raw.get("id")
        if not isinstance(node_id, str) or not _ID.fullmatch(node_id):
            faults.append(
                f"components[{index}]: `id` must be 1 to 100 letters, digits, _ . : or -, "
                f"not {_short(node_id)}"
            )
            node_id = None
        ids.append(node_id)
    counts = Counter(i for i in ids if i is not None)
    faults += [f"component {i!r}: the id is used {n} times" for i, n in counts.items() if n > 1]
    return ids


def _node(
    raw: Mapping[str, Any],
    node_id: str | None,
    registry: Registry,
    inputs: frozenset[str],
    roots: Roots,
    depth: int,
    faults: list[str],
) -> Node | None:
    """The node, or None with its faults noted."""
    where = f"component {node_id!r}"
    type_name, param = raw.get("type"), raw.get("param", {})
    component = registry.get(type_name) if isinstance(type_name, str) else None
    if component is None:
        known = isinstance(type_name, str) and registry.explain_unknown(type_name)
        faults.append(f"{where}: {known or f'`type` must be a text, not {_short(type_name)}'}")
    elif not isinstance(param, dict):
        faults.append(f"{where}: `param` must be an object, not {_short(param)}")
    else:
        handled, wrong = _read_handling(raw)
        faults += [f"{where}: {fault}" for fault in wrong]
        try:
            checked = component.Param.model_validate(param)
            subgraph = _subgraph(component, checked, registry, inputs, roots, depth)
        except ValidationError as error:
            faults += [f"{where}: {fault}" for fault in _param_faults(component, error)]
        except FlowError as error:
            faults += [f"{where}: inside it, {fault}" for fault in error.faults]
        else:
            faults += [f"{where}: {fault}" for fault in component.faults_of(checked)]
            return Node(node_id or "", component, checked, subgraph, **handled)
    return None


def _read_handling(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What a component says of failures and of its name, and what is wrong with it."""
    found: dict[str, Any] = {}
    faults: list[str] = []
    faults += [
        f"`{key}` must be a text, not {_short(raw[key])}"
        for key in ("label", "note")
        if not isinstance(raw.get(key, ""), str)
    ]
    if isinstance(raw.get("label"), str):
        found["label"] = raw["label"]
    models: dict[str, type[Retry | OnError]] = {"retry": Retry, "on_error": OnError}
    for key, model in models.items():
        given = raw.get(key)
        if given is None or (key == "on_error" and given == "fail"):
            continue
        try:
            found[key] = model.model_validate(given)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_context=False, include_input=False):
                path = ".".join(map(str, (key, *item["loc"])))
                faults.append(f"`{path}`: {item['msg']}")
    return found, faults


def _subgraph(
    component: AnyComponent,
    param: ComponentParam,
    registry: Registry,
    inputs: frozenset[str],
    roots: Roots,
    depth: int,
) -> Graph | None:
    body = component.subflow_of(param)
    if body is None:
        return None
    if depth + 1 >= MAX_DEPTH:
        raise FlowError([f"flows can be nested at most {MAX_DEPTH} deep"])
    reads = component.reads_of(param) | component.optional | component.subflow_inputs
    # A flow inside sees of the outer one what it is handed, and what holds for the whole run.
    inner = {"sys": roots["sys"]} if "sys" in roots else {}
    inner |= component.roots_of(param)
    return _parse(body, registry, inputs | reads, inner, depth=depth + 1)


def _param_faults(component: AnyComponent, error: ValidationError) -> list[str]:
    """One sentence a fault; the value itself is left out, it may be a secret."""
    faults = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(map(str, item["loc"]))
        if item["type"] == "extra_forbidden":
            takes = ", ".join(f.alias or n for n, f in component.Param.model_fields.items())
            hint = f" ({component.type} takes: {takes})" if len(item["loc"]) == 1 else ""
            faults.append(f"param `{path}` is not known{hint}")
        elif path:
            faults.append(f"param `{path}`: {item['msg']}")
        else:
            faults.append(f"param: {item['msg']}")
    return faults


def _edges(
    raw_edges: Sequence[Mapping[str, Any]], known: Sequence[str], faults: list[str]
) -> list[Edge]:
    """The sound edges; what is wrong with the others is noted."""
    edges: dict[Edge, int] = {}
    for index, raw in enumerate(raw_edges):
        source, target = raw.get("source"), raw.get("target")
        if not isinstance(source, str) or not isinstance(target, str):
            faults.append(f"edges[{index}]: `source` and `target` must be ids of components")
            continue
        edge = Edge(source, target)
        unknown = [i for i in dict.fromkeys((source, target)) if i not in known]
        faults += [f"edge {edge}: there is no component {i!r}" for i in unknown]
        if source == target:
            faults.append(f"edge {edge}: a component can't follow itself")
        elif not unknown:
            edges[edge] = edges.get(edge, 0) + 1
    faults += [f"edge {edge}: given {n} times" for edge, n in edges.items() if n > 1]
    return list(edges)


def _ambiguities(
    known: Sequence[str], nodes: Mapping[str, Node], edges: Sequence[Edge]
) -> list[str]:
    """Keys that two components, neither after the other, write for one that reads them."""
    upstream, _ = neighbours(known, edges)
    ancestors = ancestors_of(topological_order(known, edges), upstream)
    faults = []
    for node in nodes.values():
        if node.component.reads_by_id:
            continue
        before = [nodes[i] for i in known if i in ancestors[node.id] and i in nodes]
        for key in keys_read(node):
            writers = [n.id for n in before if key in n.component.writes_of(n.param)]
            rivals = latest(writers, ancestors)
            if len(rivals) > 1:
                names = " and ".join(map(repr, rivals))
                faults.append(
                    f"component {node.id!r}: its input `{key}` is ambiguous, {names} both write it"
                )
    return faults


def _missing_reads(
    nodes: Mapping[str, Node], edges: Sequence[Edge], inputs: frozenset[str]
) -> list[str]:
    graph = build_graph(nodes, edges, inputs=inputs, text="")
    return [
        f"component {node.id!r}: it reads `{key}`, which nothing before it writes"
        for node in nodes.values()
        for key in sorted(node.component.reads_of(node.param) - inputs)
        if not graph.writers[node.id][key]
    ]


def _objects(
    loaded: Mapping[str, Any], key: str, allowed: tuple[str, ...], faults: list[str]
) -> list[dict[str, Any]]:
    items = loaded.get(key, [])
    if not isinstance(items, list):
        faults.append(f"`{key}` must be a list, not {_short(items)}")
        return []
    objects = []
    for index, item in enumerate(items):
        where = f"{key}[{index}]"
        if isinstance(item, dict):
            faults += _unknown_keys(where, item, allowed)
            objects.append(item)
        else:
            faults.append(f"{where} must be an object, not {_short(item)}")
    return objects


def _unknown_keys(where: str, item: Mapping[str, Any], allowed: tuple[str, ...]) -> list[str]:
    return [
        f"{where}: unknown key {key!r} (allowed: {', '.join(allowed)})"
        for key in item
        if key not in allowed
    ]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _dump(dsl: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dsl, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise FlowError([f"the flow can't be written as JSON: {error}"]) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = [key for key, n in Counter(key for key, _ in pairs).items() if n > 1]
        raise ValueError(f"key {twice[0]!r} occurs twice in an object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
