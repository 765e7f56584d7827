"""Runs of workflows: from a text to an answer, over a real worker."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import select, update

from engine import clock
from engine.access import gate
from engine.answers.from_passages import ScoredPassage, recalled
from engine.db.tables import Run, RunPause
from engine.domain import Principal
from engine.errors import Conflict, FlowError, InvalidInput, NotFound
from engine.people import members
from engine.search.passages import Visibility
from engine.workflows import pauses
from engine.workflows.budget import RunBudget
from tests.engine.workflows.conftest import Desk
from tests.fakes.flow_components import flow
from tests.fakes.language_models import ScriptedModel

QUESTION = "how much sick leave can be advanced?"


def text(*lines: str, **nodes: Any) -> str:
    return json.dumps(flow(*lines, **nodes))


def say(value: str) -> tuple[str, dict[str, Any]]:
    return "Message", {"text": value}


async def test_the_shipped_workflow_answers_with_citations(desk: Desk) -> None:
    run = await desk.run("cited-answer", {"query": QUESTION})

    assert (run.state, run.error) == ("done", "")
    assert "240 hours" in run.text
    assert run.output["validated"] is True
    assert run.output["citations"][0]["quote"]
    assert [node.path for node in run.nodes][-1] == "out"


@pytest.mark.parametrize(
    "question", [QUESTION, "What is the lodging rate of the city?", "When does the backup run?"]
)
async def test_the_shipped_workflow_is_as_sure_as_ask_is(desk: Desk, question: str) -> None:
    run = await desk.run("cited-answer", {"query": question})
    asked = await desk.engine.answers.answer(desk.owner, question)

    assert run.output["confidence"] == pytest.approx(asked.confidence, abs=1e-3)
    assert [item["quote"] for item in run.output["citations"]] == [
        citation.quote for citation in asked.citations
    ]


async def test_passages_that_are_read_again_are_judged_by_what_their_search_said(
    desk: Desk,
) -> None:
    out = ("Output", {"values": {"passages": "{{docs.passages}}"}})
    search = ("Retrieval", {"query": QUESTION, "k": 3})
    await desk.publish("look", text("b > docs > out", b=("Begin", {}), docs=search, out=out))
    given = (await desk.run("look", {"query": QUESTION})).output["passages"]
    audience = gate.audience_of_asker(desk.owner)
    found = await desk.engine.search.find(desk.owner, QUESTION, limit=3, audience=audience)

    visible = Visibility(desk.owner.tenant_id, audience.tokens, "main")
    passages = [TypeAdapter(ScoredPassage).validate_python(item) for item in given]
    async with desk.engine.db.read() as session:
        again = await recalled(session, visible, passages)

    assert [(hit.document_id, hit.score, hit.confidence, hit.scores) for hit in again] == [
        (hit.document_id, hit.score, hit.confidence, hit.scores) for hit in found.hits
    ]
    assert again[0].passages[0].cosine == found.hits[0].passages[0].cosine is not None


async def test_where_nothing_was_found_nothing_is_called_doubtful(desk: Desk) -> None:
    run = await desk.run("cited-answer", {"query": "Who won the world cup in 1998?"})
    assert run.text == "I found no answer to this in what was searched."
    assert run.output["validated"] is False


async def test_wrong_inputs_are_refused_before_there_is_a_run(desk: Desk) -> None:
    await desk.publish(
        "greet",
        text(
            "b > s",
            b=("Begin", {"inputs": {"n": {"type": "integer", "required": True, "maximum": 3}}}),
            s=say("{{b.n}}"),
        ),
    )

    for given, said in (
        ({}, "`n` is missing"),
        ({"n": "2"}, "must be of type integer"),
        ({"n": 9}, "at most 3"),
        ({"n": 1, "m": 2}, "no input 'm'"),
    ):
        with pytest.raises(InvalidInput, match=said):
            await desk.engine.workflows.start(desk.owner, "greet", given)
    assert await desk.engine.workflows.list_runs(desk.owner) == []
    assert (await desk.run("greet", {"n": 2})).text == "2"


async def test_a_run_uses_nothing_its_principal_may_not_read(desk: Desk, member: Principal) -> None:
    await desk.publish(
        "look", text("b > d > s", b="Begin", d=("Retrieval", {}), s=say("{{d.text}}"))
    )
    asked = {"query": "salary of the chief gardener"}

    assert "81,000" in (await desk.run("look", asked)).text
    seen = await desk.run("look", asked, who=member)

    assert seen.state == "done"
    assert "81,000" not in json.dumps([node.output for node in seen.nodes], default=str)


async def test_what_a_wider_audience_sees_rests_on_what_all_of_it_may_read(
    desk: Desk, member: Principal
) -> None:
    await desk.publish(
        "look", text("b > d > s", b="Begin", d=("Retrieval", {}), s=say("{{d.text}}"))
    )
    everyone = replace(gate.audience_of_asker(desk.owner), tokens=member.tokens)

    run = await desk.run("look", {"query": "salary of the chief gardener"}, audience=everyone)

    assert "81,000" not in run.text


async def test_a_run_is_there_for_its_owner_alone(desk: Desk, member: Principal) -> None:
    run = await desk.run("cited-answer", {"query": QUESTION})
    workflows = desk.engine.workflows

    for try_it in (
        workflows.get_run(member, run.id),
        workflows.cancel(member, run.id),
        workflows.reply(member, run.id),
    ):
        with pytest.raises(NotFound):
            await try_it
    assert await workflows.list_runs(member) == []


async def test_who_lost_access_meanwhile_gets_no_further(desk: Desk, member: Principal) -> None:
    run_id = await desk.engine.workflows.start(member, "cited-answer", {"query": QUESTION})
    async with desk.engine.db.write() as session:
        await members.set_active(session, desk.owner, member.user_id, active=False)
    await desk.work()

    async with desk.engine.db.read() as session:
        run = await session.get_one(Run, run_id)
    assert run.state == "failed"
    assert run.error == "This account is not an active member of the tenant."


ASK = {
    "message": "Refund {{begin.query}}?",
    "fields": {"amount": {"type": "number", "maximum": 100}},
    "buttons": [{"label": "yes", "to": "pay"}, {"label": "no", "to": "refuse"}],
}
REFUND = text(
    "begin > ask",
    "ask > pay > say",
    "ask > refuse > say",
    begin="Begin",
    ask=("Ask", ASK),
    pay=("Output", {"values": {"text": "paid {{ask.amount}} by {{ask.by}}"}}),
    refuse=("Output", {"values": {"text": "refused"}}),
    say=say("{{pay.text|refuse.text}}"),
)


async def test_a_person_chooses_the_branch_and_a_reply_is_taken_once(desk: Desk) -> None:
    await desk.publish("refund", REFUND)
    run = await desk.run("refund", {"query": "a kettle"})
    [pause] = run.pauses
    assert (run.state, pause.message, pause.state) == ("paused", "Refund a kettle?", "open")
    for wrong in ({"choice": "perhaps"}, {"choice": "yes", "fields": {"amount": 500}}, {}):
        with pytest.raises(InvalidInput):
            await desk.engine.workflows.reply(desk.owner, run.id, **wrong)

    run = await desk.reply(run, choice="yes", fields={"amount": 20})

    assert (run.state, run.text) == ("done", f"paid 20 by {desk.owner.name}")
    with pytest.raises(Conflict, match="over"):
        await desk.engine.workflows.reply(desk.owner, run.id, choice="no")


async def test_a_second_reply_is_told_who_was_first(desk: Desk) -> None:
    await desk.publish("refund", REFUND)
    run = await desk.run("refund", {"query": "a kettle"})
    await desk.engine.workflows.reply(desk.owner, run.id, choice="yes", fields={"amount": 1})

    with pytest.raises(Conflict, match=f"{desk.owner.name} answered at"):
        await desk.engine.workflows.reply(desk.owner, run.id, choice="no")


async def test_two_forms_at_once_are_answered_in_any_order(desk: Desk) -> None:
    one = ("Ask", {"message": "one", "fields": {"text": {"type": "string", "required": True}}})
    await desk.publish(
        "two",
        text("b > x > s", "b > y > s", b="Begin", x=one, y=one, s=say("{{x.text}}{{y.text}}")),
    )
    run = await desk.run("two")
    assert sorted(pause.path for pause in run.pauses) == ["x", "y"]
    with pytest.raises(InvalidInput, match="name one: "):
        await desk.engine.workflows.reply(desk.owner, run.id, fields={"text": "1"})

    await desk.engine.workflows.reply(desk.owner, run.id, path="y", fields={"text": "2"})
    run = await desk.reply(run, path="x", fields={"text": "1"})

    assert (run.state, run.text) == ("done", "12")


async def test_the_one_who_is_named_may_answer_and_only_if_they_may_read_its_sources(
    desk: Desk, member: Principal
) -> None:
    ask = (
        "Ask",
        {
            "message": "Is it {{d.text}}?",
            "to": "user:member@example.com",
            "fields": {"ok": {"type": "boolean"}},
        },
    )
    await desk.publish(
        "check",
        text("b > d > a > s", b="Begin", d=("Retrieval", {"k": 1}), a=ask, s=say("{{a.ok}}")),
    )
    workflows = desk.engine.workflows
    public = await desk.run("check", {"query": "hotels lodging rate"})
    secret = await desk.run("check", {"query": "salary of the chief gardener"})

    waiting = await workflows.list_questions(member)
    assert [pause.run_id for pause in waiting] == [public.id]
    with pytest.raises(NotFound):
        await workflows.reply(member, secret.id, fields={"ok": True})
    with pytest.raises(NotFound):  # the asker asked somebody else
        await workflows.reply(desk.owner, public.id, fields={"ok": True})

    assert (await desk.reply(public, who=member, fields={"ok": True})).text == "true"


async def test_a_deadline_follows_its_branch_or_ends_the_run(desk: Desk) -> None:
    late = {"message": "?", "fields": {"t": {"type": "string"}}, "deadline_s": 2 * 86_400}
    await desk.publish("plain", text("b > a > s", b="Begin", a=("Ask", late), s=say("{{a.t}}")))
    await desk.publish(
        "branch",
        text(
            "b > a > s",
            "a > gone",
            b="Begin",
            a=("Ask", {**late, "on_timeout": "gone"}),
            s=say("x"),
            gone=say("too late: {{a.timed_out}}"),
        ),
    )
    runs = [await desk.run("plain"), await desk.run("branch")]
    for run in runs:
        async with desk.engine.db.write() as session:
            await session.execute(update(RunPause).values(deadline_at=clock.now()))
            await pauses.expire(session, run.pauses[0].id)
    await desk.work()

    states = [await desk.engine.workflows.get_run(desk.owner, run.id) for run in runs]
    assert [(run.state, run.text) for run in states] == [
        ("expired", ""),
        ("done", "too late: true"),
    ]


async def test_a_question_in_a_loop_is_asked_in_each_round(desk: Desk) -> None:
    body = flow(ask=("Ask", {"message": "{{item}}?", "fields": {"t": {"type": "string"}}}))
    loop = ("Iteration", {"list": ["a", "b"], "body": body})
    await desk.publish(
        "rounds", text("b > each > s", b="Begin", each=loop, s=say("{{each.results}}"))
    )
    run = await desk.run("rounds")
    assert [pause.path for pause in run.pauses] == ["each[0]/ask", "each[1]/ask"]

    await desk.engine.workflows.reply(desk.owner, run.id, path="each[1]/ask", fields={"t": "2"})
    run = await desk.reply(run, path="each[0]/ask", fields={"t": "1"})

    assert run.state == "done"
    assert [item["t"] for item in json.loads(run.text)] == ["1", "2"]


async def test_a_loop_ends_by_its_condition_or_by_its_rounds_and_says_which(desk: Desk) -> None:
    body = flow(add=("Output", {"values": {"text": "{{inputs.text}}x"}}))
    param = {"vars": {"text": ""}, "next": {"text": "{{add.text}}"}, "body": body, "max_rounds": 5}
    until = {"when": [{"ref": "{{inputs.text}}", "op": "=", "value": "xxx"}]}
    for more, said in ((param | {"until": until}, "xxx 3 until"), (param, "xxxxx 5 max_rounds")):
        name = f"loop{len(more)}"
        await desk.publish(
            name,
            text(
                "b > l > s",
                b="Begin",
                l=("Loop", more),
                s=say("{{l.last}} {{l.rounds}} {{l.reason}}"),
            ),
        )
        assert (await desk.run(name)).text == said


async def test_a_run_that_may_spend_no_more_says_which_budget(desk: Desk) -> None:
    desk.set_model(ScriptedModel(*["more"] * 50))
    model = ("Model", {"prompt": "{{inputs.t}}", "max_tokens": 10})
    loop = {
        "vars": {"t": "go"},
        "next": {"t": "{{m.text}}"},
        "body": flow(m=model),
        "max_rounds": 40,
    }
    dsl = text("b > l", b="Begin", l=("Loop", loop))
    await desk.engine.workflows.create(desk.owner, "runaway", dsl)

    run = await desk.run("runaway", version="draft", budget=RunBudget(requests=4))

    assert run.state == "failed"
    assert "4 model requests" in run.error
    assert run.usage["requests"] == 4


async def test_a_second_start_with_the_same_key_is_the_first(desk: Desk, member: Principal) -> None:
    workflows = desk.engine.workflows
    one = await workflows.start(desk.owner, "cited-answer", {"query": "a"}, key="k1")

    assert await workflows.start(desk.owner, "cited-answer", {"query": "a"}, key="k1") == one
    with pytest.raises(Conflict, match="other inputs"):
        await workflows.start(desk.owner, "cited-answer", {"query": "b"}, key="k1")
    with pytest.raises(Conflict, match="somebody else"):
        await workflows.start(member, "cited-answer", {"query": "a"}, key="k1")


async def test_a_cancelled_run_does_nothing_more_and_asks_nobody(desk: Desk) -> None:
    await desk.publish("refund", REFUND)
    paused = await desk.run("refund", {"query": "x"})
    queued = await desk.engine.workflows.start(desk.owner, "refund", {"query": "y"})

    for run_id in (paused.id, queued):
        assert await desk.engine.workflows.cancel(desk.owner, run_id) == "cancelled"
    await desk.work()

    assert await desk.engine.workflows.list_questions(desk.owner) == []
    assert (await desk.engine.workflows.get_run(desk.owner, queued)).nodes == []
    kinds = [e.kind async for e in desk.engine.workflows.follow(desk.owner, paused.id) if e]
    assert kinds[-1] == "run_finished"


async def test_events_are_read_on_from_any_number(desk: Desk) -> None:
    run = await desk.run("cited-answer", {"query": QUESTION})
    follow = desk.engine.workflows.follow

    whole = [e async for e in follow(desk.owner, run.id) if e]
    rest = [e async for e in follow(desk.owner, run.id, after=whole[3].seq) if e]

    assert [e.seq for e in whole] == list(range(1, len(whole) + 1))
    assert rest == whole[4:]
    assert (whole[0].kind, whole[-1].kind) == ("run_started", "run_finished")
    texts = [e.data["text"] for e in whole if e.kind == "delta" and e.path == "say"]
    assert "".join(texts) == run.text


async def test_categories_without_a_model_go_by_likeness(desk: Desk) -> None:
    classes = [
        {"name": "refund", "description": "money back, refund of a purchase", "to": "r"},
        {"name": "other", "to": "o"},
    ]
    kind = ("Categorize", {"text": "{{b.query}}", "classes": classes})
    await desk.publish(
        "sort", text("b > k", "k > r", "k > o", b="Begin", k=kind, r=say("refund"), o=say("other"))
    )

    assert (await desk.run("sort", {"query": "I want a refund of my purchase"})).text == "refund"
    assert (await desk.run("sort", {"query": "zebra"})).text == "other"


async def test_a_run_keeps_the_version_it_began_with(desk: Desk) -> None:
    workflows = desk.engine.workflows
    await desk.publish("refund", REFUND)
    run = await desk.run("refund", {"query": "a kettle"})
    changed = REFUND.replace('"refused"', '"not now"')
    await workflows.save(desk.owner, "refund", changed, rev=1)
    await workflows.publish(desk.owner, "refund")

    old = await desk.reply(run, choice="no")
    new = await desk.reply(await desk.run("refund", {"query": "a kettle"}), choice="no")

    assert (old.text, old.version) == ("refused", 1)
    assert (new.text, new.version) == ("not now", 2)


async def test_every_fault_of_a_definition_is_told_at_once(desk: Desk) -> None:
    dsl = text(
        "a > b",
        a=("Switch", {"cases": [{"when": [{"ref": "{{x.y}}", "op": "~"}], "to": "c"}]}),
        b=("Retrievals", {}),
    )

    with pytest.raises(FlowError) as refused:
        await desk.engine.workflows.create(desk.owner, "bad", dsl)

    for named in ("component 'a': param `cases.0.when.0.op`", "did you mean 'Retrieval'?"):
        assert any(named in fault for fault in refused.value.faults)
    assert await desk.engine.workflows.list_runs(desk.owner) == []


async def test_what_a_run_keeps_names_no_tokens_of_access_to_readers(desk: Desk) -> None:
    run = await desk.run("cited-answer", {"query": QUESTION})

    shown = json.dumps([run.input, run.output, [n.output for n in run.nodes]], default=str)
    assert "_sources" not in shown
    assert "_created_time" not in shown
    async with desk.engine.db.read() as session:
        row = (await session.scalars(select(Run).where(Run.id == run.id))).one()
    assert row.who["user_id"] == desk.owner.user_id
