"""`/api/v1/audit`: who changed what, the newest first, all of it as JSON lines, and verified."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from api.operations import returns
from api.replies import AuditReply, VerificationReply
from api.schemas import Body, read_query
from api.service import principal_of, service_of
from engine.access.gate import require_verb


class AuditQuery(Body):
    """`GET /api/v1/audit`."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100


@returns(AuditReply)
async def index(request: Request) -> Response:
    """The newest changes of the tenant."""
    principal = await principal_of(request)
    query = read_query(request, AuditQuery)
    found = await service_of(request).engine.operations.list_audit(principal, limit=query.limit)
    rows: list[dict[str, Any]] = [
        {
            "at": item.at.isoformat(),
            "actor": item.actor,
            "action": item.action,
            "detail": dict(item.detail),
        }
        for item in found
    ]
    return JSONResponse({"changes": rows})


@returns(None, media_type="application/x-ndjson")
async def export(request: Request) -> Response:
    """Every change in order, a JSON object a line."""
    principal = await principal_of(request)
    require_verb(principal, "audit.export")
    found = service_of(request).engine.operations.export_audit(principal)

    async def lines() -> AsyncIterator[str]:
        async for row in found:
            yield json.dumps(row, ensure_ascii=False) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@returns(VerificationReply)
async def verify(request: Request) -> Response:
    """Whether all rows are there and as they were written."""
    principal = await principal_of(request)
    found = await service_of(request).engine.operations.verify_audit(principal)
    return JSONResponse({"rows": found.rows, "faults": list(found.faults)})


ROUTES = (
    Route("/api/v1/audit", index, methods=["GET"]),
    Route("/api/v1/audit/export", export, methods=["GET"]),
    Route("/api/v1/audit/verification", verify, methods=["GET"]),
)
