"""Model, Assign, Aggregate and Template: text from a model, variables, merged values, written text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from engine.errors import InvalidInput
from engine.flow.component import Assigns, ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from engine.workflows.component import (
    ANY,
    OBJECT,
    STRING,
    Schema,
    Text,
    WorkflowComponent,
    WorkflowRun,
)
from engine.workflows.components.begin import Field_

PROMPT_MAX = 60_000


class Model(WorkflowComponent):
    """Has a language model write a text, or with `schema` fill an object in.

    What it writes is not checked against sources: use Answer for what must be right.
    """

    type = "Model"
    aliases = ("LLM", "llm", "Extract", "parameter-extractor")
    effect = "paid"
    needs = frozenset({"language_model"})

    class Param(ComponentParam):
        system: Text = ""
        prompt: Text
        model: str = ""
        temperature: float | None = Field(default=None, ge=0, le=2)
        max_tokens: int = Field(default=1024, ge=1, le=32_000)
        schema_: dict[str, Field_] | None = Field(default=None, alias="schema")

    param: Param

    @classmethod
    def schema_of(cls, param: Any) -> Mapping[str, Schema]:  # noqa: ANN401
        """A text, or an object."""
        return {"text": STRING} if param.schema_ is None else {"object": OBJECT}

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        param = self.param
        if len(param.prompt) > PROMPT_MAX:
            raise InvalidInput(
                f"component {self.id!r}: the prompt has {len(param.prompt):,} characters, more than "
                f"{PROMPT_MAX:,}: shorten what it refers to.",
                field="prompt",
            )
        model = context.services.model(name=param.model, temperature=param.temperature)
        if param.schema_ is not None:
            schema = object_model(param.schema_)
            found = await model.extract(
                param.system, param.prompt, schema, max_tokens=param.max_tokens
            )
            return {"object": found.value.model_dump(mode="json")}
        text = ""
        async for piece in model.stream(param.system, param.prompt, max_tokens=param.max_tokens):
            if isinstance(piece, str):
                context.add_text(self.id, piece)
            else:
                text = piece.text
        return {"text": text}


_TYPES: Mapping[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def object_model(fields: Mapping[str, Field_]) -> type[BaseModel]:
    """A pydantic model of these fields."""
    parts: dict[str, Any] = {}
    for name, field in fields.items():
        kind = Literal[tuple(field.enum)] if field.enum else _TYPES[field.type]
        described = Field(
            default=... if field.required else field.default, description=field.description or None
        )
        parts[name] = (kind if field.required else kind | None, described)
    return create_model("Output", **parts)


class Assign(WorkflowComponent):
    """Sets a variable of the run, `{{var.name}}`, or appends or adds to it."""

    type = "Assign"
    aliases = ("assigner", "VariableAssigner")
    output = {"operand": ANY}  # noqa: RUF012 (a ClassVar of the base)

    class Param(ComponentParam):
        var: str = Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")
        op: Literal["set", "append", "extend", "increment", "clear"] = "set"
        value: Any = None

    param: Param

    @classmethod
    def assigns_of(cls, param: Any) -> Assigns:  # noqa: ANN401
        """The variable."""
        return Assigns(
            param.var,
            lambda before, operand: _assigned(param.op, before, operand),
            commutes=param.op in {"append", "extend", "increment"},
        )

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        if context.path:
            raise InvalidInput(
                f"component {self.id!r}: a flow inside another can't set variables of the run; "
                "use the loop's `vars`.",
                field="var",
            )
        value = self.param.value
        if self.param.op == "increment" and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise InvalidInput(f"component {self.id!r}: increment by a number.", field="value")
        if self.param.op == "extend" and not isinstance(value, list):
            raise InvalidInput(f"component {self.id!r}: extend by a list.", field="value")
        return {"operand": value}


def _assigned(op: str, before: Any, operand: Any) -> Any:  # noqa: ANN401 (JSON)
    if op == "set":
        return operand
    if op == "clear":
        return None
    if op == "increment":
        return (before if isinstance(before, int | float) else 0) + operand
    so_far = before if isinstance(before, list) else []
    return [*so_far, operand] if op == "append" else [*so_far, *operand]


class Aggregate(WorkflowComponent):
    """Merges values of several components: the first that ran, a list, or one object."""

    type = "Aggregate"
    aliases = ("VariableAggregator", "variable-aggregator")

    class Param(ComponentParam):
        groups: dict[str, tuple[Any, ...]] = Field(min_length=1)
        mode: Literal["first", "list", "merge"] = "first"

    param: Param

    @classmethod
    def schema_of(cls, param: Any) -> Mapping[str, Schema]:  # noqa: ANN401
        """A key for each group."""
        kind = {"first": ANY, "list": {"type": "array"}, "merge": OBJECT}[param.mode]
        return dict.fromkeys(param.groups, kind)

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        return {name: self._merged(values) for name, values in self.param.groups.items()}

    def _merged(self, values: tuple[Any, ...]) -> Any:  # noqa: ANN401 (JSON)
        there = [value for value in values if value is not None]
        if self.param.mode == "first":
            return there[0] if there else None
        if self.param.mode == "list":
            return there
        merged: dict[str, Any] = {}
        for value in there:
            if isinstance(value, Mapping):
                merged |= value
        return merged
