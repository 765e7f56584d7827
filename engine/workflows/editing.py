"""One change of a flow at a time, as the list of steps and the canvas make them. Pure.

Every command takes a flow as `open_flow` reads it and returns another one; the one it was given
stays as it is. A flow that is edited may have faults: `loading.py` says which.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from engine.errors import Conflict, FlowError, InvalidInput, NotFound
from engine.flow.dsl import load_dsl
from engine.workflows.component import WorkflowComponent
from engine.workflows.components.begin import Begin
from engine.workflows.loading import REGISTRY, complete

Flow = dict[str, Any]
Step = dict[str, Any]

BLANK: Flow = {
    "schema": 1,
    "components": [
        {
            "id": "begin",
            "type": "Begin",
            "param": {"inputs": {"query": {"title": "Question", "required": True}}},
        }
    ],
    "edges": [],
}
_TEXTS = ("answer", "text", "message", "query")  # what a new step most likely continues with


def open_flow(text: str) -> Flow:
    """A text as a flow of components and edges; `FlowError` where it has not even that shape."""
    completed = complete(text)
    flow = dict(completed) if isinstance(completed, dict) else load_dsl(completed)[1]
    flow.setdefault("components", [])
    flow.setdefault("edges", [])
    faults = list(_misshapen(flow))
    if faults:
        raise FlowError(faults)
    return copy.deepcopy(flow)


def _misshapen(flow: Flow) -> Iterator[str]:
    components, edges = flow["components"], flow["edges"]
    if not isinstance(components, list) or not isinstance(edges, list):
        yield "`components` and `edges` must be lists"
        return
    ids = []
    for number, item in enumerate(components):
        ok = isinstance(item, dict) and all(isinstance(item.get(k), str) for k in ("id", "type"))
        if not ok or not isinstance(item.get("param", {}), dict):
            yield f"components[{number}]: give an `id`, a `type` and `param`, an object"
        else:
            ids.append(item["id"])
    if len(set(ids)) < len(ids):
        yield "two components have the same id"
    for number, edge in enumerate(edges):
        ok = isinstance(edge, dict) and all(
            isinstance(edge.get(k), str) for k in ("source", "target")
        )
        if not ok:
            yield f"edges[{number}]: give a `source` and a `target`"
    if not isinstance(flow.get("ui", {}), dict):
        yield "`ui` must be an object"


def text_of_flow(flow: Flow) -> str:
    """A flow as text; `open_flow` reads the same."""
    return json.dumps(flow, ensure_ascii=False, indent=1)


def step_of(flow: Flow, step_id: str) -> Step:
    """A step by its id; `NotFound` where there is none."""
    for step in flow["components"]:
        if step["id"] == step_id:
            found: Step = step
            return found
    raise NotFound(f"No step {step_id!r}.")


def before(flow: Flow, step_id: str) -> list[str]:
    """The steps with an edge to this one."""
    return [edge["source"] for edge in flow["edges"] if edge["target"] == step_id]


def after(flow: Flow, step_id: str) -> list[str]:
    """The steps that this one has an edge to."""
    return [edge["target"] for edge in flow["edges"] if edge["source"] == step_id]


def ancestors(flow: Flow, step_id: str) -> set[str]:
    """Every step that comes before this one."""
    found: set[str] = set()
    waiting = before(flow, step_id)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += before(flow, one)
    return found


def ordered(flow: Flow) -> list[Step]:
    """Its steps, each after those that lead to it; those of a circle come last, as written."""
    left: list[Step] = list(flow["components"])
    done: set[str] = set()
    known = {step["id"] for step in left}
    found: list[Step] = []
    while left:
        ready = [s for s in left if set(before(flow, s["id"])) & known <= done]
        step = ready[0] if ready else left[0]
        found.append(step)
        done.add(step["id"])
        left.remove(step)
    return found


def component_of(kind: str) -> type[WorkflowComponent] | None:
    """The class of a type, None for one that is not known."""
    found = REGISTRY.get(kind)
    return found if found is not None and issubclass(found, WorkflowComponent) else None


def written_by(step: Step) -> dict[str, Mapping[str, Any]]:
    """What a step writes: the JSON schema of each key, as far as its parameters tell."""
    component = component_of(step["type"])
    if component is None:
        return {}
    try:
        return dict(component.schema_of(component.Param.model_validate(step.get("param", {}))))
    except (ValidationError, AttributeError):
        return dict(component.output)


def targets_of(step: Step) -> list[str]:
    """The steps that its parameters choose among."""
    component = component_of(step["type"])
    found: list[str] = []
    if component is not None:
        schema = component.Param.model_json_schema(by_alias=True)

        def note(value: str) -> str:
            found.append(value)
            return value

        _map_targets(step.get("param", {}), schema, schema.get("$defs", {}), note)
    branch = step.get("on_error")
    if isinstance(branch, dict) and isinstance(branch.get("branch"), str):
        found.append(branch["branch"])
    return list(dict.fromkeys(found))


# Commands


def add_step(flow: Flow, kind: str, *, after_id: str = "") -> tuple[Flow, str]:
    """A new step behind another one, and its id. It goes between the two where there is one next."""
    component = component_of(kind)
    if component is None:
        raise InvalidInput(f"There is no kind of step {kind!r}.", field="type")
    if component is Begin and any(step["type"] == Begin.type for step in flow["components"]):
        raise Conflict("A workflow has one Begin.")
    flow = copy.deepcopy(flow)
    new_id = _free_id(flow, kind)
    if after_id:
        step_of(flow, after_id)
        nexts = after(flow, after_id)
        if len(nexts) == 1 and not targets_of(step_of(flow, after_id)):
            flow["edges"] = [
                edge
                for edge in flow["edges"]
                if (edge["source"], edge["target"]) != (after_id, nexts[0])
            ]
            flow["edges"].append({"source": new_id, "target": nexts[0]})
        flow["edges"].append({"source": after_id, "target": new_id})
    step: Step = {"id": new_id, "type": kind, "param": {}}
    flow["components"].append(step)
    step["param"] = _first_param(flow, step, component)
    return flow, new_id


def set_step(flow: Flow, step_id: str, param: Mapping[str, Any], extra: Mapping[str, Any]) -> Flow:
    """The step with other parameters; `extra` are label, note, retry and on_error, None: without.

    Where it then chooses among steps, edges lead to them.
    """
    flow = copy.deepcopy(flow)
    step = step_of(flow, step_id)
    step["param"] = dict(param)
    for key, value in extra.items():
        if value in (None, "", {}):
            step.pop(key, None)
        else:
            step[key] = value
    known = {item["id"] for item in flow["components"]}
    for target in targets_of(step):
        fits = target in known and target not in ancestors(flow, step_id) | {step_id}
        if fits and target not in after(flow, step_id):
            flow["edges"].append({"source": step_id, "target": target})
    return flow


def connect(flow: Flow, source: str, target: str) -> Flow:
    """An edge from one step to another; `Conflict` says why there can be none."""
    step_of(flow, source)
    end = step_of(flow, target)
    if source == target:
        raise Conflict("A step can't follow itself.")
    if end["type"] == Begin.type:
        raise Conflict("Begin comes first: nothing leads to it.")
    if target in after(flow, source):
        raise Conflict(f"{source} leads to {target} already.")
    if target in ancestors(flow, source):
        raise Conflict(f"{target} comes before {source}: that would be a circle. Use a Loop.")
    flow = copy.deepcopy(flow)
    flow["edges"].append({"source": source, "target": target})
    return flow


def disconnect(flow: Flow, source: str, target: str) -> Flow:
    """Without the edge, and without the choice that goes there."""
    flow = copy.deepcopy(flow)
    flow["edges"] = [
        edge for edge in flow["edges"] if (edge["source"], edge["target"]) != (source, target)
    ]
    _forget_target(step_of(flow, source), target)
    return flow


def remove_step(flow: Flow, step_id: str) -> Flow:
    """Without a step; what was before it leads to what was after it."""
    step_of(flow, step_id)
    flow = copy.deepcopy(flow)
    sources, nexts = before(flow, step_id), after(flow, step_id)
    flow["components"] = [step for step in flow["components"] if step["id"] != step_id]
    flow["edges"] = [e for e in flow["edges"] if step_id not in (e["source"], e["target"])]
    for step in flow["components"]:
        _forget_target(step, step_id)
    if len(nexts) == 1:
        for source in sources:
            if nexts[0] not in after(flow, source):
                flow["edges"].append({"source": source, "target": nexts[0]})
    if isinstance(flow.get("ui"), dict):
        flow["ui"].pop(step_id, None)
    return flow


def move_earlier(flow: Flow, step_id: str) -> Flow:
    """The step before the one that leads to it; in a chain the edges follow."""
    flow = copy.deepcopy(flow)
    sources = before(flow, step_id)
    step = step_of(flow, step_id)
    if len(sources) == 1 and after(flow, sources[0]) == [step_id]:
        previous = step_of(flow, sources[0])
        if previous["type"] == Begin.type:
            raise Conflict("Begin comes first.")
        if targets_of(previous) or targets_of(step):
            raise Conflict("A step that chooses its way can't change places: connect it anew.")
        swap = {step_id: previous["id"], previous["id"]: step_id}
        flow["edges"] = [
            {
                "source": swap.get(edge["source"], edge["source"]),
                "target": swap.get(edge["target"], edge["target"]),
            }
            for edge in flow["edges"]
        ]
    items = flow["components"]
    place = items.index(step)
    if place > 0:
        items[place - 1], items[place] = items[place], items[place - 1]
    return flow


def move_later(flow: Flow, step_id: str) -> Flow:
    """The step behind the one it leads to."""
    nexts = after(flow, step_id)
    if len(nexts) == 1:
        return move_earlier(flow, nexts[0])
    raise Conflict("There is no one step after it to change places with.")


def _free_id(flow: Flow, kind: str) -> str:
    taken = {step["id"] for step in flow["components"]}
    base = re.sub(r"[^a-z0-9_]+", "_", kind.lower()).strip("_") or "step"
    if base in {"item", "index", "inputs", "round", "secret", "sys", "var", "conv"}:
        base += "_step"
    number, name = 1, base
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def _first_param(flow: Flow, step: Step, component: type[WorkflowComponent]) -> dict[str, Any]:
    """A text that a new step must have is the latest that was written before it."""
    schema = component.Param.model_json_schema(by_alias=True)
    found = {}
    for name in schema.get("required", ()):
        if (
            schema["properties"][name].get("type") == "string"
            and "pattern" not in (schema["properties"][name])
        ):
            reference = _latest_text(flow, step["id"])
            if reference:
                found[name] = reference
    return found


def _latest_text(flow: Flow, step_id: str) -> str:
    known = ancestors(flow, step_id)
    for step in reversed([step for step in ordered(flow) if step["id"] in known]):
        writes = written_by(step)
        for key in _TEXTS:
            if writes.get(key, {}).get("type") == "string":
                return f"{{{{{step['id']}.{key}}}}}"
    return ""


def _forget_target(step: Step, target: str) -> None:
    component = component_of(step["type"])
    if component is not None:
        schema = component.Param.model_json_schema(by_alias=True)
        step["param"] = _map_targets(
            step.get("param", {}),
            schema,
            schema.get("$defs", {}),
            lambda value: None if value == target else value,
        )
    branch = step.get("on_error")
    if isinstance(branch, dict) and branch.get("branch") == target:
        step.pop("on_error")


def _map_targets(
    value: Any,  # noqa: ANN401 (JSON)
    schema: Mapping[str, Any],
    defs: Mapping[str, Any],
    change: Callable[[str], str | None],
) -> Any:  # noqa: ANN401 (JSON)
    """`value` with the ids of steps in it changed; a key whose id becomes None is left out."""
    if isinstance(value, dict):
        found = {}
        for key, item in value.items():
            inner = _schemas(schema, defs, key)
            if isinstance(item, str) and any(one.get("format") == "step" for one in inner):
                changed = change(item) if item else item
                if changed is not None:
                    found[key] = changed
                continue
            found[key] = item
            for one in inner:
                found[key] = _map_targets(found[key], one, defs, change)
        return found
    if isinstance(value, list):
        items = [
            one["items"] for one in _resolved(schema, defs) if isinstance(one.get("items"), dict)
        ]
        for one in items:
            value = [_map_targets(item, one, defs, change) for item in value]
    return value


def _schemas(
    schema: Mapping[str, Any], defs: Mapping[str, Any], key: str
) -> list[Mapping[str, Any]]:
    """What a schema says of a key of an object."""
    found: list[Mapping[str, Any]] = []
    for one in _resolved(schema, defs):
        inner = one.get("properties", {}).get(key)
        if isinstance(inner, dict):
            found += _resolved(inner, defs)
    return found


def _resolved(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A schema and its alternatives, with references followed."""
    if "$ref" in schema:
        return _resolved(defs.get(str(schema["$ref"]).rpartition("/")[2], {}), defs)
    found: list[Mapping[str, Any]] = [schema]
    alternatives: Iterable[Mapping[str, Any]] = schema.get("anyOf", ())
    for one in alternatives:
        found += _resolved(one, defs)
    return found
