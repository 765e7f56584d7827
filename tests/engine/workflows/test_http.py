"""HTTP in workflows: guarded, bound to hosts, carried out once or asked about."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select, text

from engine.db.tables import Base, RunEffect
from engine.domain import Principal, Role
from engine.errors import FlowError, Forbidden, InvalidInput
from engine.flow.checkpoints import SqlRunStore
from engine.jobs import claims, leases
from engine.jobs.kinds import RUN_WORKFLOW
from engine.workflows.effects import EffectLedger
from engine.workflows.runs import RunInfo
from tests.engine.workflows.conftest import Desk, member_of
from tests.fakes.flow_components import flow
from tests.fakes.service import Answer, FakeService, echo, serve_fake

SECRET = "s3cr3t-/+value=&<Zz9"


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with serve_fake() as fake:
        yield fake


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """One whose runs may ask services on loopback."""
    workflows = desk.engine.workflows
    workflows._services = replace(workflows._services, allow_private_urls=True)
    return desk


def call(service: FakeService, **param: Any) -> tuple[str, dict[str, Any]]:
    return "HTTP", {"url": f"{service.url}/things", **param}


def text_of(*lines: str, **nodes: Any) -> str:
    return json.dumps(flow(*lines, **nodes))


async def publish(desk: Desk, http: tuple[str, dict[str, Any]], **more: Any) -> None:
    await desk.publish("call", text_of("b > h", b="Begin", h=http, **more))


async def effects(desk: Desk) -> list[RunEffect]:
    async with desk.engine.db.read() as session:
        return list(await session.scalars(select(RunEffect)))


async def test_a_get_reads_json_and_sends_what_it_is_told(desk: Desk, service: FakeService) -> None:
    service.answer = echo
    await publish(
        desk,
        call(service, query={"q": "{{b.query}}", "n": 2}, headers={"X-Who": "{{sys.user_name}}"}),
    )

    run = await desk.run("call", {"query": "tea & cake"})

    assert (run.state, run.error) == ("done", "")
    assert run.output["status"] == 200
    assert run.output["body"]["path"] == "/things?q=tea+%26+cake&n=2"
    assert run.output["body"]["headers"]["x-who"] == desk.owner.name
    assert await effects(desk) == []


async def test_a_write_carries_its_key_and_is_noted(desk: Desk, service: FakeService) -> None:
    await publish(desk, call(service, method="POST", json={"a": "{{b.query}}"}))

    run = await desk.run("call", {"query": "x"})

    assert run.output["outcome"] == "done"
    [asked] = service.asked
    assert json.loads(asked.body) == {"a": "x"}
    assert len(asked.headers["idempotency-key"]) == 36
    [effect] = await effects(desk)
    assert (effect.kind, effect.target, effect.state) == ("http.post", "127.0.0.1", "done")


async def test_a_draft_changes_nothing_outside_unless_told_to(
    desk: Desk, service: FakeService
) -> None:
    curator = await member_of(desk.engine, desk.owner, "curator@example.com", Role.CURATOR)
    await desk.engine.workflows.create(
        desk.owner, "call", text_of("b > h", b="Begin", h=call(service, method="DELETE"))
    )

    tried = await desk.run("call", {}, version="draft")
    assert (tried.state, tried.output["outcome"], service.asked) == ("done", "simulated", [])

    sent = await desk.run("call", {}, version="draft", really_send=True)
    assert (sent.output["outcome"], len(service.asked)) == ("done", 1)
    with pytest.raises(Forbidden):
        await desk.run("call", {}, version="draft", really_send=True, who=curator)


async def lost_while_sending(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is gone after the request left and before what came of it was kept."""
    reached = asyncio.Event()

    async def never(*_: Any, **__: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    [job] = await claims.claim(desk.engine.db, "w", kinds=[RUN_WORKFLOW], lease_s=60)
    with monkeypatch.context() as patch:
        patch.setattr(EffectLedger, "_end", never)
        working = asyncio.create_task(desk.engine.workflows.execute(job))
        await asyncio.wait_for(reached.wait(), 30)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    await leases.take_over_all(desk.engine.db, kinds=[RUN_WORKFLOW])


async def lost(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> RunInfo:
    run_id = await desk.engine.workflows.start(desk.owner, "call", {})
    await lost_while_sending(desk, monkeypatch)
    await desk.work()
    return await desk.engine.workflows.get_run(desk.owner, run_id)


@pytest.mark.parametrize("param", [{"method": "PUT"}, {"method": "POST", "idempotent": True}])
async def test_what_can_be_repeated_is_repeated_with_the_same_key(
    desk: Desk, service: FakeService, monkeypatch: pytest.MonkeyPatch, param: dict[str, Any]
) -> None:
    await publish(desk, call(service, **param))

    run = await lost(desk, monkeypatch)

    assert (run.state, run.output["outcome"]) == ("done", "done")
    assert len(service.asked) == 2
    assert len({asked.headers["idempotency-key"] for asked in service.asked}) == 1


@pytest.mark.parametrize(
    ("choice", "outcome", "requests"),
    [("Sent", "assumed", 1), ("Skip", "skipped", 1), ("Send again", "done", 2)],
)
async def test_where_nobody_knows_whether_it_was_sent_a_person_says(
    desk: Desk,
    service: FakeService,
    monkeypatch: pytest.MonkeyPatch,
    choice: str,
    outcome: str,
    requests: int,
) -> None:
    await publish(desk, call(service, method="POST"))

    run = await lost(desk, monkeypatch)
    assert (run.state, len(service.asked)) == ("paused", 1)
    [question] = run.pauses
    assert question.message.startswith("Was it sent? POST to 127.0.0.1")

    done = await desk.reply(run, choice=choice)

    assert (done.state, done.output["outcome"]) == ("done", outcome)
    assert len(service.asked) == requests


async def test_a_second_loss_asks_a_second_time(
    desk: Desk, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(desk, call(service, method="POST"))
    run = await lost(desk, monkeypatch)
    await desk.engine.workflows.reply(desk.owner, run.id, choice="Send again")
    await lost_while_sending(desk, monkeypatch)
    await desk.work()
    again = await desk.engine.workflows.get_run(desk.owner, run.id)

    assert (again.state, len(service.asked)) == ("paused", 2)
    done = await desk.reply(again, choice="Sent")
    assert (done.state, done.output["outcome"], len(service.asked)) == ("done", "assumed", 2)


async def test_a_post_without_a_response_asks_and_a_refused_one_fails(
    desk: Desk, service: FakeService
) -> None:
    await publish(desk, call(service, method="POST"))
    service.answer = lambda _: Answer(hangs=True)
    assert (await desk.run("call", {})).state == "paused"
    service.answer = lambda _: Answer(status=403, body=b"no")
    refused = await desk.run("call", {})
    assert (refused.state, "answered 403" in refused.error) == ("failed", True)
    assert [effect.state for effect in await effects(desk)] == ["unknown", "failed"]


async def test_a_result_that_was_kept_is_not_asked_for_again(
    desk: Desk, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(desk, call(service, method="POST"))
    run_id = await desk.engine.workflows.start(desk.owner, "call", {})
    real, died = SqlRunStore.write, asyncio.Event()

    async def write(self: SqlRunStore, ids: Any, change: Any) -> None:
        if any(node.node_id == "h" for node in change.nodes):
            died.set()
            await asyncio.Event().wait()
        await real(self, ids, change)

    [job] = await claims.claim(desk.engine.db, "w", kinds=[RUN_WORKFLOW], lease_s=60)
    with monkeypatch.context() as patch:
        patch.setattr(SqlRunStore, "write", write)
        working = asyncio.create_task(desk.engine.workflows.execute(job))
        await asyncio.wait_for(died.wait(), 30)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    await leases.take_over_all(desk.engine.db, kinds=[RUN_WORKFLOW])
    await desk.work()

    run = await desk.engine.workflows.get_run(desk.owner, run_id)
    assert (run.state, run.output["status"], len(service.asked)) == ("done", 200, 1)


async def test_a_redirect_is_followed_to_allowed_hosts_only(
    desk: Desk, service: FakeService
) -> None:
    await publish(desk, call(service))
    service.answer = lambda asked: (
        Answer(status=302, headers={"Location": "/other"})
        if asked.path == "/things"
        else Answer(body=b"[1]")
    )
    assert (await desk.run("call", {})).output["body"] == [1]
    service.answer = lambda _: Answer(
        status=302, headers={"Location": f"http://localhost:{service.port}/"}
    )
    asked = len(service.asked)
    refused = await desk.run("call", {})
    assert (refused.state, len(service.asked)) == ("failed", asked + 1)
    assert "none of the hosts" in refused.error


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://0.0.0.0:1/"],
)
async def test_metadata_addresses_are_refused_even_where_private_ones_are_allowed(
    desk: Desk, url: str
) -> None:
    await publish(desk, ("HTTP", {"url": url}))
    run = await desk.run("call", {})
    assert (run.state, "private or reserved" in run.error) == ("failed", True)


async def test_private_addresses_are_refused_by_default(desk: Desk, service: FakeService) -> None:
    workflows = desk.engine.workflows
    workflows._services = replace(workflows._services, allow_private_urls=False)
    await publish(desk, call(service))
    run = await desk.run("call", {})
    assert (run.state, service.asked) == ("failed", [])


async def test_a_body_over_the_limit_is_cut_and_said_so(desk: Desk, service: FakeService) -> None:
    service.answer = lambda _: Answer(body=b"x" * 5000, headers={"Content-Type": "text/plain"})
    await publish(desk, call(service, max_bytes=1000))
    run = await desk.run("call", {})
    assert (len(run.output["body"]), run.output["truncated"]) == (1000, True)


@pytest.mark.parametrize(
    ("param", "fault"),
    [
        ({"url": "{{b.query}}"}, "write its host out"),
        ({"url": "https://api.example.com{{b.query}}/x"}, "write its host out"),
        ({"url": "https://a.example/", "text": "x"}, "a GET has no body"),
        ({"url": "https://a.example/", "headers": {"Host": "b"}}, "no header that can be set"),
        ({"url": "https://a.example/", "recipient": "all"}, "write outside, tenant"),
        ({"url": "https://a.example/{{secret.crm}}"}, "a secret can't be used here"),
    ],
)
async def test_what_could_go_anywhere_does_not_load(
    desk: Desk, param: dict[str, Any], fault: str
) -> None:
    with pytest.raises(FlowError, match=fault):
        desk.engine.workflows.load(text_of("b > h", b="Begin", h=("HTTP", param)))


async def test_a_header_can_not_be_split(desk: Desk, service: FakeService) -> None:
    await publish(desk, call(service, headers={"X-Q": "{{b.query}}"}))
    run = await desk.run("call", {"query": "a\r\nX-Evil: 1"})
    assert (run.state, service.asked) == ("failed", [])


async def test_what_members_may_not_all_read_goes_nowhere(desk: Desk, service: FakeService) -> None:
    for recipient, sent in (("outside", 0), ("tenant", 1)):
        await desk.publish(
            f"post-{recipient}",
            text_of(
                "b > d > h",
                b="Begin",
                d=("Retrieval", {"kbs": ["{{b.query}}"], "query": "leave or salary"}),
                h=call(service, method="POST", json={"t": "{{d.text}}"}, recipient=recipient),
            ),
        )
        board = await desk.run(f"post-{recipient}", {"query": "board"})
        assert (board.state, "may not all read" in board.error) == ("failed", True)
        await desk.run(f"post-{recipient}", {"query": "team"})
        assert len(service.asked) == sent


# Secrets


async def set_secret(desk: Desk, *hosts: str, value: str = SECRET) -> None:
    owner = replace(desk.owner, assured=True)
    await desk.engine.workflows.set_secret(owner, "crm", value=value, hosts=hosts)


async def every_cell(desk: Desk) -> str:
    """All that the database keeps, as text."""
    found = []
    async with desk.engine.db.read() as session:
        for table in Base.metadata.sorted_tables:
            rows = await session.execute(text(f'SELECT * FROM "{table.name}"'))
            found += [str(tuple(row)) for row in rows]
    return "\n".join(found)


def forms(value: str) -> list[str]:
    raw = value.encode()
    return [
        value,
        json.dumps(value)[1:-1],
        quote(value, safe=""),
        base64.b64encode(raw).decode(),
        base64.b64encode(b"bot:" + raw).decode(),
        raw.hex(),
    ]


async def test_no_secret_is_in_any_table_log_or_event_after_a_run_that_uses_one_everywhere(
    desk: Desk, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    await set_secret(desk, "127.0.0.1")
    body = json.dumps({"all": forms(SECRET), SECRET: 1}).encode()
    service.answer = lambda asked: Answer(body=body) if asked.path == "/things" else echo(asked)
    await desk.publish(
        "call",
        text_of(
            "b > h > basic > fails > m",
            "fails > out",
            b="Begin",
            h=call(service, headers={"X-Key": "{{secret.crm}}"}),
            basic=(
                "HTTP",
                {
                    "url": f"{service.url}/echo",
                    "method": "POST",
                    "auth": {"user": "bot", "password": "{{secret.crm}}"},
                    "json": "{{h.body}}",
                },
            ),
            fails=(
                "HTTP",
                {
                    "url": f"{service.url}/echo",
                    "auth": {"bearer": "{{secret.crm}}"},
                },
            ),
            m=("Message", {"text": "{{h.body}} {{basic.body}} {{fails.body}}"}),
            out=("Output", {"values": {"all": "{{basic.body}}"}}),
        ),
    )
    caplog.set_level("DEBUG")

    run = await desk.run("call", {})

    assert (run.state, run.error) == ("done", "")
    assert service.asked[0].headers["x-key"] == SECRET
    assert service.asked[2].headers["authorization"] == f"Bearer {SECRET}"
    kept = await every_cell(desk) + caplog.text + json.dumps(run.output, ensure_ascii=False)
    assert "[secret crm]" in kept
    assert [form for form in forms(SECRET) if form in kept] == []


async def test_a_secret_goes_to_its_hosts_only(desk: Desk, service: FakeService) -> None:
    await set_secret(desk, "*.crm.example")
    await publish(desk, call(service, headers={"X-Key": "{{secret.crm}}"}))
    run = await desk.run("call", {})
    assert (run.state, service.asked) == ("failed", [])
    assert "may be sent to *.crm.example, not to 127.0.0.1" in run.error


async def test_a_text_from_elsewhere_that_names_a_secret_stays_text(
    desk: Desk, service: FakeService
) -> None:
    await set_secret(desk, "127.0.0.1")
    await publish(desk, call(service, headers={"X-Key": "{{secret.crm}}", "X-Q": "{{b.query}}"}))
    await desk.run("call", {"query": "{{secret.crm}}"})
    assert service.asked[0].headers["x-q"] == "{{secret.crm}}"


async def test_a_secret_that_is_not_set_is_named_before_there_is_a_run(
    desk: Desk, service: FakeService
) -> None:
    await publish(desk, call(service, headers={"X-Key": "{{secret.crm}}"}))
    with pytest.raises(InvalidInput, match="secret that is not set: crm"):
        await desk.engine.workflows.start(desk.owner, "call", {})


@pytest.mark.parametrize(
    ("kind", "param"),
    [
        ("Message", {"text": "{{secret.crm}}"}),
        ("Model", {"prompt": "{{secret.crm}}"}),
        ("Template", {"template": "x", "values": {"x": "{{secret.crm}}"}}),
        (
            "Code",
            {"source": "1", "inputs": {"x": "{{secret.crm}}"}, "outputs": {"a": {}}},
        ),
    ],
)
async def test_a_secret_is_a_fault_where_it_can_not_be_kept(
    desk: Desk, kind: str, param: dict[str, Any]
) -> None:
    with pytest.raises(FlowError, match="a secret can't be used here"):
        desk.engine.workflows.load(text_of("b > x", b="Begin", x=(kind, param)))


async def test_secrets_are_for_admins_and_are_never_shown(desk: Desk, member: Principal) -> None:
    workflows = desk.engine.workflows
    await set_secret(desk, "a.example")
    for try_it in (
        workflows.set_secret(member, "crm", value="x"),
        workflows.list_secrets(member),
        workflows.remove_secret(member, "crm"),
    ):
        with pytest.raises(Forbidden):
            await try_it
    [shown] = await workflows.list_secrets(desk.owner)
    assert SECRET not in repr(shown)
    assert shown.hosts == ("a.example",)
    owner = replace(desk.owner, assured=True)
    with pytest.raises(InvalidInput, match="value again"):
        await workflows.set_secret(owner, "crm", hosts=["evil.example"])
    await workflows.remove_secret(owner, "crm")
    assert await workflows.list_secrets(desk.owner) == []
