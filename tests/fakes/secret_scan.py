"""Looks for secrets where none may be: log records, rows that are kept in clear, what is printed.

Everything that Scrubjay mints has a form nobody else uses (`sj_…`, argon2's, a JWT's), and tests use
few passwords, so a leak is found by its looks. `tests/conftest.py` holds every test to it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

SECRET = re.compile(
    r"sj_[pks][A-Za-z0-9_-]{43}[0-9A-Za-z]{6}"  # API tokens, SCIM clients
    r"|sj_(?:session|refresh|link|invite)_[\w.~-]{30,}"
    r"|\$argon2id?\$v=\d+\$\S{20,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"  # JWTs
    r"|otpauth://totp/\S+secret="
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|plum kettle orbit 42|seven grey lanterns sing"  # the passwords of tests
)
PACKAGES = ("api", "bots", "cli", "engine", "ingestion", "mcp_server", "vespa_app")
_STANDARD = frozenset(vars(logging.makeLogRecord({})))


class SecretScan(logging.Handler):
    """Keeps where a secret was seen, never the secret: `take` tells and forgets."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._seen: list[str] = []
        self._watches_tables = False

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a log record: its text, what else it carries, and its traceback."""
        if record.name.partition(".")[0] not in PACKAGES:
            return
        more = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        text = f"{record.getMessage()} {more!r}"
        if record.exc_info and record.exc_info[1] is not None:
            text += logging.Formatter().formatException(record.exc_info)
        self.look(f"the log of {record.name}", text)

    def look(self, where: str, text: str) -> None:
        """Note it where a text holds a secret."""
        if found := SECRET.search(text):
            self._seen.append(
                f"{where}: …{text[max(0, found.start() - 40) : found.start()]}(a secret)"
            )

    def watch_tables(self) -> None:
        """Look at the rows that people or programs read, as they are written."""
        tables = sys.modules.get("engine.db.tables")
        if self._watches_tables or tables is None:
            return
        from sqlalchemy import event  # loaded with the tables

        self._watches_tables = True
        for table in (tables.AuditEvent, tables.Event, tables.Job, tables.RunEvent):
            event.listen(table, "before_insert", self._inserted)

    def _inserted(self, mapper: Any, connection: Any, row: Any) -> None:
        del mapper, connection
        kept = {name: value for name, value in vars(row).items() if not name.startswith("_")}
        self.look(f"a row of {row.__tablename__}", json.dumps(kept, default=str))

    def take(self) -> list[str]:
        """Where secrets were seen since it was last asked."""
        seen, self._seen = self._seen, []
        return seen
