"""Which hits say nothing that another does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.domain import Hit, ScoreParts
from engine.search.deduplication import MOST, SAID, digests, shown_once

NEWS = "The canteen serves dumplings on Fridays now."
REPLY = "Are there any without meat, does somebody know?"


def hit(name: str, *texts: str) -> Hit:
    parts = ScoreParts(0.0, 0.0, 0.0, None, 0.0, 0.0)
    said = digests(texts)
    return Hit(name, name, "r", "k", "kb", "", "", 1.0, 0.5, parts, (), None, {SAID: said})


def names(*hits: Hit) -> list[str]:
    return [item.id for item in shown_once(hits)]


def test_a_copy_is_left_out_and_the_fuller_one_keeps_the_place():
    assert names(hit("a", NEWS), hit("b", NEWS.upper()), hit("c", REPLY)) == ["a", "c"]
    assert names(hit("a", NEWS), hit("c", "Something else altogether."), hit("b", NEWS, REPLY)) == [
        "b",
        "c",
    ]
    assert names(hit("b", NEWS, REPLY), hit("a", NEWS)) == ["b"]


def test_the_same_question_with_other_answers_is_no_copy():
    one, other = (
        hit("a", REPLY, "Yes, the ones with leek are."),
        hit("b", REPLY, "None at all yet!"),
    )
    assert names(one, other, hit("c", "thanks!"), hit("d", "thanks!")) == ["a", "b", "c", "d"]


def test_a_long_conversation_is_no_copy_of_anything():
    assert digests(f"{NEWS} {word}" for word in "abcdefgh"[: MOST + 1]) == []


@given(st.lists(st.lists(st.sampled_from([NEWS, REPLY, "A third thing that was said once."]))))
def test_all_that_was_said_is_still_said_by_some_hit(said):
    hits = [hit(str(n), *texts) for n, texts in enumerate(said)]
    kept = {digest for item in shown_once(hits) for digest in item.metadata[SAID]}
    assert kept == {digest for item in hits for digest in item.metadata[SAID]}
