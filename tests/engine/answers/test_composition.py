"""What of a passage is shown as an answer, judged by its words alone."""

import pytest

from engine.answers.composition import compose_answer, compose_closest
from engine.answers.extraction import propose
from engine.answers.judge import Judged, judge
from engine.domain import Hit, Passage, ScoreParts, SearchResult
from engine.search.query import read_question


def make_hit(text: str, *, title: str = "Page", n: int = 1, context: str = "") -> Hit:
    passage = Passage(f"{n:032x}.0", 0, text, context or title, 100, 100 + len(text))
    scores = ScoreParts(0.0, 5.0, 5.0, None, 0.9, 0.9)
    return Hit(
        passage.id, f"d{n}", f"{n:032x}", "kb", "Handbook", title, "", 0.9, 0.8, scores, (passage,)
    )


def answer_from(question: str, text: str, *, says: str, context: str = "") -> str:
    """What is shown when the sentence that says `says` is chosen; its quote is checked."""
    asked = read_question(question)
    hit = make_hit(text, context=context)
    [chosen] = [one for one in propose(asked, [hit], {}) if says in one.words]
    checked = compose_answer(asked, [Judged(chosen, 0.9)])
    if checked is None:
        return ""
    [citation] = checked.citations
    assert text[citation.start - 100 : citation.end - 100] == citation.quote
    return checked.text


def test_a_line_that_announces_brings_the_code_it_announces():
    text = "Use this command to roll back:\n\n```\nkubectl rollout undo\n```\n\nThen tell the team."
    said = answer_from("How do I roll back?", text, says="Use this command")
    assert said == "Use this command to roll back:\n```\nkubectl rollout undo\n```\n[1]"


def test_a_line_that_announces_brings_the_list_it_announces():
    text = "To get a badge you need two papers:\n\n- A passport.\n- A letter.\n\nBadges are blue."
    said = answer_from("Which papers do I need to get a badge?", text, says="you need two papers")
    assert said == "To get a badge you need two papers:\n- A passport.\n- A letter. [1]"


def test_a_line_that_announces_nothing_that_is_there_is_no_answer():
    text = "Badges are blue. To get a badge you need two papers and these forms:"
    assert answer_from("What do I need to get a badge?", text, says="two papers") == ""


def test_a_step_comes_with_its_list():
    text = "Reset the token:\n\n1. Open the portal.\n2. Choose Reset token.\n3. Copy the token."
    said = answer_from("How do I reset the token?", text, says="Choose Reset token")
    assert said == (
        "Reset the token:\n1. Open the portal.\n2. Choose Reset token.\n3. Copy the token. [1]"
    )


def test_a_procedure_in_sentences_is_told_to_its_end():
    text = "Open the portal and sign in. Choose Reset. The token is shown once.\n\nTokens expire."
    said = answer_from("How do I reset the token?", text, says="Open the portal")
    assert said == "Open the portal and sign in. Choose Reset. The token is shown once. [1]"


TABLE = (
    "Spare parts:\n\n| Part | Price |\n| --- | --- |\n| PPR-9087 | 14 euros |\n| PPR-2 | 20 euros |"
)


def test_a_row_is_told_with_its_columns_and_its_caption():
    said = answer_from("What does PPR-9087 cost?", TABLE, says="PPR-9087")
    assert said == "Spare parts: Part: PPR-9087; Price: 14 euros [1]"


def test_a_row_of_a_table_that_was_cut_takes_its_header_from_the_context():
    text = "| PPR-9087 | 14 euros |\n| PPR-2 | 20 euros |"
    said = answer_from(
        "What does PPR-9087 cost?", text, says="PPR-9087", context="Parts\n| Part | Price |"
    )
    assert said == "Part: PPR-9087; Price: 14 euros [1]"


def test_a_header_is_no_answer():
    text = "| Part number | Price in euros |\n| --- | --- |\n| PPR-9087 | 14 |"
    asked = read_question("Where is the part number and price?")
    chosen = [one for one in propose(asked, [make_hit(text)], {}) if "Part number" in one.words]
    assert compose_answer(asked, [Judged(one, 0.9) for one in chosen]) is None


def test_the_number_that_was_asked_for_comes_first():
    text = (
        "With the consent of your supervisor, and if you are expected to come back to work, you can"
        " request up to 240 hours of advanced sick leave."
    )
    said = answer_from("How many hours of sick leave can I request?", text, says="240")
    assert said == f"Up to 240 hours: {text} [1]"


def test_a_number_is_counted_in_what_was_asked_for():
    text = (
        "You can carry over a maximum of 240 annual leave hours, from one leave year to the next"
        " one of them."
    )
    said = answer_from("How many hours may I carry over?", text, says="240")
    assert said == f"240 hours: {text} [1]"
    assert answer_from("How many days may I carry over?", text, says="240") == f"{text} [1]"


def test_of_two_numbers_none_is_preferred():
    text = "If your supervisor agrees and you will come back, you can request 240 hours in 30 days."
    assert answer_from("How many hours can I request?", text, says="240") == f"{text} [1]"


async def test_a_second_document_is_quoted_only_where_it_adds_what_was_asked():
    leave = make_hit("Annual leave is 26 days a year.", n=1)
    sick = make_hit("Sick leave is 13 days a year, paid by the state.", n=2)
    repeats = make_hit("Annual leave counts 26 days for a year.", n=3)
    both = read_question("How long is annual leave and how long is sick leave?")
    judged = [Judged(one, 0.9) for one in propose(both, [leave, repeats, sick], {})]
    checked = compose_answer(both, sorted(judged, key=lambda one: one.candidate.hit.id))
    assert checked is not None
    assert [citation.document_id for citation in checked.citations] == ["d1", "d2"]
    one = read_question("How long is annual leave?")
    judged = [Judged(item, 0.9) for item in propose(one, [leave, repeats], {})]
    checked = compose_answer(one, judged)
    assert checked is not None
    assert len(checked.citations) == 1


def test_what_comes_closest_claims_nothing():
    asked = read_question("How many hours of sick leave can I request?")
    judged = [
        Judged(one, 0.3) for one in propose(asked, [make_hit("Sick leave takes many forms.")], {})
    ]
    assert compose_answer(asked, judged) is None
    closest = compose_closest(asked, judged, SearchResult((), "q", "hybrid", ["Handbook"], 3, 0.0))
    assert closest is not None
    assert not closest.grounded
    assert closest.text == (
        "I found no sure answer to this in Handbook (3 documents searched). This passage is "
        "closest:\n\n> Sick leave takes many forms. [1]"
    )


@pytest.mark.parametrize(
    "text",
    [
        "[Sick leave in the leave handbook of the office](sick.md)",
        "{{ sick_leave }} is the sick leave of the office {% endif %}",
        "# Sick leave in the handbook of the office",
        "https://handbook.example/sick-leave-of-the-office",
    ],
)
async def test_links_headings_and_template_residue_are_no_answers(text):
    question = read_question("What is the sick leave of the office?")
    assert await judge(question, [make_hit(text)], {}) == []
