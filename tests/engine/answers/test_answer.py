import pytest

from engine.answers.answer import (
    check_answer,
    describe_unanswered,
)
from engine.answers.composition import compose_answer
from engine.answers.judge import judge
from engine.answers.support import CitableSource, carrying_span
from engine.domain import Hit, Passage, ScoreParts, SearchResult
from engine.search.query import read_question

LEAVE = (
    "You can request up to **240 hours** of advanced sick leave. Ask your supervisor first.\n\n"
    "Who may receive donated leave:\n\n- Staff with a negative balance of 24 hours.\n- Veterans."
)


def make_hit(text: str, *, title: str = "Sick leave", n: int = 1) -> Hit:
    passage = Passage(f"{n:032x}.0", 0, text, title, 100, 100 + len(text))
    scores = ScoreParts(0.0, 5.0, 5.0, None, 0.9, 0.9)
    return Hit(
        passage.id, f"d{n}", f"{n:032x}", "kb", "Handbook", title, "https://x/1", 0.9, 0.8, scores,
        (passage,),
    )  # fmt: skip


def source(text: str = LEAVE, n: int = 1) -> CitableSource:
    hit = make_hit(text, n=n)
    return CitableSource(n, hit, hit.passages[0])


def quotes(text: str, *sources: CitableSource) -> list[str]:
    return [citation.quote for citation in check_answer(text, sources).citations]


async def test_the_best_sentence_answers_with_a_quote_at_its_place():
    question = read_question("How many hours of advanced sick leave can I request?")
    hits = [make_hit(LEAVE), make_hit("Annual leave is earned by working every week.", n=2)]
    judged = await judge(question, hits, {})
    checked = compose_answer(question, judged)
    assert checked is not None
    [citation] = checked.citations
    assert checked.text == "You can request up to 240 hours of advanced sick leave. [1]"
    assert citation.quote == "You can request up to **240 hours** of advanced sick leave."
    assert (citation.start, citation.end) == (100, 100 + len(citation.quote))


async def test_a_list_item_is_said_with_the_line_that_introduces_it():
    question = read_question("Who may receive donated leave for a negative balance?")
    judged = await judge(question, [make_hit(LEAVE)], {})
    checked = compose_answer(question, judged)
    assert checked is not None
    assert checked.text == (
        "Who may receive donated leave: Staff with a negative balance of 24 hours. [1]"
    )
    assert checked.citations[0].quote.startswith("Who may receive donated leave:\n\n- Staff")


async def test_a_sentence_about_another_named_thing_is_less_likely():
    question = read_question("What is the address of the office in Chicago?")
    here = make_hit("The address of the office is 1 Main Street.", title="Chicago", n=1)
    there = make_hit("The address of the office is 9 Bay Street.", title="Boston", n=2)
    judged = await judge(question, [there, here], {})
    assert [item.candidate.hit.title for item in judged] == ["Chicago", "Boston"]
    assert judged[0].probability > 2 * judged[1].probability


async def test_how_many_wants_a_number():
    question = read_question("How many hours of sick leave are there?")
    hit = make_hit("Sick leave hours are there for everybody. Sick leave is 104 hours a year.")
    judged = await judge(question, [hit], {})
    assert judged[0].candidate.words == "Sick leave is 104 hours a year."


async def test_questions_and_pointers_are_no_answers():
    question = read_question("How do I request sick leave?")
    hit = make_hit("How do I request sick leave? See the sick leave page for how to request it.")
    assert await judge(question, [hit], {}) == []


def test_a_citation_with_its_words_and_numbers_in_the_passage_stands():
    checked = check_answer(
        "You may request up to 240 hours of advanced sick leave [1].", [source()]
    )
    assert checked.grounded
    assert checked.text == "You may request up to 240 hours of advanced sick leave [1]."
    assert checked.citations[0].quote == (
        "You can request up to **240 hours** of advanced sick leave."
    )


@pytest.mark.parametrize(
    "text",
    [
        "You may request up to 250 hours of advanced sick leave [1].",  # another number
        "The cafeteria closes every evening before dinner [1].",  # other words
        'The page says "request as much leave as you like" about sick leave [1].',  # no such quote
        "You may request up to 240 hours of advanced sick leave by March 3 [1].",  # a date too many
        "You may request up to 240 hours of advanced sick leave [7]. It rains in Paris often [7].",
    ],
)
def test_what_the_passage_does_not_carry_is_not_grounded(text):
    assert not check_answer(text, [source()], unsupported="mark").grounded
    left = check_answer(text, [source()])
    assert left.left_out == 1


def test_a_mark_that_does_not_stand_is_removed_from_the_text():
    checked = check_answer(
        "The cafeteria closes every evening before dinner [1].", [source()], unsupported="mark"
    )
    assert checked.text == "The cafeteria closes every evening before dinner. (no source)"
    assert list(checked.citations) == []


def test_a_sentence_without_support_is_left_out_and_the_rest_stands():
    text = "You can request up to 240 hours [1]. The moon is made of green cheese entirely [1]."
    checked = check_answer(text, [source()])
    assert checked.grounded
    assert checked.text == "You can request up to 240 hours [1]."
    assert not check_answer(text, [source()], unsupported="mark").grounded


def test_marks_are_renumbered_in_order_and_moved_before_the_stop():
    second = source("Travel vouchers are due within 5 business days.", n=4)
    text = "Travel vouchers are due within 5 business days. [4] Ask your supervisor first. [1]"
    checked = check_answer(text, [source(), second])
    assert checked.text == (
        "Travel vouchers are due within 5 business days [1]. Ask your supervisor first [2]."
    )
    assert [citation.document_id for citation in checked.citations] == ["d4", "d1"]


def test_a_sentence_without_a_mark_gets_one_where_a_passage_carries_it():
    checked = check_answer("Ask your supervisor first.", [source()])
    assert checked.grounded
    assert checked.text == "Ask your supervisor first [1]."


def test_talk_needs_no_source_but_answers_nothing():
    talk = check_answer("Here is what I found:", [source()])
    assert not talk.grounded
    both = check_answer("Here is what I found:\n\n- Ask your supervisor first [1].", [source()])
    assert both.grounded


def test_a_refusal_is_not_grounded_even_with_a_citation():
    text = "The passages do not mention parking. You can request up to 240 hours [1]."
    assert not check_answer(text, [source()], question="Where is parking?").grounded


def test_addresses_that_no_source_holds_are_removed():
    text = "Ask your supervisor first [1]: ![x](https://evil.example/?q=1) https://evil.example"
    assert "evil" not in check_answer(text, [source()]).text


def test_a_quotation_must_stand_word_for_word():
    assert carrying_span('It says "up to 240 hours of advanced"', LEAVE) is not None
    assert carrying_span('It says "up to 999 hours of advanced"', LEAVE) is None


def test_what_was_searched_is_named_when_nothing_answers():
    hit = make_hit(LEAVE)
    assert describe_unanswered(searched(1), [hit, hit]) == (
        "I found no answer to this in Handbook (1 document searched). The closest pages are: "
        "Sick leave. Try the words the documents would use, or add a document that says it."
    )
    assert describe_unanswered(searched(0), []) == "Handbook has no documents yet."
    assert describe_unanswered(searched(0, waiting=2), []) == (
        "2 documents of Handbook are still being read. Ask again in a moment."
    )
    assert describe_unanswered(searched(60, waiting=40), []) == (
        "I found no answer to this in Handbook (60 documents searched). 40 documents are still"
        " being read and were not searched. Ask again in a moment."
    )
    assert "being read" not in describe_unanswered(searched(9_990, waiting=10), [])
    assert "no access to a knowledge base" in describe_unanswered(searched(0, kbs=()), [])
    assert "(0 documents that pass the filters searched)" in describe_unanswered(
        searched(0, narrowed=True), []
    )


def searched(documents: int, *, kbs=("Handbook",), **known) -> SearchResult:
    return SearchResult((), "q", "hybrid", kbs, documents, 0.0, **known)
