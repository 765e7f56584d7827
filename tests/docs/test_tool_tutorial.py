"""The tutorial of a tool as a person follows it: its files, its commands, what they print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_component_tutorial import ROOT, follow


@pytest.mark.slow  # a new process for each command
def test_the_tutorial_of_a_tool_does_what_it_says(tmp_path: Path) -> None:
    page = ROOT / "docs" / "tutorial" / "own-tool.md"
    assert follow(page, tmp_path) == (3, 3)
