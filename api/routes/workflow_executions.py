"""`/api/v1/workflow_executions`: runs of workflows, followed, answered and cancelled."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from api.operations import returns
from api.permitted import permitted
from api.replies import (
    CancelledExecutionReply,
    ExecutionReply,
    ExecutionsReply,
    QuestionReply,
    QuestionsReply,
)
from api.schemas import Body, read_body, read_query
from api.service import principal_of, service_of
from api.streams import COMMENT, failure, stream
from engine import serializers
from engine.domain import Principal
from engine.errors import InvalidInput
from engine.workflows.runs import EventInfo

COMMENT_EVERY = 50  # looks that found nothing: about ten seconds


class ExecutionsQuery(Body):
    """`GET /api/v1/workflow_executions`."""

    workflow: Annotated[str, Field(max_length=64)] = ""
    state: Annotated[str, Field(max_length=20)] = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Annotated[str, Field(max_length=64)] = ""


class ExecutionReplyBody(Body):
    """`POST /api/v1/workflow_executions/{execution}/reply`."""

    path: Annotated[str, Field(max_length=300)] = ""
    fields: dict[str, Any] = Field(default_factory=dict)
    choice: Annotated[str, Field(max_length=60)] = ""


@returns(ExecutionsReply)
async def index(request: Request) -> Response:
    """The caller's own runs, newest first."""
    principal = await principal_of(request)
    query = read_query(request, ExecutionsQuery)
    found = await service_of(request).engine.workflows.list_runs(
        principal,
        ref=query.workflow,
        state=query.state,
        before=query.cursor,
        limit=query.limit + 1,
    )
    shown = found[: query.limit]
    return JSONResponse(
        {
            "executions": [serializers.plain(run) for run in shown],
            "next_cursor": shown[-1].id if len(found) > query.limit else "",
        }
    )


@returns(ExecutionReply)
async def show(request: Request) -> Response:
    """One run with the result of each of its components and its open questions."""
    principal = await principal_of(request)
    run = await service_of(request).engine.workflows.get_run(
        principal, request.path_params["execution"]
    )
    return JSONResponse(serializers.plain(run))


@returns(None, media_type="text/event-stream")
async def events(request: Request) -> Response:
    """What happens in a run, as server-sent events until it ends.

    Each has its number as its id: send the last one as `Last-Event-ID` to read on.
    """
    principal = await principal_of(request)
    last = request.headers.get("last-event-id", "0") or "0"
    if not last.isdecimal() or len(last) > 9:
        raise InvalidInput("Last-Event-ID must be a number.", field="Last-Event-ID")
    run_id = request.path_params["execution"]
    await service_of(request).engine.workflows.get_run(principal, run_id)
    return event_stream(request, principal, run_id, after=int(last))


def event_stream(
    request: Request, principal: Principal, run_id: str, *, after: int
) -> StreamingResponse:
    """A run's events behind `after`, as a stream that ends with it, or with its reader's rights."""
    followed = service_of(request).engine.workflows.follow(principal, run_id, after=after)
    return stream(_written(permitted(request, principal, _numbered(followed)), run_id))


async def _numbered(
    followed: AsyncIterator[EventInfo | None],
) -> AsyncIterator[tuple[EventInfo | None]]:
    async for item in followed:
        yield (item,)


async def _written(
    items: AsyncIterator[tuple[EventInfo | None]], run_id: str
) -> AsyncIterator[str]:
    idle = 0
    try:
        async for (item,) in items:
            idle = 0 if item is not None else idle + 1
            if item is not None:
                yield event_text(item, run_id)
            elif idle % COMMENT_EVERY == 0:
                yield COMMENT
    except Exception as error:  # noqa: BLE001 (the reader of the stream still gets a reason)
        yield failure(error)


def event_text(item: EventInfo, run_id: str) -> str:
    """One event; its id is its number."""
    shown = {
        "seq": item.seq,
        "run_id": run_id,
        "path": item.path,
        "message": item.message,
        "progress": item.progress,
        "at": item.at.isoformat(),
        "data": dict(item.data),
    }
    data = json.dumps(shown, ensure_ascii=False)
    return f"id: {item.seq}\nevent: {item.kind}\ndata: {data}\n\n"


@returns(QuestionReply)
async def reply(request: Request) -> Response:
    """Answer a question of a run. The first reply counts; a later one is told who was first."""
    principal = await principal_of(request)
    body = await read_body(request, ExecutionReplyBody)
    answered = await service_of(request).engine.workflows.reply(
        principal,
        request.path_params["execution"],
        path=body.path,
        fields=body.fields,
        choice=body.choice,
    )
    return JSONResponse(serializers.plain(answered))


@returns(CancelledExecutionReply)
async def cancel(request: Request) -> Response:
    """Stop a run; one that is at work ends a moment later."""
    principal = await principal_of(request)
    run_id = request.path_params["execution"]
    state = await service_of(request).engine.workflows.cancel(principal, run_id)
    return JSONResponse({"id": run_id, "state": state})


@returns(QuestionsReply)
async def questions(request: Request) -> Response:
    """The questions of runs that wait for the caller's reply."""
    principal = await principal_of(request)
    found = await service_of(request).engine.workflows.list_questions(principal)
    return JSONResponse({"questions": [serializers.plain(item) for item in found]})


ROUTES = (
    Route("/api/v1/workflow_executions", index, methods=["GET"]),
    Route("/api/v1/workflow_executions/{execution}", show, methods=["GET"]),
    Route("/api/v1/workflow_executions/{execution}/cancel", cancel, methods=["POST"]),
    Route("/api/v1/workflow_executions/{execution}/events", events, methods=["GET"]),
    Route("/api/v1/workflow_executions/{execution}/reply", reply, methods=["POST"]),
    Route("/api/v1/workflow_questions", questions, methods=["GET"]),
)
