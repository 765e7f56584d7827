"""Errors as a model can act on them: what was wrong, what is allowed, what to call next.

One catalogue. Tools raise; the server (`server.py`) calls `error_text` in one place and puts the
code into `_meta`. Only our own sentences leave: they never repeat a document, a provider or a
library, but name an incident to look up in the log. Absent and forbidden look the same, because the
engine raises the same. `docs/reference/mcp.md` lists the codes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS
from pydantic import ValidationError

from engine.errors import EngineError, Forbidden, InvalidInput, NotFound, RateLimited, Unavailable
from engine.telemetry import redact

CALLERS_FAULT = INVALID_PARAMS
NOT_NOW = -32000  # JSON-RPC 2.0, 5.1: the first of the codes for servers

# What to do next, by the error's code; it follows the engine's own sentence.
NEXT = {
    "configuration": "This is for the operator.",
    "conflict": "First check what exists with list_documents.",
    "credits_exhausted": "Searching still works; answers need credits.",
    "index_damaged": "This is for the operator: run `scrubjay doctor`.",
    "blocked": "This is for the operator.",
    "index_full": "This is for the operator: the search engine needs more space.",
    "not_found": "Use an id from a search result, or call list_knowledge_bases for the names.",
    "tenant_suspended": "This is for the operator.",
    "quota_reached": "Delete documents first, or ask an admin for a higher quota.",
    "too_large": "Send less, or split it.",
    "unavailable": "Try again in a moment.",
}
# Of those above, what sends to tools that a key bound to assistants does not have.
FOR_READERS = {"conflict", "credits_exhausted", "not_found"}


class UnknownArgument(InvalidInput):
    """An argument the tool does not have."""

    code = "unknown_argument"

    def __init__(
        self, tool: str, unknown: Sequence[str], names: Sequence[str], meant: Sequence[str] = ()
    ) -> None:
        said = ", ".join(name[:40] for name in unknown[:5])
        use = ", ".join(dict.fromkeys(filter(None, meant)))
        instead = f" Use {use} instead." if use else ""
        takes = ", ".join(sorted(names)) or "nothing"
        super().__init__(
            f"Unknown argument {said}.{instead} {tool} takes: {takes}.", field=unknown[0]
        )


class UnknownTool(NotFound):
    """No such tool here, or not for this credential: the two look the same."""

    code = "unknown_tool"

    def __init__(self, tool: str, names: Sequence[str]) -> None:
        super().__init__(f"No tool {tool[:60]!r} here. Available: {', '.join(names) or 'none'}.")


class CallTimedOut(EngineError):
    """The call exceeded the time limit."""

    code = "over_time"


def code_of(error: Exception) -> str:
    """The stable name of an error, for `_meta` and the audit."""
    if isinstance(error, ValidationError):
        return InvalidInput.code
    return error.code if isinstance(error, EngineError) else "internal"


def error_text(
    error: Exception,
    *,
    arguments: Sequence[str],
    tool: str,
    incident: str,
    only_asks: bool = False,
) -> str:
    """What the model reads; `only_asks` says that it has no tool but `ask`."""
    if isinstance(error, ValidationError):
        return f"{_faults(error)} {tool} takes: {', '.join(sorted(arguments))}."
    if isinstance(error, RateLimited):
        return f"{redact(str(error))} Retry after {error.retry_after_s:.0f} s."
    if isinstance(error, EngineError):
        is_beyond = only_asks and error.code in FOR_READERS
        return f"{redact(str(error))} {'' if is_beyond else _next(error)}".strip()
    return f"Something went wrong inside Scrubjay: ask the operator to look up incident {incident}."


def protocol_error(error: Exception, incident: str) -> MCPError:
    """An error of a request that is no call of a tool, whose answer no model reads.

    What the caller got wrong is -32602; what is not for them now, -32000; a fault of ours, -32603.
    """
    if isinstance(error, MCPError):
        return error
    code = code_of(error)
    text = error_text(error, arguments=(), tool="", incident=incident)
    data: dict[str, object] = {"code": code, "incident": incident}
    if isinstance(error, RateLimited):
        data["retry_after_s"] = math.ceil(error.retry_after_s)
    number = CALLERS_FAULT if isinstance(error, InvalidInput | NotFound | Forbidden) else NOT_NOW
    return MCPError(INTERNAL_ERROR if code == "internal" else number, text, data)


def _next(error: EngineError) -> str:
    if isinstance(error, UnknownTool):
        return ""
    if isinstance(error, NotFound) and "Available:" in str(error):
        return "Call list_knowledge_bases for descriptions."
    if isinstance(error, Unavailable) and error.retry_after_s is not None:
        return f"Try again in {error.retry_after_s:.0f} s."
    if isinstance(error, Forbidden) and error.scopes:
        return ""
    return NEXT.get(error.code, "")


def _faults(error: ValidationError) -> str:
    """The faults in plain words; the rejected values are the caller's and are not repeated."""
    said = []
    for fault in error.errors(include_input=False, include_url=False)[:5]:
        name = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "missing":
            said.append(f"The argument {name} is missing.")
        else:
            said.append(f"The argument {name} is not valid: {fault['msg'].lower()}.")
    return " ".join(said)
