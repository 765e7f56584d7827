"""What admins look at and set: statistics, limits, settings, workspaces and their commands."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import (
    CallsReply,
    CommandReply,
    CommandsReply,
    FeedbackReply,
    HealthDetailsReply,
    LimitsReply,
    PatternsReply,
    SettingsReply,
    ToolResultReply,
    ToolsReply,
    WorkspacesReply,
)
from api.schemas import Body, read_body, read_query
from api.service import links_of, principal_of, service_of
from engine import clock, serializers
from engine.access.gate import require
from engine.answers.plugin_tools import SERVER
from engine.answers.toolbox import is_allowed
from engine.chats.feedback import BotUsage
from engine.commands import runner
from engine.commands.table import COMMANDS, Effect, Permission, parse_values
from engine.config import origins
from engine.domain import Scope
from engine.errors import Forbidden, InvalidInput, NotFound
from engine.operations.reconcile import Drift
from engine.operations.resources import Resources
from engine.search.query_statistics import QueryStatistics
from engine.tools.calling import call_tool

Days = Annotated[int, Field(ge=1, le=90)]


class DaysQuery(Body):
    """The last days, with today."""

    days: Days = 7


class CallsQuery(Body):
    """`GET /api/v1/tool_calls`."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class LimitBody(Body):
    """`PUT /api/v1/limits/{limit}`."""

    number: Annotated[int, Field(ge=0, le=1_000_000)]


class ReconcileBody(Body):
    """`POST /api/v1/reconcile`."""

    repair: bool = True


class ToolCallBody(Body):
    """`POST /api/v1/tools/{tool}/call`."""

    arguments: dict[str, Any] = Field(default_factory=dict)


class CommandBody(Body):
    """`POST /api/v1/workspaces/{workspace}/commands`; `confirm` is for what destroys."""

    command: Annotated[str, Field(min_length=1, max_length=60)]
    parameters: dict[str, str | int | list[str]] = Field(default_factory=dict)
    channel: Annotated[str, Field(max_length=200)] = ""
    confirm: bool = False


@returns(QueryStatistics)
async def queries(request: Request) -> Response:
    """How often was searched, by day and mode, what found nothing, and how long it took."""
    principal = await principal_of(request)
    query = read_query(request, DaysQuery)
    found = await service_of(request).engine.search.statistics(principal, days=query.days)
    return JSONResponse(serializers.plain(found))


@returns(Resources)
async def resources(request: Request) -> Response:
    """What the tenant takes up: documents, bytes, index, jobs, and what works on them."""
    principal = await principal_of(request)
    found = await service_of(request).engine.operations.resources(principal)
    return JSONResponse(serializers.plain(found))


@returns(BotUsage)
async def usage(request: Request) -> Response:
    """What the chat bots were asked and answered, and the tokens that took."""
    principal = await principal_of(request)
    since = clock.now() - timedelta(days=read_query(request, DaysQuery).days)
    found = await service_of(request).engine.chats.posts.usage(principal, since)
    return JSONResponse(serializers.plain(found))


@returns(FeedbackReply)
async def feedback(request: Request) -> Response:
    """What people thought of the answers in channels."""
    principal = await principal_of(request)
    posts = service_of(request).engine.chats.posts
    good, bad, rated = await posts.feedback_report(principal)
    shown = [serializers.plain(item) for item in rated]
    return JSONResponse({"helpful": good, "not_helpful": bad, "latest": shown})


@returns(LimitsReply)
async def limits(request: Request) -> Response:
    """How many questions chats may ask in five minutes, and tokens a day; 0: no limit."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    found = await service_of(request).engine.chats.question_limits.get(principal.tenant_id)
    return JSONResponse({"limits": found})


@returns(LimitsReply)
async def set_limit(request: Request) -> Response:
    """Change one of them; 0: no limit."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    body = await read_body(request, LimitBody)
    held = service_of(request).engine.chats.question_limits
    name = request.path_params["limit"]
    known = await held.get(principal.tenant_id)
    if name not in known:
        raise InvalidInput(f"limit: there are {', '.join(known)}.", field="limit")
    await held.set(principal, name, body.number)
    return JSONResponse({"limits": await held.get(principal.tenant_id)})


@returns(SettingsReply)
async def settings(request: Request) -> Response:
    """Every setting of the server with its value and where it comes from; secrets are masked.

    For the owner of the installation's own tenant.
    """
    service = service_of(request)
    principal = await principal_of(request)
    require(principal, Scope.OPS_READ)
    require(principal, Scope.KB_ADMIN)
    owner = await service.engine.people.owner()
    if owner.tenant_id != principal.tenant_id:
        raise Forbidden("The settings are for the tenant that runs this installation.")
    found = [
        {"name": item.name, "value": item.value, "origin": item.origin}
        for item in origins(service.settings)
    ]
    return JSONResponse({"settings": found})


@returns(HealthDetailsReply)
async def health(request: Request) -> Response:
    """Each part that Scrubjay needs, with what is wrong with it; empty where it is well."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    found = await service_of(request).engine.operations.all_health()
    return JSONResponse({"parts": found})


@returns(Drift)
async def reconcile(request: Request) -> Response:
    """Compare the index with the database, and queue what repairs it."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    body = await read_body(request, ReconcileBody)
    operations = service_of(request).engine.operations
    found = await operations.reconcile(principal, repair=body.repair)
    return JSONResponse(serializers.plain(found))


@returns(CallsReply)
async def tool_calls(request: Request) -> Response:
    """The newest calls of tools, by assistants, with results and duration."""
    principal = await principal_of(request)
    query = read_query(request, CallsQuery)
    found = await service_of(request).engine.operations.list_calls(principal, limit=query.limit)
    return JSONResponse({"calls": [serializers.plain(call) for call in found]})


@returns(PatternsReply)
async def external_tools(request: Request) -> Response:
    """The patterns of tools of other servers that answers may use."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    found = await service_of(request).engine.answers.allowed_tools(principal)
    return JSONResponse({"patterns": found})


@returns(PatternsReply)
async def allow_tools(request: Request) -> Response:
    """Allow tools by a pattern, as `github/*`."""
    return await _set_tools(request, on=True)


@returns(PatternsReply)
async def deny_tools(request: Request) -> Response:
    """Allow them no longer."""
    return await _set_tools(request, on=False)


async def _set_tools(request: Request, *, on: bool) -> Response:
    principal = await principal_of(request)
    answers, pattern = service_of(request).engine.answers, request.path_params["pattern"]
    return JSONResponse({"patterns": await answers.allow_tools(principal, pattern, on=on)})


@returns(ToolsReply)
async def plugin_tools(request: Request) -> Response:
    """The tools that plugins bring, and which of them answers and workflows may use."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    engine = service_of(request).engine
    patterns = await engine.answers.allowed_tools(principal)
    shown = [
        {
            **found.metadata.model_dump(mode="json"),
            "plugin": found.plugin,
            "version": found.version,
            "allowed": is_allowed(f"{SERVER}/{found.metadata.name}", patterns),
        }
        for found in await asyncio.to_thread(engine.tools.get_llm_tools)
    ]
    return JSONResponse({"tools": shown})


@returns(ToolResultReply)
async def call_plugin_tool(request: Request) -> Response:
    """Call a tool that the organisation allows, to try it."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    body = await read_body(request, ToolCallBody)
    engine, name = service_of(request).engine, request.path_params["tool"]
    patterns = await engine.answers.allowed_tools(principal)
    found = await asyncio.to_thread(engine.tools.get_llm_tool_by_name, name)
    if found is None or not is_allowed(f"{SERVER}/{name}", patterns):
        raise NotFound(f"No tool {name[:60]!r} that your organisation allows.")
    return JSONResponse({"text": await call_tool(found, body.arguments)})


@returns(WorkspacesReply)
async def workspaces(request: Request) -> Response:
    """The workspaces that the bots are installed in."""
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    listed = await service_of(request).engine.chats.installations.list_all()
    shown = [
        {
            "platform": item.platform,
            "team": item.team_id,
            "enterprise": item.enterprise_id,
            "name": item.name,
            "state": item.state,
            "reading": item.reading,
        }
        for item in listed
        if item.tenant_id == principal.tenant_id
    ]
    return JSONResponse({"workspaces": shown})


@returns(CommandsReply)
async def commands(request: Request) -> Response:
    """The commands that set a workspace up, with their parameters."""
    await principal_of(request)
    shown: list[dict[str, Any]] = [
        {
            "name": item.name,
            "help": item.help,
            "effect": str(item.effect),
            "permission": str(item.permission),
            "parameters": [
                {
                    "name": parameter.name,
                    "kind": parameter.kind,
                    "help": parameter.help,
                    "required": parameter.required,
                    "choices": list(parameter.choices),
                }
                for parameter in item.parameters
            ],
        }
        for item in COMMANDS
        if item.permission is not Permission.EVERYONE
    ]
    return JSONResponse({"commands": shown})


@returns(CommandReply)
async def command(request: Request) -> Response:
    """Run an admin's command for a workspace, as `/kb` does there; `GET /api/v1/commands` lists them."""
    engine = service_of(request).engine
    principal = await principal_of(request)
    require(principal, Scope.KB_ADMIN)
    body = await read_body(request, CommandBody)
    parsed = parse_values(body.command, body.parameters)
    if parsed.command.permission is Permission.EVERYONE:
        raise InvalidInput(
            f"command: `{parsed.command.name}` is for a person in a chat, or has an operation of its"
            " own.",
            field="command",
        )
    caller = await engine.chats.senders.admin(
        principal, request.path_params["workspace"], body.channel
    )
    if parsed.command.effect is Effect.DESTROYS and not body.confirm:
        raise InvalidInput(
            f"confirm: `{parsed.command.name}` destroys something: send true.", field="confirm"
        )
    result = await runner.run(engine, caller, parsed)
    rows = [dict(zip(result.columns, row, strict=False)) for row in result.rows]
    hits: list[dict[str, Any]] = []
    if result.found is not None:
        links = await links_of(request, principal)
        hits = serializers.search(result.found, links.url)["hits"]
    return JSONResponse({"text": result.text, "rows": rows, "hits": hits})


ROUTES = (
    Route("/api/v1/commands", commands, methods=["GET"]),
    Route("/api/v1/tools", plugin_tools, methods=["GET"]),
    Route("/api/v1/tools/{tool}/call", call_plugin_tool, methods=["POST"]),
    Route("/api/v1/external_tools", external_tools, methods=["GET"]),
    Route("/api/v1/external_tools/{pattern:path}", allow_tools, methods=["PUT"]),
    Route("/api/v1/external_tools/{pattern:path}", deny_tools, methods=["DELETE"]),
    Route("/api/v1/health", health, methods=["GET"]),
    Route("/api/v1/limits", limits, methods=["GET"]),
    Route("/api/v1/limits/{limit}", set_limit, methods=["PUT"]),
    Route("/api/v1/reconcile", reconcile, methods=["POST"]),
    Route("/api/v1/settings", settings, methods=["GET"]),
    Route("/api/v1/statistics/feedback", feedback, methods=["GET"]),
    Route("/api/v1/statistics/queries", queries, methods=["GET"]),
    Route("/api/v1/statistics/resources", resources, methods=["GET"]),
    Route("/api/v1/statistics/usage", usage, methods=["GET"]),
    Route("/api/v1/tool_calls", tool_calls, methods=["GET"]),
    Route("/api/v1/workspaces", workspaces, methods=["GET"]),
    Route("/api/v1/workspaces/{workspace}/commands", command, methods=["POST"]),
)
