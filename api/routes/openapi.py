"""`/openapi.json`: the description of the API."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.operations import returns

FILE = Path(__file__).parents[1] / "openapi.json"


@cache
def _document() -> bytes:
    return FILE.read_bytes()


@returns(dict[str, Any])
async def show(request: Request) -> Response:
    """This description, OpenAPI 3.1."""
    del request
    return Response(_document(), media_type="application/json")


ROUTES = (Route("/openapi.json", show, methods=["GET"]),)
