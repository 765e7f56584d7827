"""`/api/v1/mail`: try the mail server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.operations import returns
from api.replies import MailTestReply
from api.schemas import Body, read_body
from api.service import principal_of, service_of


class MailTestBody(Body):
    """`POST /api/v1/mail/test`."""

    to: Annotated[str, Field(min_length=3, max_length=320)]


@returns(MailTestReply)
async def send_test(request: Request) -> Response:
    """Send a message now, to try the settings."""
    principal = await principal_of(request)
    body = await read_body(request, MailTestBody)
    server = await service_of(request).engine.mail.test(principal, body.to)
    return JSONResponse({"sent": body.to, "server": server})


ROUTES = (Route("/api/v1/mail/test", send_test, methods=["POST"]),)
