"""What a route answers with, said beside its handler: `api/openapi.py` describes the API from it.

What a route takes is read from the handler itself, which names the model it reads
(`read_body(request, AskBody)`); a route without a word here still appears, with an open object.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

Handler = Callable[[Request], Awaitable[Response]]

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Returned:
    """One response: its status, its media type, and what is in it, as a type pydantic knows.

    `model` None is text whose form the media type says.
    """

    model: Any
    status: int = 200
    media_type: str = JSON


RETURNED: dict[Handler, list[Returned]] = {}  # by handler, the usual response first
FORMS: dict[Handler, Any] = {}  # the model of a handler's form


def returns(
    model: Any,  # noqa: ANN401 (a class, or what `typing` makes)
    *,
    status: int = 200,
    media_type: str = JSON,
) -> Callable[[Handler], Handler]:
    """Mark a handler with a response of its; the outermost mark is the usual one."""

    def mark(handler: Handler) -> Handler:
        RETURNED.setdefault(handler, []).insert(0, Returned(model, status, media_type))
        return handler

    return mark


def takes_form(model: Any) -> Callable[[Handler], Handler]:  # noqa: ANN401 (as above)
    """Mark a handler that reads a form with the model of its fields."""

    def mark(handler: Handler) -> Handler:
        FORMS[handler] = model
        return handler

    return mark
