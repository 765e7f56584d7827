"""SCIM 2.0 at the door: the tester's checks, Entra's and Okta's ways, and what nobody may do by it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from engine.access import gate
from engine.clock import new_id
from engine.db.tables import ApiToken, AuditEvent, Identity, Membership, User, UserSession
from engine.domain import Principal, Role, Scope
from engine.engine import Engine
from engine.errors import Unauthenticated
from engine.people import api_tokens, members, passwords
from engine.people.sessions import SignInClient
from tests.api.conftest import OpenClient

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
PASSWORD = "plum kettle orbit 42"


class Scim:
    """A client of one tenant's SCIM."""

    def __init__(self, client: httpx2.AsyncClient, secret: str) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {secret}"}

    async def send(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        return await self.client.request(method, f"/scim/v2{path}", json=body, headers=self.headers)

    async def user(self, user_name: str, **more: Any) -> dict[str, Any]:
        body = {"schemas": [USER], "userName": user_name} | more
        made = await self.send("POST", "/Users", body)
        assert made.status_code == 201, made.text
        return dict(made.json())

    async def patch(self, path: str, *operations: dict[str, Any]) -> httpx2.Response:
        return await self.send("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})


@pytest.fixture
async def owner(engine: Engine) -> Principal:
    return await engine.people.owner()


@pytest.fixture
async def scim(engine: Engine, owner: Principal, open_client: OpenClient) -> AsyncIterator[Scim]:
    """A client of a tenant that is made anew for each test."""
    tenant = await engine.people.create_tenant(owner, f"t{new_id()}")
    async with engine.db.write() as session:
        own = await gate.principal_of_user(session, tenant.id, owner.user_id or "")
    secret, _ = await engine.people.scim.create(own, "entra")
    async with open_client() as client:
        opened = Scim(client, secret)
        opened.owner = own  # type: ignore[attr-defined]
        yield opened
    await engine.people.suspend_tenant(owner, tenant.key)


async def test_the_scim_tester_finds_no_fault(scim: Scim) -> None:
    from scim2_client.engines.httpx2 import SyncSCIMClient
    from scim2_tester import Status, check_server

    loop = asyncio.get_running_loop()

    class Bridge(httpx2.BaseTransport):
        """Takes the tester's blocking requests to the application in this loop."""

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            async def send() -> httpx2.Response:
                body = request.read()
                return await scim.client.request(
                    request.method,
                    str(request.url),
                    content=body,
                    headers=dict(request.headers),
                )

            answered = asyncio.run_coroutine_threadsafe(send(), loop).result(60)
            return httpx2.Response(
                answered.status_code, headers=answered.headers, content=answered.content
            )

    def check() -> list[Any]:
        with httpx2.Client(
            base_url="http://127.0.0.1:7337/scim/v2", headers=scim.headers, transport=Bridge()
        ) as client:
            return list(check_server(SyncSCIMClient(client)))

    results = await asyncio.to_thread(check)
    faults = [
        f"{r.title}: {r.reason}" for r in results if r.status in {Status.ERROR, Status.CRITICAL}
    ]
    assert faults == []
    assert sum(r.status is Status.SUCCESS for r in results) > 50


async def test_a_person_is_provisioned_found_and_changed(scim: Scim, engine: Engine) -> None:
    mark = new_id()
    made = await scim.user(
        f"Ada{mark}@Example.org",
        externalId="oid-1",
        name={"givenName": "Ada", "familyName": "Byron"},
        emails=[{"value": f"ada{mark}@example.org", "type": "work", "primary": True}],
    )
    found = await scim.send("GET", f'/Users?filter=userName eq "ada{mark}@example.org"')
    async with engine.db.read() as session:
        user = await session.get_one(User, made["id"])
        membership = await session.get(Membership, (scim.owner.tenant_id, made["id"]))
        identity = await session.scalar(select(Identity).where(Identity.user_id == made["id"]))
    assert (user.email, user.name, membership.role) == (
        f"ada{mark}@example.org",
        "Ada Byron",
        "member",
    )
    assert (identity.subject, identity.provider[:5]) == ("oid-1", "scim:")
    assert [r["id"] for r in found.json()["Resources"]] == [made["id"]]
    again = await scim.send(
        "POST", "/Users", {"schemas": [USER], "userName": f"ADA{mark}@example.org"}
    )
    assert (again.status_code, again.json()["scimType"]) == (409, "uniqueness")


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Replace", "path": "active", "value": "False"},  # Entra
        {"op": "replace", "value": {"active": False}},  # Okta
        {"op": "Replace", "path": "active", "value": False},
    ],
)
async def test_deactivating_ends_sessions_tokens_and_identities_at_once(
    scim: Scim, engine: Engine, operation: dict[str, Any]
) -> None:
    made = await scim.user(f"bo{new_id()}@example.org", externalId=f"x{new_id()}")
    kept = await passwords.hash_password(PASSWORD)
    async with engine.db.write() as session:
        user = await session.get_one(User, made["id"])
        user.password_hash = kept
        secret, _ = await api_tokens.create_token(
            session, scim.owner, "t", scopes=[Scope.KB_READ], user_id=user.id
        )
        email = user.email or ""
    signed_in = await engine.people.sign_in.with_password(
        email, PASSWORD, kind="api", client=SignInClient(address="192.0.2.1")
    )
    assert (await engine.people.authenticate(secret)).user_id == made["id"]

    patched = await scim.patch(f"/Users/{made['id']}", operation)

    assert patched.status_code in {200, 204}, patched.text
    for token in (secret, signed_in.access_token):
        with pytest.raises(Unauthenticated):
            await engine.people.authenticate(token)
    async with engine.db.read() as session:
        assert (
            list(
                await session.scalars(select(UserSession).where(UserSession.user_id == made["id"]))
            )
            == []
        )
        assert (
            await session.scalar(select(ApiToken).where(ApiToken.user_id == made["id"]))
        ).revoked_at
        assert await session.scalar(select(Identity).where(Identity.user_id == made["id"])) is None
    shown = await scim.send("GET", f"/Users/{made['id']}")
    assert shown.json()["active"] is False
    back = await scim.patch(
        f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": True}
    )
    assert back.status_code in {200, 204}
    async with engine.db.read() as session:
        membership = await session.get(Membership, (scim.owner.tenant_id, made["id"]))
    assert membership.active


async def test_entras_ways_of_changing_groups_and_addresses_work(
    scim: Scim, engine: Engine
) -> None:
    people = [await scim.user(f"p{n}{new_id()}@example.org") for n in range(3)]
    ids = [person["id"] for person in people]
    made = await scim.send("POST", "/Groups", {"schemas": [GROUP], "displayName": "Support"})
    path = f"/Groups/{made.json()['id']}"
    values = [{"value": id_} for id_ in ids]
    added = await scim.patch(path, {"op": "Add", "path": "members", "value": values})
    one_less = await scim.patch(path, {"op": "Remove", "path": "members", "value": values[:1]})
    filtered = await scim.patch(path, {"op": "Remove", "path": f'members[value eq "{ids[1]}"]'})
    work = await scim.patch(
        f"/Users/{ids[0]}",
        {
            "op": "Add",
            "path": 'emails[type eq "work"].value',
            "value": f"work{new_id()}@example.org",
        },
        {"op": "Replace", "path": "displayName", "value": "Ada B."},
        {"op": "Add", "path": "unknownAttribute", "value": "x"},
    )
    assert {r.status_code for r in (added, one_less, filtered, work)} <= {200, 204}, (
        added.text,
        one_less.text,
        filtered.text,
        work.text,
    )
    held = await engine.people.list_group_members(scim.owner, made.json()["id"])
    assert [id_ for id_, _ in held] == [ids[2]]
    stranger = await scim.patch(
        path, {"op": "Add", "path": "members", "value": [{"value": scim.owner.user_id}]}
    )
    assert stranger.status_code == 400
    renamed = await scim.patch(path, {"op": "replace", "value": {"displayName": "Helpdesk"}})
    assert renamed.status_code in {200, 204}
    gone = await scim.send("DELETE", path)
    assert gone.status_code == 204
    assert [g.name for g in await engine.people.list_groups(scim.owner)] == []


async def test_no_account_is_adopted_and_no_tenant_is_named(
    scim: Scim, engine: Engine, owner: Principal
) -> None:
    address = f"taken{new_id()}@example.org"
    async with engine.db.write() as session:  # in another tenant
        other = await members.add_member(session, owner, email=address)
    refused = await scim.send("POST", "/Users", {"schemas": [USER], "userName": address})
    made = await scim.user(f"free{new_id()}@example.org")
    renamed = await scim.patch(
        f"/Users/{made['id']}", {"op": "replace", "path": "userName", "value": address}
    )
    foreign = await scim.send("GET", f"/Users/{other.user_id}")
    ended = await scim.patch(
        f"/Users/{other.user_id}", {"op": "replace", "path": "active", "value": False}
    )
    deleted = await scim.send("DELETE", f"/Users/{other.user_id}")
    assert (refused.status_code, renamed.status_code) == (409, 409)
    for said in (refused, renamed):
        assert "default" not in said.text
        assert owner.tenant_id not in said.text
    assert {foreign.status_code, ended.status_code, deleted.status_code} == {404}
    async with engine.db.read() as session:
        kept = await session.get(Membership, (owner.tenant_id, other.user_id))
        assert (await session.get_one(User, made["id"])).email.startswith("free")
    assert kept.active


async def test_the_last_owner_stays(scim: Scim, engine: Engine) -> None:
    made = await scim.user(f"boss{new_id()}@example.org")
    await engine.people.change_member(scim.owner, made["id"], role=Role.OWNER)
    async with engine.db.write() as session:
        boss = await gate.principal_of_user(session, scim.owner.tenant_id, made["id"])
        await members.remove_member(session, boss, scim.owner.user_id or "")
    path = f"/Users/{made['id']}"
    off = await scim.patch(path, {"op": "replace", "path": "active", "value": False})
    gone = await scim.send("DELETE", path)
    assert (off.status_code, gone.status_code) == (409, 409)
    assert "at least one owner" in off.json()["detail"]
    shown = await scim.send("GET", path)
    assert shown.json().get("active", True) is True


async def test_a_deleted_person_is_hidden_and_the_same_one_when_provisioned_again(
    scim: Scim, engine: Engine
) -> None:
    name = f"cy{new_id()}@example.org"
    made = await scim.user(name)
    gone = await scim.send("DELETE", f"/Users/{made['id']}")
    absent = await scim.send("GET", f"/Users/{made['id']}")
    again = await scim.user(name)
    assert (gone.status_code, absent.status_code) == (204, 404)
    assert again["id"] == made["id"]
    async with engine.db.read() as session:
        actions = set(
            await session.scalars(
                select(AuditEvent.action).where(AuditEvent.tenant_id == scim.owner.tenant_id)
            )
        )
    assert {"member.add", "member.deactivate", "member.activate", "scim.create"} <= actions


async def test_only_the_secret_of_a_client_that_is_not_revoked_gets_in(
    scim: Scim, engine: Engine
) -> None:
    [client] = await engine.people.scim.list_all(scim.owner)
    key, _ = await engine.people.create_token(scim.owner, "t", scopes=scim.owner.scopes)
    wrong = [{}, {"Authorization": "Bearer sj_wrong"}, {"Authorization": f"Bearer {key}"}]
    for headers in wrong:
        said = await scim.client.get("/scim/v2/Users", headers=headers)
        assert (said.status_code, said.json()["status"]) == (401, "401")
        assert said.headers["content-type"] == "application/scim+json"
    elsewhere = await scim.client.get("/api/v1/user", headers=scim.headers)
    assert elsewhere.status_code == 401
    await engine.people.scim.revoke(scim.owner, client.prefix)
    assert (await scim.send("GET", "/Users")).status_code == 401


def test_the_library_is_loaded_by_the_first_request_alone() -> None:
    code = "import sys, cli.serve; print([m for m in sys.modules if m.startswith('scim2')])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert out.stdout.strip() == "[]"
