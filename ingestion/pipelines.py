"""From a pipeline's name to the graph a worker runs, and what must hold of every pipeline.

`PipelineGraphs` is the worker's; `load_pipeline` is what the command line checks a flow with before it
is stored. Components come from this package and from plugins (`open_registry`).
"""

from __future__ import annotations

from collections.abc import Collection

from engine.db.session import Database
from engine.documents import pipelines
from engine.documents.upload_options import AS_THE_PIPELINE_SAYS, UploadOptions
from engine.errors import EngineError, FlowError
from engine.flow.dsl import Dsl, parse_flow
from engine.flow.graph import Graph
from engine.flow.pipeline import complete_pipeline
from engine.flow.registry import Registry
from engine.flow.templates import template_text
from engine.models.port import LanguageModel
from engine.plugins import Plugins, load_plugins
from engine.settings import Settings
from ingestion.components import COMPONENTS
from ingestion.upload_pipeline import pipeline_for

# What a component makes is for these: behind them it comes too late.
_BEFORE = {
    "HierarchicalMerger": "Splitter",
    "LanguageDetector": "Splitter",
    "QualityControl": "Tokenizer",
}
_ONCE = ("File", "Parser", "Tokenizer", "Embedder", "Indexer")
KEPT = 64  # parsed graphs of stored flows


def open_registry(settings: Settings) -> Plugins:
    """The components that ship, and those of plugins; a plugin that can't be used says why."""
    return load_plugins(Registry(COMPONENTS), folder=settings.plugins_folder)


def offers_of(model: LanguageModel | None) -> frozenset[str]:
    """What a host with this model has of what components need."""
    return frozenset({"language_model"} if model is not None else ())


def load_pipeline(
    dsl: Dsl,
    registry: Registry,
    *,
    offers: Collection[str] | None = None,
    whole: bool = True,
) -> Graph:
    """The graph of a pipeline, completed unless not `whole`; `FlowError` with all its faults."""
    complete = complete_pipeline(dsl) if whole else dsl
    graph = parse_flow(complete, registry, offers=offers)
    faults = [*_repeated(graph), *_too_late(graph)]
    if faults:
        raise FlowError(faults)
    return graph


def _repeated(graph: Graph) -> list[str]:
    types = [node.component.type for node in graph.nodes.values()]
    return [
        f"{types.count(name)} components are of type {name}; a pipeline can have only one"
        for name in _ONCE
        if types.count(name) > 1
    ]


def _too_late(graph: Graph) -> list[str]:
    faults = []
    for node in graph.nodes.values():
        reader = _BEFORE.get(node.component.type)
        behind = [a for a in graph.ancestors[node.id] if graph.nodes[a].component.type == reader]
        faults += [
            f"component {node.id!r}: {node.component.type} comes after {other!r}, which uses"
            f" its result: put it before"
            for other in behind
        ]
    return faults


class PipelineGraphs:
    """Graphs by tenant and name; each text is parsed once."""

    def __init__(self, db: Database, registry: Registry, *, offers: Collection[str] = ()) -> None:
        self._db = db
        self._registry = registry
        self._offers = offers
        self._graphs: dict[tuple[str, UploadOptions], Graph] = {}

    async def graph(
        self, tenant_id: str, name: str, options: UploadOptions = AS_THE_PIPELINE_SAYS
    ) -> Graph:
        """The graph of a knowledge base's pipeline, as an upload wants it.

        Raises what a person can mend.
        """
        text = template_text(name)
        if text is None:
            async with self._db.read() as session:
                text = await pipelines.load_text(session, tenant_id, name)
        known = self._graphs.get((text, options))
        if known is not None:
            return known
        try:
            graph = load_pipeline(text, self._registry, offers=self._offers)
            if options != AS_THE_PIPELINE_SAYS:
                adapted = pipeline_for(text, options)
                graph = load_pipeline(adapted, self._registry, offers=self._offers)
        except FlowError as error:
            raise EngineError(
                f"The pipeline {name!r} does not load: {error}. Mend it, or give the knowledge base"
                " another one."
            ) from error
        if len(self._graphs) >= KEPT:
            self._graphs.pop(next(iter(self._graphs)))
        self._graphs[text, options] = graph
        return graph
