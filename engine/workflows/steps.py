"""A workflow described as a list of steps, as RAGFlow's documentation writes them. Pure.

    {"name": "qa",
     "steps": [{"type": "query_preprocessor"},
               {"type": "knowledge_base_search", "config": {"knowledge_bases": ["team"]}},
               {"type": "answer_generation", "config": {"llm_model": "…", "include_citations": true}},
               {"type": "answer_validation", "config": {"confidence_threshold": 0.7}}],
     "output_format": {"answer": "string", "confidence": "number",
                       "citations": "array", "retrieval_context": "array"}}

Steps follow one another; each reads what the ones before it wrote. `flow_of_steps` makes the DSL of
it, with an Output that holds what `output_format` names.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from engine.errors import FlowError

_TYPES = {
    "query_preprocessor": "Rewrite",
    "knowledge_base_search": "Retrieval",
    "answer_generation": "Answer",
    "answer_validation": "Validate",
}
_KIND_KEYS = ("type", "component", "step", "action", "name", "id")
_SETTINGS_KEYS = ("config", "params", "parameters", "param", "settings", "options")
_STEP_KEYS = {*_KIND_KEYS, *_SETTINGS_KEYS, "description"}
_RENAMED = {  # what a setting of a step is called in a component's parameters
    "llm_model": "model",
    "model_name": "model",
    "include_citations": "citations",
    "confidence_threshold": "threshold",
    "knowledge_bases": "kbs",
    "knowledge_base": "kbs",
    "knowledge_base_ids": "kbs",
    "kb_ids": "kbs",
    "kb": "kbs",
    "top_k": "k",
    "top_n": "k",
    "limit": "k",
    "max_results": "k",
    "similarity_threshold": "min_confidence",
    "search_type": "mode",
    "on_fail": "action",
    "expand_query": "expand",
}
_OUTPUTS: Mapping[str, tuple[str, str]] = {
    "answer": ("string", "answer"),
    "confidence": ("number", "confidence"),
    "citations": ("array", "citations"),
    "retrieval_context": ("array", "retrieval_context"),
    "grounded": ("boolean", "grounded"),
}
_SAME_TYPE = {
    "str": "string",
    "text": "string",
    "float": "number",
    "list": "array",
    "bool": "boolean",
    "int": "integer",
}


def flow_of_steps(loaded: Mapping[str, Any]) -> dict[str, Any]:
    """The DSL of a description in steps. Raises `FlowError` with every fault."""
    faults: list[str] = []
    allowed = ("schema", "name", "description", "version", "inputs", "steps", "output_format", "ui")
    faults += [f"the flow: unknown key {key!r}" for key in loaded if key not in allowed]
    steps = loaded["steps"]
    if not isinstance(steps, list) or not steps:
        raise FlowError([*faults, "`steps` must be a list with at least one step"])
    kinds: list[tuple[str, dict[str, Any]]] = []
    for number, step in enumerate(steps):
        found = _step(step, f"steps[{number}]", faults)
        if found is not None and found[0] in {kind for kind, _ in kinds}:
            faults.append(f"steps[{number}]: {found[0]!r} is there already")
        elif found is not None:
            kinds.append(found)
    outputs = _outputs(loaded.get("output_format"), [kind for kind, _ in kinds], faults)
    if faults:
        raise FlowError(faults)
    components = [
        {"id": kind, "type": _TYPES[kind], "param": {**_wiring(kind, kinds), **settings}}
        for kind, settings in kinds
    ]
    if outputs:
        components.append({"id": "output", "type": "Output", "param": outputs})
    ids = ["begin", *(item["id"] for item in components)]
    begin = {"id": "begin", "type": "Begin", "param": {}}
    flow: dict[str, Any] = {
        "components": [begin, *components],
        "edges": [{"source": a, "target": b} for a, b in pairwise(ids)],
    }
    for key in ("name", "description", "ui"):
        if key in loaded:
            flow[key] = loaded[key]
    return flow


def _step(step: object, where: str, faults: list[str]) -> tuple[str, dict[str, Any]] | None:
    """A step's kind, and its settings under our names."""
    if isinstance(step, str):
        step = {"type": step}
    if isinstance(step, dict) and len(step) == 1 and next(iter(step)) in _TYPES:
        [(only, given)] = step.items()
        step = {"type": only, "config": given if given is not None else {}}
    if not isinstance(step, dict):
        faults.append(f"{where} must be an object with a `type`, or the name of a step")
        return None
    named = [step[key] for key in _KIND_KEYS if isinstance(step.get(key), str)]
    kind = next((name for name in named if name in _TYPES), None)
    if kind is None:
        said = named[0] if named else ""
        near = difflib.get_close_matches(said, _TYPES, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        faults.append(f"{where}: unknown step {said!r}{hint} (known: {', '.join(_TYPES)})")
        return None
    settings: dict[str, Any] = {k: v for k, v in step.items() if k not in _STEP_KEYS}
    for key in _SETTINGS_KEYS:
        given = step.get(key, {})
        if isinstance(given, dict):
            settings |= given
        else:
            faults.append(f"{where}: `{key}` must be an object")
    return kind, {_RENAMED.get(name, name): value for name, value in settings.items()}


def _wiring(kind: str, kinds: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """What a step reads of the steps before it."""
    there = [name for name, _ in kinds]
    before = there[: there.index(kind)]
    rewritten = "query_preprocessor" in before
    param: dict[str, Any] = {"query": "{{begin.query}}"}
    if kind == "knowledge_base_search" and rewritten:
        param["query"] = "{{query_preprocessor.query}}"
    if kind in {"answer_generation", "answer_validation"} and "knowledge_base_search" in before:
        param["passages"] = "{{knowledge_base_search.passages}}"
    if kind == "answer_validation":
        param["answer"] = "{{answer_generation.answer}}"
    return param


def _outputs(given: object, kinds: list[str], faults: list[str]) -> dict[str, Any]:
    """The parameters of the Output that an `output_format` asks for."""
    wanted = _wanted(given)
    if wanted is None:
        faults.append("`output_format` must be an object or a list of names")
        return {}
    values: dict[str, str] = {}
    schema: dict[str, Any] = {}
    for name, kind in wanted.items():
        if name not in _OUTPUTS:
            faults.append(f"output_format: unknown {name!r} (known: {', '.join(_OUTPUTS)})")
            continue
        real, key = _OUTPUTS[name]
        said = _SAME_TYPE.get(str(kind), str(kind))
        if said in {"string", "number", "integer", "array", "boolean", "object"} and said != real:
            faults.append(f"output_format: `{name}` is of type {real}, not {kind}")
        values[name] = _source(name, key, kinds)
        schema[name] = {"type": real, "required": True}
    return {"values": values, "schema": schema} if values else {}


def _source(name: str, key: str, kinds: list[str]) -> str:
    if name == "answer" and "answer_validation" in kinds:
        return "{{answer_validation.answer}}"
    return f"{{{{answer_generation.{key}}}}}"


def _wanted(given: object) -> dict[str, Any] | None:
    """Names with what is said of their types; several ways to write it."""
    if given is None:
        return {}
    if isinstance(given, list) and all(isinstance(item, str) for item in given):
        return dict.fromkeys(given, "")
    if not isinstance(given, dict):
        return None
    for key in ("fields", "properties", "schema"):
        inner = given.get(key)
        if isinstance(inner, list | dict):
            return _wanted(inner)
    wanted = {key: value for key, value in given.items() if key not in {"type", "format"}}
    return {
        name: value.get("type", "") if isinstance(value, dict) else value
        for name, value in wanted.items()
        if value is not False
    }
