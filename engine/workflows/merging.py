"""What two texts of a flow differ in, in words, and one text of two that were changed apart. Pure."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.workflows.editing import Flow, Step

SHOWN = 60  # characters of a value in words
_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class MergedFlow:
    """One flow of two. `conflicts` says what both changed differently; there it is as theirs."""

    flow: Flow
    conflicts: tuple[str, ...]


def differences(old: Flow, new: Flow) -> list[str]:
    """What changed, a sentence each; where things are drawn does not count."""
    before, now = _steps(old), _steps(new)
    found = [f"New step {_named(now[i])}." for i in now if i not in before]
    found += [f"Step {_named(before[i])} removed." for i in before if i not in now]
    for step_id in before:
        if step_id in now:
            found += _of_step(before[step_id], now[step_id])
    old_edges, new_edges = _edges(old), _edges(new)
    kept = set(before) & set(now)
    found += [f"{a} now leads to {b}." for a, b in new_edges if (a, b) not in old_edges]
    found += [
        f"{a} no longer leads to {b}."
        for a, b in old_edges
        if (a, b) not in new_edges and {a, b} <= kept
    ]
    for key in ("name", "description", "inputs"):
        if old.get(key) != new.get(key):
            found.append(f"{key}: {_said(old.get(key, _ABSENT))} → {_said(new.get(key, _ABSENT))}.")
    return found


def merge(base: Flow, mine: Flow, theirs: Flow) -> MergedFlow:
    """Both changes of `base`. A step both changed is merged parameter by parameter."""
    conflicts: list[str] = []
    ours, others, origin = _steps(mine), _steps(theirs), _steps(base)
    steps: list[Step] = []
    for step_id in dict.fromkeys([*others, *ours]):
        one = _three_way(
            origin.get(step_id, _ABSENT),
            ours.get(step_id, _ABSENT),
            others.get(step_id, _ABSENT),
            step_id,
            conflicts,
        )
        if one is not _ABSENT:
            steps.append(one)
    known = {step["id"] for step in steps}
    mine_e, theirs_e, base_e = _edges(mine), _edges(theirs), _edges(base)
    edges = [e for e in theirs_e if e in mine_e or e not in base_e]
    edges += [e for e in mine_e if e not in theirs_e and e not in base_e]
    flow = copy.deepcopy(theirs)
    for key in {*base, *mine, *theirs} - {"components", "edges", "ui"}:
        was, my, their = (side.get(key, _ABSENT) for side in (base, mine, theirs))
        if my != was and my is not _ABSENT:
            if their not in (was, my):
                conflicts.append(f"{key} of the workflow")
            else:
                flow[key] = my
    flow["components"] = steps
    flow["edges"] = [{"source": a, "target": b} for a, b in edges if {a, b} <= known]
    places = {**_ui(theirs), **{k: v for k, v in _ui(mine).items() if _ui(base).get(k) != v}}
    if places:
        flow["ui"] = places
    return MergedFlow(flow, tuple(conflicts))


def _three_way(base: Any, mine: Any, theirs: Any, where: str, conflicts: list[str]) -> Any:  # noqa: ANN401 (JSON)
    if mine in (theirs, base):
        return theirs
    if theirs == base:
        return mine
    if all(isinstance(side, dict) for side in (base, mine, theirs)):
        merged = {}
        for key in dict.fromkeys([*theirs, *mine]):
            was, my, their = (side.get(key, _ABSENT) for side in (base, mine, theirs))
            value = _three_way(was, my, their, f"{where}, {key}", conflicts)
            if value is not _ABSENT:
                merged[key] = value
        return merged
    conflicts.append(where.replace(", param, ", ", "))
    return theirs if theirs is not _ABSENT else mine  # nothing of it is lost


def _of_step(old: Step, new: Step) -> list[str]:
    name = old["id"]
    found = []
    if old["type"] != new["type"]:
        found.append(f"{name}: {old['type']} → {new['type']}.")
    before, now = old.get("param", {}), new.get("param", {})
    for key in dict.fromkeys([*before, *now]):
        was, is_now = before.get(key, _ABSENT), now.get(key, _ABSENT)
        if was != is_now:
            found.append(f"{name}: {key} {_said(was)} → {_said(is_now)}.")
    for key in ("label", "note", "retry", "on_error"):
        if old.get(key) != new.get(key):
            was, is_now = old.get(key, _ABSENT), new.get(key, _ABSENT)
            found.append(f"{name}: {key.replace('_', ' ')} {_said(was)} → {_said(is_now)}.")
    return found


def _said(value: object) -> str:
    if value is _ABSENT or value in (None, ""):
        return "not set"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1].rstrip() + "…"


def _named(step: Mapping[str, Any]) -> str:
    return f"{step['id']} ({step['type']})"


def _steps(flow: Flow) -> dict[str, Step]:
    return {step["id"]: step for step in flow["components"]}


def _edges(flow: Flow) -> list[tuple[str, str]]:
    return list(dict.fromkeys((edge["source"], edge["target"]) for edge in flow["edges"]))


def _ui(flow: Flow) -> dict[str, Any]:
    found = flow.get("ui", {})
    return dict(found) if isinstance(found, dict) else {}
