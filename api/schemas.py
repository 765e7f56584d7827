"""What enters the REST API, as pydantic models, and how a body becomes one.

What leaves is built in `engine/serializers.py`. An invalid body is refused with every wrong field;
the values themselves are never repeated.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.requests import Request

from api.problems import HttpRefusal, InvalidBody
from engine.errors import InvalidInput, TooLarge

JSON_MAX_BYTES = 256 * 1024
QUESTION_MAX = 4000  # characters
QUERY_MAX = 2000

Name = Annotated[str, Field(max_length=200)]


class Body(BaseModel):
    """A JSON body; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AskBody(Body):
    """`POST /api/v1/ask`."""

    question: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=QUESTION_MAX)
    ]
    kb: Name = ""
    conversation_id: Annotated[str, Field(max_length=64)] = ""


class SearchBody(Body):
    """`POST /api/v1/search`."""

    query: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=QUERY_MAX)
    ]
    kb: Name = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    mode: Literal["hybrid", "semantic", "keyword", "adaptive"] = "hybrid"


class DocumentChanges(Body):
    """`PATCH /api/v1/documents/{id}`; what is left out stays."""

    hidden: bool | None = None


class PassageChange(Body):
    """`PATCH /api/v1/passages/{id}`."""

    hidden: bool


class FetchQuery(Body):
    """`GET /api/v1/fetch`."""

    id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class DocumentsQuery(Body):
    """`GET /api/v1/documents`."""

    kb: Name = ""
    state: Literal["", "pending", "running", "ready", "failed", "cancelled"] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: Annotated[str, Field(max_length=500)] = ""


class ConversationBody(Body):
    """`POST /api/v1/conversations` and `PATCH /api/v1/conversations/{id}`."""

    name: Name = ""


class ConversationsQuery(Body):
    """`GET /api/v1/conversations`."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Annotated[str, Field(max_length=64)] = ""


class EventsQuery(Body):
    """`GET /api/v1/documents/events`."""

    kb: Name = ""


Model = TypeVar("Model", bound=Body)


async def read_body(request: Request, model: type[Model]) -> Model:
    """The JSON body as `model`; raises `InvalidBody`, `TooLarge` or `HttpRefusal`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HttpRefusal(
            415, "Send the body as JSON with `Content-Type: application/json`.", code="not_json"
        )
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > JSON_MAX_BYTES:
            raise TooLarge(f"The body is larger than {JSON_MAX_BYTES:,} bytes.")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        raise _invalid(error) from None


def read_query(request: Request, model: type[Model]) -> Model:
    """The query string as `model`; raises `InvalidBody`."""
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> InvalidInput:
    found = error.errors(include_input=False, include_url=False, include_context=False)
    faults = [
        (
            ".".join(str(part) for part in fault["loc"]),
            "unknown field" if fault["type"] == "extra_forbidden" else fault["msg"],
        )
        for fault in found
    ]
    return InvalidBody(faults)
