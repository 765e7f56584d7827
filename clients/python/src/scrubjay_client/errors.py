"""What can go wrong: `ProblemError` for what a server refuses, `ConnectionFailed` for no server.

ScrubjayError
├── ConnectionFailed
└── ProblemError
├── InvalidRequest      ├── NotFound     ├── RateLimited
├── Unauthenticated     ├── Conflict     ├── Unavailable
└── Forbidden           └── ServerError
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


class ScrubjayError(Exception):
    """Anything this package raises on purpose."""


class ConnectionFailed(ScrubjayError):
    """No server answered, or it stopped in the middle."""


class ProblemError(ScrubjayError):
    """The server refused; `code` is for programs, `correlation_id` is in the server's log.

    `faults` pairs each wrong field with what is wrong there; `retry_after_s` is None where the
    server names no time.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int = 0,
        code: str = "",
        field: str = "",
        correlation_id: str = "",
        faults: Sequence[tuple[str, str]] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.field = field
        self.correlation_id = correlation_id
        self.faults = tuple(faults)
        self.retry_after_s = retry_after_s


class InvalidRequest(ProblemError):
    """A field or a file is wrong."""


class Unauthenticated(ProblemError):
    """The token is missing, wrong or has ended."""


class Forbidden(ProblemError):
    """The token may not do this."""


class NotFound(ProblemError):
    """It does not exist, or is not for this token to see."""


class Conflict(ProblemError):
    """It exists already, or changed meanwhile."""


class RateLimited(ProblemError):
    """Too many requests: try again after `retry_after_s`."""


class Unavailable(ProblemError):
    """The server can't do this now: try again after `retry_after_s`."""


class ServerError(ProblemError):
    """A fault of the server; its operator finds `correlation_id` in the log."""


_KINDS: Mapping[int, type[ProblemError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    429: RateLimited,
    503: Unavailable,
    504: Unavailable,
}


def problem(status: int, headers: Mapping[str, str], body: bytes) -> ProblemError:
    """The error that a response tells of, whatever its body holds."""
    try:
        said: Any = json.loads(body)
    except ValueError:
        said = None
    found: Mapping[str, Any] = said if isinstance(said, dict) else {}
    kind = _KINDS.get(status, ServerError if status >= 500 else InvalidRequest)
    faults = found.get("errors")
    return kind(
        str(found.get("detail") or f"The server answered {status}."),
        status=status,
        code=str(found.get("code", "")),
        field=str(found.get("field", "")),
        correlation_id=str(found.get("correlation_id") or headers.get("x-request-id", "")),
        faults=[
            (str(item.get("field", "")), str(item.get("message", "")))
            for item in (faults if isinstance(faults, list) else [])
            if isinstance(item, dict)
        ],
        retry_after_s=retry_after(headers),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of `Retry-After`; None where there is none, or a date."""
    said = headers.get("retry-after", "").strip()
    return float(said) if said.isdecimal() else None
