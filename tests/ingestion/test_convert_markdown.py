# ruff: noqa: RUF001 (other scripts are the point)
"""Markdown and plain text: what people wrote stays, and its blocks are found."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.convert import text
from ingestion.convert.document import ConversionError, ConversionLimits, Converted, decode, encode
from ingestion.convert.formats import convert
from ingestion.convert.markdown import from_text, plain_inline, read_front_matter


def markdown(source: str) -> Converted:
    return from_text(source, ConversionLimits())


def kinds(document: Converted) -> list[tuple[str, str]]:
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


PAGE = """---
title: "Leave: the rules"
author: Ada
date: 2026-03-01
lang: EN
tags: [leave, hr]
redirect_from:
  - /leave/
  - /absence/
sidebar:
  navigation: x
---

# Leave

{% alert %}
Ask *early*.
{% endalert %}

## How to [ask]({% page "/ask" %})

1. Write
   to your lead.
2. Wait.

   - nested

| Days | Who |
| ---- | --- |
| 10   | all |

```sh
# no heading
run
```

> Quoted
> text.

Setext too
----------

Last <b>words</b>.
"""


def test_blocks_of_a_page() -> None:
    document = markdown(PAGE)
    assert document.text == PAGE.replace('{% page "/ask" %}', "/ask")
    assert [kind for kind, _ in kinds(document)] == [
        *("hidden", "heading", "paragraph", "heading", "list", "table", "code", "quote"),
        *("heading", "paragraph"),
    ]
    pieces = dict(reversed(kinds(document)))
    assert pieces["list"] == "1. Write\n   to your lead.\n2. Wait.\n\n   - nested"
    assert pieces["table"] == "| Days | Who |\n| ---- | --- |\n| 10   | all |"
    assert pieces["code"] == "```sh\n# no heading\nrun\n```"
    assert pieces["paragraph"] == "Ask *early*."
    paths = [b.heading_path for b in document.blocks if b.kind == "heading"]
    assert paths == [("Leave",), ("Leave", "How to ask"), ("Leave", "Setext too")]


def test_front_matter_becomes_facts() -> None:
    document = markdown(PAGE)
    assert (document.title, document.author, document.language) == ("Leave: the rules", "Ada", "en")
    assert document.created_at == datetime(2026, 3, 1, tzinfo=UTC)
    assert document.metadata["tags"] == ["leave", "hr"]
    assert document.metadata["redirect_from"] == ["/leave/", "/absence/"]


@pytest.mark.parametrize(
    "source", ["---\n\nText\n", "--- a\nb\n---\n", "---\nNo key here\n---\n", "x"]
)
def test_a_rule_at_the_top_is_no_front_matter(source: str) -> None:
    assert read_front_matter(source) == ({}, 0)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% include 'a.html' %}\nText", [("paragraph", "Text")]),
        ('{% include "a.html"\n  steps: x\n%}\n\nText', [("paragraph", "Text")]),
        ('{% slack "help" %} is the channel.', [("paragraph", "help is the channel.")]),
        ("{% comment %}\nOld.\n{% endcomment %}\n", [("hidden", "{% comment %}\nOld.\n{% endcomment %}")]),
        ("{% comment %} never closed", [("paragraph", "{% comment %} never closed")]),
        ("<!-- a\n\nb -->\nText", [("hidden", "<!-- a\n\nb -->"), ("paragraph", "Text")]),
        ("<!-- never closed\nText", [("hidden", "<!-- never closed"), ("paragraph", "Text")]),
        ("- a\n  ```\n  - x\n  ```\n- b", [("list", "- a"), ("code", "  ```\n  - x\n  ```"), ("list", "- b")]),
        ("```\nnever closed\n\n# x", [("code", "```\nnever closed\n\n# x")]),
        ("    code\n\n    more\n\nText", [("code", "    code\n\n    more"), ("paragraph", "Text")]),
        ("Text\n***\nMore", [("paragraph", "Text"), ("paragraph", "More")]),
        ("Text\n- item", [("paragraph", "Text"), ("list", "- item")]),
        ("- item\nlazy\n\nText", [("list", "- item\nlazy"), ("paragraph", "Text")]),
        ("a | b\n--- | ---\nc | d\nText", [("table", "a | b\n--- | ---\nc | d"), ("paragraph", "Text")]),
        ("#hashtag", [("paragraph", "#hashtag")]),
        ("## Closed ##", [("heading", "## Closed ##")]),
    ],
)  # fmt: skip
def test_blocks(source: str, expected: list[tuple[str, str]]) -> None:
    assert kinds(markdown(source)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("**Bold** and _slanted_ `code`", "Bold and slanted code"),
        ("A [link](http://x/(1)) and ![picture](y)", "A link and picture"),
        ("<a id='x'></a>Named", "Named"),
        ('In {% slack_channel "help" %}', "In help"),
        ("Escaped \\# and snake_case_name", "Escaped # and snake_case_name"),
    ],
)
def test_headings_read_without_their_markup(source: str, expected: str) -> None:
    assert plain_inline(source) == expected


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_markdown_is_scanned_and_survives_the_pipe(source: str) -> None:
    document = markdown(source)
    last = 0
    for block in document.blocks:
        assert last <= block.start < block.end <= len(document.text)
        last = block.end
    assert decode(encode(document)) == document


@given(st.binary(max_size=300))
def test_any_bytes_decode_to_a_document_or_a_value_error(data: bytes) -> None:
    try:
        decode(b'{"mime":"","blocks":' + data)
    except ValueError:
        return
    raise AssertionError(data)


@pytest.mark.parametrize(
    "blocks",
    [
        "[[0,5,1,0,0,0]]",
        "[[0,0,9,0,0,0]]",
        "[[99,0,1,0,0,0]]",
        "[[0,0,1,0,0,7]]",
        "[[1]]",
        "{}",
        "3",
    ],
)
def test_a_document_that_contradicts_itself_is_refused(blocks: str) -> None:
    head = encode(Converted("text", [], "text/plain")).partition(b"\n")[0]
    broken = head.replace(b'"blocks":[]', b'"blocks":' + blocks.encode()).replace(
        b'"paths":[]', b'"paths":[[]]'
    )
    if blocks == "{}":
        assert decode(broken + b"\ntext").blocks == []
        return
    with pytest.raises(ValueError, match=r"."):
        decode(broken + b"\ntext")


LONG_WINDED = "Der Urlaub muß zwei Wochen vorher beantragt werden, außer in Notfällen."
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy; dovolená se čerpá po dohodě s vedoucím."
RUSSIAN = "Отпуск нужно запросить за две недели до начала."


@pytest.mark.parametrize(
    ("source", "encoding"),
    [
        (LONG_WINDED, "utf-8-sig"),
        (LONG_WINDED, "utf-16"),
        (LONG_WINDED, "utf-16-le"),
        (LONG_WINDED, "utf-16-be"),
        (LONG_WINDED, "utf-32"),
        (LONG_WINDED, "cp1252"),
        ("It\u2019s \u201cours\u201d \u2013 caf\u00e9, 25 \u20ac", "cp1252"),
        (CZECH, "cp1250"),
        ("Şirketin yıllık izin günleri çalışanın kıdemine göre değişir.", "cp1254"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        ("Η άδεια πρέπει να ζητηθεί δύο εβδομάδες πριν.", "cp1253"),
        ("יש לבקש חופשה שבועיים מראש", "cp1255"),
        ("يجب طلب الإجازة قبل أسبوعين", "cp1256"),
        ("休暇は二週間前に申請してください。", "shift_jis"),
        ("休暇は二週間前に申請してください。", "euc_jp"),
        ("请假必须提前两周申请，并经主管批准。", "gb18030"),
        ("請假必須提前兩週申請，並經主管批准。", "big5"),
        ("휴가는 2주 전에 신청해야 합니다.", "cp949"),
    ],
)
def test_text_is_read_in_the_encoding_it_is_in(source: str, encoding: str) -> None:
    assert convert(source.encode(encoding), "a.txt").text == source


def test_paragraphs_of_plain_text_are_what_empty_lines_part() -> None:
    document = convert(b"one\r\ntwo\r\n\r\n \t\r\nthree\r", "notes.txt")
    assert document.text == "one\ntwo\n\n \t\nthree\n"
    assert kinds(document) == [("paragraph", "one\ntwo"), ("paragraph", "three")]


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (b"", "a.md", "empty"),
        (b" \n\t\n", "a.txt", "empty"),
        (b"\x00\x01\x02" * 50, "a.txt", "unknown_type"),
        (b"\x89PNG\r\n\x1a\n123", "a.txt", "no_text"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"),
            "a.doc",
            "unknown_type",
        ),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "a.docx",
            "encrypted",
        ),
        (b"<?xml version='1.0'?><a/>", "a.xml", "empty"),
        (b'{"cells": []}', "a.ipynb", "empty"),
        (b'{"cells": 1, "nbformat": 4}', "a.ipynb", "unreadable"),
        (b"\x1f\x8b\x08" + bytes(20), "a.txt.gz", "unknown_type"),
        (b"MZ" + bytes(300), "setup.exe", "unknown_type"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(20), "a.jpg", "unknown_type"),
        (b"PK\x03\x04 nothing", "a.zip", "unreadable"),
        (bytes(range(256)) * 4, "a.pdf", "unreadable"),
    ],
)
def test_what_is_not_read_says_why(data: bytes, name: str, code: str) -> None:
    with pytest.raises(ConversionError) as caught:
        convert(data, name)
    assert caught.value.code == code
    assert ":" in str(caught.value)


def test_limits_end_in_an_error_not_in_a_cut() -> None:
    for limits in (
        ConversionLimits(size_bytes=10),
        ConversionLimits(text_chars=10),
        ConversionLimits(blocks=1),
    ):
        for name in ("a.md", "a.txt"):
            with pytest.raises(ConversionError) as caught:
                convert(b"one two\n\nthree four\n", name, limits)
            assert caught.value.code == "too_large"


def test_an_unknown_ending_with_text_is_read_as_text_and_says_so() -> None:
    document = convert(b"hello\n", "notes.weird")
    assert (document.mime, document.metadata) == (text.MIME, {"read_as": "plain text"})
