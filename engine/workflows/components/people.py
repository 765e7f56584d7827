"""Ask and Message: what a run asks of people and tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from engine.errors import InvalidInput
from engine.flow.component import ComponentParam, Fired, Inputs, Output, Pause
from engine.flow.context import RunContext
from engine.workflows.component import (
    BOOLEAN,
    STRING,
    Schema,
    StepId,
    Text,
    WorkflowComponent,
    WorkflowRun,
    known_targets,
)
from engine.workflows.components.begin import Field_, check_fields, fields_schema

DAY_S = 86_400.0
TIMED_OUT = "timed_out"


class FormButton(ComponentParam):
    """A choice of an Ask, and where it leads."""

    label: str = Field(min_length=1, max_length=60)
    to: StepId | None = None


class AskPerson(WorkflowComponent):
    """Asks a person and waits for the reply: fields of a form, buttons, a deadline.

    `to` is `asker` (who started the run), `user:<e-mail>`, `group:<name>`, or `role:<role>`
    for whoever has that role or a stronger one.
    """

    type = "Ask"
    aliases = ("UserFillUp", "HumanInput", "Human Input", "human-input")

    class Param(ComponentParam):
        message: Text
        to: Text = "asker"
        fields: dict[str, Field_] = Field(default_factory=dict, max_length=20)
        buttons: tuple[FormButton, ...] = Field(default=(), max_length=10)
        deadline_s: float = Field(default=7 * DAY_S, ge=1, le=90 * DAY_S)
        on_timeout: StepId | None = None

    param: Param
    literal = frozenset({"fields"})

    @classmethod
    def schema_of(cls, param: Any) -> Mapping[str, Schema]:  # noqa: ANN401
        """A key for each field, and who replied."""
        fixed: Mapping[str, Schema] = {"choice": STRING, "by": STRING, TIMED_OUT: BOOLEAN}
        return {**{name: field.schema_() for name, field in param.fields.items()}, **fixed}

    @classmethod
    def fires_of(cls, param: Any) -> frozenset[str]:  # noqa: ANN401
        """Where buttons and the deadline lead."""
        return frozenset(known_targets(param.on_timeout, *(button.to for button in param.buttons)))

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401
        """An addressee of no known kind."""
        kind = param.to.partition(":")[0]
        if param.to == "asker" or "{{" in param.to or kind in {"user", "group", "role"}:
            return []
        return ["param `to`: write asker, user:<e-mail>, group:<name> or role:<role>"]

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        reply = inputs.reply
        if reply is None:
            raise Pause(self.param.message, form=self._form())
        values = {name: reply.get("fields", {}).get(name) for name in self.param.fields}
        choice = str(reply.get("choice", ""))
        timed_out = bool(reply.get(TIMED_OUT))
        output = {**values, "choice": choice, "by": reply.get("by", ""), TIMED_OUT: timed_out}
        button = next((item for item in self.param.buttons if item.label == choice), None)
        if timed_out:
            return Fired(output, tuple(known_targets(self.param.on_timeout)))
        if button is not None and button.to is not None:
            return Fired(output, (button.to,))
        if self.param.on_timeout is None and not self.fires_of(self.param):
            return output
        chosen = {item.to for item in self.param.buttons} | {self.param.on_timeout}
        return Fired(output, tuple(t for t in self.targets if t not in chosen))

    def _form(self) -> dict[str, Any]:
        return {
            "message": self.param.message,
            "to": self.param.to,
            "schema": fields_schema(self.param.fields),
            "fields": {
                name: field.model_dump(mode="json", by_alias=True, exclude_defaults=True)
                for name, field in self.param.fields.items()
            },
            "buttons": [button.label for button in self.param.buttons],
            "deadline_s": self.param.deadline_s,
            "has_timeout_branch": self.param.on_timeout is not None,
            "sources": list(self.sources),
        }


def check_reply(form: Mapping[str, Any], given: Mapping[str, Any], choice: str) -> dict[str, Any]:
    """The values of a reply to a form; `InvalidInput` that names the field."""
    buttons = form.get("buttons", [])
    if buttons and choice not in buttons:
        raise InvalidInput(f"Choose one of: {', '.join(buttons)}.", field="choice")
    if choice and not buttons:
        raise InvalidInput("This question has no buttons.", field="choice")
    fields = {name: Field_.model_validate(item) for name, item in form.get("fields", {}).items()}
    return check_fields(fields, given)


class Say(WorkflowComponent):
    """Says something to who started the run, and to everyone who sees it."""

    type = "Message"
    aliases = ("answer", "Reply")
    output = {"message": STRING}  # noqa: RUF012 (a ClassVar of the base)

    class Param(ComponentParam):
        text: Text

    param: Param

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        context.add_text(self.id, self.param.text)
        return {"message": self.param.text}
