"""What a query is read as: spelling, acronyms, filters, and questions that name nothing."""

from datetime import date

import pytest

from engine.search.understanding import (
    acronyms,
    correction,
    edits,
    expansion,
    is_literal,
    is_named,
    is_rather_written_out,
    is_unclear,
    names_document,
    narrowings,
    slips,
    unknown_words,
)

TODAY = date(2026, 11, 30)  # a Monday


def test_a_word_no_text_holds_is_read_as_the_one_next_to_it():
    texts = ["Annual leave is earned by working.", "Leave requests", "The levee broke"]
    assert unknown_words("annual leeve", texts, "en") == ["leeve"]
    assert correction("leeve", texts, "en") == "leave"  # more texts say it than "levee"


def test_a_long_word_may_have_two_slips_and_a_short_one_has_one():
    assert correction("reimbursmnet", ["reimbursement of costs"], "en") == "reimbursement"
    assert correction("lxxve", ["leave"], "en") == ""


@pytest.mark.parametrize(
    "query", ["getUserNme", "PTOX", "#genxral", "err_conn", "v2beta1", "which about", "abc"]
)
def test_names_and_function_words_are_not_misspelt(query):
    assert unknown_words(query, ["nothing of it"], "en") == []


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [("leeve", "leave", 1), ("receuve", "receive", 1), ("abcd", "abcd", 0)],
)
def test_slips_count_letters_dropped_added_changed_and_swapped(left, right, expected):
    assert slips(left, right, 2) == expected
    assert slips(right, left, 2) == expected


def test_every_spelling_one_slip_away_is_tried_of_a_word_of_six_letters():
    assert "annual" in edits("annuel")
    assert "receive" in edits("receuve")


@pytest.mark.parametrize(
    "text",
    [
        "Everybody has paid time off (PTO) of 25 days.",
        "PTO (paid time off) is earned monthly.",
        "PTO stands for paid time off.",
        "| PTO | paid time off |",
        "**PTO**: paid time off, earned monthly",
    ],
)
def test_an_acronym_is_what_a_page_defines_it_as(text):
    assert expansion("PTO", ["Ask about PTO.", text]) == "paid time off"


def test_an_acronym_that_the_pages_use_themselves_is_left_alone():
    uses = ["PTO is earned", "PTO carries over", "ask for PTO"]
    assert not is_rather_written_out("PTO", "paid time off", [*uses, "paid time off"])
    assert is_rather_written_out(
        "PTO", "paid time off", ["Paid time off (PTO)", "Your paid time off"]
    )


def test_another_form_of_a_word_and_another_name_are_no_corrections():
    assert correction("warranty", ["a warrant was issued", "warranted"], "en") == ""
    assert correction("Miro", ["a micro purchase"], "en", named=True) == ""
    assert correction("Kubxrnetes", ["we run Kubernetes"], "en", named=True) == "kubernetes"
    assert is_named("the price of Miro", "Miro")
    assert not is_named("Annuel leave", "Annuel")


def test_small_words_may_be_left_out_of_an_acronym_and_others_may_not():
    assert expansion("SOW", ["the statement of work (SOW)"]) == "statement of work"
    assert expansion("DOD", ["the definition of done (DOD)"]) == "definition of done"
    assert expansion("PTO", ["please turn over the page (PTO)"]) == ""


def test_acronyms_are_in_capitals_or_written_so_by_the_pages():
    assert acronyms("How much PTO do I get?", [], []) == ["PTO"]
    assert acronyms("how much pto do i get", ["pto"], ["PTO is paid time off"]) == ["PTO"]
    assert acronyms("how much pto do i get", ["pto"], ["nothing"]) == []
    assert acronyms("WHY IS IT ALL IN CAPITALS", [], []) == []


@pytest.mark.parametrize(
    ("query", "rest", "read"),
    [
        ("What did we decide on pricing since May?", "What did we decide on pricing?", "since:2026-05-01"),
        ("pricing decisions before 2025", "pricing decisions", "until:2024-12-31"),
        ("incidents since last week", "incidents", "since:2026-11-23"),
        ("incidents in the last 3 days", "incidents", "since:2026-11-27"),
        ("releases until March 3, 2026", "releases", "until:2026-03-03"),
        ("releases since 3 December", "releases", "since:2025-12-03"),
        ("who is on call in #ops?", "who is on call?", "channel:ops"),
        ("notes on the outage by Grace Hopper", "notes on the outage", 'author:"Grace Hopper"'),
        ("What did Grace say about pricing?", "What did say about pricing?", "author:Grace"),
        ("What is the notice period from the contract?", "What is the notice period?", "title:contract"),
    ],
)  # fmt: skip
def test_a_phrase_is_read_as_a_filter(query, rest, read):
    [narrowing] = narrowings(query, TODAY)
    assert (narrowing.rest, narrowing.read) == (rest, read)


@pytest.mark.parametrize(
    "query",
    [
        "What happened in the kitchen before dinner?",
        "How much leave may I take to look after a veteran in my family?",
        "How many days after the trip ends are vouchers due?",
        "since May",  # there must be something left to look for
        "May I carry over leave?",
        "Who was elected by the members?",
        "How was it in the last week?  Tell me of the year",
    ],
)
def test_other_phrases_are_no_dates_people_or_channels(query):
    assert narrowings(query, TODAY) == []


def test_a_document_is_named_by_all_the_words_it_was_called_by():
    assert names_document("Employment Contract 2026", "employment contract")
    assert not names_document("Employment handbook", "employment contract")
    assert not names_document("Anything", "the")


@pytest.mark.parametrize(
    "question", ["it doesn't work", "Help please!", "Something is broken", "error"]
)
def test_questions_that_name_nothing_are_unclear(question):
    assert is_unclear(question)


@pytest.mark.parametrize(
    "question", ["the printer doesn't work", "What is PTO?", "how do I log in", "42", "?"]
)
def test_questions_that_name_something_are_clear(question):
    assert not is_unclear(question)


def test_what_stands_in_quotation_marks_is_literal():
    assert is_literal('"annual leeve"')
    assert not is_literal('"annual" leeve')
