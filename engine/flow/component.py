'''The base of everything a flow can run, and how to write one.

A component is a class with a `type`, a `Param` model, the keys it reads and writes, and `_invoke`:

    class WordCount(Component[MyServices]):
        """Counts the words of a text."""

        type = "WordCount"
        reads = frozenset({"text"})        # must be written by a component before this one
        optional = frozenset({"title"})    # read where there is one
        writes = frozenset({"words"})      # writing any other key is an error

        class Param(ComponentParam):
            minimum: int = Field(default=1, ge=1)

        param: Param

        async def _invoke(self, context: RunContext[MyServices], inputs: Inputs) -> Output:
            words = [w for w in inputs["text"].split() if len(w) >= self.param.minimum]
            context.progress(self.id, 0.5, "split")
            return {"words": len(words)}

and joins a flow by being handed to a `Registry`. The rules:

- One instance a run and node: state on `self` is private to that one invocation.
- `inputs[key]` is the merged view: of all components before this one, the nearest that wrote the
  key. Where two that don't follow one another write it, the flow does not load, unless the class
  sets `reads_by_id` and takes `inputs.by_id["parser"]["text"]`. Input is never changed in place.
- Output is JSON under `MAX_OUTPUT_BYTES`; long texts and bytes go to the blob store and travel as
  `BlobRef`. Either return it, or `set_output(key, value)` as it comes, or both.
- Return `Fired(output, targets=("yes",))` to follow only the edges to those components; the
  others, and what hangs on them alone, are skipped.
- Raise `Pause("Which year?")` to wait for a person; the run ends `paused`, and when it is resumed
  `_invoke` is called again with `inputs.reply` (and `inputs.saved`, what Pause was given).
- Raise an `EngineError` (most often `DocumentError`) whose message may be shown to a person. Any
  other exception is logged in full and shown only as "failed unexpectedly".
- Nothing heavy or blocking on the loop: `anyio.to_thread.run_sync`, with
  `context.check_cancelled()` now and then inside. A thread can't be stopped from outside.
- It may run again after a crash: what it does twice must be as good as once.
- What a host may lack is named in `needs` ("language_model"): a flow that needs what is not there
  does not load.
- `checkpoint = False` if redoing it is cheap; `checkpoint_now = True` if it must not be repeated
  (paid for, visible to people): then its output is in SQL before anything after it starts.
- `effect` says what running it does; one that is "paid" or "write" is always checkpointed at once.
- With `takes_references` the texts of its parameters may hold `{{node.key}}`; `self.param` has the
  values in place of them when `_invoke` is called (`references.py`).
'''

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.errors import InvalidInput, OverTime
from engine.flow.context import RunContext, Services
from engine.flow.outputs import normalise_output

DEFAULT_TIMEOUT_S = 600.0


class ComponentParam(BaseModel):
    """What a node's `param` may hold; subclass it for a component's own settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    timeout_s: float | None = Field(default=None, gt=0)  # None: the component's own default


ParamModel = type[ComponentParam]


@dataclass(frozen=True, slots=True)
class Fired:
    """An output together with the ids of the next components to go to; () goes nowhere."""

    output: Mapping[str, object]
    targets: tuple[str, ...]


Output = Mapping[str, object] | Fired | None

# What running a component does: nothing outside it, it reads, it costs money, it changes something.
Effect = Literal["pure", "read", "paid", "write"]


@dataclass(frozen=True, slots=True)
class Assigns:
    """A variable of the run that a component changes.

    `apply` makes the new value of the one before and of what the component's output has under
    "operand". `commutes`: two that may run at once may both change it.
    """

    name: str
    apply: Callable[[Any, Any], Any]
    commutes: bool


class Pause(Exception):
    """Stops the run until a person answers: `reason` is shown to them, `saved` comes back.

    `form` says what they are asked for. `inner` are the reasons of what paused in a flow inside the
    component, by path: those are answered, and not the component itself.
    """

    def __init__(
        self,
        reason: str,
        *,
        saved: Mapping[str, object] | None = None,
        form: Mapping[str, object] | None = None,
        inner: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.saved = dict(saved or {})
        self.form = dict(form or {})
        self.inner = dict(inner or {})


@dataclass(frozen=True, slots=True)
class Inputs(Mapping[str, Any]):
    """What a component may read: the merged view by key, and every output before it by id.

    `by_id` also holds the run's own input, under "$input". `upstream` are the ids with an edge
    to this component that ran. Outputs hold `_created_time` and `_elapsed_time` beside their keys;
    the merged view leaves out what begins with "_".
    """

    merged: Mapping[str, Any]
    by_id: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    upstream: tuple[str, ...] = ()
    reply: Mapping[str, Any] | None = None
    saved: Mapping[str, Any] | None = None

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 (JSON)
        try:
            return self.merged[key]
        except KeyError:
            raise KeyError(
                f"no input {key!r}: either the class does not declare it in `reads` or "
                "`optional`, or no component before it wrote it"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.merged)

    def __len__(self) -> int:
        return len(self.merged)


class Component(Generic[Services]):
    """One step of a flow; see the top of this module for how to write one."""

    type: ClassVar[str]
    Param: ClassVar[ParamModel] = ComponentParam
    reads: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[frozenset[str]] = frozenset()
    reads_by_id: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset()  # of the host, which may not have it
    subflow_inputs: ClassVar[frozenset[str]] = frozenset()  # keys it starts its subgraph with
    timeout_s: ClassVar[float] = DEFAULT_TIMEOUT_S
    effect: ClassVar[Effect] = "pure"
    takes_references: ClassVar[bool] = False
    literal: ClassVar[frozenset[str]] = frozenset()  # parameters in which {{…}} is no reference
    secret: ClassVar[frozenset[str]] = frozenset()  # parameters in which {{secret.…}} may occur
    checkpoint: ClassVar[bool] = True
    checkpoint_now: ClassVar[bool] = False
    weight: ClassVar[float] = 1.0  # share of the run's progress, relative to the others

    def __init__(self, component_id: str, param: ComponentParam, subgraph: object = None) -> None:
        self.id = component_id
        self.param = self.given = param  # given: with references as they are written
        self.subgraph = subgraph
        self.targets: tuple[str, ...] = ()  # where its edges lead
        self.fired: tuple[str, ...] | None = None
        self.output_bytes = 0
        self._output: dict[str, object] = {}

    # What depends on the parameters may be said by these in place of the class attributes.

    @classmethod
    def reads_of(cls, param: Any) -> frozenset[str]:  # noqa: ANN401, ARG003
        """The keys a node with `param` must find; `reads` unless overridden."""
        return cls.reads

    @classmethod
    def writes_of(cls, param: Any) -> frozenset[str]:  # noqa: ANN401, ARG003
        """The keys a node with `param` writes; `writes` unless overridden."""
        return cls.writes

    @classmethod
    def schema_of(cls, param: Any) -> Mapping[str, Mapping[str, Any]]:  # noqa: ANN401
        """A JSON schema for each key a node with `param` writes; {} for what may be anything."""
        return {key: {} for key in sorted(cls.writes_of(param))}

    @classmethod
    def fires_of(cls, param: Any) -> frozenset[str]:  # noqa: ANN401, ARG003
        """The components it may choose to go to; each needs an edge. Empty: it fires every edge."""
        return frozenset()

    @classmethod
    def assigns_of(cls, param: Any) -> Assigns | None:  # noqa: ANN401, ARG003
        """The variable of the run that a node with `param` changes, if it does."""
        return None

    @classmethod
    def roots_of(cls, param: Any) -> Mapping[str, frozenset[str] | None]:  # noqa: ANN401, ARG003
        """What references in the flow inside it may begin with, and with which keys (None: any)."""
        return {}

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401, ARG003
        """What else is wrong with these parameters, one sentence each."""
        return []

    @classmethod
    def subflow_of(cls, param: Any) -> Mapping[str, Any] | None:  # noqa: ANN401, ARG003
        """The DSL of the flow inside this component (a loop's body), checked with its owner."""
        return None

    async def _invoke(self, context: RunContext[Services], inputs: Inputs) -> Output:
        """The work itself."""
        raise NotImplementedError(f"{type(self).__name__} has no _invoke")

    @classmethod
    def effect_of(cls, param: Any) -> Effect:  # noqa: ANN401, ARG003
        """What running a node with `param` does; `effect` unless overridden."""
        return cls.effect

    @property
    def is_saved_at_once(self) -> bool:
        """Whether what it wrote is in SQL before anything after it starts."""
        return self.checkpoint_now or self.effect_of(self.param) in {"paid", "write"}

    def set_output(self, key: str, value: object) -> None:
        """Put `value` under `key` of the output; a key that is also returned is overwritten."""
        self._output[key] = value

    async def invoke(self, context: RunContext[Services], inputs: Inputs) -> dict[str, Any]:
        """Run once within the time limit; the checked output, with start and elapsed time.

        Raises `OverTime` past the limit, and whatever `_invoke` raises.
        """
        self._output, self.fired = {}, None
        created, start = time.time(), time.perf_counter()
        limit = self.param.timeout_s or self.timeout_s
        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                result = await self._invoke(context, inputs)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise OverTime(
                f"component {self.id!r} ({self.type}) took longer than {limit:g} s: reduce its "
                "work, or raise its `timeout_s`"
            ) from None
        if isinstance(result, Fired):
            self.fired = tuple(result.targets)
            result = result.output
        output = {**self._output, **(result or {})}
        undeclared = {key for key in output if not key.startswith("_")}
        undeclared -= self.writes_of(self.param)
        if undeclared:
            raise InvalidInput(
                f"component {self.id!r} ({self.type}) wrote {', '.join(sorted(undeclared))}, "
                "which its `writes` does not declare"
            )
        output["_created_time"] = created
        output["_elapsed_time"] = time.perf_counter() - start
        checked, self.output_bytes = normalise_output(output)
        return checked
