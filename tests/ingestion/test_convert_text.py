"""Text formats: reStructuredText, code, JSON, XML, SVG, notebooks, rich text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.convert.document import BlockPlace, ConversionError, Converted, decode, encode
from ingestion.convert.formats import convert

Shown = list[tuple[str, str]]


def shown(document: Converted) -> Shown:
    return [(b.kind, document.text[b.start : b.end]) for b in document.blocks]


RST = """\
:Author: Ada
:Title: Birds

======
 Jays
======

They hide acorns. See `the wiki <https://w.example>`_::

    acorn = hide()

Food
----

- acorns
  and more

- nuts

.. code-block:: python

   eat()

.. a comment

===  ===
a    b
===  ===
1    2
===  ===

.. note:: Mind the owl.
"""


def test_restructured_text_is_kept_and_its_blocks_are_marked() -> None:
    document = convert(RST.encode(), "a.rst")
    assert document.text == RST
    assert shown(document) == [
        ("hidden", ":Author: Ada\n:Title: Birds"),
        ("heading", "======\n Jays\n======"),
        ("paragraph", "They hide acorns. See `the wiki <https://w.example>`_::"),
        ("code", "    acorn = hide()"),
        ("heading", "Food\n----"),
        ("list", "- acorns\n  and more\n\n- nuts"),
        ("code", ".. code-block:: python\n\n   eat()"),
        ("hidden", ".. a comment"),
        ("table", "===  ===\na    b\n===  ===\n1    2\n===  ==="),
        ("quote", ".. note:: Mind the owl."),
    ]
    assert [b.heading_path for b in document.blocks][4:6] == [("Jays", "Food")] * 2
    assert (document.title, document.author) == ("Birds", "Ada")


PYTHON = '''\
"""About jays."""

import os


@cache
def hide(acorn):
    """Hide it."""
    return os.urandom(4)


# Jays remember.
class Jay:
    """A bird."""

    def find(self):
        def inner():
            pass
        return inner
'''


def test_code_is_cut_at_functions_and_classes() -> None:
    document = convert(PYTHON.encode(), "jay.py")
    assert document.text == PYTHON
    blocks = [(b.heading_path, b.place and (b.place.first, b.place.last)) for b in document.blocks]
    assert blocks == [
        ((), (1, 3)),
        (("hide",), (6, 9)),
        (("Jay",), (12, 14)),
        (("Jay", "find"), (16, 19)),
    ]
    assert document.metadata["programming_language"] == "python"


@pytest.mark.parametrize(
    ("name", "code", "names"),
    [
        (
            "a.go",
            "func (j *Jay) Find(x int) error {\n\treturn nil\n}\n\ntype Jay struct {\n}\n",
            ["Find"],
        ),
        (
            "a.rs",
            "pub fn find() {\n}\n\nimpl Jay {\n    fn hide(&self) {\n    }\n}\n",
            ["find", "Jay", "hide"],
        ),
        (
            "a.java",
            "public class Jay {\n    public int find(int a) {\n        if (a) {\n        }\n    }\n}\n",
            ["Jay", "find"],
        ),
        (
            "a.ts",
            "export const find = async (a: A) => {\n};\nexport default class Jay {\n}\n",
            ["find", "Jay"],
        ),
        ("a.c", "static int\nfind(int a)\n{\n}\n\nint hide(void) {\n}\n", ["find", "hide"]),
        (
            "a.sql",
            "CREATE TABLE IF NOT EXISTS jay (id int);\n\nCREATE VIEW v AS SELECT 1;\n",
            ["jay", "v"],
        ),
        ("a.toml", "[tool.jay]\na = 1\n\n[other]\nb = 2\n", ["tool.jay", "other"]),
        ("a.yml", "jobs:\n  a: 1\non:\n  b: 2\n", ["jobs", "on"]),
    ],
)
def test_code_of_many_languages_is_cut_at_its_definitions(
    name: str, code: str, names: list[str]
) -> None:
    found = [b.heading_path[-1] for b in convert(code.encode(), name).blocks if b.heading_path]
    assert found == names


def test_a_script_is_known_by_its_first_line() -> None:
    assert convert(b"#!/bin/sh\necho a\n", "run").mime == "text/x-source"


def test_json_gives_names_beside_values_and_like_records_as_a_table() -> None:
    value = {
        "title": "Stock",
        "price": 1.10,
        "sold": None,
        "tags": ["a", "b"],
        "rows": [{"id": 1, "name": "x|y"}, {"id": 2, "name": "z"}],
        "deep": {"er": {"est": {"of": {"all": "here"}}}},
    }
    text = json.dumps(value).replace("1.1,", "1.10,")
    document = convert(text.encode(), "a.json")
    assert document.text == (
        "title: Stock\nprice: 1.10\n\n# tags\n\n- a\n- b\n\n# rows\n\n| id | name |\n| --- | --- |\n"
        "| 1 | x\\|y |\n| 2 | z |\n\n# deep\n\n## er\n\n### est\n\ndeep.er.est.of.all: here"
    )
    assert document.title == "Stock"


def test_json_lines_know_their_lines() -> None:
    data = b'{"q": "a", "n": {"m": 1}}\n\n{"q": "b"}\nnot json\n'
    document = convert(data, "log.jsonl")
    assert document.text == "q: a\nn.m: 1\n\nq: b\n\nnot json"
    assert [b.place for b in document.blocks] == [BlockPlace("line", n, n) for n in (1, 3, 4)]
    assert convert(data, "log.txt").mime == "application/x-ndjson"


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 500 + b"]" * 500])
def test_json_nested_without_end_is_a_clear_error(data: bytes) -> None:
    with pytest.raises(ConversionError) as caught:
        convert(data, "a.json")
    assert caught.value.code in {"too_large", "unreadable"}


def test_json_cut_short_is_named_with_its_line_and_settings_with_comments_are_text() -> None:
    with pytest.raises(ConversionError, match="truncated at line 2"):
        convert(b'{"a": 1,\n"b": ', "a.json")
    assert convert(b'{\n  // why\n  "a": 1,\n}\n', "tsconfig.json").mime == "text/x-source"


def test_a_number_of_a_million_digits_is_no_trap() -> None:
    assert convert(b'{"n": ' + b"9" * 100_000 + b"}", "a.json").text.startswith("n: 999")


XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE catalog SYSTEM "catalog.dtd">
<catalog><title>B\xfccher</title>
<book id="1"><name>Jays</name><price cur="EUR">3</price></book>
<book id="2"><name>Owls</name></book>
<p>Some <em>mixed</em> text.</p></catalog>"""


def test_xml_gives_records_and_paragraphs() -> None:
    document = convert(XML.encode("latin-1"), "a.xml")
    assert document.text == (
        "# Bücher\n\nid: 1\nname: Jays\nprice: 3 (cur: EUR)\n\nid: 2\nname: Owls\n\nSome mixed text."
    )


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY a%d "%s">' % (n, b"&a%s;" % (b"" if n == 1 else b"%d" % (n - 1)) * 10)
    for n in range(1, 10)
) + b"]><l>&a9;</l>"  # fmt: skip


def test_entities_are_refused_and_lead_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush")
    outside = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file://{secret}">]><l>&a;</l>'
    for data in (
        LAUGHS,
        outside.encode(),
        LAUGHS.replace(b"<l>", b"<svg>").replace(b"</l>", b"</svg>"),
    ):
        with pytest.raises(ConversionError, match="entities of its own"):
            convert(data, "a.xml")


def test_xml_nested_without_end_is_a_clear_error_or_text() -> None:
    data = b"<?xml version='1.0'?>" + b"<a>" * 100_000 + b"x" + b"</a>" * 100_000
    with pytest.raises(ConversionError) as caught:
        convert(data, "a.xml")
    assert caught.value.code in {"too_large", "unreadable"}
    deep = b"<?xml version='1.0'?>" + b"<a>" * 230 + b"x" + b"</a>" * 230
    assert "x" in convert(deep, "a.xml").text


def test_a_drawing_gives_its_words() -> None:
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg"><title>Plan</title><desc>Of the site</desc>'
        b"<text>Gate <tspan>A</tspan></text><script>x()</script><style>t{}</style></svg>"
    )
    document = convert(svg, "a.svg")
    assert document.text == "# Plan\n\nOf the site\n\nGate A"
    with pytest.raises(ConversionError, match="no text"):
        convert(b'<svg xmlns="http://www.w3.org/2000/svg"><path/></svg>', "a.svg")


def test_a_notebook_gives_text_code_and_short_outputs() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Jays\n", "Some *text*."]},
        {
            "cell_type": "code",
            "source": "print('```')",
            "outputs": [
                {"output_type": "stream", "text": ["\x1b[31mred\x1b[0m"]},
                {
                    "output_type": "display_data",
                    "data": {"image/png": "iVBOR", "text/plain": ["<Figure>"]},
                },
                {"output_type": "error", "ename": "E", "evalue": "no", "traceback": ["long"]},
            ],
        },
    ]
    book = {"cells": cells, "nbformat": 4, "metadata": {"kernelspec": {"language": "python"}}}
    document = convert(json.dumps(book).encode(), "a.ipynb")
    assert document.text == (
        "# Jays\nSome *text*.\n\n````python\nprint('```')\n````\n\n```\nred\n```\n\n```\nE: no\n```"
    )
    assert [b.place for b in document.blocks][-1] == BlockPlace("cell", 2, 2)
    assert document.blocks[-1].heading_path == ("Jays",)
    assert document.title == "Jays"


RTF = (
    r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}{\f1\fcharset128 MS;}{\f2\fcharset204 C;}}"
    r"{\stylesheet{\s1 heading 1;}{\s2\outlinelevel1 Own;}}{\info{\title Bird\'fc}{\author Ada}"
    r"{\creatim\yr2026\mo3\dy2\hr9\min30}}{\header Page 1}"
    r"\pard\s1 Jays\par\pard Plain \b bold\b0 , caf\'e9 \u8212?{\f1\'82\'a0}{\f2\'c4}"
    r" {\field{\*\fldinst HYPERLINK "
    '"https://w.example/"'
    r"}{\fldrslt link}}{\v hidden}{\*\unknown gone}{\pict 89504e47}\par"
    r"\pard\s2 Food\par\pard{\listtext -}one\par{\listtext -}two\par"
    r"\pard\intbl a\cell b\cell\row\pard\intbl c\cell d|e\cell\row\pard after\par}"
)


def test_rich_text_keeps_its_structure() -> None:
    document = convert(RTF.encode("ascii"), "a.rtf")
    assert document.text == (
        "# Jays\n\nPlain bold, café \u2014あД [link](https://w.example/)\n\n## Food\n\n- one\n- two\n\n"
        "| a | b |\n| --- | --- |\n| c | d\\|e |\n\nafter"
    )
    assert (document.title, document.author) == ("Birdü", "Ada")
    assert document.created_at is not None
    assert document.created_at.hour == 9


def test_rich_text_named_doc_is_read_and_braces_without_end_are_no_crash() -> None:
    assert convert(RTF.encode("ascii"), "old.doc").metadata == {"read_as": "Rich Text"}
    assert convert(b"{\\rtf1 a" + b"{" * 50_000 + b"b", "a.rtf").text.startswith("a")


@given(st.text(), st.sampled_from(["a.rst", "a.py", "a.js", "a.md", "a.txt", "a.sh"]))
def test_text_formats_are_kept_as_they_were_written(text: str, name: str) -> None:
    try:
        document = convert(text.encode("utf-8", "ignore"), name)
    except ConversionError:
        return
    last = 0
    for block in document.blocks:
        assert last <= block.start < block.end <= len(document.text)
        last = block.end
    assert decode(encode(document)) == document


@given(
    st.binary(max_size=400),
    st.sampled_from(
        [".rtf", ".csv", ".json", ".xml", ".eml", ".msg", ".svg", ".docx", ".xlsx", ".png"]
    ),
)
def test_any_bytes_end_in_text_or_one_clear_error(data: bytes, suffix: str) -> None:
    heads = {
        ".rtf": b"{\\rtf1",
        ".xml": b"<?xml ",
        ".docx": b"PK\x03\x04",
        ".msg": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    }
    try:
        document = convert(heads.get(suffix, b"") + data, f"a{suffix}")
    except ConversionError as error:
        said = error.message
    else:
        said = ":"
        assert decode(encode(document)) == document
    assert ":" in said, "what is wrong: what to do"
