# ruff: noqa: RUF001 (typography and other scripts are what is tested)
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.markup.links import sanitise, urls
from engine.markup.matching import figures, find_quote, fold
from engine.markup.sentences import split_sentences


def pieces(text: str) -> list[str]:
    return [text[sentence.start : sentence.end] for sentence in split_sentences(text)]


def test_prose_is_cut_at_sentence_ends_but_not_at_abbreviations():
    text = "Ask Dr. Smith, e.g. by mail. He works\nin the U.S. office. Really?  Yes!"
    assert pieces(text) == [
        "Ask Dr. Smith, e.g. by mail.",
        "He works\nin the U.S. office.",
        "Really?",
        "Yes!",
    ]


def test_markdown_blocks_stand_apart_and_know_what_introduces_them():
    text = (
        "# Leave\n\nWho may receive it:\n\n- Staff. All of them.\n1. Guests\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nx = 1. Y\n\nz\n```\n> Quoted."
    )
    found = split_sentences(text)
    assert [(sentence.kind, text[sentence.start : sentence.end]) for sentence in found] == [
        ("heading", "Leave"),
        ("prose", "Who may receive it:"),
        ("item", "Staff."),
        ("item", "All of them."),
        ("item", "Guests"),
        ("row", "| a | b |"),
        ("row", "| 1 | 2 |"),
        ("code", "```\nx = 1. Y\n\nz\n```"),
        ("prose", "Quoted."),
    ]
    assert [sentence.lead for sentence in found] == [None, 0, 1, 1, 1, 1, 1, 0, 0]


def test_chinese_is_cut_without_spaces():
    assert pieces("今天很好。明天呢？好！") == ["今天很好。", "明天呢？", "好！"]


@given(st.text(alphabet=st.sampled_from("aB. !?\n-#|`>1)*。 \t")))
def test_sentences_are_ordered_disjoint_and_lose_no_letter(text: str):
    found = split_sentences(text)
    position = 0
    for sentence in found:
        assert position <= sentence.start < sentence.end <= len(text)
        position = sentence.end
    kept = "".join(text[sentence.start : sentence.end] for sentence in found)
    assert kept.count("B") == text.count("B")


@pytest.mark.parametrize(
    ("quote", "text", "found"),
    [
        ("up to 240 hours", "You get up\n  to **240** hours.", "up\n  to **240** hours"),
        ("SEE THE GUIDE", "Please [see the guide](https://x.y/z).", "see the guide"),
        ("don't “do” it – ever", 'Don\'t "do" it - ever.', 'Don\'t "do" it - ever'),
        ("office file", "The oﬃce ﬁle", "oﬃce ﬁle"),
        ("first second", "- first\n- second", "first\n- second"),
        ("a 1", "| a | 1 |", "a | 1"),
        ("snake_case", "use snake_case here", "snake_case"),
        ("今天很好", "今天\n很好。", "今天\n很好"),
        ("12", "grant 120 days", None),
        ("8", "costs 8.65 dollars", None),
        ("ant 12", "grant 12 days", None),
        ("not there", "nothing", None),
        ("", "anything", None),
        ("...", "any ... thing", None),
        (
            "requests must be filed … within five days",
            "Requests must be filed by the traveller within five days.",
            "Requests must be filed by the traveller within five days",
        ),
        ("within five days ... requests must", "Requests must be filed within five days.", None),
    ],
)
def test_a_quote_stands_only_verbatim_but_for_space_case_and_markdown(quote, text, found):
    span = find_quote(quote, text)
    assert (span and text[span[0] : span[1]]) == found


@given(st.text(max_size=80))
def test_folding_keeps_one_offset_a_character(text: str):
    folded, offsets = fold(text)
    assert len(folded) == len(offsets)
    assert offsets == sorted(offsets)
    assert all(0 <= offset < len(text) for offset in offsets)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("On Nov. 15th, 2024 we spent $1,500", {"month:11", "15", "2024", "1500"}),
        ("2024-11-05", {"2024", "month:11", "5"}),
        ("12 May and it may rain", {"12", "month:5"}),
        ("twelve weeks, twenty-one days", {"12", "21"}),
        ("5 million or 5,000,000", {"5000000"}),
        ("8.650 on Mondays [1][2, 3]", {"8.65", "day:monday"}),
        ("$5k", {"5000"}),
        ("no one", set()),
    ],
)
def test_figures_have_one_spelling(text, expected):
    assert figures(text) == expected


def test_only_addresses_of_the_sources_survive():
    sources = ["See https://ok.example/a?b=1, or [x](https://ok.example/b)."]
    text = (
        "Go to https://ok.example/a?b=1. Or https://evil.example/?q=secret! "
        "[good](https://ok.example/b) [bad](https://evil.example) "
        "![pic](https://evil.example/p.png) ![pic](https://ok.example/b) <b>bold</b>"
    )
    assert sanitise(text, sources=sources) == (
        "Go to https://ok.example/a?b=1. Or (link removed)! "
        "[good](https://ok.example/b) bad pic [pic](https://ok.example/b) bold"
    )


def test_a_longer_address_is_not_the_known_one():
    assert sanitise("https://ok.example/a/leak", sources=["https://ok.example/a"]) == (
        "(link removed)"
    )


def test_reference_links_and_schemes_that_run_code_are_dropped():
    text = "[click][1] and ![x][1] javascript:alert(1)\n\n[1]: https://evil.example\n"
    assert sanitise(text, sources=[]) == "click and x (link removed)\n\n"


def test_nothing_pings():
    text = "<!here> <!channel|all> <@U123> <@&99> <#C1|general> @everyone @here a@here.example"
    assert sanitise(text, sources=[]) == (
        "here all someone someone general everyone here a@here.example"
    )


def test_urls_end_before_punctuation():
    assert urls("(see https://a.b/c_(d)), www.x.org.") == {"https://a.b/c_(d)", "www.x.org"}
