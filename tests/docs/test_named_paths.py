"""Every module that a page, a README or the tree of CONTRIBUTING names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "bots", "cli", "engine", "ingestion", "mcp_server", "vespa_app")
FROM_THE_ROOT = re.compile(rf"(?<![\w/.])(?:{'|'.join(PACKAGES)})(?:/\w+)*/\w+\.py\b")
LOCAL = re.compile(r"`((?:\w+/)*\w+\.py)`")


def pages() -> list[Path]:
    """All Markdown of ours: at the root, in docs and in packages."""
    folders = [ROOT / name for name in ("docs", "tests", "benchmarks", *PACKAGES)]
    return sorted(
        [*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]
    )


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = {name for name in FROM_THE_ROOT.findall(text) if not (ROOT / name).exists()}
    if page.name == "README.md" and page.parent != ROOT:  # names modules beside it, or rooms below
        places = (page.parent, ROOT / "engine", ROOT)
        missing |= {
            name
            for name in LOCAL.findall(text)
            if not any((place / name).exists() for place in places)
        }
    assert missing == set()


def test_each_room_has_a_readme() -> None:
    rooms = [room for room in (ROOT / "engine").iterdir() if (room / "__init__.py").exists()]
    assert [room.name for room in rooms if not (room / "README.md").exists()] == []
