"""The components of workflows, described from their classes: for editors, the API and the docs."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from engine.workflows.component import WorkflowComponent
from engine.workflows.components import COMPONENTS

EFFECTS = {
    "pure": "changes nothing and costs nothing",
    "read": "reads what the run may read",
    "paid": "may ask a language model",
    "write": "changes something outside",
}


def describe_components() -> list[dict[str, Any]]:
    """Each component: what it is for, its effect, what it needs, writes and can be set to."""
    return [_described(item) for item in sorted(COMPONENTS, key=lambda item: item.type)]


def _described(component: type[WorkflowComponent]) -> dict[str, Any]:
    return {
        "type": component.type,
        "description": " ".join((component.__doc__ or "").split("\n\n")[0].split()),
        "effect": component.effect,
        "needs": sorted(component.needs),
        "aliases": list(component.aliases),
        "writes": _written(component),
        "param": component.Param.model_json_schema(by_alias=True),
    }


def _written(component: type[WorkflowComponent]) -> dict[str, Any]:
    """What it writes whatever its parameters are; a component of its own keys says no more."""
    if component.output:
        return {key: dict(schema) for key, schema in component.output.items()}
    try:
        return {key: dict(v) for key, v in component.schema_of(component.Param()).items()}
    except (ValidationError, AttributeError):
        return {}
