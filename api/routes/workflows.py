"""`/api/v1/workflows`: drafts, versions and their execution; `workflow_executions.py` follows runs."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.problems import HttpRefusal, problem_of
from api.replies import (
    ComponentsReply,
    DeletedWorkflowReply,
    ExecutionReply,
    StaleDraftReply,
    ValidationReply,
    WorkflowReply,
    WorkflowsReply,
    WorkflowVersionsReply,
)
from api.routes.workflow_executions import event_stream
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine import serializers
from engine.access.gate import require
from engine.domain import Scope
from engine.errors import FlowError, InvalidInput, StaleDraft
from engine.flow.drawing import mermaid, svg
from engine.workflows.definitions import VersionInfo, WorkflowInfo
from engine.workflows.runs import RunInfo

WAIT_S = 60.0  # the longest a caller that waits is kept
KEY_MAX = 200
MadeName = Annotated[str, Field(max_length=64)]
Definition = dict[str, Any] | Annotated[str, Field(min_length=1, max_length=200_000)]


class WorkflowBody(Body):
    """`POST /api/v1/workflows`; `dsl` as text is kept byte for byte."""

    name: MadeName
    dsl: Definition
    description: Annotated[str, Field(max_length=2_000)] = ""


class WorkflowTextBody(Body):
    """`PUT /api/v1/workflows/{workflow}` and `POST /api/v1/workflows/validate`."""

    dsl: Definition
    description: Annotated[str, Field(max_length=2_000)] | None = None


class PublishBody(Body):
    """`POST /api/v1/workflows/{workflow}/publish`."""

    note: Annotated[str, Field(max_length=500)] = ""


class ExecuteBody(Body):
    """`POST /api/v1/workflows/{workflow}/execute`; `version` is a number, or `draft`.

    A draft changes nothing outside and notes what it would, unless an admin says `really_send`.
    """

    inputs: dict[str, Any] = Field(default_factory=dict)
    mode: Literal["wait", "stream", "async"] = "wait"
    version: Annotated[str, Field(max_length=10)] = ""
    really_send: bool = False


def _text(dsl: Definition) -> str:
    return dsl if isinstance(dsl, str) else json.dumps(dsl, ensure_ascii=False)


@returns(WorkflowsReply)
async def index(request: Request) -> Response:
    """The workflows the caller may run, and the drafts where they may edit."""
    principal = await principal_of(request)
    found = await service_of(request).engine.workflows.list_all(principal)
    return JSONResponse({"workflows": [workflow(item) for item in found]})


@returns(WorkflowReply, status=201)
async def create(request: Request) -> Response:
    """A new draft; all its faults where it is invalid."""
    principal = await principal_of(request)
    body = await read_body(request, WorkflowBody)
    made = await service_of(request).engine.workflows.create(
        principal, body.name, _text(body.dsl), description=body.description
    )
    headers = {"Location": f"/api/v1/workflows/{made.name}", "ETag": f'"{made.rev}"'}
    return JSONResponse(workflow(made, whole=True), status_code=201, headers=headers)


@returns(WorkflowReply)
async def show(request: Request) -> Response:
    """One workflow with its draft; the ETag is the draft's revision."""
    principal = await principal_of(request)
    found = await service_of(request).engine.workflows.get(
        principal, request.path_params["workflow"]
    )
    headers = {"ETag": f'"{found.rev}"'}
    return JSONResponse(workflow(found, whole=True), headers=headers)


@returns(WorkflowReply)
@returns(StaleDraftReply, status=409, media_type="application/problem+json")
async def save(request: Request) -> Response:
    """Replace the draft that `If-Match` names.

    Where somebody saved meanwhile: 409 with both texts, and nothing is overwritten.
    """
    principal = await principal_of(request)
    body = await read_body(request, WorkflowTextBody)
    try:
        saved = await service_of(request).engine.workflows.save(
            principal,
            request.path_params["workflow"],
            _text(body.dsl),
            rev=_revision(request),
            description=body.description,
        )
    except StaleDraft as error:
        problem = json.loads(bytes(problem_of(error).response().body))
        theirs = {
            "rev": error.rev,
            "by": error.by,
            "theirs": error.theirs,
            "yours": _text(body.dsl),
        }
        return JSONResponse(
            problem | theirs, status_code=409, media_type="application/problem+json"
        )
    return JSONResponse(workflow(saved, whole=True), headers={"ETag": f'"{saved.rev}"'})


def _revision(request: Request) -> int:
    given = request.headers.get("if-match", "").strip().strip('"')
    if not given:
        raise HttpRefusal(
            428,
            "Send the revision that you changed as If-Match: it is the ETag of a GET.",
            code="precondition_required",
        )
    if not given.isdecimal() or len(given) > 9:
        raise InvalidInput('If-Match must be a revision, such as "3".', field="If-Match")
    return int(given)


@returns(DeletedWorkflowReply)
async def delete(request: Request) -> Response:
    """Delete a workflow with its versions; its past runs stay."""
    principal = await principal_of(request)
    gone = await service_of(request).engine.workflows.delete(
        principal, request.path_params["workflow"]
    )
    return JSONResponse({"deleted": gone.name})


@returns(VersionInfo)
async def publish(request: Request) -> Response:
    """Make the draft the version that runs."""
    principal = await principal_of(request)
    body = await read_body(request, PublishBody)
    version = await service_of(request).engine.workflows.publish(
        principal, request.path_params["workflow"], note=body.note
    )
    return JSONResponse(serializers.plain(version))


@returns(WorkflowVersionsReply)
async def versions(request: Request) -> Response:
    """Every published text, newest first."""
    principal = await principal_of(request)
    found = await service_of(request).engine.workflows.versions(
        principal, request.path_params["workflow"]
    )
    return JSONResponse({"versions": [serializers.plain(item) for item in found]})


@returns(ValidationReply)
async def validate(request: Request) -> Response:
    """Whether a workflow is sound: every fault, or its components in order. Nothing is stored."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ASK)
    body = await read_body(request, WorkflowTextBody)
    try:
        graph = await asyncio.to_thread(service_of(request).engine.workflows.load, _text(body.dsl))
    except FlowError as error:
        return JSONResponse({"sound": False, "faults": error.faults, "steps": []})
    steps = [graph.nodes[node].component.type for node in graph.order]
    return JSONResponse({"sound": True, "faults": [], "steps": steps})


@returns(None, media_type="image/svg+xml")
@returns(None, media_type="text/plain")
async def draw(request: Request) -> Response:
    """A workflow as a picture: SVG, or Mermaid with `?format=mermaid`."""
    principal = await principal_of(request)
    workflows = service_of(request).engine.workflows
    found = await workflows.get(principal, request.path_params["workflow"])
    graph = await asyncio.to_thread(workflows.load_to_draw, found.dsl)
    if request.query_params.get("format") == "mermaid":
        return Response(mermaid(graph), media_type="text/plain")
    return Response(svg(graph, title=found.name), media_type="image/svg+xml")


@returns(ComponentsReply)
async def components(request: Request) -> Response:
    """The components of workflows with their effect, what they write and can be set to."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ASK)
    found = service_of(request).engine.workflows.describe_components()
    return JSONResponse({"components": found})


@returns(ExecutionReply)
@returns(ExecutionReply, status=202)
@returns(None, media_type="text/event-stream")
async def execute(request: Request) -> Response:
    """Run a workflow: wait for its end, follow it as a stream, or take its id and leave.

    A run that waits for a person, or takes longer than a minute, comes back with status 202 and the
    address to follow. The same `Idempotency-Key` starts one run, however often it is sent.
    """
    principal = await principal_of(request)
    body = await read_body(request, ExecuteBody)
    key = request.headers.get("idempotency-key", "")
    if len(key) > KEY_MAX:
        raise InvalidInput(
            f"Idempotency-Key is longer than {KEY_MAX} characters.", field="Idempotency-Key"
        )
    workflows = service_of(request).engine.workflows
    run_id = await workflows.start(
        principal,
        request.path_params["workflow"],
        body.inputs,
        version=body.version,
        trigger="rest",
        key=key,
        really_send=body.really_send,
    )
    if body.mode == "stream":
        return event_stream(request, principal, run_id, after=0)
    timeout_s = WAIT_S if body.mode == "wait" else 0.0
    run = await workflows.wait(principal, run_id, timeout_s=timeout_s)
    return execution_response(run)


def execution_response(run: RunInfo) -> Response:
    """A run: 200 once it is over, else 202 with its address."""
    headers = {"Location": f"/api/v1/workflow_executions/{run.id}"}
    return JSONResponse(
        serializers.plain(run), status_code=200 if run.is_over else 202, headers=headers
    )


def workflow(info: WorkflowInfo, *, whole: bool = False) -> dict[str, Any]:
    """A workflow as JSON; lists leave its text out."""
    shown: dict[str, Any] = serializers.plain(info)
    if not whole:
        del shown["dsl"]
    return shown


ROUTES = (
    Route("/api/v1/workflows", index, methods=["GET"]),
    Route("/api/v1/workflows", create, methods=["POST"]),
    Route("/api/v1/workflows/components", components, methods=["GET"]),
    Route("/api/v1/workflows/validate", validate, methods=["POST"]),
    Route("/api/v1/workflows/{workflow}", show, methods=["GET"]),
    Route("/api/v1/workflows/{workflow}", save, methods=["PUT"]),
    Route("/api/v1/workflows/{workflow}", delete, methods=["DELETE"]),
    Route("/api/v1/workflows/{workflow}/drawing", draw, methods=["GET"]),
    Route("/api/v1/workflows/{workflow}/execute", execute, methods=["POST"]),
    Route("/api/v1/workflows/{workflow}/publish", publish, methods=["POST"]),
    Route("/api/v1/workflows/{workflow}/versions", versions, methods=["GET"]),
)
