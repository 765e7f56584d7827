"""Structured logs with one correlation id from a door to the worker, and no secret in them.

Code logs with the standard library and names values in `extra` (`log.info("document added",
extra={"document_id": ...})`). A process calls `configure_logging` once; a door opens
`correlated()` around each request, a job carries the id in its payload and opens it again.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO

from engine.clock import new_id

_correlation: ContextVar[str] = ContextVar("correlation_id", default="")

OURS = ("api", "bots", "cli", "engine", "ingestion", "mcp_server", "scrubjay")

# Libraries whose info records tell of every request or statement.
CHATTY = (
    "httpx",
    "httpx2",
    "httpcore",
    "sqlalchemy",
    "alembic",
    "uvicorn.access",
    "asyncio",
    "mcp",
)

MASK = "****"
SHORTEST_SECRET = 8  # characters; masking anything shorter would eat ordinary words
# What a secret looks like when nobody registered it: a header, a key of a known maker or of ours,
# a password inside a URL, a signature in a query string.
LOOKS_SECRET = re.compile(
    r"(?P<keep>\b(?:Bearer|Basic)\s+)[\w.~+/=-]{8,}"
    r"|(?P<host>\b[a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,200}+:)[^\s@]{1,500}(?=@)"
    r"|(?P<name>\b(?:api[_-]?key|password|secret|token|sig|signature)[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s\"'&,;)}]{6,}"
    r"|\b(?:sk|xox[abprs]|ghp|pk)[-_][\w-]{10,}"
    r"|\bsj[-_][\w.-]{10,}"
    r"|\beyJ[\w-]{10,}\.[\w-]+\.[\w-]+",
    re.IGNORECASE,
)
# Attributes every record has; anything else on a record came in by `extra`.
PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}

_secrets: set[str] = set()
_secrets_lock = threading.Lock()


def correlation_id() -> str:
    """The id of the request or job this code runs for; empty outside of one."""
    return _correlation.get()


@contextmanager
def correlated(given: str = "") -> Iterator[str]:
    """Everything inside is logged under one id: `given` where it is usable, else a new one.

    A caller's id is only taken over when it is short and plain, because it ends in log lines.
    """
    chosen = given if re.fullmatch(r"[\w.:-]{1,64}", given, re.ASCII) else new_id()
    token = _correlation.set(chosen)
    try:
        yield chosen
    finally:
        _correlation.reset(token)


def keep_secret(values: Iterable[str]) -> None:
    """Never write these into a log, wherever they turn up."""
    with _secrets_lock:
        _secrets.update(value for value in values if len(value) >= SHORTEST_SECRET)


def redact(text: str) -> str:
    """`text` without registered secrets and without anything that looks like one."""
    with _secrets_lock:
        known = sorted(_secrets, key=len, reverse=True)
    for secret in known:
        text = text.replace(secret, MASK)
    return LOOKS_SECRET.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    return (match["keep"] or match["host"] or match["name"] or "") + MASK


def configure_logging(
    *,
    level: str = "info",
    style: Literal["text", "json"] = "text",
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Send every log record of this process to `stream` (stderr), in one form; may be repeated."""
    keep_secret(secrets)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(_stamp)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # What libraries say at debug may hold what they carry: statements, requests, messages.
    root.setLevel("INFO" if level == "debug" else level.upper())
    for name in OURS:
        logging.getLogger(name).setLevel("DEBUG" if level == "debug" else logging.NOTSET)
    logging.captureWarnings(capture=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _stamp(record: logging.LogRecord) -> bool:
    if not getattr(record, "correlation_id", ""):
        record.correlation_id = correlation_id()
    return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, correlation_id, then `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        entry |= _extras(record)
        if record.exc_info:
            entry["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False, default=lambda value: redact(str(value)))


class TextFormatter(logging.Formatter):
    """For people: time, level, message, then `name=value` for the rest."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, and the traceback below it where there is one."""
        words = [_time(record), record.levelname.lower().ljust(7), redact(record.getMessage())]
        words += [f"{name}={value}" for name, value in _extras(record).items()]
        line = " ".join(words)
        if record.exc_info:
            line += "\n" + redact(self.formatException(record.exc_info))
        return line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _extras(record: logging.LogRecord) -> dict[str, object]:
    found = {
        name: value for name, value in vars(record).items() if name not in PLAIN and value != ""
    }
    return {name: _shown(name, value) for name, value in found.items()}


def _shown(name: str, value: object) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    written = redact(f"{name}={value}")  # so that password=… is seen as one
    return written.removeprefix(f"{name}=") if written.startswith(f"{name}=") else MASK
