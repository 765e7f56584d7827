"""Tenants by their operator: made, suspended, resumed, exported and deleted with all they have."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import func, select

from cli.serve import build_host
from engine.access import gate
from engine.db.tables import Base, Tenant, User
from engine.documents.adding import NewDocument
from engine.domain import Principal, Role, Scope
from engine.errors import Conflict, Forbidden, NotFound, TenantSuspended, Unauthenticated
from engine.operations import tenant_export, tenant_removal
from engine.people import api_tokens, members
from tests.fakes.homes import this_user
from tests.fakes.installations import Installation

TEXT = "The orchard of Bolt closes at nine in the evening."


class Bolt:
    """A second tenant with a member of its own, a document and a token."""

    def __init__(self, principal: Principal, secret: str, document_id: str) -> None:
        self.principal = principal
        self.secret = secret
        self.document_id = document_id


async def build_bolt(notes: Installation) -> Bolt:
    engine = notes.engine
    tenant = await engine.people.create_tenant(notes.owner, "bolt", name="Bolt & Co")
    async with engine.db.write() as session:
        owner = await gate.principal_of_user(session, tenant.id, notes.owner.user_id or "")
        member = await members.add_member(session, owner, email="ada@bolt.org", role=Role.OWNER)
        ada = await gate.principal_of_user(session, tenant.id, member.user_id)
        secret, _ = await api_tokens.create_token(
            session, ada, "laptop", scopes=[Scope.KB_READ, Scope.KB_ASK]
        )
    await engine.knowledge_bases.create(ada, "garden")
    async with engine.db.read() as session:
        ada = await gate.principal_of_user(session, tenant.id, member.user_id)
    new = NewDocument(data=TEXT.encode(), filename="orchard.md", external_id="orchard.md")
    added = await engine.documents.add(ada, "garden", new)
    await notes.drain()
    return Bolt(ada, secret, added.document_id)


async def rows_of(notes: Installation, tenant_id: str) -> dict[str, int]:
    counts = {}
    async with notes.engine.db.read() as session:
        for table in Base.metadata.sorted_tables:
            if "tenant_id" in table.c:
                query = select(func.count()).where(table.c.tenant_id == tenant_id)
                if found := await session.scalar(query.select_from(table)):
                    counts[table.name] = found
    return counts


def client_of(notes: Installation) -> httpx2.AsyncClient:
    app = build_host(notes.engine, notes.engine.settings, keyless=this_user)
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 40000), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:7337")


async def test_a_suspended_tenant_answers_nothing_and_says_why_until_it_is_resumed(
    anywhere: Installation,
) -> None:
    notes, bolt = anywhere, await build_bolt(anywhere)
    headers = {"Authorization": f"Bearer {bolt.secret}"}
    search = "/api/v1/search"
    async with client_of(notes) as client:
        before = await client.post(search, json={"query": "orchard"}, headers=headers)
        await notes.engine.people.suspend_tenant(notes.owner, "bolt")
        during = await client.post(search, json={"query": "orchard"}, headers=headers)
        wrong = await client.post(
            search, json={"query": "orchard"}, headers={"Authorization": "Bearer sj_wrong"}
        )
        async with notes.engine.db.read() as session:
            with pytest.raises(TenantSuspended):
                await gate.principal_of_user(
                    session, bolt.principal.tenant_id, bolt.principal.user_id or ""
                )
        await notes.engine.people.resume_tenant(notes.owner, "bolt")
        after = await client.post(search, json={"query": "orchard"}, headers=headers)

    assert before.status_code == after.status_code == 200, before.text
    assert before.json()["hits"] == after.json()["hits"] != []
    assert (during.status_code, during.json()["code"]) == (403, "tenant_suspended")
    assert wrong.status_code == 401  # who holds no secret of it learns nothing


async def test_the_jobs_of_a_suspended_tenant_wait_and_run_once_it_is_resumed(
    notes: Installation,
) -> None:
    bolt = await build_bolt(notes)
    await notes.engine.people.suspend_tenant(notes.owner, "bolt")
    new = NewDocument(data=b"Bolt buys bees.", filename="bees.md", external_id="bees.md")
    added = await notes.engine.documents.add(bolt.principal, "garden", new)
    mine = await notes.add("The gate is green.")

    await notes.drain()

    assert (await notes.get(mine)).state == "ready"
    assert await notes.engine.operations.next_job_due_at() is None  # a worker need not stay for it
    waiting = await notes.engine.documents.get(bolt.principal, added.document_id)
    assert waiting.state == "pending"
    await notes.engine.people.resume_tenant(notes.owner, "bolt")
    await notes.drain()
    assert (await notes.engine.documents.get(bolt.principal, added.document_id)).state == "ready"


async def test_an_answer_under_way_is_not_given_once_its_tenant_is_suspended(
    notes: Installation,
) -> None:
    bolt = await build_bolt(notes)
    audience = gate.audience_of_asker(bolt.principal)
    events = notes.engine.answers.ask(bolt.principal, audience, "When does the orchard close?")
    await anext(events)
    await notes.engine.people.suspend_tenant(notes.owner, "bolt")
    with pytest.raises(TenantSuspended):
        async for _ in events:
            pass


async def test_a_deleted_tenant_leaves_no_row_no_byte_and_no_index(anywhere: Installation) -> None:
    notes, bolt = anywhere, await build_bolt(anywhere)
    tenant_id = bolt.principal.tenant_id
    mine = await notes.add("The gate of the orchard is green.")
    await notes.drain()
    assert (await rows_of(notes, tenant_id))["document"] == 1

    await notes.engine.people.delete_tenant(notes.owner, "bolt")
    with pytest.raises(Unauthenticated):
        await notes.engine.people.authenticate(bolt.secret)
    await notes.drain()

    assert await rows_of(notes, tenant_id) == {}
    async with notes.engine.db.read() as session:
        assert await session.get(Tenant, tenant_id) is None
        emails = set(await session.scalars(select(User.email)))
    assert "ada@bolt.org" not in emails  # who was in no other tenant
    assert tenant_id not in await notes.engine.blobs.tenants()
    assert (await notes.get(mine)).state == "ready"
    assert await notes.found("orchard") == ["The gate of the orchard is green."]
    log = await notes.engine.operations.list_audit(notes.owner, limit=5)
    [done] = [entry for entry in log if entry.action == "tenant.deleted"]
    assert (done.actor, done.detail["key"], done.detail["rows"]["document"]) == (
        "system",
        "bolt",
        1,
    )
    again = await notes.engine.people.create_tenant(notes.owner, "bolt")
    assert again.id != tenant_id


@pytest.mark.parametrize("step", ["index", "blobs", "delete_rows", "finish"])
async def test_a_deletion_that_is_cut_short_ends_when_it_is_run_again(
    notes: Installation, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    bolt = await build_bolt(notes)

    async def killed(*_: object, **__: object) -> None:
        raise Unauthenticated("cut short")

    engine = notes.engine
    with monkeypatch.context() as patch:
        if step == "index":
            patch.setattr(type(engine.index), "drop_tenant", killed)
        elif step == "blobs":
            patch.setattr(type(engine.blobs), "delete_tenant", killed)
        else:
            patch.setattr(tenant_removal, step, killed)
        await engine.people.delete_tenant(notes.owner, "bolt")
        await notes.drain()
    tenant_id = bolt.principal.tenant_id
    assert await engine.people.tenant_deletion(notes.owner, tenant_id) != ""

    await engine.people.delete_tenant(notes.owner, "bolt")
    await notes.drain()

    assert await engine.people.tenant_deletion(notes.owner, tenant_id) == ""
    assert await rows_of(notes, tenant_id) == {}


async def test_an_export_holds_everything_readable_and_no_secret(
    notes: Installation, tmp_path: Path
) -> None:
    bolt = await build_bolt(notes)
    path = tmp_path / "bolt.zip"

    counts = await notes.engine.operations.export_tenant(notes.owner, "bolt", path)

    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        whole = b"".join(archive.read(name) for name in names)
        about = json.loads(archive.read("tenant.json"))
        texts = archive.read("rows/revision_text.jsonl").decode()
        users = [json.loads(line) for line in archive.read("rows/user.jsonl").splitlines()]
    assert (about["key"], about["name"], about["rows"]) == ("bolt", "Bolt & Co", counts)
    assert counts["document"] == counts["files"] == 1
    assert TEXT in texts
    assert TEXT.encode() in whole.replace(texts.encode(), b"")  # the file as it came in
    assert {user["email"] for user in users} == {"ada@bolt.org", None}
    assert bolt.secret.encode() not in whole
    assert api_tokens._digest(bolt.secret).encode() not in whole
    assert notes.owner.tenant_id.encode() not in whole


def test_every_column_that_proves_who_somebody_is_stays_out_of_an_export() -> None:
    exported = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        if table.name not in tenant_export.SECRET_TABLES | tenant_export.DERIVED
        for column in table.c
        if not tenant_export.is_secret(table.name, column.name)
    }
    suspicious = {name for name in exported if any(word in name for word in ("secret", "password"))}
    assert suspicious == set()
    assert "api_token.digest" not in exported


@pytest.mark.parametrize("verb", ["suspend_tenant", "delete_tenant", "show_tenant"])
async def test_only_who_runs_the_installation_manages_tenants(
    notes: Installation, verb: str, tmp_path: Path
) -> None:
    bolt = await build_bolt(notes)
    people = notes.engine.people
    act = getattr(people, verb)
    with pytest.raises(Forbidden):  # an owner of another tenant
        await act(bolt.principal, "bolt")
    async with notes.engine.db.write() as session:
        secret, _ = await api_tokens.create_token(
            session, notes.owner, "all", scopes=notes.owner.scopes
        )
    with pytest.raises(Forbidden):  # the operator's own API token
        await act(await people.authenticate(secret), "bolt")
    with pytest.raises(Forbidden):
        await notes.engine.operations.export_tenant(
            await people.authenticate(secret), "bolt", tmp_path / "x.zip"
        )
    with pytest.raises(NotFound):
        await act(notes.owner, "none")
    if verb != "show_tenant":
        with pytest.raises(Conflict):
            await act(notes.owner, "default")
