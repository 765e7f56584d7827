"""`/api/v1/identity_providers`: where a tenant's people have accounts that they sign in with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field, SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import (
    IdentityProviderReply,
    IdentityProvidersReply,
    ProviderCheckReply,
    RemovedReply,
)
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine.domain import Role
from engine.people.federation.kinds import Kind
from engine.people.federation.providers import IdentityProviderInfo, NewProvider

Short = Annotated[str, Field(max_length=300)]
Some = Annotated[tuple[Short, ...], Field(max_length=100)]


class IdentityProviderBody(Body):
    """`POST /api/v1/identity_providers`; `groups` maps a value of the claim to a group of yours."""

    key: Annotated[str, Field(min_length=1, max_length=40)]
    kind: Kind
    client_id: Annotated[str, Field(min_length=1, max_length=300)]
    client_secret: Annotated[SecretStr, Field(max_length=2000)] = SecretStr("")
    issuer: Short = ""
    name: Annotated[str, Field(max_length=200)] = ""
    scopes: Short = ""
    api_url: Short = ""
    allowed_domains: Some = ()
    allowed_tenants: Some = ()
    groups_claim: Annotated[str, Field(max_length=100)] = ""
    groups: Annotated[dict[str, Short], Field(max_length=100)] = Field(default_factory=dict)
    jit_role: Role | None = None
    link_by_email: bool = False


@returns(IdentityProvidersReply)
async def index(request: Request) -> Response:
    """The tenant's identity providers, by key."""
    principal = await principal_of(request)
    found = await service_of(request).engine.people.providers.list_all(principal)
    return JSONResponse({"identity_providers": [_shown(item) for item in found]})


@returns(IdentityProviderReply, status=201)
async def add(request: Request) -> Response:
    """Add an identity provider; `redirect_uri` is what to enter there."""
    principal = await principal_of(request)
    body = await read_body(request, IdentityProviderBody)
    said = body.model_dump() | {"client_secret": body.client_secret.get_secret_value()}
    made = await service_of(request).engine.people.providers.add(principal, NewProvider(**said))
    return JSONResponse(_shown(made), status_code=201)


@returns(RemovedReply)
async def remove(request: Request) -> Response:
    """Remove an identity provider: nobody signs in by it any more."""
    principal = await principal_of(request)
    providers = service_of(request).engine.people.providers
    await providers.remove(principal, request.path_params["provider"])
    return JSONResponse({"removed": request.path_params["provider"]})


@returns(ProviderCheckReply)
async def check(request: Request) -> Response:
    """Ask an identity provider for its metadata and keys, as a sign-in would."""
    principal = await principal_of(request)
    providers = service_of(request).engine.people.providers
    return JSONResponse(asdict(await providers.check(principal, request.path_params["provider"])))


def _shown(item: IdentityProviderInfo) -> dict[str, Any]:
    return asdict(item) | {"created_at": item.created_at.isoformat()}


ROUTES = (
    Route("/api/v1/identity_providers", index, methods=["GET"]),
    Route("/api/v1/identity_providers", add, methods=["POST"]),
    Route("/api/v1/identity_providers/{provider}", remove, methods=["DELETE"]),
    Route("/api/v1/identity_providers/{provider}/check", check, methods=["POST"]),
)
