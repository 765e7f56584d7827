"""The tutorial of a kind of source as a person follows it: its files, its commands, what they print."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from tests.docs.test_component_tutorial import BLOCK, ROOT
from tests.fakes.sources import open_site

PAGE = ROOT / "docs" / "tutorial" / "own-source.md"
ENTRIES = [
    {"id": "1", "changed": "a", "title": "Slow database", "text": "The database had no index."},
    {"id": "2", "changed": "a", "title": "Mail delayed", "text": "A queue of mail was full."},
]


def install(project: Path, target: Path) -> None:
    """What an installer makes of the package: its module, and its metadata beside it."""
    said = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    named = said["project"]
    target.mkdir(exist_ok=True)
    for module in said["tool"]["setuptools"]["py-modules"]:
        text = (project / f"{module}.py").read_text(encoding="utf-8")
        (target / f"{module}.py").write_text(text, encoding="utf-8")
    folder = target / f"{named['name'].replace('-', '_')}-{named['version']}.dist-info"
    folder.mkdir()
    needs = "".join(f"Requires-Dist: {one}\n" for one in named["dependencies"])
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {named['name']}\nVersion: {named['version']}\n{needs}"
    )
    points = ""
    for group, entries in named["entry-points"].items():
        points += f"[{group}]\n" + "".join(f"{name} = {at}\n" for name, at in entries.items())
    (folder / "entry_points.txt").write_text(points)


def follow(folder: Path, address: str) -> tuple[int, int]:
    """Do what the page says; how many files it has, and how many outputs were checked."""
    launcher = folder / "scrubjay"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    installed = folder / "installed"
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{installed}",
        "SCRUBJAY_HOME": str(folder / "home"),
        "SCRUBJAY_EMBEDDING__MODEL": "hashing",
        "SCRUBJAY_PROCESSING__ALLOW_PRIVATE_URLS": "true",
    }
    printed = ""
    checked = files = 0
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        body = textwrap.dedent(block["body"])
        if block["file"]:
            (folder / block["file"]).write_text(body, encoding="utf-8")
            files += 1
        elif block["kind"] == "text":
            assert body.strip() in printed
            checked += 1
        for line in body.splitlines() if block["kind"] == "sh" else ():
            if line.startswith("uv tool install"):
                install(folder / "status_source", installed)
                continue
            command = line.replace("https://status.example.com", address)
            done = subprocess.run(
                command,
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
async def test_the_tutorial_of_a_source_does_what_it_says(tmp_path: Path) -> None:
    async with open_site() as site:
        site.put("/entries.json", json.dumps(ENTRIES), content_type="application/json")
        assert await asyncio.to_thread(follow, tmp_path, site.url) == (2, 3)
