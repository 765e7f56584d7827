"""The tutorial of a component as a person follows it: its files, its commands, what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial" / "own-component.md"
BLOCK = re.compile(
    r"(?:^ *`(?P<file>[^`\n]+)`:\n\n)?^(?P<indent> *)```(?P<kind>\w+)\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


def follow(page: Path, folder: Path) -> tuple[int, int]:
    """Do what a page says, in a folder; how many files it has and how many outputs were compared."""
    launcher = folder / "scrubjay"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "SCRUBJAY_HOME": str(folder / "home"),
        "SCRUBJAY_EMBEDDING__MODEL": "hashing",
    }
    printed = ""
    checked = files = 0
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        body = textwrap.dedent(block["body"])
        if block["file"]:
            (folder / block["file"]).write_text(body, encoding="utf-8")
            files += 1
        elif block["kind"] == "text":
            assert body.strip() in printed
            checked += 1
        elif block["kind"] == "sh":
            for line in body.splitlines():
                if line.startswith("export "):
                    name, _, value = line.removeprefix("export ").partition("=")
                    environment[name] = value
                    continue
                done = subprocess.run(
                    line,
                    shell=True,
                    cwd=folder,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{line}\n{done.stderr}"
                printed = done.stdout + done.stderr
    return files, checked


@pytest.mark.slow  # a new process for each command
def test_the_tutorial_of_a_component_does_what_it_says(tmp_path: Path) -> None:
    assert follow(PAGE, tmp_path) == (3, 5)
