"""`/console/tools`: what workflows use: tools of plugins, and secrets that nobody reads again."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.routes.console.visit import Visit, field, is_confirmation_needed, sent, visit
from engine.access.gate import may, require
from engine.answers.plugin_tools import SERVER
from engine.answers.toolbox import is_allowed
from engine.domain import Scope
from engine.errors import EngineError, InvalidInput

PATH = "/console/tools"


async def index(request: Request) -> Response:
    """The tools, which of them are allowed, and the secrets by name."""
    return await _index(await visit(request))


async def _index(here: Visit, error: EngineError | None = None) -> Response:
    require(here.principal, Scope.KB_ADMIN)
    patterns = await here.engine.answers.allowed_tools(here.principal)
    tools = [
        (found, is_allowed(f"{SERVER}/{found.metadata.name}", patterns))
        for found in await asyncio.to_thread(here.engine.tools.get_llm_tools)
    ]
    secrets = []
    if may(here.principal, "secret.list"):
        secrets = await here.engine.workflows.list_secrets(here.principal)
    return here.page(
        "tools.html",
        error=error,
        tools=tools,
        refused=here.engine.tools.refused,
        others=[pattern for pattern in patterns if not pattern.startswith(f"{SERVER}/")],
        exact={f"{SERVER}/{found.metadata.name}" for found, _ in tools} & set(patterns),
        secrets=secrets,
        may_set=may(here.principal, "secret.set"),
    )


async def allow(request: Request) -> Response:
    """Allow a tool of a plugin, or no longer."""
    here, form = await sent(request)
    name, on = field(form, "tool"), field(form, "do") == "allow"
    try:
        await here.engine.answers.allow_tools(here.principal, f"{SERVER}/{name}", on=on)
    except EngineError as error:
        return await _index(here, error)
    return here.on(PATH, f"{name} is {'allowed' if on else 'no longer allowed'}.")


async def save(request: Request) -> Response:
    """Add a secret, or change its value or the hosts it may be sent to."""
    here, form = await sent(request)
    name, hosts = field(form, "name"), field(form, "hosts").replace(",", " ").split()
    value = form.get("value", "")
    try:
        if not isinstance(value, str):
            raise InvalidInput("value: give a text.", field="value")
        await here.engine.workflows.set_secret(
            here.principal, name, value=value or None, hosts=hosts
        )
    except EngineError as error:
        return await _failed(here, error)
    return here.on(PATH, f"{name} is kept. Workflows use it as {{{{secret.{name}}}}}.")


async def remove(request: Request) -> Response:
    """Forget a secret."""
    here, form = await sent(request)
    name = field(form, "name")
    try:
        await here.engine.workflows.remove_secret(here.principal, name)
    except EngineError as error:
        return await _failed(here, error)
    return here.on(PATH, f"{name} is forgotten. Workflows that use it fail until it is set again.")


async def _failed(here: Visit, error: EngineError) -> Response:
    if is_confirmation_needed(error):
        return here.to_confirm(PATH)
    return await _index(here, error)


ROUTES = (
    Route(PATH, index, methods=["GET"]),
    Route(f"{PATH}/allowed", allow, methods=["POST"]),
    Route(f"{PATH}/secrets", save, methods=["POST"]),
    Route(f"{PATH}/secrets/remove", remove, methods=["POST"]),
)
