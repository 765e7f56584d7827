"""Workflow: another workflow, as a run of its own within what this run may see and spend."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from engine.errors import InvalidInput, Unavailable
from engine.flow.component import ComponentParam, Inputs, Output, Pause
from engine.flow.context import RunContext
from engine.flow.store import ENDED, SUCCEEDED, RunState
from engine.workflows.component import OBJECT, STRING, WorkflowComponent, WorkflowRun


class RunWorkflow_(WorkflowComponent):  # noqa: N801 (ingestion has a RunWorkflow)
    """Runs another published workflow and hands on what it wrote; its questions go to the same asker.

    It works for the same person, shows nothing to a wider audience, and spends from this run's budget:
    `share` is how much of what is left it may use up. Workflows may be five deep.
    """

    type = "Workflow"
    aliases = ("SubWorkflow", "workflow", "ExecuteWorkflow")
    effect = "paid"
    literal = frozenset({"workflow", "share"})
    output = {  # noqa: RUF012 (a ClassVar of the base)
        "result": OBJECT,
        "text": STRING,
        "state": STRING,
        "run_id": STRING,
    }

    class Param(ComponentParam):
        workflow: str = Field(min_length=1, max_length=64)
        inputs: dict[str, Any] = Field(default_factory=dict)
        share: float = Field(default=0.5, gt=0, le=1)

    param: Param

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        run, path = context.services, context.path + self.id
        name = self.param.workflow
        if run.services.children is None:
            raise Unavailable("Workflows can't run others here.")
        child = await run.services.children.find(run, path)
        if child is None:
            child = await run.services.children.start(
                run, path, name, self.param.inputs, share=self.param.share
            )
        if child.state not in ENDED:
            run.meter.hold(path, child.budget)
            run.waits.add(child.id)
            raise Pause(f"waits for the workflow {name}", form={"child": child.id})
        run.meter.release(path, child.usage)
        self.rest_on(child.sources)
        if child.state not in SUCCEEDED:
            said = child.error or f"it was {RunState(child.state)}"
            raise InvalidInput(f"The workflow {name} did not end well: {said}")
        return {
            "result": dict(child.output),
            "text": child.text,
            "state": str(child.state),
            "run_id": child.id,
        }
