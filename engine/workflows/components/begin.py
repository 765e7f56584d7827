"""Begin and Output: what a run is started with, and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.errors import InvalidInput
from engine.flow.component import ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from engine.workflows.component import ANY, STRING, Schema, WorkflowComponent, WorkflowRun

TEXT_MAX = 100_000  # characters of one input
Kind = Literal["string", "integer", "number", "boolean", "array", "object"]
_PYTHON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


class Field_(BaseModel):  # noqa: N801 (pydantic has a Field)
    """One input of a flow, or one field of a form: a small part of JSON schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    type: Kind = "string"
    title: str = ""
    description: str = ""
    required: bool = False
    default: Any = None
    enum: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = Field(default=None, alias="maxLength", ge=1)

    def check(self, name: str, value: Any) -> Any:  # noqa: ANN401 (JSON)
        """`value` where it fits, else `InvalidInput` that says what does."""
        kinds = _PYTHON[self.type]
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.type != "boolean"):
            raise InvalidInput(f"`{name}` must be of type {self.type}.", field=name)
        if self.enum is not None and value not in self.enum:
            allowed = ", ".join(map(str, self.enum))
            raise InvalidInput(f"`{name}` must be one of: {allowed}.", field=name)
        if isinstance(value, str) and len(value) > (self.max_length or TEXT_MAX):
            limit = self.max_length or TEXT_MAX
            raise InvalidInput(f"`{name}` is longer than {limit:,} characters.", field=name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.minimum is not None and value < self.minimum:
                raise InvalidInput(f"`{name}` must be at least {self.minimum:g}.", field=name)
            if self.maximum is not None and value > self.maximum:
                raise InvalidInput(f"`{name}` must be at most {self.maximum:g}.", field=name)
        return value

    def schema_(self) -> dict[str, Any]:
        """As JSON schema."""
        shown = self.model_dump(
            mode="json", by_alias=True, exclude={"required"}, exclude_defaults=True
        )
        return {"type": self.type, **shown}


def check_fields(fields: Mapping[str, Field_], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values for every field, defaults included. Raises `InvalidInput` that names the field."""
    unknown = given.keys() - fields.keys()
    if unknown:
        known = ", ".join(fields) or "none"
        raise InvalidInput(
            f"There is no input {min(unknown)!r}; there are: {known}.",
            field=min(unknown),
        )
    values = {}
    for name, field in fields.items():
        value = given.get(name)
        if value is None and field.required and field.default is None:
            raise InvalidInput(f"`{name}` is missing: it is required.", field=name)
        values[name] = field.default if value is None else field.check(name, value)
    return values


def fields_schema(fields: Mapping[str, Field_]) -> dict[str, Any]:
    """Fields as the JSON schema of an object."""
    return {
        "type": "object",
        "properties": {name: field.schema_() for name, field in fields.items()},
        "required": [name for name, field in fields.items() if field.required],
        "additionalProperties": False,
    }


class Begin(WorkflowComponent):
    """Starts a run: one output for each input, and `query`, what was asked."""

    type = "Begin"
    aliases = ("Start", "start")

    class Param(ComponentParam):
        inputs: dict[str, Field_] = Field(default_factory=dict)
        opener: str = Field(default="", max_length=2_000)
        examples: tuple[dict[str, Any], ...] = ()

    param: Param
    literal = frozenset({"inputs", "opener", "examples"})

    @classmethod
    def schema_of(cls, param: Any) -> Mapping[str, Schema]:  # noqa: ANN401
        """A key for each input."""
        return {"query": STRING, **{name: field.schema_() for name, field in param.inputs.items()}}

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401
        """Examples that do not fit the inputs."""
        faults = []
        for number, example in enumerate(param.examples):
            try:
                check_fields(all_fields(param.inputs), example)
            except InvalidInput as error:
                faults.append(f"param `examples.{number}`: {error}")
        return faults

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        return check_fields(all_fields(self.param.inputs), context.input)


def all_fields(declared: Mapping[str, Field_]) -> dict[str, Field_]:
    """The inputs that a Begin declares, and `query`, which every run has."""
    return {"query": Field_(default=""), **declared}


class Produce(WorkflowComponent):
    """Ends a run with an output of named values, each of the type its schema says."""

    type = "Output"
    aliases = ("End", "end", "Answers")

    class Param(ComponentParam):
        values: dict[str, Any]
        schema_: dict[str, Field_] = Field(default_factory=dict, alias="schema")

    param: Param

    @classmethod
    def schema_of(cls, param: Any) -> Mapping[str, Schema]:  # noqa: ANN401
        """A key for each value."""
        return {
            name: param.schema_[name].schema_() if name in param.schema_ else ANY
            for name in param.values
        }

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401
        """Types of values that are not there."""
        missing = param.schema_.keys() - param.values.keys()
        return [f"param `schema`: there is no value {name!r}" for name in sorted(missing)]

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        for name, field in self.param.schema_.items():
            value = self.param.values[name]
            if value is not None or field.required:
                field.check(name, value)
        return self.param.values
