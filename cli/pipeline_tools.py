"""What checks and draws pipelines over HTTP: only `ingestion` knows the components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.flow.graph import Graph


class ComponentTools:
    """The components that the workers of an engine have, loaded when they are first asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def load(self, dsl: str) -> Graph:
        """The graph of a pipeline that workers can run; `FlowError` has all faults."""
        from ingestion.pipelines import load_pipeline, offers_of, open_registry

        registry = open_registry(self._engine.settings).registry
        return load_pipeline(dsl, registry, offers=offers_of(self._engine.model))

    def load_to_draw(self, dsl: str) -> Graph:
        """The same of one that may need a model there is not."""
        from ingestion.pipelines import load_pipeline, open_registry

        return load_pipeline(dsl, open_registry(self._engine.settings).registry)

    def describe(self) -> list[dict[str, Any]]:
        """Every component: what it reads and writes, and how it can be set."""
        from ingestion.pipelines import open_registry

        return open_registry(self._engine.settings).registry.describe()
