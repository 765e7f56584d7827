"""`scrubjay up` whose worker is a `killable_worker`: the arguments after HOME go to that."""

from __future__ import annotations

import sys
from pathlib import Path

from cli import up
from engine.config import load_settings


def main(home: str, plan: list[str]) -> int:
    """Serve until told to stop, without the sample, on any port."""

    def command(_: object) -> list[str]:
        return [sys.executable, "-m", "tests.fakes.killable_worker", home, *plan]

    setattr(up, "worker_command", command)  # noqa: B010 (in this process only)
    return up.run(load_settings(Path(home), None, {"server.port": 0}), sample=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
