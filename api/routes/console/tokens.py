"""`/console/tokens`: API tokens for assistants and programs: make one, see them, end them."""

from __future__ import annotations

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.routes.console.visit import (
    Visit,
    field,
    fields,
    is_confirmation_needed,
    sent,
    visit,
)
from api.routes.tokens import LIFE_DAYS, LIFE_DAYS_MAX
from engine.access.gate import may
from engine.domain import Scope
from engine.errors import EngineError, InvalidInput
from engine.people.api_tokens import NEVER, TokenKind

TOKENS = "/console/tokens"
MEANS = {
    Scope.KB_READ: "search and read",
    Scope.KB_ASK: "ask questions",
    Scope.KB_WRITE: "add, change and delete documents",
    Scope.KB_MANAGE: "create knowledge bases, change their settings and grants",
    Scope.KB_ADMIN: "what admins do",
    Scope.OPS_READ: "read health and metrics",
}


async def index(request: Request) -> Response:
    """One's own tokens; for admins all of the tenant, and its service keys."""
    return await _index(await visit(request))


async def _index(here: Visit, error: EngineError | None = None, *, secret: str = "") -> Response:
    return here.page(
        "tokens.html",
        error=error,
        tokens=await here.engine.people.list_tokens(here.principal),
        scopes=[(scope, MEANS[scope]) for scope in Scope if scope in here.principal.scopes],
        chosen={Scope.KB_READ, Scope.KB_ASK},
        kbs=await here.engine.knowledge_bases.list_readable(here.principal),
        days=LIFE_DAYS,
        days_max=LIFE_DAYS_MAX,
        secret=secret,
        may_service=may(here.principal, "token.create_service"),
    )


async def add(request: Request) -> Response:
    """A new token, whose secret this page alone shows."""
    here, form = await sent(request)
    days = field(form, "days") or str(LIFE_DAYS)
    is_service = field(form, "kind") == TokenKind.SERVICE
    assistants = field(form, "assistants").split(",")
    try:
        if not days.isdecimal() or len(days) > 5 or not 1 <= int(days) <= LIFE_DAYS_MAX:
            raise InvalidInput(f"Days: give a number from 1 to {LIFE_DAYS_MAX}.", field="days")
        wanted = fields(form, "scope")
        secret, _ = await here.engine.people.create_token(
            here.principal,
            field(form, "name"),
            scopes=[Scope(name) for name in wanted if name in set(Scope)],
            expires_in=timedelta(days=int(days)),
            expires_at=NEVER if is_service and field(form, "never") else None,
            kb_ids=fields(form, "kb") or None,
            kind=TokenKind.SERVICE if is_service else TokenKind.PERSONAL,
            networks=field(form, "networks").replace(",", " ").split() or None,
            assistants=[name for name in assistants if name.strip()] or None,
        )
    except EngineError as error:
        if is_confirmation_needed(error):
            return here.to_confirm(TOKENS)
        return await _index(here, error)
    page = await _index(here, secret=secret)
    page.headers["Cache-Control"] = "no-store"
    return page


async def revoke(request: Request) -> Response:
    """End a token, at once."""
    here, form = await sent(request)
    del form
    try:
        ended = await here.engine.people.revoke_token(here.principal, request.path_params["id"])
    except EngineError as error:
        return await _index(here, error)
    return here.on(TOKENS, f"{ended.name} is ended.")


ROUTES = (
    Route(TOKENS, index, methods=["GET"]),
    Route(TOKENS, add, methods=["POST"]),
    Route("/console/tokens/{id}", revoke, methods=["POST"]),
)
