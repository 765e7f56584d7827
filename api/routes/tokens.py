"""`/api/v1/tokens`: API tokens for programs and assistants."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import NewTokenReply, TokensReply
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine.domain import Scope
from engine.errors import InvalidInput
from engine.people.api_tokens import NEVER, TokenInfo, TokenKind

LIFE_DAYS, LIFE_DAYS_MAX = 90, 3650


class TokenBody(Body):
    """`POST /api/v1/tokens`."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = (Scope.KB_READ, Scope.KB_ASK)
    days: Annotated[int, Field(ge=1, le=LIFE_DAYS_MAX)] = LIFE_DAYS
    knowledge_bases: Annotated[list[str], Field(min_length=1, max_length=100)] | None = None
    kind: TokenKind = TokenKind.PERSONAL
    never_expires: bool = False
    assistants: Annotated[list[str], Field(min_length=1, max_length=100)] | None = None
    networks: Annotated[list[str], Field(min_length=1, max_length=50)] | None = None


@returns(TokensReply)
async def index(request: Request) -> Response:
    """The caller's own tokens; for admins all of the tenant. Without their secrets."""
    principal = await principal_of(request)
    found = await service_of(request).engine.people.list_tokens(principal)
    return JSONResponse({"tokens": [_shown(token) for token in found]})


@returns(NewTokenReply, status=201)
async def add(request: Request) -> Response:
    """A new token; its secret is in this response alone."""
    engine = service_of(request).engine
    principal = await principal_of(request)
    body = await read_body(request, TokenBody)
    if body.never_expires and body.kind is TokenKind.PERSONAL:
        raise InvalidInput(
            "A personal token needs an expiry: set days instead of never_expires. Only a service"
            " key can be without one.",
            field="never_expires",
        )
    kb_ids = None
    if body.knowledge_bases is not None:
        kbs = [await engine.knowledge_bases.get(principal, kb) for kb in body.knowledge_bases]
        kb_ids = [kb.id for kb in kbs]
    secret, made = await engine.people.create_token(
        principal,
        body.name,
        scopes=body.scopes,
        expires_in=timedelta(days=body.days),
        expires_at=NEVER if body.never_expires else None,
        kb_ids=kb_ids,
        kind=body.kind,
        assistants=body.assistants,
        networks=body.networks,
    )
    return JSONResponse(_shown(made) | {"token": secret}, status_code=201)


@returns(TokenInfo)
async def revoke(request: Request) -> Response:
    """End a token, at once."""
    principal = await principal_of(request)
    people = service_of(request).engine.people
    return JSONResponse(_shown(await people.revoke_token(principal, request.path_params["id"])))


def _shown(token: TokenInfo) -> dict[str, Any]:
    known = asdict(token)
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in known.items()
    }


ROUTES = (
    Route("/api/v1/tokens", index, methods=["GET"]),
    Route("/api/v1/tokens", add, methods=["POST"]),
    Route("/api/v1/tokens/{id}", revoke, methods=["DELETE"]),
)
