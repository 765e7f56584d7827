"""Is a database at this version's tables? Asked at every start, so it loads no migration library."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from engine.db.session import parse_url

VERSIONS = Path(__file__).parent / "migrations" / "versions"


def is_current(url: str) -> bool:
    """True only for a SQLite file known to be at the newest revision; else let `migrate` look."""
    parsed = parse_url(url)
    file = Path(parsed.database or "")
    if parsed.get_backend_name() != "sqlite" or not file.is_file():
        return False
    newest = max(path.stem for path in VERSIONS.glob("[0-9]*.py"))
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
    try:
        # A revision is named by its number alone, or by its file.
        found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return found in ([(newest,)], [(newest.partition("_")[0],)])
    except sqlite3.Error:
        return False  # whatever is wrong, `migrate` finds it and says so
    finally:
        connection.close()
