"""What the engine describes in dataclasses, as the JSON of a response."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from starlette.responses import JSONResponse

_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def json_reply(value: object, status: int = 200) -> JSONResponse:
    """A response with `value`, whatever of dataclasses, times and sets is in it."""
    return JSONResponse(_ANY.dump_python(value, mode="json"), status_code=status)
