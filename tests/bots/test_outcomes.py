"""What a chat shows of an answer, of what may be one, and of nothing found."""

from datetime import UTC, datetime

from bots import replies
from engine.answers.answer import NO_SOURCE
from engine.domain import Answer, Citation
from tests.fakes.message_samples import post

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CITED = Citation(
    1, "r.0", "d", "r", "Expense rules", "https://x.example/1", "Keep receipts.", 0, 14
)


def shown(*, grounded: bool, citations=(CITED,), model: str = "", more: str = "") -> replies.Reply:
    answer = Answer(
        f"Keep receipts. [1]{more}", grounded, 0.3, citations, ("handbook",), model=model
    )
    return replies.answered(
        replies.Shown(answer, post(), {1: replies.SourceLink(CITED.url)}), now=NOW
    )


def test_a_passage_that_comes_closest_is_marked_as_no_more_than_that():
    assert shown(grounded=False).note == replies.MAY_BE
    assert shown(grounded=True).note == ""


def test_a_model_that_is_partly_backed_is_told_from_a_passage_that_comes_closest():
    marked = shown(grounded=False, model="scripted", more=f" The moon is cheese.{NO_SOURCE}")
    assert marked.note == replies.UNBACKED


def test_the_three_outcomes_are_told_apart():
    kinds = [
        Answer("x", grounded, 0.3, citations, ()).outcome
        for grounded, citations in ((True, (CITED,)), (False, (CITED,)), (False, ()))
    ]
    assert kinds == ["answered", "maybe", "not_found"]
