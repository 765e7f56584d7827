"""Markdown as Discord shows it, made safe; and what people write on Discord, as words."""

# ruff: noqa: RUF001 (texts of many scripts)

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.discord import markup
from bots.replies import SourceLine

ZERO = "\u200b"
SOURCES = [
    SourceLine(1, "Leave", "https://handbook.example/leave"),
    SourceLine(2, "Talk", "https://discord.com/channels/1/2/3"),
    SourceLine(3, "Nowhere"),
]
PINGS = re.compile(
    r"<@[!&]?\d|<#\d|</[^<>\n]*:\d|<a?:\w+:\d|<t:-?\d|<id:\w|@everyone|@here|discord\.gg/|discord\.com/invite/"
)
NASTY = st.lists(
    st.sampled_from(
        [
            "<@123>",
            "<@!4>",
            "<@&5>",
            "<#6>",
            "</kb\xa0ask:7>",
            "<:a:8>",
            "<a:b:9>",
            "<t:1:R>",
            "<id:home>",
            "@everyone",
            "@here",
            "@",
            "here",
            "<",
            "@",
            "1",
            ">",
            "discord.gg/x",
            "https://discord.com/invite/y",
            "[",
            "]",
            "(",
            ")",
            "[1]",
            "`",
            "```",
            "~~~",
            "|",
            "||",
            "\\",
            "\n",
            "\n\n",
            "#",
            "#######",
            ">",
            ">>>",
            "-",
            "*",
            "**",
            "_",
            "&lt;",
            "&#64;",
            "&commat;everyone",
            "<b>",
            "</b>",
            "<br>",
            "<!--",
            "-->",
            "<img\xa0alt='@here'>",
            "https://a.example",
            "word",
        ]
    ).map(lambda piece: piece.replace("\u00a0", " "))
    | st.text(max_size=5),
    max_size=30,
).map("".join)


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ('[the guide](https://a.example/x "Title")', "[the guide](<https://a.example/x>)"),
        ("See https://a.example/x.", "See <https://a.example/x>."),
        ("<https://a.example/x>", "<https://a.example/x>"),
        ("[here](../page.md)", "here"),
        ("![a plan](https://a.example/p.png)", "[a plan](<https://a.example/p.png>)"),
        ("[![a](x.png)](https://a.example)", "[a](<https://a.example>)"),
        ("[https://bank.example](https://evil.example)", "<https://evil.example>"),
        ('<a href="https://a.example">there</a>', "[there](<https://a.example>)"),
        ("a_b [c_d~e](https://a.example/(f))", "a_b [c\\_d\\~e](<https://a.example/%28f%29>)"),
    ],
)  # fmt: skip
def test_links_lead_where_they_say_and_do_not_unfurl(markdown, shown):
    assert markup.render(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("##### Deep", "**Deep**"),
        ("### Three ###", "### Three ###"),
        ("Title\n=====\nSub\n---\n", "# Title\n## Sub\n"),
        ("a\n\n---\n\nb", "a\n\n———\n\nb"),
        (">>> x = 1", "\\>>> x = 1"),
        ("> > twice", "> twice"),
        ("+ plus\n- [ ] open\n- [x] done", "- plus\n- \u2610 open\n- \u2611 done"),
        ("<b>bold</b> &amp; <em>it</em><br>next<!-- no -->", "**bold** & *it*\nnext"),
        ("Vec<T> and <name> stay", "Vec<T> and <name> stay"),
        ("1 &lt; 2 &#42;", "1 \\< 2 \\*"),
        ("a || b", "a \\|\\| b"),
        ("`<b> || [1] https://a.example`", "`<b> || [1] https://a.example`"),
    ],
)
def test_what_discord_can_not_show_is_said_as_it_can(markdown, shown):
    assert markup.render(markdown) == shown


def test_marks_are_links_outside_code():
    text = "One [1][2], `[1]` [3] [9]\n```\n[1]\n```"
    assert markup.render(text, SOURCES) == (
        "One [[1]](<https://handbook.example/leave>)[[2]](<https://discord.com/channels/1/2/3>),"
        " `[1]` [3] [9]\n```\n[1]\n```"
    )


def test_a_mark_that_is_a_link_already_stays_one():
    assert markup.render("[[1]](https://a.example)", SOURCES) == "[[1]](<https://a.example>)"


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("~~~py title\nx\n~~~", "```py\nx\n```"),
        ("````\n```\nx\n```\n````", f"```\n``{ZERO}`\nx\n``{ZERO}`\n```"),
        ("- ```\n  x\n    y\n  ```\n", "```\nx\n  y\n```\n"),
        ("> ```c\n> x\n> ```\n", "> ```c\n> x\n> ```\n"),
        ("```\nnever closed", "```\nnever closed\n```"),
        ("a stray ``` mark", "a stray \\`\\`\\` mark"),
    ],
)
def test_code_is_in_the_fence_discord_knows(markdown, shown):
    assert markup.render(markdown) == shown


def test_a_table_is_a_code_block_with_aligned_columns():
    table = "| name | **port** |\n|:--|--:|\n| search | `8080` |\n| 翻訳 | 443 |"
    assert markup.render(f"Ports:\n\n{table}\n\nThat is all.") == (
        "Ports:\n\n```\nname    port\n──────  ────\nsearch  8080\n翻訳    443\n```\n\nThat is all."
    )


def test_a_table_too_wide_is_a_line_a_row_with_its_links():
    cell = "word " * 12
    table = f"| step | what |\n|---|---|\n| one | {cell}[1] |\n| two | a \\| b |"
    assert markup.render(table, SOURCES) == (
        f"- **one** · what: {cell}[[1]](<https://handbook.example/leave>)\n- **two** · what: a | b"
    )


def test_rows_of_different_length_and_no_heads_are_a_table_too():
    assert markup.table((), [["a", "b"], ["c"]]) == "```\na  b\nc\n```"
    assert markup.table((), []) == ""


def test_text_from_right_to_left_stays_and_reorders_nothing_around_it():
    assert markup.render("שלום עולם \u202eevil\u2066") == "שלום עולם evil"
    assert markup.escape("שלום") == "\u2068שלום\u2069"
    assert markup.link("https://a.example", "مرحبا") == "[\u2068مرحبا\u2069](<https://a.example>)"


def test_stacks_of_marks_are_bounded_and_real_ones_stay():
    assert markup.calm("a" + "\u0301" * 40) == "a" + "\u0301" * 4
    for real in ("שָׁלוֹם", "ที่นี่", "e\u0323\u0302", "👩‍👩‍👧‍👦", "हिन्दी"):
        assert markup.calm(real) == real


def test_foreign_titles_are_shown_as_they_are():
    title = "a_b *c* [d](https://e.example) `f` @everyone"
    assert markup.link("https://a.example", title) == (
        f"[a\\_b \\*c\\* (d)(https:{ZERO}//e.example) \\`f\\` @{ZERO}everyone](<https://a.example>)"
    )
    assert markup.link("javascript:alert(1)", "x") == "x"


@given(NASTY)
def test_whatever_is_generated_notifies_no_one_and_poses_as_nothing(text):
    for shown in (
        markup.render(text, SOURCES),
        markup.escape(text),
        markup.link("https://a.example/@everyone", text),
        markup.table([text, "b"], [[text, text]]),
        markup.quieten(text),
    ):
        assert not PINGS.search(shown)


@given(NASTY)
def test_rendered_text_has_its_fences_closed(text):
    shown = markup.render(text)
    lines = [line for line in shown.split("\n") if re.fullmatch(r"(?:> )?```[\w+#.-]*", line)]
    assert len(lines) % 2 == 0


@given(
    st.text(
        alphabet=st.characters(categories=["L", "N", "P", "S"], exclude_characters="<>@dD"),
        max_size=200,
    )
)
def test_quietening_changes_nothing_in_harmless_text(text):
    assert markup.quieten(text) == text


def test_a_message_is_read_for_its_words():
    said = "<@9> hey <@!5>, see <#7>, ask <@&6> ||quickly|| <t:0:R> with </kb ask:3> <a:wave:1> <https://x.example>"
    assert markup.read_text(
        said, bot_user_id="9", people={"5": "Ada"}, channels={"7": "help"}, roles={"6": "people"}
    ) == (
        "hey @Ada, see #help, ask @people quickly 1 January 1970, 00:00 UTC with /kb ask :wave: https://x.example",
        True,
        False,
    )


def test_a_mention_of_someone_else_first_is_recognised():
    assert markup.read_text("<@5> can you help?", bot_user_id="9") == (
        "@5 can you help?",
        False,
        True,
    )
    assert markup.read_text("<@5> and <@9>?", bot_user_id="9")[1:] == (True, False)
    assert markup.read_text("<@&8>: help", bot_user_id="9", bot_role_ids=["8"]) == (
        "help",
        True,
        False,
    )
    assert markup.read_text("see <#7>", bot_user_id="9")[1:] == (False, False)
    assert markup.read_text("at <t:999999999999>")[0] == "at 999999999999"


@given(NASTY)
def test_text_of_discord_is_read_without_an_error(text):
    said, _, _ = markup.read_text(text, bot_user_id="123")
    assert "<@123>" not in said
