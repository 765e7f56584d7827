"""`/api/v1/secrets`: what workflows use by name and nobody reads again."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typing_extensions import TypedDict

from api.operations import returns
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine import serializers
from engine.workflows.stored_secrets import SecretInfo


class SecretsReply(TypedDict):
    """The secrets of workflows, without their values."""

    secrets: list[SecretInfo]


class RemovedSecretReply(TypedDict):
    """The name of what was removed."""

    removed: str


class SecretBody(Body):
    """`PUT /api/v1/secrets/{name}`; without `value` the one there is stays."""

    value: Annotated[SecretStr, Field(min_length=1, max_length=10_000)] | None = None
    hosts: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=20)] | None = (
        None
    )


@returns(SecretsReply)
async def index(request: Request) -> Response:
    """The secrets that workflows may use, and where each may be sent."""
    principal = await principal_of(request)
    found = await service_of(request).engine.workflows.list_secrets(principal)
    return JSONResponse({"secrets": [serializers.plain(item) for item in found]})


@returns(SecretInfo)
async def save(request: Request) -> Response:
    """Add a secret, or change its value or the hosts it may be sent to."""
    principal = await principal_of(request)
    body = await read_body(request, SecretBody)
    kept = await service_of(request).engine.workflows.set_secret(
        principal,
        request.path_params["name"],
        value=None if body.value is None else body.value.get_secret_value(),
        hosts=body.hosts,
    )
    return JSONResponse(serializers.plain(kept))


@returns(RemovedSecretReply)
async def remove(request: Request) -> Response:
    """Forget a secret; workflows that use it fail until it is set again."""
    principal = await principal_of(request)
    name = request.path_params["name"]
    await service_of(request).engine.workflows.remove_secret(principal, name)
    return JSONResponse({"removed": name})


ROUTES = [
    Route("/api/v1/secrets", index, methods=["GET"]),
    Route("/api/v1/secrets/{name}", save, methods=["PUT"]),
    Route("/api/v1/secrets/{name}", remove, methods=["DELETE"]),
]
