"""Errors as a model can act on them: what was wrong, what is allowed, what to call next.

Tools raise; `KnowledgeTool` (`mcp_server/tool.py`) calls `error_text` in one place. Only our own
sentences get out. Absent and forbidden read the same, because the engine raises the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from engine.errors import EngineError, InvalidInput, NotFound, RateLimited, Unavailable
from engine.telemetry import redact

# What to do next, by the error's code; the engine's own sentence stands before it.
NEXT = {
    "not_found": "Use an id from a search result, or call list_knowledge_bases for the names.",
    "index_damaged": "This is for the operator: `scrubjay doctor` says what to do.",
    "index_full": "This is for the operator: the search engine needs more room.",
    "unavailable": "Try again in a moment.",
}


class AnswerTimedOut(EngineError):
    """The answer took longer than a tool call may."""

    code = "over_time"


def code_of(error: Exception) -> str:
    """The stable name of an error, for `_meta`."""
    if isinstance(error, ValidationError):
        return InvalidInput.code
    return error.code if isinstance(error, EngineError) else "internal"


def error_text(error: Exception, *, arguments: Sequence[str], tool: str, incident: str) -> str:
    """What the model reads."""
    if isinstance(error, ValidationError):
        return f"{_faults(error)} {tool} takes: {', '.join(sorted(arguments))}."
    if isinstance(error, RateLimited):
        return f"{redact(str(error))} Retry after {error.retry_after_s:.0f} s."
    if isinstance(error, EngineError):
        said = redact(str(error))
        following = NEXT.get(error.code, "")
        if isinstance(error, NotFound) and "Available:" in said:
            following = "Call list_knowledge_bases for descriptions."
        if isinstance(error, Unavailable) and error.retry_after_s is not None:
            following = f"Try again in {error.retry_after_s:.0f} s."
        return f"{said} {following}".strip()
    return f"Something went wrong inside Scrubjay; the operator finds it in the log as {incident}."


def _faults(error: ValidationError) -> str:
    """The faults in plain words; the rejected values are the caller's and are not repeated."""
    said = []
    for fault in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "missing":
            said.append(f"The argument {name} is missing.")
        else:
            said.append(f"The argument {name} is not valid: {fault['msg'].lower()}.")
    return " ".join(said)
