"""Workflow and Email: a run within a run, and letters that are queued once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from engine.db.tables import Job, Run, User
from engine.domain import Principal
from engine.errors import NotFound
from engine.jobs import endings
from engine.jobs.kinds import MAIL
from engine.jobs.leases import ClaimedJob
from engine.mail.mail import Mail
from engine.settings import MailSettings
from engine.workflows.budget import RunBudget
from tests.engine.workflows.conftest import Desk
from tests.fakes.flow_components import flow


def text(*lines: str, **nodes: Any) -> str:
    return json.dumps(flow(*lines, **nodes))


SAY = ("Message", {"text": "{{b.query}}!"})
ASK = ("Ask", {"message": "ok?", "fields": {"n": {"type": "integer"}}})


async def publish(desk: Desk, inner: str, **param: Any) -> None:
    await desk.publish("inner", inner)
    call = ("Workflow", {"workflow": "inner", "inputs": {"query": "{{b.query}}"}, **param})
    out = ("Output", {"values": {"said": "{{w.text}}", "state": "{{w.state}}"}})
    await desk.publish("outer", text("b > w > out", b="Begin", w=call, out=out))


async def children(desk: Desk) -> list[Run]:
    async with desk.engine.db.read() as session:
        rows = await session.scalars(select(Run).where(Run.parent_run_id.is_not(None)))
        return list(rows)


async def test_a_workflow_runs_another_and_hands_on_what_it_wrote(desk: Desk) -> None:
    await publish(desk, text("b > s", b="Begin", s=SAY))

    run = await desk.run("outer", {"query": "tea"})

    assert (run.state, run.error) == ("done", "")
    assert (run.output["said"], run.output["state"]) == ("tea!", "done")
    [child] = await children(desk)
    assert (child.parent_run_id, child.parent_path, child.trigger) == (run.id, "w", "flow")
    assert child.user_id == desk.owner.user_id
    assert run.usage["nodes"] >= 3 + child.usage["nodes"]


async def test_a_question_of_an_inner_run_is_answered_at_the_outer(desk: Desk) -> None:
    await publish(desk, text("b > a > s", b="Begin", a=ASK, s=("Message", {"text": "{{a.n}}"})))
    run = await desk.run("outer", {"query": "tea"})
    assert (run.state, [pause.message for pause in run.pauses]) == ("paused", ["ok?"])
    waited = await desk.engine.workflows.wait(desk.owner, run.id, timeout_s=30)
    assert waited.state == "paused"

    done = await desk.reply(run, fields={"n": 7})

    assert (done.state, done.output["said"]) == ("done", "7")


async def test_an_inner_run_that_fails_fails_the_outer_with_its_reason(desk: Desk) -> None:
    bad = ("Assign", {"var": "x", "op": "increment", "value": "no"})
    await publish(desk, text("b > s", b="Begin", s=bad))
    run = await desk.run("outer", {})
    assert run.state == "failed"
    assert "increment by a number" in run.error


async def test_an_inner_run_spends_from_the_budget_of_the_outer(desk: Desk) -> None:
    loop = ("Loop", {"body": flow(x=("Message", {"text": "x"})), "max_rounds": 50})
    await publish(desk, text("b > l", b="Begin", l=loop))

    run = await desk.run("outer", {}, budget=RunBudget(nodes=20))

    [child] = await children(desk)
    assert child.budget["nodes"] <= 9
    assert (run.state, child.state) == ("failed", "failed")
    assert "used up what it may spend" in run.error


async def test_a_workflow_that_runs_itself_ends_five_deep(desk: Desk) -> None:
    call = ("Workflow", {"workflow": "inner", "share": 1.0})
    await publish(desk, text("b > w", b="Begin", w=call))
    run = await desk.run("outer", {})
    assert run.state == "failed"
    assert "may be 5 deep" in run.error
    assert len(await children(desk)) == 4


async def test_an_inner_run_reads_no_more_than_the_outer_may(desk: Desk, member: Principal) -> None:
    look = ("Retrieval", {"query": "{{b.query}}"})
    await publish(desk, text("b > d > s", b="Begin", d=look, s=("Message", {"text": "{{d.text}}"})))
    asked = {"query": "salary of the chief gardener"}
    assert "81,000" in (await desk.run("outer", asked)).output["said"]
    assert "81,000" not in (await desk.run("outer", asked, who=member)).output["said"]


async def test_cancelling_the_outer_run_cancels_the_inner(desk: Desk) -> None:
    await publish(desk, text("b > a", b="Begin", a=ASK))
    run = await desk.run("outer", {})
    await desk.engine.workflows.cancel(desk.owner, run.id)
    await desk.work()
    assert [child.state for child in await children(desk)] == ["cancelled"]
    assert (await desk.engine.workflows.get_run(desk.owner, run.id)).state == "cancelled"


async def test_a_test_run_is_one_all_the_way_down(desk: Desk) -> None:
    await publish(desk, text("b > s", b="Begin", s=SAY))
    await desk.run("outer", {}, version="draft")
    [child] = await children(desk)
    assert child.simulates


async def test_runs_of_others_are_not_found_through_their_children(
    desk: Desk, member: Principal
) -> None:
    await publish(desk, text("b > a", b="Begin", a=ASK))
    run = await desk.run("outer", {})
    with pytest.raises(NotFound):
        await desk.engine.workflows.reply(member, run.id, fields={"n": 1})


# Email


@pytest.fixture
def posting(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """One with a mail server in its settings, which takes every letter."""

    async def deliver(_: Mail, job: ClaimedJob) -> None:
        await desk.engine.db.run_write(lambda session: endings.finish(session, job))

    monkeypatch.setattr(Mail, "deliver", deliver)
    settings = MailSettings(host="127.0.0.1", port=9, sender="kb@example.com", security="plain")
    mail = Mail(desk.engine.db, desk.engine.secrets, settings, public_url="http://kb")
    workflows = desk.engine.workflows
    workflows._services = replace(workflows._services, mail=mail)
    return desk


async def letters(desk: Desk) -> int:
    async with desk.engine.db.read() as session:
        count = select(func.count()).select_from(Job).where(Job.kind == MAIL)
        return await session.scalar(count) or 0


async def verify(desk: Desk) -> None:
    async with desk.engine.db.write() as session:
        proved = update(User).where(User.email == "member@example.com")
        await session.execute(proved.values(email_verified_at=User.created_at))


async def write_to(desk: Desk, *to: str, text_: str = "hello", **param: Any) -> Any:
    node = ("Email", {"to": list(to), "subject": "News", "text": text_, **param})
    search = ("Retrieval", {"query": "{{b.query}}"})
    await desk.publish("write", text("b > d > e", b="Begin", d=search, e=node))
    return await desk.run("write", {"query": "salary of the chief gardener"})


async def test_an_e_mail_is_queued_once_to_members_and_allowed_addresses(
    posting: Desk, member: Principal
) -> None:
    await verify(posting)
    run = await write_to(
        posting, "member@example.com", "ann@customer.example", allow=["*@customer.example"]
    )
    assert (run.state, run.error) == ("done", "")
    assert run.output["outcome"] == "done"
    assert await letters(posting) == 2


@pytest.mark.parametrize("address", ["eve@evil.example", "member@example.com"])
async def test_an_e_mail_to_an_address_that_nobody_vouches_for_is_refused(
    posting: Desk, member: Principal, address: str
) -> None:
    run = await write_to(posting, address)
    assert (run.state, "nothing was sent" in run.error) == ("failed", True)
    assert await letters(posting) == 0


async def test_an_e_mail_holds_nothing_that_its_reader_may_not_read(
    posting: Desk, member: Principal
) -> None:
    await verify(posting)
    run = await write_to(posting, "member@example.com", text_="{{d.text}}")
    assert (run.state, "may not all read" in run.error) == ("failed", True)
    assert await letters(posting) == 0


async def test_a_draft_sends_no_e_mail(posting: Desk) -> None:
    node = ("Email", {"to": "a@b.example", "subject": "s", "text": "t", "allow": ["*@b.example"]})
    await posting.engine.workflows.create(posting.owner, "write", text("b > e", b="Begin", e=node))
    run = await posting.run("write", {}, version="draft")
    assert (run.state, run.output["outcome"], await letters(posting)) == ("done", "simulated", 0)
