"""The base of every component of workflows, and what a run hands to it.

A component of a workflow reads by reference (`{{docs.passages}}`), says what running it does
(`effect`) and what it writes (a JSON schema a key); the reference page, the checks and editors are
made from that. Subclasses implement `_work`. Every output carries under `_sources` the ids of the
passages it rests on: its own, and those of every output that its parameters refer to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import BeforeValidator, Field

from engine.db.session import Database
from engine.domain import Audience, Principal
from engine.flow.component import Component, ComponentParam, Fired, Inputs, Output
from engine.flow.context import RunContext
from engine.flow.references import find_references, render_value
from engine.mail.mail import Mail
from engine.models.port import Embedder, LanguageModel
from engine.search.retrieval import Retriever
from engine.secrets import Secrets
from engine.tools.plugin_manager import PluginManager
from engine.workflows.budget import RunMeter
from engine.workflows.effects import EffectLedger
from engine.workflows.metered import BudgetedModel, choose_model
from engine.workflows.run_secrets import RunSecrets
from engine.workflows.sandbox import CodeSandbox
from engine.workflows.templating import TemplateRenderer

SOURCES = "_sources"

Schema = Mapping[str, Any]
STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
ANY: Schema = {}
STRINGS: Schema = {"type": "array", "items": {"type": "string"}}
OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}

# A text that may be a reference to anything: what it leads to is written out.
Text = Annotated[str, BeforeValidator(render_value)]
# The id of a step that a component may go to: editors offer those there are.
StepId = Annotated[str, Field(json_schema_extra={"format": "step"})]


class ModelOf(Protocol):
    """Finds the model that works for a principal: their tenant's, or the installation's; counted."""

    async def __call__(
        self, principal: Principal, *, own: LanguageModel | None = None
    ) -> LanguageModel | None:
        """None where there is none; `own` is what the caller has of the installation's."""


@dataclass(frozen=True, slots=True)
class WorkflowServices:
    """What the installation has for workflows, shared by all runs."""

    db: Database
    retriever: Retriever
    embedder: Embedder
    model: LanguageModel | None = None  # the installation's
    model_of: ModelOf | None = None  # whom a run works for: their tenant's, counted
    allow_private_urls: bool = False
    kb_ids: Any = None  # (principal, name) -> ids: KnowledgeBases.ids
    secrets: Secrets | None = None  # opens what workflows use by name
    children: Any = None  # WorkflowChildren: starts and finds runs that a run starts
    mail: Mail | None = None
    tools: PluginManager | None = None  # those of plugins


@dataclass(slots=True)
class WorkflowRun:
    """One run as its components see it: for whom it works, who sees it, and what it may spend."""

    services: WorkflowServices
    run_id: str
    principal: Principal
    audience: Audience
    meter: RunMeter
    started_at: datetime
    effects: EffectLedger
    secrets: RunSecrets
    sandbox: CodeSandbox
    templates: TemplateRenderer
    replies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    waits: set[str] = field(default_factory=set)  # runs that components of this one wait for

    def model(self, *, name: str = "", temperature: float | None = None) -> BudgetedModel:
        """The language model within the run's budget; `Unavailable` where there is none."""
        chosen = choose_model(self.services.model, name=name, temperature=temperature)
        return BudgetedModel(chosen, self.meter)


class WorkflowComponent(Component[WorkflowRun]):
    """A component of workflows; see the top of this module."""

    takes_references = True
    output: ClassVar[Mapping[str, Schema]] = {}  # what it writes, where parameters don't decide
    aliases: ClassVar[tuple[str, ...]] = ()  # what RAGFlow and Dify call it

    def __init__(self, component_id: str, param: ComponentParam, subgraph: object = None) -> None:
        super().__init__(component_id, param, subgraph)
        self.sources: dict[str, None] = {}

    @classmethod
    def writes_of(cls, param: Any) -> frozenset[str]:  # noqa: ANN401
        """The keys of its schema."""
        return frozenset(cls.schema_of(param))

    @classmethod
    def schema_of(cls, param: Any) -> Mapping[str, Schema]:  # noqa: ANN401, ARG003
        """A JSON schema for each key it writes; `output` unless overridden."""
        return cls.output

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        """The work itself."""
        raise NotImplementedError(f"{type(self).__name__} has no _work")

    async def _invoke(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        self.sources = dict.fromkeys(self._inherited(context, inputs))
        try:
            result = await self._work(context, inputs)
        except Exception as error:
            context.services.secrets.mask_error(error)
            raise
        fired = result.targets if isinstance(result, Fired) else None
        output: dict[str, Any] = dict(result.output if isinstance(result, Fired) else result or {})
        output = context.services.secrets.mask(output)
        if self.sources:
            output[SOURCES] = list(self.sources)
        return output if fired is None else Fired(output, fired)

    def rest_on(self, chunk_ids: Iterable[str]) -> None:
        """Note passages that the output rests on."""
        self.sources.update(dict.fromkeys(chunk_ids))

    def _inherited(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Iterable[str]:
        """The sources of everything that the parameters refer to, and of what is merged in."""
        yield from context.scope.get(SOURCES, ())
        given = self.given.model_dump(mode="json", exclude_unset=True, exclude=set(self.literal))
        named = {path.root for found in find_references(given) for path in found.paths}
        for node_id, output in inputs.by_id.items():
            if node_id in named or (self.optional & output.keys()):
                yield from output.get(SOURCES, ())


def scope_of(context: RunContext[WorkflowRun], key: str) -> str:
    """A text of `sys`, such as what was asked."""
    found = context.scope.get("sys", {}).get(key)
    return found if isinstance(found, str) else ""


def known_targets(*targets: str | None) -> Collection[str]:
    """Those that are named."""
    return frozenset(target for target in targets if target)
