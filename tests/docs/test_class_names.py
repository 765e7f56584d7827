"""One name, one thing: no class name stands for two things in the product."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "bots", "cli", "engine", "ingestion", "mcp_server", "vespa_app")


def classes() -> dict[str, list[str]]:
    """Module-level classes of the seven packages: the modules that define each name."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(str(path.relative_to(ROOT)))
    return found


def test_no_two_classes_share_a_name():
    assert {name: paths for name, paths in classes().items() if len(paths) > 1} == {}
