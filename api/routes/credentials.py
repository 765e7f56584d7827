"""`/api/v1/credentials`: what sources sign in with. No answer ever holds a secret."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.json_replies import json_reply
from api.operations import returns
from api.replies import CredentialsReply, FindingsReply
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine.sources.credentials import CredentialInfo, SourceCredentials

Fields = dict[str, SecretStr]
Method = Annotated[str, Field(max_length=40)]


class CredentialBody(Body):
    """`POST /api/v1/credentials`. `secret` has the fields of the method; `method` empty: the kind's first."""

    kind: Annotated[str, Field(min_length=1, max_length=40)]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    method: Method = ""
    secret: Fields


class NewSecretBody(Body):
    """`PUT /api/v1/credentials/{credential}`; `method` empty: as it was."""

    method: Method = ""
    secret: Fields


class CredentialTestBody(Body):
    """`POST /api/v1/credentials/{credential}/test`. Without `settings`: by each source that uses it."""

    settings: dict[str, Any] = Field(default_factory=dict)


def _credentials(request: Request) -> SourceCredentials:
    return service_of(request).engine.credentials


def _named(request: Request) -> str:
    return str(request.path_params["credential"])


def _opened(secret: Fields) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in secret.items()}


@returns(CredentialsReply)
async def index(request: Request) -> Response:
    """The credentials of the tenant's sources, by name, without their secrets."""
    principal = await principal_of(request)
    return json_reply({"credentials": await _credentials(request).list_all(principal)})


@returns(CredentialInfo, status=201)
async def add(request: Request) -> Response:
    """Keep a credential for sources of a kind."""
    principal = await principal_of(request)
    body = await read_body(request, CredentialBody)
    info = await _credentials(request).add(
        principal,
        kind=body.kind,
        name=body.name,
        method=body.method,
        secret=_opened(body.secret),
    )
    return json_reply(info, 201)


@returns(CredentialInfo)
async def replace(request: Request) -> Response:
    """Give a credential another secret; sources that waited for one go on."""
    principal = await principal_of(request)
    body = await read_body(request, NewSecretBody)
    info = await _credentials(request).replace(
        principal, _named(request), method=body.method, secret=_opened(body.secret)
    )
    return json_reply(info)


@returns(CredentialInfo)
async def remove(request: Request) -> Response:
    """Delete a credential that no source uses."""
    principal = await principal_of(request)
    return json_reply(await _credentials(request).remove(principal, _named(request)))


@returns(FindingsReply)
async def test(request: Request) -> Response:
    """Whether a credential is taken."""
    principal = await principal_of(request)
    body = await read_body(request, CredentialTestBody)
    sources = service_of(request).engine.sources
    found = await sources.try_credential(principal, _named(request), body.settings)
    return json_reply({"findings": found})


_ONE = "/api/v1/credentials/{credential}"
ROUTES = (
    Route("/api/v1/credentials", index, methods=["GET"]),
    Route("/api/v1/credentials", add, methods=["POST"]),
    Route(_ONE, replace, methods=["PUT"]),
    Route(_ONE, remove, methods=["DELETE"]),
    Route(f"{_ONE}/test", test, methods=["POST"]),
)
