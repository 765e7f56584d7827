"""Code: Python that somebody wrote into a workflow, in a sandbox that reaches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from engine.errors import InvalidInput, TooLarge
from engine.flow.component import ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from engine.workflows.component import STRING, Schema, WorkflowComponent, WorkflowRun
from engine.workflows.components.begin import Field_, check_fields
from engine.workflows.sandbox import SOURCE_MAX

PRINTED = "printed"


class Code(WorkflowComponent):
    """Runs Python in a sandbox: `def main(name, …)` gets `inputs` and returns an object of `outputs`.

    Without a `main` the inputs are names, and the last value counts. There are no files, no network,
    no packages and no clock; 64 MB and 2 seconds. What it prints is under `printed`.
    """

    type = "Code"
    aliases = ("code", "CodeExec", "code-execution")
    needs = frozenset({"workflows_extra"})
    literal = frozenset({"source", "outputs"})

    class Param(ComponentParam):
        language: Literal["python", "python3"] = "python"
        source: str = Field(min_length=1, max_length=SOURCE_MAX)
        inputs: dict[str, Any] = Field(default_factory=dict, max_length=50)
        outputs: dict[str, Field_] = Field(min_length=1, max_length=50)

    param: Param

    @classmethod
    def schema_of(cls, param: Any) -> Mapping[str, Schema]:  # noqa: ANN401
        """A key for each output, and what it printed."""
        return {**{name: field.schema_() for name, field in param.outputs.items()}, PRINTED: STRING}

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401
        """Names of inputs that Python can't have, and an output of the name that is taken."""
        faults = [
            f"param `inputs`: {name!r} is no name in Python"
            for name in param.inputs
            if not name.isidentifier() or name.startswith("__")
        ]
        if PRINTED in param.outputs:
            faults.append(f"param `outputs`: {PRINTED!r} is what the code prints; choose another")
        return faults

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        try:
            found = await context.services.sandbox.run(self.param.source, self.param.inputs)
            checked = self._checked(found.value)
        except (InvalidInput, TooLarge) as error:
            raise type(error)(f"component {self.id!r}: {error}") from None
        return {**checked, PRINTED: found.printed}

    def _checked(self, value: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
        """What the code returned, as its outputs say; with one output it may be the value itself."""
        if not isinstance(value, dict) and len(self.param.outputs) == 1:
            value = {next(iter(self.param.outputs)): value}
        if not isinstance(value, dict):
            wanted = ", ".join(self.param.outputs)
            raise InvalidInput(f"the code must return an object with {wanted}.", field="source")
        return check_fields(self.param.outputs, value)
