"""`/api/v1/pipelines`: how documents are ingested, as stored graphs; and the components of these."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import ComponentsReply, DeletedPipelineReply, PipelinesReply, ValidationReply
from api.schemas import Body, read_body, read_query
from api.service import principal_of, service_of
from engine import serializers
from engine.access.gate import require
from engine.documents.pipelines import FlowInfo
from engine.domain import Scope
from engine.errors import FlowError
from engine.flow.drawing import mermaid, svg

DSL_MAX = 200_000  # characters


class PipelineBody(Body):
    """`PUT /api/v1/pipelines/{pipeline}` and `POST /api/v1/pipelines/validate`."""

    dsl: Annotated[str, Field(min_length=1, max_length=DSL_MAX)]


class DrawingQuery(Body):
    """`GET /api/v1/pipelines/{pipeline}/drawing`."""

    format: Literal["mermaid", "svg"] = "svg"


@returns(PipelinesReply)
async def index(request: Request) -> Response:
    """The templates that ship, then the tenant's own."""
    principal = await principal_of(request)
    found = await service_of(request).engine.pipelines.list_all(principal)
    return JSONResponse({"pipelines": [serializers.plain(flow) for flow in found]})


@returns(FlowInfo)
async def show(request: Request) -> Response:
    """One pipeline with its text."""
    principal = await principal_of(request)
    pipelines = service_of(request).engine.pipelines
    return JSONResponse(
        serializers.plain(await pipelines.get(principal, request.path_params["pipeline"]))
    )


@returns(FlowInfo)
async def save(request: Request) -> Response:
    """Store a pipeline under this name, in place of one there is; all its faults where it is invalid."""
    service = service_of(request)
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    body = await read_body(request, PipelineBody)
    tools = service.pipeline_tools
    await asyncio.to_thread(tools.load, body.dsl)  # outside the transaction
    saved = await service.engine.pipelines.save(
        principal, request.path_params["pipeline"], body.dsl, check=lambda _: None, replace=True
    )
    return JSONResponse(serializers.plain(saved))


@returns(ValidationReply)
async def validate(request: Request) -> Response:
    """Whether a pipeline is sound: every fault, or its steps in order. Nothing is stored."""
    service = service_of(request)
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    body = await read_body(request, PipelineBody)
    try:
        graph = await asyncio.to_thread(service.pipeline_tools.load, body.dsl)
    except FlowError as error:
        return JSONResponse({"sound": False, "faults": error.faults, "steps": []})
    steps = [graph.nodes[node].component.type for node in graph.order]
    return JSONResponse({"sound": True, "faults": [], "steps": steps})


@returns(None, media_type="image/svg+xml")
@returns(None, media_type="text/plain")
async def draw(request: Request) -> Response:
    """A pipeline with all its steps, as SVG or Mermaid."""
    service = service_of(request)
    principal = await principal_of(request)
    query = read_query(request, DrawingQuery)
    found = await service.engine.pipelines.get(principal, request.path_params["pipeline"])
    graph = await asyncio.to_thread(service.pipeline_tools.load_to_draw, found.dsl)
    if query.format == "mermaid":
        return Response(mermaid(graph), media_type="text/plain")
    return Response(svg(graph, title=found.name), media_type="image/svg+xml")


@returns(DeletedPipelineReply)
async def delete(request: Request) -> Response:
    """Delete a pipeline that no knowledge base uses."""
    principal = await principal_of(request)
    name = request.path_params["pipeline"]
    await service_of(request).engine.pipelines.delete(principal, name)
    return JSONResponse({"deleted": name})


@returns(ComponentsReply)
async def components(request: Request) -> Response:
    """The components of pipelines with what they read, write and can be set to."""
    service = service_of(request)
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    found = await asyncio.to_thread(service.pipeline_tools.describe)
    return JSONResponse({"components": found})


ROUTES = (
    Route("/api/v1/components", components, methods=["GET"]),
    Route("/api/v1/pipelines", index, methods=["GET"]),
    Route("/api/v1/pipelines/validate", validate, methods=["POST"]),
    Route("/api/v1/pipelines/{pipeline}", show, methods=["GET"]),
    Route("/api/v1/pipelines/{pipeline}", save, methods=["PUT"]),
    Route("/api/v1/pipelines/{pipeline}", delete, methods=["DELETE"]),
    Route("/api/v1/pipelines/{pipeline}/drawing", draw, methods=["GET"]),
)
