"""Is a database at this version's tables? Asked at every start, so it loads no migration library."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from engine.db.session import parse_url

VERSIONS = Path(__file__).parent / "migrations" / "versions"


_REVISION = re.compile(r'^(revision|down_revision) = "(\w+)"$', re.MULTILINE)


def head(folder: Path = VERSIONS) -> str:
    """The revision that no other comes after, read from the files without running them."""
    named = [_REVISION.findall(path.read_text("utf-8")) for path in folder.glob("[0-9]*.py")]
    pairs = [dict(found) for found in named]
    heads = {pair["revision"] for pair in pairs} - {pair.get("down_revision") for pair in pairs}
    return heads.pop() if len(heads) == 1 else ""


def is_current(url: str) -> bool:
    """True only for a SQLite file known to be at the newest revision; else let `migrate` look."""
    parsed = parse_url(url)
    file = Path(parsed.database or "")
    if parsed.get_backend_name() != "sqlite" or not file.is_file():
        return False
    newest = head()
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return bool(found == [(newest,)])
    except sqlite3.Error:
        return False  # whatever is wrong, `migrate` finds it and says so
    finally:
        connection.close()
