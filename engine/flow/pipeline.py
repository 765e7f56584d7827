"""Completes an ingestion pipeline, so that a short flow still ends in the index. Pure."""

from __future__ import annotations

from typing import Any

from engine.errors import FlowError
from engine.flow.dsl import Dsl, load_dsl

FIRST = "File"
STAGES = ("Splitter", "Tokenizer", "Embedder", "Indexer")  # every pipeline has them, in this order


def complete_pipeline(dsl: Dsl) -> Dsl:
    """`dsl` with File before it and the stages it lacks after it; itself where nothing is missing.

    A missing stage is put before the next stage that is there (a Splitter before a lone
    Embedder), and where none is, after the terminal components. A flow too broken to complete
    comes back as it is: `parse_flow` says what is wrong with it.
    """
    try:
        _, loaded = load_dsl(dsl)
        flow = _PipelineModel(loaded)
    except (FlowError, KeyError, TypeError, ValueError):
        return dsl
    if not flow.types:
        return dsl
    missing = [stage for stage in STAGES if stage not in flow.types.values()]
    if FIRST in flow.types.values() and not missing:
        return dsl
    if FIRST not in flow.types.values():
        roots = flow.without("target")
        node = flow.add(FIRST, at_start=True)
        flow.edges[:0] = [{"source": node, "target": root} for root in roots]
    for stage in reversed(missing):
        later = [i for i, t in flow.types.items() if t in STAGES[STAGES.index(stage) + 1 :]]
        first = [i for i in later if flow.types[i] == _earliest(flow, later)]
        if len(first) == 1:
            flow.insert_before(first[0], stage)
        else:
            flow.append(stage)
    return {"components": flow.components, "edges": flow.edges}


def insert_stage(dsl: Dsl, stage: str, *, before: str, param: dict[str, Any]) -> Dsl:
    """`dsl` with a component of type `stage` before each of type `before`."""
    flow = _PipelineModel(load_dsl(dsl)[1])
    for target in [i for i, kind in flow.types.items() if kind == before]:
        flow.insert_before(target, stage, param)
    return {"components": flow.components, "edges": flow.edges}


class _PipelineModel:
    """The lists of a DSL, copied so that they may grow."""

    def __init__(self, loaded: dict[str, Any]) -> None:
        self.components: list[dict[str, Any]] = [dict(c) for c in loaded["components"]]
        self.edges = [
            {"source": e["source"], "target": e["target"], **e} for e in loaded.get("edges", [])
        ]
        self.types = {str(c["id"]): str(c["type"]) for c in self.components}

    def without(self, end: str) -> list[str]:
        """The components at no edge's `end`."""
        taken = {edge[end] for edge in self.edges}
        return [i for i in self.types if i not in taken]

    def add(
        self, stage: str, param: dict[str, Any] | None = None, *, at_start: bool = False
    ) -> str:
        """A new component of type `stage`, not connected yet; its id."""
        name = stage.lower()
        number = 2
        while name in self.types:
            name, number = f"{stage.lower()}_{number}", number + 1
        self.components.insert(
            0 if at_start else len(self.components),
            {"id": name, "type": stage, "param": dict(param or {})},
        )
        self.types[name] = stage
        return name

    def append(self, stage: str) -> None:
        terminals = self.without("source")
        node = self.add(stage)
        self.edges += [{"source": terminal, "target": node} for terminal in terminals]

    def insert_before(self, target: str, stage: str, param: dict[str, Any] | None = None) -> None:
        node = self.add(stage, param)
        for edge in self.edges:
            if edge["target"] == target:
                edge["target"] = node
        self.edges.append({"source": node, "target": target})


def _earliest(flow: _PipelineModel, ids: list[str]) -> str:
    return min((flow.types[i] for i in ids), key=STAGES.index, default="")
