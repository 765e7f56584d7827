"""Text written to get past the checks, or to keep a pattern busy for ever."""

from __future__ import annotations

import re
import time

import pytest

from api.prose import render_prose
from engine.answers.composition import compose_answer
from engine.answers.extraction import CandidateSentence, Surroundings
from engine.answers.judge import Judged
from engine.domain import Hit, Passage, ScoreParts
from engine.markup.links import sanitise
from engine.markup.matching import figures, find_quote, fold
from engine.markup.plain import plain
from engine.markup.sentences import split_sentences
from engine.search.query import read_question
from engine.telemetry import redact
from ingestion.convert.document import ConversionLimits
from ingestion.convert.text import convert

LENGTH = 24_000
SECONDS = 1.0  # each takes a few hundredths; what it guards against takes minutes


@pytest.mark.parametrize(
    "written",
    [
        "<im<b>g src=//evil.example/x>",
        "<i<i<i<i<i<i<i<i<i<i<i<b>b>b>b>b>b>b>b>b>b>b>mg src=//evil.example/x>",
        "![a [b] c](//evil.example/x.png)",
        "![a\nb](//evil.example/x.png)",
        "[a]:\n//evil.example/x.png\n\n![a]",
        "> [b]: //evil.example/x.png\n\n![a][b]",
        "![a](<https://evil.example/a b>)",
        "![a](vscode://evil.example/x)",
        "ht<b></b>tps://evil.example/?q=secret",
        "https:\\\\evil.example\\x",
        "<https://evil.example/x|the handbook>",
    ],
)
def test_no_writing_gets_an_unknown_address_past(written: str) -> None:
    shown = sanitise(written, sources=["See https://known.example/page for more."])
    assert "evil.example" not in shown
    assert not re.search(r"<[a-z]", shown)


@pytest.mark.parametrize(
    "written",
    [
        "@@everyone",
        "@@@here",
        "all@everyone",
        "<<b>@123>",
        "<<b>!channel>",
        "<!<b>channel>",
        "<!here|@here>",
        "<@U1|@channel>",
        "<!subteam^S1|@channel>",
    ],
)
def test_nothing_written_rings_anybody(written: str) -> None:
    shown = sanitise(written, sources=[written])
    assert "@everyone" not in shown
    assert "@here" not in shown
    assert "@channel" not in shown
    assert "<" not in shown


def test_an_address_of_a_person_stays_as_it_is() -> None:
    written = "Write to someone@here.example.com."
    assert sanitise(written, sources=[]) == written


def test_citations_side_by_side_are_no_reference_link() -> None:
    assert sanitise("Both say so [1][2].", sources=[]) == "Both say so [1][2]."
    assert sanitise("Both say so [here][2].", sources=[]) == "Both say so here."


def test_a_quoted_answer_neither_rings_nor_holds_a_tag() -> None:
    text = "Deploys stop on Friday &lt;img src=//evil.example/x&gt; @everyone <!channel> now."
    passage = Passage(id="r.0", ordinal=0, text=text, context="", start=0, end=len(text))
    hit = Hit(
        id="r.0",
        document_id="d",
        revision_id="r",
        kb_id="k",
        kb_name="kb",
        title="Deploys",
        url="",
        score=1.0,
        confidence=1.0,
        scores=ScoreParts(1, 1, 1, 1, 1, 1),
        passages=(passage,),
    )
    found = CandidateSentence(
        hit=hit,
        passage=passage,
        start=0,
        end=len(text),
        words=plain(text),
        lead="",
        in_sentence=1,
        in_window=1,
        in_passage=1,
        elsewhere=0,
        nowhere=0,
        fits=True,
        misses=False,
        promise=1,
        opens=False,
        place=0,
        kind="prose",
        rank=0,
        structured=False,
        surroundings=Surroundings(set(), set(), set(), set()),
    )
    composed = compose_answer(read_question("What stops?"), [Judged(found, 0.9)])
    assert composed is not None
    assert " ".join(composed.text.split()) == "Deploys stop on Friday everyone channel now. [1]"


ADVERSARIAL = [
    "[", "![", "[a](", "[x](a(", "[](", "](", "[^", "[1,", '[a](x "', "[a]:", "<", "<!", "<!--",
    "<a", "@", "a-", "a.", "www.", "http:", "{{", "{%", "{% a '", "\n", " ", "\t", ".", "…", ". ",
    "-", "- ", "> ", "|", "| ", "**a ", "*_", "_a ", "`", "token=", "1,", ",000", "two hundred ",
]  # fmt: skip
FUNCTIONS = {
    "figures": figures,
    "find_quote": lambda text: find_quote("the quick brown fox... jumps over it", text),
    "find_this_quote": lambda text: find_quote(text, "the quick brown fox"),
    "fold": fold,
    "plain": plain,
    "prose": lambda text: render_prose(text[:24_000]),  # a page of the viewer
    "redact": redact,
    "sanitise": lambda text: sanitise(text, sources=[text]),
    "split_sentences": split_sentences,
    "text": lambda text: convert(text.encode(), ConversionLimits()) if text.strip() else None,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_text_keeps_a_pattern_busy(name: str) -> None:
    slow = []
    for piece in ADVERSARIAL:
        for end in ("", "x"):
            text = (piece * (LENGTH // len(piece))) + end
            started = time.thread_time()
            FUNCTIONS[name](text)
            if time.thread_time() - started > SECONDS:
                slow.append(piece + end)
    assert slow == []


def test_a_token_of_ours_is_masked_wherever_it_is_logged() -> None:
    assert redact("got sj_Zt5cY0mTn3rXk9QwE1 from it") == "got **** from it"
    assert redact("postgresql://me:p/w@db/x") == "postgresql://me:****@db/x"
