"""`run_workflow`: run one of the team's workflows, look at a run again, or answer its question."""

from __future__ import annotations

from typing import Annotated, Any

from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from engine.domain import Scope
from engine.errors import InvalidInput
from engine.workflows.runs import PauseInfo, RunInfo
from mcp_server.call import current
from mcp_server.tool import KnowledgeTool

WAIT_S = 20.0  # within the time of a call; a longer run is asked for again by its id
RUNNING = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
DESCRIPTION = (
    "Run a workflow of the team by name; without one, list them with their inputs. A run that is at"
    " work or asks something comes back with its run_id: call again with it, and with the person's"
    " choice or reply."
)


class WorkflowRunResult(BaseModel):
    run_id: str
    state: str
    text: str
    output: dict[str, Any]
    questions: list[str]
    workflows: list[str]
    follow_up: str


Values = dict[str, Any]


async def run_workflow(
    name: Annotated[str, Field(max_length=64)] = "",
    inputs: Annotated[Values, Field(description="By name, such as query.")] = {},  # noqa: B006 (the default on the wire; never changed)
    run_id: Annotated[str, Field(max_length=64)] = "",
    choice: Annotated[str, Field(max_length=60)] = "",
    reply: Annotated[Values, Field(description="Fields by name.")] = {},  # noqa: B006 (as above)
) -> WorkflowRunResult:
    """What the run came to, visible only to the caller."""
    call = current()
    principal, workflows = call.caller.principal, call.caller.engine.workflows
    call.doing = "Running the workflow"
    if run_id:
        if choice or reply:
            await workflows.reply(principal, run_id, fields=reply, choice=choice)
    elif name:
        run_id = await workflows.start(principal, name, inputs, trigger="mcp")
    else:
        return await _listed()
    return _shown(await workflows.wait(principal, run_id, timeout_s=WAIT_S))


async def _listed() -> WorkflowRunResult:
    caller = current().caller
    workflows = caller.engine.workflows
    listed = []
    for info in await workflows.list_all(caller.principal):
        if info.published or info.is_template:
            schema = await workflows.input_schema(caller.principal, info.name)
            required = schema["required"]
            names = [
                f"{key} (required)" if key in required else key for key in schema["properties"]
            ]
            listed.append(f"{info.name} ({', '.join(names)}): {info.description}")
    if not listed:
        raise InvalidInput("There is no workflow yet: publish one first.", field="name")
    return WorkflowRunResult(
        run_id="",
        state="",
        text="",
        output={},
        questions=[],
        workflows=listed,
        follow_up="Call run_workflow with one of these names and its inputs.",
    )


def _shown(run: RunInfo) -> WorkflowRunResult:
    current().results = len(run.nodes)
    questions = [_asked(item) for item in run.pauses if item.state == "open"]
    again = f"Call run_workflow with run_id {run.id}"
    follow_up = ""
    if questions:
        follow_up = f"Ask the person, then {again.lower()} and their reply or choice."
    elif not run.is_over:
        follow_up = f"{again} to see the rest."
    return WorkflowRunResult(
        run_id=run.id,
        state=run.state,
        text=run.text or run.error,
        output=dict(run.output),
        questions=questions,
        workflows=[],
        follow_up=follow_up,
    )


def _asked(pause: PauseInfo) -> str:
    fields = ", ".join(pause.form.get("schema", {}).get("properties", {}))
    choices = ", ".join(pause.form.get("buttons", []))
    parts = [
        pause.message,
        f"choice: {choices}" if choices else "",
        f"reply: {fields}" if fields else "",
    ]
    return "; ".join(filter(None, parts))


def build_run_workflow() -> KnowledgeTool:
    """The tool `run_workflow`."""
    return KnowledgeTool.of(
        run_workflow,
        scope=Scope.KB_ASK,
        title="Run a workflow",
        description=DESCRIPTION,
        hints=RUNNING,
        late="Call run_workflow with the run_id you have, or list your runs in the console.",
    )
