"""The tutorial as a person follows it: its commands in its order, and what it says they print.

`make up` is left out (tests/flows start whole processes): each command here does the work itself,
as it does when nothing else runs. The small embedder stands in for the real one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-answer.md"
BLOCK = re.compile(r"^ *```(sh|text)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
HANDBOOK = "How many hours can I work"  # asks the sample that `make up` loads


@dataclass(frozen=True)
class Step:
    """A command of the page, and the lines the page shows after it."""

    command: str
    shown: str = ""


def steps() -> list[Step]:
    found: list[Step] = []
    for kind, block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        lines = [line.strip() for line in block.strip().splitlines()]
        if kind == "text":
            found[-1] = Step(found[-1].command, "\n".join(lines))
        else:
            found += [Step(line) for line in lines]
    return found


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a person whose folder has a launcher."""
    launcher = tmp_path / "scrubjay"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    return os.environ | {
        "PYTHONPATH": str(PAGE.parents[2]),
        "SCRUBJAY_HOME": str(tmp_path / "home"),
        "SCRUBJAY_EMBEDDING__MODEL": "hashing",
    }


@pytest.mark.slow  # a new process for each command
def test_the_tutorial_does_what_it_says(shell: dict[str, str], tmp_path: Path) -> None:
    run = [step for step in steps() if not step.command.startswith("make ")]
    said: dict[str, list[str]] = {}
    for step in run:
        if HANDBOOK in step.command:
            continue
        done = subprocess.run(
            ["/bin/sh", "-c", step.command],
            cwd=tmp_path,
            env=shell,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (step.command, done.stderr)
        assert step.shown in done.stdout, step.command
        said.setdefault(step.command, []).append(done.stdout + done.stderr)

    assert "2 documents ready, 2 passages" in said["./scrubjay add notes --kb notes"][0]
    [unanswered] = [out for command, out in said.items() if "chess" in command]
    assert "no answer" in unanswered[0]
    assert "notes" in unanswered[0]


def test_the_tutorial_starts_as_the_readme_does() -> None:
    assert steps()[0].command == "make up"
