"""`/api/v1/workflow_triggers`: what starts workflows by itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import DeletedReply, WorkflowTriggersReply
from api.schemas import Body, read_body, read_query
from api.service import principal_of, service_of
from engine import serializers
from engine.workflows.triggers import NewTrigger, TriggerInfo


class TriggerBody(Body):
    """`POST /api/v1/workflow_triggers`; `key` is a service key, by name or id."""

    workflow: Annotated[str, Field(min_length=1, max_length=64)]
    schedule: Annotated[str, Field(min_length=1, max_length=100)]
    key: Annotated[str, Field(min_length=1, max_length=200)]
    zone: Annotated[str, Field(max_length=60)] = "UTC"
    name: Annotated[str, Field(max_length=60)] = ""
    inputs: dict[str, Any] = Field(default_factory=dict)
    catch_up: Literal["skip", "once"] = "skip"
    overlap: Literal["skip", "queue"] = "skip"


class TriggerChange(Body):
    """`PATCH /api/v1/workflow_triggers/{trigger}`."""

    state: Literal["active", "paused"]


class TriggersQuery(Body):
    """`GET /api/v1/workflow_triggers`."""

    workflow: Annotated[str, Field(max_length=64)] = ""


@returns(WorkflowTriggersReply)
async def index(request: Request) -> Response:
    """The organisation's triggers, or those of one workflow, with their last run."""
    principal = await principal_of(request)
    workflow = read_query(request, TriggersQuery).workflow
    found = await service_of(request).engine.workflows.list_triggers(principal, workflow)
    return JSONResponse({"triggers": [serializers.plain(item) for item in found]})


@returns(TriggerInfo, status=201)
async def add(request: Request) -> Response:
    """A new schedule of a published workflow, whose runs work as a service key."""
    principal = await principal_of(request)
    body = await read_body(request, TriggerBody)
    made = await service_of(request).engine.workflows.add_trigger(
        principal, body.workflow, NewTrigger(**body.model_dump(exclude={"workflow"}))
    )
    return JSONResponse(serializers.plain(made), status_code=201)


@returns(TriggerInfo)
async def change(request: Request) -> Response:
    """Pause it, or let it work again."""
    principal = await principal_of(request)
    body = await read_body(request, TriggerChange)
    changed = await service_of(request).engine.workflows.set_trigger(
        principal, request.path_params["trigger"], active=body.state == "active"
    )
    return JSONResponse(serializers.plain(changed))


@returns(DeletedReply)
async def remove(request: Request) -> Response:
    """Forget it; its runs stay."""
    principal = await principal_of(request)
    gone = await service_of(request).engine.workflows.remove_trigger(
        principal, request.path_params["trigger"]
    )
    return JSONResponse({"deleted": True, "id": gone.id})


ROUTES = (
    Route("/api/v1/workflow_triggers", index, methods=["GET"]),
    Route("/api/v1/workflow_triggers", add, methods=["POST"]),
    Route("/api/v1/workflow_triggers/{trigger}", change, methods=["PATCH"]),
    Route("/api/v1/workflow_triggers/{trigger}", remove, methods=["DELETE"]),
)
