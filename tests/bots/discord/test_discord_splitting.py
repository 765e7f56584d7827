"""Whatever is split, nothing is lost, no unit is cut, and each part is whole in itself."""

# ruff: noqa: RUF001 (texts of many scripts)

from __future__ import annotations

import re
from itertools import accumulate, pairwise

import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bots.discord import splitting
from bots.discord.splitting import split, split_parts

ZALGO = "".join(c + "\u0337\u0322\u031b\u0316\u0353\u0348" for c in "he comes")
FAMILY, FLAG, WAVE = "👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👋🏽"
PROSE = (
    "Ask your lead first. It takes two days, rarely more! Is it urgent? Then call.",
    "A line\nand another\n- a point\n  - one below\n1. a step\n",
    "\n\n", "\n", " ", "> somebody said\n> two lines\n", "**bold, and** _slanted_ ", "…", "\r\n",
    "x" * 90, "| a | b |\n|---|---|\n| 1 | 2 |\n", "C:\\new\\*.md \\* ",
)  # fmt: skip
SCRIPTS = (
    "日本語の文章です。改行はありません。とても長い文が続きます！", "한국어 문장입니다. ", "שלום עולם. ",
    "مرحبا بالعالم، كيف الحال؟ ", "नमस्ते दुनिया। ", "ไม่มีช่องว่างระหว่างคำ", ZALGO, FAMILY * 9, FLAG * 7,
    "🇩🇪🇫🇷🇯🇵" * 5, WAVE + "e\u0301" * 20, "𝔘𝔫𝔦" * 20, "👍",
)  # fmt: skip
CODE = (
    "\n```py\nfor x in y:\n    print(x)\n\n\nprint('done')\n```\n",
    "\n~~~~ sh\nleave new\n```\nnot a fence of its own\n```\n~~~~\n",
    "\n````md\n```js\nlet a = 1;\n```\n````\n",
    "\n- ```\n  in a list\n  ```\n",
    "\n> ```c\n> int main;\n> ```\nafter\n",
    "\n```text\n" + "no end of one line " * 20 + "\n```\n",
    "\n```\n" + "x" * 400 + "\n```\n",
    "\n```\n```\n", "`a span of code` ", "\n```\n[1] <https://in.code.example/x>\n" + "a\n" * 70 + "```\n",
)  # fmt: skip
ATOMS = (
    "[1]", "[[2]](<https://handbook.example/leave#early>)", "[[3]](<https://a.example/b%28c%29>)",
    "[a guide](<https://handbook.example/guide?x=1&y=2>)", "<https://bare.example/with/a/path>",
    "[日本語の案内](<https://handbook.example/ja>)",
)  # fmt: skip
OPEN = ("\n```\nnever closed\n", "\n~~~ py\nnor this\n")
BUDGETS = (200, 233, 310, 700, 1_900)
TURNS = 12  # texts that one generated list of pieces is turned into


@st.composite
def texts(draw, *pieces: str):
    """Pieces in some order, each with whether it must stay whole."""
    one = st.sampled_from([*pieces, *ATOMS])
    return draw(st.lists(one, min_size=2, max_size=28)), draw(st.sampled_from(BUDGETS))


def fenced(text: str) -> tuple[list[tuple[int, int]], bool]:
    """Spans of fenced code, read line by line, and whether the last of them is open."""
    spans, at, opened = [], 0, None
    for line in text.split("\n"):
        bare = line.lstrip(" >").rstrip()
        marks = re.match(r"(?:- )?(`{3,}|~{3,})([^`]*)$", bare)
        if opened is None and marks:
            opened = (at, marks[1], line.startswith(">"))
        elif opened is not None:
            shut = re.fullmatch(rf"{opened[1][0]}{{{len(opened[1])},}}", bare)
            left = opened[2] and not line.startswith(">")
            if shut or left:
                spans.append((opened[0], at + len(line)))
                opened = None
        at += len(line) + 1
    if opened is not None:
        spans.append((opened[0], len(text)))
    return spans, opened is not None


def check(pieces: list[str], budget: int) -> None:
    text = "".join(pieces)
    parts = split_parts(text, budget=budget)
    assert "".join(part.body for part in parts) == text
    for part in parts:
        assert splitting.size(part.text) <= budget
        assert not fenced(part.text)[1], part
    cuts = set(accumulate(len(part.body) for part in parts))
    assert cuts <= {match.end() for match in regex.finditer(r"\X", text)}
    code = fenced(text)[0]
    ends = list(accumulate(map(len, pieces), initial=0))
    for piece, (start, end) in zip(pieces, pairwise(ends), strict=True):
        if piece in ATOMS and not any(a <= start < b for a, b in code):
            assert not any(start < cut < end for cut in cuts), piece


@pytest.mark.parametrize(
    "kinds",
    [(PROSE,), (PROSE, SCRIPTS), (CODE, PROSE), (PROSE, SCRIPTS, CODE, OPEN)],
    ids=["prose", "scripts", "code", "everything"],
)
def test_ten_thousand_texts_are_split_whole(kinds):
    seen = 0

    @settings(max_examples=220, suppress_health_check=list(HealthCheck))
    @given(texts(*(piece for kind in kinds for piece in kind)))
    def all_turns(made):
        nonlocal seen
        pieces, budget = made
        for turn in range(TURNS):
            at = turn % len(pieces)
            check(pieces[at:] + pieces[:at] + pieces[: turn // 3], budget)
            seen += 1

    all_turns()
    assert seen >= 2_500


def test_the_best_place_is_taken():
    first = "One. " * 30
    assert split(f"{first}\n\n{'Two. ' * 30}", budget=200)[0] == f"{first}\n\n"
    assert split(f"{first}\n{'Two. ' * 30}", budget=200)[0] == f"{first}\n"
    assert split("One two. " * 40, budget=200)[0].endswith("One two. ")
    assert split("two " * 90, budget=200)[0].endswith("two ")


def test_a_fence_is_closed_and_opened_again_with_its_language_and_indentation():
    lines = "".join(f"   line {n}\n" for n in range(40))
    first, second, *_ = split(f"  ~~~~py title\n{lines}  ~~~~\n", budget=300)
    assert first.startswith("  ~~~~py title\n")
    assert first.endswith("\n  ~~~~")
    assert second.startswith("  ~~~~py\n   line")


def test_a_fence_that_fits_a_part_is_not_cut_and_none_is_left_empty():
    code = "```py\n" + "print(1)\n" * 12 + "```\n"
    assert split("Words. " * 20 + "\n" + code, budget=200)[1] == code
    for part in split(
        "w " * 95 + "\n```py\n" + "print(1)\n" * 60 + "```\n" + "w " * 95, budget=200
    ):
        assert not re.search(r"```\w*\n```", part), part


def test_a_link_longer_than_a_message_is_cut_all_the_same():
    text = f"[{'a' * 150}](<https://a.example/{'b' * 900}>)"
    parts = split_parts(text, budget=200)
    assert "".join(part.body for part in parts) == text
    assert all(splitting.size(part.text) <= 200 for part in parts)


def test_a_character_longer_than_a_message_is_cut_all_the_same():
    text = "a" + "\u0301" * 900
    assert [len(part) for part in split(text, budget=200)] == [200, 200, 200, 200, 101]


def test_emoji_count_twice_as_discord_s_clients_count_them():
    assert [len(part) for part in split("👍" * 150, budget=200)] == [100, 50]


def test_blank_parts_are_not_sent():
    gap = split("word" + "\n" * 900 + "word", budget=200)
    assert [part.strip() for part in gap] == ["word", "word"]
    assert split(" \n ") == []


def test_what_does_not_change_when_text_grows_is_all_but_its_end():
    text = "A sentence of some length, with [1] and more. " * 40
    for length in range(300, len(text), 97):
        before, after = split(text[:length], budget=200), split(text, budget=200)
        assert after[: len(before) - 1] == before[:-1]


def test_too_many_parts_are_a_file_with_the_whole():
    text = "word " * 3_000
    first, data = splitting.as_file(text, "source")
    assert first.endswith("answer.md.")
    assert splitting.size(first) <= splitting.BUDGET
    assert data == b"source"


def test_a_cut_line_says_so():
    assert splitting.cut("short", 5) == "short"
    assert splitting.cut(FAMILY * 3, 25) == FAMILY * 2 + "…"
