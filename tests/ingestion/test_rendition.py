"""A document whole: as Markdown, HTML and JSON, as the setup of its suffix says."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.flow.registry import Registry
from ingestion.components import COMPONENTS
from ingestion.components.parser import Parser
from ingestion.convert.document import ConversionLimits
from ingestion.convert.formats import convert
from ingestion.dry_run import run_dry
from ingestion.pipelines import load_pipeline
from ingestion.rendition import render
from ingestion.selection import Selection, select
from tests.fakes import files
from tests.fakes.installations import open_installation, parse_inline

PAGE = """---
kind: aside
---
# Guide & more

Plain <b>words</b>.

| a | b |
| --- | --- |
| 1 \\| 2 | <i> |

```python
x < 1
```

- one
  - inner
- two

1. first

> said
"""


def test_a_page_as_html() -> None:
    assert render(convert(PAGE.encode(), "a.md", ConversionLimits()), "html") == (
        "<h1>Guide &amp; more</h1>\n"
        "<p>Plain &lt;b&gt;words&lt;/b&gt;.</p>\n"
        "<table><tr><th>a</th><th>b</th></tr><tr><td>1 | 2</td><td>&lt;i&gt;</td></tr></table>\n"
        '<pre><code class="language-python">x &lt; 1</code></pre>\n'
        "<ul><li>one<ul><li>inner</li></ul></li><li>two</li></ul>"
        "<ol><li>first</li></ol>\n"
        "<blockquote>said</blockquote>\n"
    )


def test_a_page_as_markdown_is_the_page_without_what_is_hidden() -> None:
    document = convert(PAGE.encode(), "a.md", ConversionLimits())
    assert render(document, "markdown") == PAGE.partition("---\n# ")[2].join(("# ", ""))
    without = select(document, Selection(tables=False))
    assert "| a | b |" not in render(without, "markdown")


def test_headings_and_code_of_other_formats_become_markdown() -> None:
    rst = convert(
        b"Title\n=====\n\nWords here.\n\nPart\n----\n\nMore words.\n", "a.rst", ConversionLimits()
    )
    assert render(rst, "markdown") == "# Title\n\nWords here.\n\n## Part\n\nMore words.\n"
    code = convert(b"def f():\n    return 1\n", "a.py", ConversionLimits())
    assert render(code, "markdown") == "```\ndef f():\n    return 1\n```\n"


def test_a_sheet_as_json_says_where_its_rows_stand() -> None:
    rows = files.row(1, "name", "n") + files.row(2, "quartz", 7)
    document = convert(files.xlsx({"Stock": rows}), "a.xlsx", ConversionLimits())
    blocks = json.loads(render(document, "json"))["blocks"]
    table = blocks[-1]
    assert table["kind"] == "table"
    assert table["path"] == ["Stock"]
    assert table["place"]["unit"] == "row"
    assert document.text[table["start"] : table["end"]] == table["text"]
    assert "| quartz | 7 |" in table["text"]


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@given(
    st.text("#->|`\\ \n*1.<&ab", max_size=80), st.sampled_from(["list", "table", "code", "quote"])
)
def test_whatever_a_block_holds_its_html_is_balanced_and_adds_no_tag(text: str, kind: str) -> None:
    document = convert(b"placeholder words", "a.txt", ConversionLimits())
    block = replace(document.blocks[0], kind=kind, start=0, end=len(text))  # type: ignore[arg-type]
    read = _Balance()
    read.feed(render(replace(document, text=text, blocks=[block]), "html"))
    read.close()
    assert read.open == []


async def test_each_format_is_rendered_as_its_setup_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse_inline(monkeypatch)
    setups = {
        "text": {"suffix": ["md"], "output_format": "html"},
        "sheet": {"suffix": ["csv"], "output_format": "json"},
        "other": {"suffix": ["txt"]},
    }
    flow = {"components": [{"id": "p", "type": "Parser", "param": {"setups": setups}}]}
    begins = {"a.md": "<h1>Guide", "a.csv": '{"title":', "a.txt": "Guide, and words"}
    texts = {
        "a.md": "# Guide\n\nWords.\n",
        "a.csv": "a,b\n1,2\n3,4\n",
        "a.txt": "Guide, and words.\n",
    }
    async with open_installation(tmp_path / "home") as notes:
        for name, text in texts.items():
            file = tmp_path / name
            file.write_text(text, encoding="utf-8")
            dry_run = await run_dry(
                notes.engine,
                "mine",
                flow,
                file,
                registry=Registry(COMPONENTS),
                chunking={},
                watch=lambda _: None,
            )
            assert dry_run.rendered.startswith(begins[name])


def test_without_an_output_format_nothing_is_rendered() -> None:
    graph = load_pipeline('{"components": [{"id": "p", "type": "Parser"}]}', Registry(COMPONENTS))
    assert "rendered" not in Parser.writes_of(graph.nodes["p"].param)
