"""A question that names nothing gets a question back, made of what its audience may read."""

import pytest
from sqlalchemy import select

from engine.answers.ask import Asker
from engine.answers.clarifying import parse, propose, render, topic_of
from engine.db.session import Database
from engine.db.tables import Turn
from engine.domain import Answered, Delta
from engine.search.understood import Understanding
from tests.fakes.library import Library, ScriptedModel

UNCLEAR = "it doesn't work"


@pytest.fixture
async def library(database: Database, tmp_path):
    made = await Library.create(database, tmp_path)
    yield made
    await made.index.aclose()


async def help_pages(library: Library, **search) -> str:
    kb = await library.add_kb("help", **search)
    for name in ("VPN access", "Printer setup", "Badge reader", "Payroll"):
        await library.add(kb, name, f"If {name} doesn't work, restart it. Problems: ask IT.")
    await library.add(kb, "Merger plan", "If the merger doesn't work, deny it.", acl=["g:board"])
    return kb


def asker(library: Library, model=None):
    embedders = {library.embedder.space.name: library.embedder}
    return Asker(library.db, Understanding(library.db, library.index, embedders), model=model)


async def ask(asker, reader, question, **options):
    events = [event async for event in asker.ask(*reader, question, **options)]
    assert isinstance(events[-1], Answered)
    return events[-1].answer, events


@pytest.mark.parametrize("replies", [(), ("It works on my machine [1].",)])
async def test_an_unclear_question_gets_up_to_three_choices(library, replies):
    kb = await help_pages(library)
    model = ScriptedModel(*replies) if replies else None
    answer, events = await ask(asker(library, model), library.reader(kb), UNCLEAR)
    assert len(answer.choices) == 3
    assert all(choice.endswith(f": {UNCLEAR}") for choice in answer.choices)
    assert (answer.outcome, answer.grounded) == ("not_found", False)
    assert parse(answer.text) == list(answer.choices)
    assert "".join(event.text for event in events if isinstance(event, Delta)) in {"", answer.text}
    assert model is None or model.prompts == []


async def test_choices_name_nothing_their_audience_may_not_read(library):
    kb = await help_pages(library)
    answer, _ = await ask(asker(library), library.reader(kb), UNCLEAR)
    assert "Merger" not in answer.text
    async with library.db.read() as session:
        turn = (await session.scalars(select(Turn).where(Turn.id == answer.turn_id))).one()
    assert len(turn.sources) >= 3  # who may not read them all never sees the choices


async def test_a_choice_is_a_question_that_is_answered(library):
    kb = await help_pages(library)
    answer, _ = await ask(asker(library), library.reader(kb), UNCLEAR)
    chosen = next(
        choice for choice in answer.choices if topic_of(choice) == answer.choices[0].split(":")[0]
    )
    told, _ = await ask(asker(library), library.reader(kb), chosen)
    assert told.choices == ()
    assert told.hits[0].title == topic_of(chosen)


async def test_what_follows_carries_the_subject_and_asks_nothing_back(library):
    kb = await help_pages(library)
    reader, asks = library.reader(kb), asker(library)
    first, _ = await ask(asks, reader, "How do I restart the VPN access?")
    told, _ = await ask(asks, reader, UNCLEAR, conversation_id=first.conversation_id)
    assert told.choices == ()
    assert told.steps[0].kind == "follow_up"
    assert "VPN" in told.searched


async def test_asking_back_can_be_switched_off(library):
    kb = await help_pages(library, clarify=False)
    answer, _ = await ask(asker(library), library.reader(kb), UNCLEAR)
    assert answer.choices == ()


async def test_without_documents_nothing_is_asked_back(library):
    kb = await library.add_kb("empty")
    answer, _ = await ask(asker(library), library.reader(kb), UNCLEAR)
    assert answer.choices == ()


async def test_the_answer_says_what_its_question_was_read_as(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Annual leave", "Annual leave is earned by working every week.")
    answer, _ = await ask(asker(library), library.reader(kb), "How is annuel leave earned?")
    assert answer.grounded
    assert answer.searched == "How is annual leave earned?"
    assert [(step.kind, step.said, step.read) for step in answer.steps] == [
        ("spelling", "annuel", "annual")
    ]


def test_choices_are_read_back_from_the_text_that_shows_them():
    choices = ["VPN access: it doesn't work", "Printer: it doesn't work"]
    assert parse(render(choices)) == choices
    assert parse("1. VPN\n2. Printer") == []
    assert propose("help", []) == []
