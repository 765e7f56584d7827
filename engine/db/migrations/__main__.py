"""Write the migration that takes the newest revision to `tables/`, for a person to read."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command
from sqlalchemy import create_engine

from engine.db import migrations


def write_migration(title: str) -> None:
    """A new file in `versions/`, from a database migrated to the present head."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'head.db'}"
        written = len(list((Path(migrations.__file__).parent / "versions").glob("*.py")))
        if written:
            migrations.migrate(url)
        engine = create_engine(url)
        with engine.connect() as connection:
            command.revision(
                migrations.config(connection), title, autogenerate=True, rev_id=f"{written + 1:04}"
            )
        engine.dispose()


if __name__ == "__main__":
    write_migration(sys.argv[1])
