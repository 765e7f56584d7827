"""`/admin/v1/tenants`: the tenants of an installation, at the operator's own address alone."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from api.cookies import client_of
from api.schemas import Body, read_body
from api.service import service_of
from engine.domain import Principal
from engine.errors import Unauthenticated
from engine.people.people import People
from engine.people.tenants import TenantInfo

SIGN_IN = (
    "This needs the token of an operator, sent as `Authorization: Bearer …`: sign in with"
    " `POST /admin/v1/sign_in`, or run `scrubjay admin token` on the server."
)


class OperatorBody(Body):
    """`POST /admin/v1/sign_in`."""

    email: Annotated[str, Field(min_length=1, max_length=320)]
    password: Annotated[SecretStr, Field(min_length=1, max_length=1024)]
    code: Annotated[SecretStr, Field(max_length=64)] = SecretStr("")


class TenantBody(Body):
    """`POST /admin/v1/tenants`."""

    key: Annotated[str, Field(min_length=1, max_length=40)]
    name: Annotated[str, Field(max_length=200)] = ""


async def operator_of(request: Request) -> Principal:
    """Who runs the installation and has just signed in; raises `Unauthenticated` for all others."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(SIGN_IN)
    return await _people(request).sign_in.principal_of_operator(token.strip())


async def sign_in(request: Request) -> Response:
    """A token for ten minutes; it can't be renewed."""
    body = await read_body(request, OperatorBody)
    signed_in = await _people(request).sign_in.as_operator(
        body.email,
        body.password.get_secret_value(),
        client=client_of(request),
        code=body.code.get_secret_value(),
    )
    ends_at = signed_in.access_expires_at
    return JSONResponse(
        {
            "access_token": signed_in.access_token,
            "token_type": "Bearer",
            "expires_at": ends_at.isoformat() if ends_at else None,
        }
    )


async def sign_out(request: Request) -> Response:
    """End this sign-in."""
    operator = await operator_of(request)
    await _people(request).sign_in.sign_out(operator)
    return Response(status_code=204)


async def index(request: Request) -> Response:
    """Every tenant, by key."""
    operator = await operator_of(request)
    found = await _people(request).list_tenants(operator)
    return JSONResponse({"tenants": [shown(tenant) for tenant in found]})


async def add(request: Request) -> Response:
    """A new tenant, with the operator as its owner."""
    operator = await operator_of(request)
    body = await read_body(request, TenantBody)
    made = await _people(request).create_tenant(operator, body.key, name=body.name)
    return JSONResponse(shown(made), status_code=201)


async def show(request: Request) -> Response:
    """One tenant."""
    operator = await operator_of(request)
    return JSONResponse(shown(await _people(request).show_tenant(operator, _key(request))))


async def suspend(request: Request) -> Response:
    """Let it answer nothing until it is resumed."""
    operator = await operator_of(request)
    return JSONResponse(shown(await _people(request).suspend_tenant(operator, _key(request))))


async def resume(request: Request) -> Response:
    """Let it answer again."""
    operator = await operator_of(request)
    return JSONResponse(shown(await _people(request).resume_tenant(operator, _key(request))))


async def export(request: Request) -> Response:
    """Everything it has but secrets, as a zip."""
    operator = await operator_of(request)
    folder = tempfile.TemporaryDirectory(prefix="scrubjay-export-")
    try:
        tenant = await _people(request).show_tenant(operator, _key(request))
        path = Path(folder.name) / f"{tenant.key}.zip"
        await service_of(request).engine.operations.export_tenant(operator, tenant.id, path)
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(
        path,
        media_type="application/zip",
        filename=path.name,
        background=BackgroundTask(folder.cleanup),
    )


class CreditsBody(Body):
    """`POST /admin/v1/tenants/{tenant}/credits`; a `cause` given again adds nothing again."""

    add: Annotated[float, Field(allow_inf_nan=False)] | None = None
    enforced: bool | None = None
    cause: Annotated[str, Field(max_length=100)] = ""


class BoundBody(Body):
    """`PUT /admin/v1/tenants/{tenant}/quotas/{kind}`; null removes the bound."""

    amount: Annotated[int, Field(ge=0)] | None


class LlmBody(Body):
    """`PUT /admin/v1/tenants/{tenant}/llm`."""

    allowed: bool


async def add_credits(request: Request) -> Response:
    """Add credits for language models; what the tenant may spend then."""
    operator = await operator_of(request)
    body = await read_body(request, CreditsBody)
    left = await service_of(request).engine.llms.grant(
        operator, _key(request), credits=body.add, enforced=body.enforced, cause=body.cause
    )
    return JSONResponse(asdict(left))


async def set_bound(request: Request) -> Response:
    """Bound what the tenant may use; its quotas then."""
    operator = await operator_of(request)
    body = await read_body(request, BoundBody)
    held = await service_of(request).engine.quotas.bound(
        operator, _key(request), str(request.path_params["kind"]), body.amount
    )
    return JSONResponse({"quotas": [asdict(quota) for quota in held]})


async def allow_llm(request: Request) -> Response:
    """Whether the tenant may use the installation's own language model."""
    operator = await operator_of(request)
    body = await read_body(request, LlmBody)
    llms = service_of(request).engine.llms
    allowed = await llms.allow_operators(operator, _key(request), on=body.allowed)
    return JSONResponse({"allowed": allowed})


async def delete(request: Request) -> Response:
    """End it now; a worker deletes all it has. `deletion` says how far that is."""
    operator = await operator_of(request)
    ended = await _people(request).delete_tenant(operator, _key(request))
    return JSONResponse(shown(ended) | {"deletion": "running"}, status_code=202)


def shown(tenant: TenantInfo) -> dict[str, Any]:
    """A tenant as JSON."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(tenant).items()
    }


def _people(request: Request) -> People:
    return service_of(request).engine.people


def _key(request: Request) -> str:
    return str(request.path_params["tenant"])


ROUTES = (
    Route("/admin/v1/sign_in", sign_in, methods=["POST"]),
    Route("/admin/v1/sign_out", sign_out, methods=["POST"]),
    Route("/admin/v1/tenants", index, methods=["GET"]),
    Route("/admin/v1/tenants", add, methods=["POST"]),
    Route("/admin/v1/tenants/{tenant}", show, methods=["GET"]),
    Route("/admin/v1/tenants/{tenant}", delete, methods=["DELETE"]),
    Route("/admin/v1/tenants/{tenant}/suspend", suspend, methods=["POST"]),
    Route("/admin/v1/tenants/{tenant}/resume", resume, methods=["POST"]),
    Route("/admin/v1/tenants/{tenant}/credits", add_credits, methods=["POST"]),
    Route("/admin/v1/tenants/{tenant}/quotas/{kind}", set_bound, methods=["PUT"]),
    Route("/admin/v1/tenants/{tenant}/llm", allow_llm, methods=["PUT"]),
    Route("/admin/v1/tenants/{tenant}/export", export, methods=["GET"]),
)
