# ruff: noqa: RUF001 (other scripts are what is tested)
import pytest

from engine.search.query import (
    answer_kind,
    choose_mode,
    focus_word,
    is_follow_up,
    is_foreign,
    stand_alone,
)


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How many days of leave do I get?", "number"),
        ("What does the train cost?", "number"),
        ("When does the office open?", "time"),
        ("What can I do when my laptop breaks, and who helps?", "person"),
        ("On which day are badges made?", "time"),
        ("Who approves travel?", "person"),
        ("Where do I park?", "place"),
        ("Why was it closed?", "reason"),
        ("How do I sign a commit?", "way"),
        ("Do I need a receipt?", "yesno"),
        ("Tell me about leave", "other"),
        ("Wie viele Tage habe ich?", "other"),
    ],
)
def test_the_kind_of_answer_is_read_off_the_question(question, kind):
    assert answer_kind(question) == kind


@pytest.mark.parametrize(
    ("question", "focus"),
    [
        ("What is the password of the guest network?", "password"),
        ("Which antivirus must contractors install?", "antivirus"),
        ("Who is the chief financial officer of the branch?", "officer"),
        ("What is the name of the river?", ""),
        ("What year did it open?", ""),
        ("What does it cost?", ""),
        ("How long is it?", ""),
    ],
)
def test_the_focus_is_the_very_thing_asked_for(question, focus):
    assert focus_word(question) == focus


@pytest.mark.parametrize(
    ("question", "leans"),
    [
        ("And for term employees?", True),
        ("How long does it take?", True),
        ("Why?", True),
        ("Does that apply?", True),
        ("I changed my name. When will it show up?", False),
        ("How much advanced sick leave can I get?", False),
        ("What happens to parental leave if I took this year's family leave already?", False),
    ],
)
def test_a_follow_up_leans_on_what_was_said(question, leans):
    assert is_follow_up(question) is leans


def test_a_follow_up_is_searched_with_the_question_before_it():
    earlier = ["Who approves travel?", "How much sick leave do I get?"]
    assert stand_alone("And how do I ask for it?", earlier) == (
        "How much sick leave do I get? And how do I ask for it?"
    )
    assert (
        stand_alone("Where can I park a rental car?", earlier) == "Where can I park a rental car?"
    )
    assert stand_alone("And then?", []) == "And then?"


@pytest.mark.parametrize(
    ("query", "mode"),
    [
        ("ERR_CONN_42", "keyword"),
        ("src/main.py", "keyword"),
        ('"exactly these words"', "keyword"),
        ("how do I fix ERR_CONN_42 on my laptop", "hybrid"),
        ("sick leave", "hybrid"),
    ],
)
def test_adaptive_takes_words_for_identifiers_and_both_for_questions(query, mode):
    assert choose_mode(query) == mode


@pytest.mark.parametrize(
    ("text", "language", "foreign"),
    [
        ("Wer genehmigt den Urlaub?", "de", True),
        ("Wer genehmigt den Urlaub in der Woche?", "de", True),
        ("Quelle est la règle pour les voyages ?", "fr", True),
        ("What is Les Huguenots about?", "fr", False),
        ("N-terminal cleavage reduces GATA1 function", "fr", False),
        ("Smith, J. D. and Brown, M. L.", "fr", False),
        ("C-terminal domain, D-loop and L-type channel", "fr", False),
        ("La Liga", "es", False),
        ("Кто утверждает отпуск?", "ru", True),
        ("ทำไมต้องลา", "th", True),
        ("backup policy", "id", False),
        ("Isparta ofisindeki kurallar", "tr", False),
        ("今天谁值班？", "zh", True),
        ("sick leave", "", False),
        ("Who approves it?", "en", False),
    ],
)
def test_a_borrowed_word_does_not_make_a_question_foreign(text, language, foreign):
    assert is_foreign(text, language, {"en"}) is foreign
    assert not is_foreign(text, language, frozenset())
