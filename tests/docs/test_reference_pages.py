"""What docs and code could disagree on: the reference pages, links, and the README's commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli import licences
from cli.context import EXIT_CODES
from cli.reference import EXIT_CODES as EXIT_CODE_TABLE
from cli.reference import FOLDER, pages
from engine.domain import DocumentState, Lane, Role, Scope

ROOT = Path(__file__).parents[2]
PROSE = sorted(
    file
    for file in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "samples").glob("*/*.md"),
    ]
    if ".venv" not in file.parts
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize(
    "name",
    [
        "cli.md",
        "errors.md",
        "mcp.md",
        "permissions.md",
        "settings.md",
        "tables.md",
        "workflow-components.md",
    ],
)
def test_a_reference_page_says_what_the_code_does(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == pages()[name], "run `python -m cli.reference`"


def test_the_licences_page_names_every_dependency_with_its_licence() -> None:
    written = (FOLDER / "licences.md").read_text(encoding="utf-8")
    found = licences.dependencies()
    assert {"dramatiq", "numpy", "psycopg"} <= set(found)
    missing = [name for name, licence in found.items() if f"| {name} | {licence} |" not in written]
    assert missing == [], "run `python -m cli.reference`"


def test_a_choice_of_licences_reaches_as_far_as_the_mildest_of_them() -> None:
    offered = {"a": "Apache-2.0 OR GPL-2.0-or-later", "b": "LGPL-3.0-only OR GPL-2.0-only"}
    assert list(licences.copyleft(offered)) == ["b"]


def test_no_dependency_is_under_the_gpl_itself() -> None:
    reaching = licences.copyleft(licences.dependencies())
    assert "dramatiq" in reaching
    assert [
        licence for licence in reaching.values() if re.search(r"(?<!L)GPL|Affero", licence)
    ] == []


def test_every_exit_code_is_documented() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) ", EXIT_CODE_TABLE, re.MULTILINE)}
    assert set(EXIT_CODES.values()) <= documented


@pytest.mark.parametrize("file", PROSE, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(file: Path) -> None:
    targets = LINK.findall(file.read_text(encoding="utf-8"))
    local = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [t for t in local if t and not (file.parent / t).exists()] == []


def test_the_readme_names_the_two_commands_of_the_makefile() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("up", "test"):
        assert f"make {target}" in readme
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_make_target_is_documented_and_one_line() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):(.*)\n((?:\t.*\n)*)", makefile, re.MULTILINE)
    assert {"up", "test", "check", "fix", "bench", "clean", "help"} <= {t for t, _, _ in targets}
    for name, line, recipe in targets:
        assert "## " in line, name
        assert recipe.count("\n") <= 1, name


@pytest.mark.parametrize("closed_set", [Role, Scope, DocumentState, Lane])
def test_the_glossary_knows_the_words_of_the_domain(closed_set: type) -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [word for word in closed_set if f"`{word}`" not in glossary] == []
