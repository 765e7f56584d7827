"""Errors as HTTP: one table from the engine's errors to problem details (RFC 9457).

Handlers raise; the request middleware (`api/middleware.py`) calls `problem_of`. A body holds our
own sentences and the correlation id to look up in the log, never the text of a foreign exception.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.responses import Response

from engine.errors import (
    EngineError,
    Forbidden,
    InvalidInput,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from engine.telemetry import correlation_id, redact

# Status and title by the error's code; a class that is not named here answers as its base does.
TABLE: dict[str, tuple[int, str]] = {
    "already_running": (409, "Already running"),
    "budget_spent": (422, "Budget spent"),
    "cancelled": (409, "Cancelled"),
    "configuration": (500, "Misconfigured"),
    "conflict": (409, "Conflict"),
    "credits_exhausted": (402, "No credits left"),
    "document": (422, "The document can't be read"),
    "error": (500, "Something went wrong"),
    "forbidden": (403, "Not allowed"),
    "index_damaged": (503, "Not available now"),
    "blocked": (503, "Not available now"),
    "index_full": (503, "Not available now"),
    "invalid_flow": (422, "Invalid input"),
    "invalid_input": (422, "Invalid input"),
    "link_ended": (410, "This link has ended"),
    "lease_lost": (409, "Conflict"),
    "link_expired": (410, "No longer valid"),
    "mail_refused": (502, "The mail server refuses"),
    "not_found": (404, "Not found"),
    "over_time": (504, "Took too long"),
    "quota_reached": (409, "Quota reached"),
    "rate_limited": (429, "Too many requests"),
    "sign_in_failed": (400, "Not signed in"),
    "stale_assistant": (409, "Changed meanwhile"),
    "stale_draft": (409, "Changed meanwhile"),
    "step_up_required": (403, "Confirm who you are"),
    "tenant_suspended": (403, "Suspended"),
    "too_large": (413, "Too large"),
    "code_required": (401, "Not signed in"),
    "unauthenticated": (401, "Not signed in"),
    "unavailable": (503, "Not available now"),
}
HTTP_TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Took too long",
    413: "Too large",
    415: "Unsupported content type",
    421: "Misdirected request",
    428: "Precondition required",
}
FALLBACK = (
    "Something went wrong inside Scrubjay. Ask the operator to search the log for this "
    "correlation id."
)


class HttpRefusal(HTTPException):
    """A request refused before the engine saw it; `detail` is for the person who sent it."""

    def __init__(self, status_code: int, detail: str, *, code: str, field: str = "") -> None:
        super().__init__(status_code, detail)
        self.code = code
        self.field = field


class InvalidBody(InvalidInput):
    """A body with several faults: `faults` pairs each field with what is wrong there."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        field, message = faults[0]
        super().__init__(f"{field}: {message}" if field else message, field=field)
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as the body and headers of a response."""

    status: int
    code: str
    title: str
    detail: str
    field: str = ""
    faults: Sequence[tuple[str, str]] = ()
    headers: Sequence[tuple[str, str]] = ()

    def response(self) -> Response:
        """As `application/problem+json`."""
        body: dict[str, object] = {
            "type": f"urn:scrubjay:error:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "correlation_id": correlation_id(),
        }
        if self.field:
            body["field"] = self.field
        if self.faults:
            body["errors"] = [{"field": name, "message": text} for name, text in self.faults]
        return Response(
            json.dumps(body, ensure_ascii=False),
            status_code=self.status,
            headers=dict(self.headers),
            media_type="application/problem+json",
        )


def problem_of(error: Exception) -> Problem:
    """The problem of an exception; one that is not ours becomes a bare 500."""
    if isinstance(error, EngineError):
        return _of_engine(error)
    if isinstance(error, HTTPException):
        title = HTTP_TITLES.get(error.status_code, "Error")
        code = error.code if isinstance(error, HttpRefusal) else title.lower().replace(" ", "_")
        headers = tuple((error.headers or {}).items())
        field = error.field if isinstance(error, HttpRefusal) else ""
        return Problem(error.status_code, code, title, error.detail, field, headers=headers)
    return Problem(500, "internal", "Something went wrong", FALLBACK)


def _of_engine(error: EngineError) -> Problem:
    status, title = TABLE.get(error.code, (422 if error.code else 500, "Error"))
    headers: list[tuple[str, str]] = []
    if isinstance(error, Unauthenticated):
        headers.append(("WWW-Authenticate", 'Bearer realm="scrubjay"'))
    if isinstance(error, Forbidden) and error.scopes:
        scopes = " ".join(error.scopes)
        challenge = f'Bearer realm="scrubjay", error="insufficient_scope", scope="{scopes}"'
        headers.append(("WWW-Authenticate", challenge))
    wait_s = None
    if isinstance(error, RateLimited | Unavailable):
        wait_s = error.retry_after_s
    if wait_s is not None:
        headers.append(("Retry-After", str(math.ceil(wait_s))))
    return Problem(
        status,
        error.code,
        title,
        redact(str(error)),
        field=error.field if isinstance(error, InvalidInput) else "",
        faults=error.faults if isinstance(error, InvalidBody) else (),
        headers=headers,
    )
