"""Template: text from a template and values."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from engine.errors import InvalidInput
from engine.flow.component import ComponentParam, Inputs, Output
from engine.flow.context import RunContext
from engine.workflows.component import STRING, WorkflowComponent, WorkflowRun

TEMPLATE_MAX = 20_000  # characters


class Template(WorkflowComponent):
    """Writes a text from a template: `{{ name }}`, `{% for %}`, `{% if %}` and filters, as in Jinja.

    The template sees `values` and nothing else. In the template itself braces are the template's; what
    it shows of other components is named in `values`.
    """

    type = "Template"
    aliases = ("template-transform", "TemplateTransform", "StringTransform")
    needs = frozenset({"workflows_extra"})
    literal = frozenset({"template"})
    output = {"text": STRING}  # noqa: RUF012 (a ClassVar of the base)

    class Param(ComponentParam):
        template: str = Field(max_length=TEMPLATE_MAX)
        values: dict[str, Any] = Field(default_factory=dict, max_length=50)

    param: Param

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        try:
            renderer = context.services.templates
            text = await renderer.render(self.param.template, self.param.values)
        except InvalidInput as error:
            raise InvalidInput(f"component {self.id!r}: {error}", field="template") from None
        return {"text": text}
