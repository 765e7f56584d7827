"""Which component types a flow may name: an explicit object, filled by who opens the engine.

Nothing registers itself at import. The built-in components come as a tuple from their package,
plugins add theirs through `engine/plugins.py`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from engine.errors import ConfigurationError
from engine.flow.component import Component, ComponentParam

AnyComponent = type[Component[Any]]

_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class Registry:
    """Component classes by their type name; immutable, `extended` makes a larger one."""

    def __init__(self, components: Iterable[AnyComponent] = ()) -> None:
        self._by_type: dict[str, AnyComponent] = {}
        for component in components:
            check_component(component)
            other = self._by_type.setdefault(component.type, component)
            if other is not component:
                raise ConfigurationError(
                    f"two components are of type {component.type!r}: "
                    f"{_origin(other)} and {_origin(component)}; rename one"
                )

    def __iter__(self) -> Iterator[AnyComponent]:
        return iter(self._by_type.values())

    def __contains__(self, name: object) -> bool:
        return name in self._by_type

    @property
    def types(self) -> list[str]:
        """Every known type name, sorted."""
        return sorted(self._by_type)

    def get(self, name: str) -> AnyComponent | None:
        """The class of type `name`, or None."""
        return self._by_type.get(name)

    def explain_unknown(self, name: str) -> str:
        """What to say about a type that is not there: the nearest one, and all there are."""
        near = difflib.get_close_matches(name, self._by_type, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        return f"unknown type {name!r}{hint} (known: {', '.join(self.types) or 'none'})"

    def extended(self, components: Iterable[AnyComponent]) -> Registry:
        """This registry and `components` together; a type twice is a `ConfigurationError`."""
        return Registry([*self, *components])

    def describe(self) -> list[dict[str, Any]]:
        """Each type with what it does, reads, writes and takes (a JSON Schema), sorted."""
        return [
            {
                "type": name,
                "description": (self._by_type[name].__doc__ or "").strip().partition("\n")[0],
                "reads": sorted(self._by_type[name].reads),
                "optional": sorted(self._by_type[name].optional),
                "writes": sorted(self._by_type[name].writes),
                "param": self._by_type[name].Param.model_json_schema(),
            }
            for name in self.types
        ]


def check_component(component: object) -> AnyComponent:
    """`component` if it is a usable component class, else `ConfigurationError` with the reason."""
    if not (isinstance(component, type) and issubclass(component, Component)):
        raise ConfigurationError(f"{component!r} is not a subclass of `Component`")
    name = getattr(component, "type", None)
    if not isinstance(name, str) or not _TYPE.fullmatch(name):
        raise ConfigurationError(
            f"{_origin(component)} needs a `type` of letters, digits and _, not {name!r}"
        )
    if not issubclass(component.Param, ComponentParam):
        raise ConfigurationError(
            f"{_origin(component)}.Param must be a subclass of `ComponentParam`"
        )
    return component


def _origin(component: type) -> str:
    return f"{component.__module__}.{component.__qualname__}"
