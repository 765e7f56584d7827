"""The workflows that ship, each as the story it is for."""

from __future__ import annotations

import pytest

from engine import clock
from engine.documents.adding import NewDocument
from engine.domain import Principal
from engine.errors import NotFound
from engine.workflows.loading import load_workflow
from engine.workflows.templates import TEMPLATES, template_text
from tests.engine.workflows.conftest import Desk
from tests.engine.workflows.test_subflows import letters, posting, verify
from tests.fakes.language_models import ScriptedModel

__all__ = ["posting"]

OFFERS = frozenset({"language_model", "workflows_extra"})
MINUTES = "We agreed to move the backup to three. Ada orders the disks by Friday."


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_each_loads_under_its_name(name: str) -> None:
    assert load_workflow(template_text(name) or "", offers=OFFERS).name == name


async def test_triage_answers_what_the_documents_answer(desk: Desk, member: Principal) -> None:
    run = await desk.run(
        "support-triage", {"query": "How many hours of sick leave can I request?"}, who=member
    )
    assert (run.state, run.error) == ("done", "")
    assert "240 hours" in run.output["answer"]
    assert run.output["category"] == "question"


async def test_triage_has_a_person_answer_the_rest(desk: Desk, member: Principal) -> None:
    asked = {"query": "The door of the archive does not open, it is urgent"}
    run = await desk.run("support-triage", asked, who=member)
    assert (run.state, [pause.path for pause in run.pauses]) == ("paused", ["person"])
    assert asked["query"] in run.pauses[0].message
    workflows = desk.engine.workflows
    with pytest.raises(NotFound):
        await workflows.reply(member, run.id, fields={"reply": "I answer myself."})

    await workflows.reply(desk.owner, run.id, fields={"reply": "The key hangs in room 4."})
    await desk.work()

    done = await workflows.get_run(member, run.id)
    assert (done.state, done.output["answer"]) == ("done", "The key hangs in room 4.")


async def test_triage_answers_nobody_from_what_they_may_not_read(
    desk: Desk, member: Principal
) -> None:
    asked = {"query": "What is the salary of the chief gardener?"}
    run = await desk.run("support-triage", asked, who=member)
    assert run.state == "paused"
    assert "81,000" not in str(run)
    own = await desk.run("support-triage", asked)
    assert "81,000" in own.output["answer"]


async def test_a_guide_says_what_the_documents_say_and_what_they_lack(desk: Desk) -> None:
    questions = ["How many hours of advanced sick leave can I request?", "Where is the parrot fed?"]
    run = await desk.run("onboarding-guide", {"query": "a nurse", "questions": questions})
    assert (run.state, run.error) == ("done", "")
    guide, open_ = run.output["guide"].split("## Not in the documents yet")
    assert guide.startswith("# A guide for a nurse")
    assert "240 hours" in guide
    assert "Source: Sick leave" in guide
    assert open_.strip() == f"- {questions[1]}"


async def test_a_digest_is_of_what_is_new_and_goes_to_members(
    posting: Desk, member: Principal
) -> None:
    news = "# Hostels\n\nHostels are booked like hotels, below the lodging rate.\n"
    new = NewDocument(data=news.encode(), filename="hostels.md", updated_at=clock.now())
    await posting.engine.documents.add(posting.owner, "team", new)
    await posting.work()
    asked = {"query": "hotels lodging rate"}
    shown = await posting.run("weekly-digest", asked)
    assert (shown.state, shown.error) == ("done", "")
    assert "- Hostels: " in shown.output["digest"]
    assert "- Hotels: " not in shown.output["digest"]  # it has no date
    assert await letters(posting) == 0

    await verify(posting)
    to = asked | {"to": "member@example.com"}
    sent = await posting.run("weekly-digest", to)
    assert (sent.state, sent.error) == ("done", "")
    assert await letters(posting) == 1

    none = await posting.run("weekly-digest", to | {"since": "2999-01-01"})
    assert none.output["digest"] == "Nothing new about hotels lodging rate since 2999-01-01."
    assert await letters(posting) == 1


async def test_minutes_become_a_list_that_a_person_checks(desk: Desk) -> None:
    found = {
        "decisions": ["The backup moves to three."],
        "tasks": [{"task": "Order the disks", "owner": "Ada", "due": "Friday"}],
    }
    desk.set_model(ScriptedModel(found))
    run = await desk.run("meeting-minutes", {"query": MINUTES})
    assert run.state == "paused"
    assert "- Order the disks (Ada), by Friday" in run.pauses[0].message

    own = {"list": "Tasks\n\n- Order two disks (Ada)"}
    done = await desk.reply(run, choice="Use my list", fields=own)

    assert (done.state, done.error) == ("done", "")
    assert done.output["list"] == own["list"]

    desk.set_model(ScriptedModel(found))
    run = await desk.run("meeting-minutes", {"query": MINUTES})
    dropped = await desk.reply(run, choice="Drop it")
    assert (dropped.state, dropped.text) == ("done", "Nothing was sent.")
