"""Outlines by patterns: which lines begin sections, and how a text is cut by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingestion import outline
from ingestion.chunking import Chunking, split
from ingestion.components.hierarchical_merger import HierarchicalMerger
from ingestion.convert.document import ConversionLimits, Converted
from ingestion.convert.markdown import from_text
from ingestion.convert.text import convert as convert_text
from ingestion.outline import (
    SlowPattern,
    apply_outline,
    compile_levels,
    find_sections,
    flat,
    outline_tree,
)

MARKDOWN = """# Handbook

Welcome.

## Leave

Ten days.

## Travel

### Hotels

Cheap ones.

# Annex

Nothing.
"""
LAW = """CHAPTER I General

Article 1. Scope
This law holds everywhere.
Article 2. Terms
A term is a word.

CHAPTER II Fines

Article 3. Sums
They are high.
"""


def tree_of(document: Converted, levels: list[list[str]], hierarchy: int | None = None) -> list:
    compiled = compile_levels(levels)
    sections = find_sections(document, compiled, hierarchy=hierarchy or len(levels))
    return outline_tree(sections)


def titles(tree: list) -> list:
    return [(node["title"], titles(node["children"])) for node in tree]


def words(text: str) -> list[tuple[int, int]]:
    import re

    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def test_a_markdown_sample_has_the_outline_its_patterns_say() -> None:
    document = from_text(MARKDOWN, ConversionLimits())
    tree = tree_of(document, [["^#"], ["^##"]], 2)
    assert titles(tree) == [
        ("Handbook", [("Leave", []), ("Travel", []), ("Hotels", [])]),
        ("Annex", []),
    ]
    assert titles(tree_of(document, [["^# "], ["^## "], ["^### "]])) == [
        ("Handbook", [("Leave", []), ("Travel", [("Hotels", [])])]),
        ("Annex", []),
    ]
    assert titles(tree_of(document, [["^# "], ["^## "]], 1)) == [("Handbook", []), ("Annex", [])]


def test_a_section_ends_where_one_as_high_begins() -> None:
    document = from_text(MARKDOWN, ConversionLimits())
    tree = tree_of(document, [["^# "], ["^## "], ["^### "]])
    handbook = tree[0]
    assert document.text[handbook["end"] :].startswith("# Annex")
    assert tree[1]["end"] == len(document.text)
    travel = handbook["children"][1]
    assert document.text[travel["start"] : travel["end"]].endswith("Cheap ones.\n\n")


def test_a_law_without_marked_headings_is_cut_by_its_articles() -> None:
    document = convert_text(LAW.encode(), ConversionLimits())
    tree = tree_of(document, [["^CHAPTER "], [r"^Article \d+\."]])
    assert titles(tree) == [
        ("CHAPTER I General", [("Article 1. Scope", []), ("Article 2. Terms", [])]),
        ("CHAPTER II Fines", [("Article 3. Sums", [])]),
    ]
    outlined = apply_outline(document, tree)
    assert outlined.text == document.text
    body = "This article says what holds, for whom it holds, and since when. " * 2
    long = convert_text(
        LAW.replace("They are high.", body).replace("A term is", body).encode(), ConversionLimits()
    )
    outlined = apply_outline(long, tree_of(long, [["^CHAPTER "], [r"^Article \d+\."]]))
    spans = split(outlined, Chunking(size=64, context=16), words)
    assert [(outlined.text[s.start : s.end].partition("\n")[0], s.context) for s in spans] == [
        ("CHAPTER I General", ""),
        ("CHAPTER II Fines", ""),
    ]


def test_headings_the_outline_does_not_know_become_text() -> None:
    document = from_text(MARKDOWN, ConversionLimits())
    outlined = apply_outline(document, tree_of(document, [["^# "]]))
    headings = [b for b in outlined.blocks if b.kind == "heading"]
    assert [b.heading_path for b in headings] == [("Handbook",), ("Annex",)]


def test_code_begins_no_section() -> None:
    document = from_text("# A\n\n```\n# no heading\n```\n", ConversionLimits())
    assert titles(tree_of(document, [["^#"]])) == [("A", [])]


LINES = st.lists(
    st.sampled_from(
        ["# a", "## b", "### c", "text", "", "```", "| a |", "Article 1", "- x", "> y"]
    ),
    max_size=25,
)


@given(LINES)
def test_an_outline_changes_no_letter_and_loses_no_block(lines: list[str]) -> None:
    document = from_text("\n".join(lines), ConversionLimits())
    tree = tree_of(document, [["^# ", "^Article"], ["^## "], ["^### "]])
    outlined = apply_outline(document, tree)
    assert outlined.text == document.text

    def shown(d: Converted) -> set[int]:
        return {
            at
            for block in d.blocks
            if block.kind != "hidden"
            for at in range(block.start, block.end)
            if not d.text[at].isspace()
        }

    assert shown(outlined) == shown(document)
    ends = [0, *(block.end for block in outlined.blocks)]
    assert all(block.start >= end for block, end in zip(outlined.blocks, ends, strict=False))
    heads = [b.start for b in outlined.blocks if b.kind == "heading"]
    assert heads == [start for start, _, _ in flat(tree)]


def test_a_pattern_that_backtracks_without_end_is_stopped() -> None:
    document = convert_text(("a" * 400 + "!").encode(), ConversionLimits())
    with pytest.raises(SlowPattern, match="takes too long"):
        tree_of(document, [[r"^(?:(?:a|a)+b|(a+)+$|(?:a|aa)+c)"]])


def test_patterns_that_are_slow_over_many_lines_are_stopped_too(monkeypatch) -> None:
    monkeypatch.setattr(outline, "TOTAL_TIMEOUT_S", -1.0)
    with pytest.raises(SlowPattern, match="over all lines"):
        tree_of(from_text(MARKDOWN, ConversionLimits()), [["^#"]])


@pytest.mark.parametrize(
    ("param", "says"),
    [
        ({"levels": [["("]]}, "is not a pattern"),
        ({"levels": []}, "at least 1"),
        ({"levels": [["a"]], "hierarchy": 2}, "there are 1 levels"),
    ],
)
def test_bad_levels_are_refused_when_the_flow_is_loaded(param: dict, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        HierarchicalMerger.Param.model_validate(param)
