"""The operator's own server: who gets in, what is there, and that nothing else leads to it."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from starlette.routing import Route

from api.operator import build_operator_app
from cli.operator_door import on_loopback
from cli.pipeline_tools import ComponentTools
from engine import clock
from engine.db.tables import User
from engine.domain import Role
from engine.engine import Engine
from engine.people import api_tokens, members, passwords
from tests.api.conftest import OpenClient

PASSWORD = "plum kettle orbit 42"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "operator.md"
BASE = "http://127.0.0.1:7338"


async def set_password(engine: Engine, user_id: str, email: str) -> None:
    kept = await passwords.hash_password(PASSWORD)
    async with engine.db.write() as session:
        user = await session.get_one(User, user_id)
        user.password_hash, user.email = kept, email


@pytest.fixture
async def operator(engine: Engine) -> AsyncIterator[httpx2.AsyncClient]:
    app = build_operator_app(engine, on_loopback(engine.settings, 7338), ComponentTools(engine))
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 40000), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
        yield client


async def token_of(operator: httpx2.AsyncClient, email: str) -> str:
    said = await operator.post("/admin/v1/sign_in", json={"email": email, "password": PASSWORD})
    assert said.status_code == 200, said.text
    return str(said.json()["access_token"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_an_owner_of_the_first_tenant_signs_in_and_manages_tenants(
    engine: Engine, operator: httpx2.AsyncClient
) -> None:
    owner = await engine.people.owner()
    await set_password(engine, owner.user_id or "", "root@example.com")
    headers = bearer(await token_of(operator, "root@example.com"))

    made = await operator.post("/admin/v1/tenants", json={"key": "acme"}, headers=headers)
    listed = await operator.get("/admin/v1/tenants", headers=headers)
    suspended = await operator.post("/admin/v1/tenants/acme/suspend", headers=headers)
    resumed = await operator.post("/admin/v1/tenants/acme/resume", headers=headers)
    exported = await operator.get("/admin/v1/tenants/acme/export", headers=headers)
    refused = await operator.delete("/admin/v1/tenants/default", headers=headers)
    deleted = await operator.delete("/admin/v1/tenants/acme", headers=headers)
    gone = await operator.get("/admin/v1/tenants/acme", headers=headers)
    out = await operator.post("/admin/v1/sign_out", headers=headers)
    after = await operator.get("/admin/v1/tenants", headers=headers)

    assert made.status_code == 201, made.text
    assert [t["key"] for t in listed.json()["tenants"]] == ["acme", "default"]
    assert suspended.json()["suspended_at"]
    assert resumed.json()["suspended_at"] is None
    assert "tenant.json" in zipfile.ZipFile(io.BytesIO(exported.content)).namelist()
    assert refused.status_code == 409
    assert (deleted.status_code, deleted.json()["deletion"]) == (202, "running")
    assert gone.status_code == 404
    assert (out.status_code, after.status_code) == (204, 401)


async def test_no_other_credential_gets_in_and_this_one_gets_in_nowhere_else(
    engine: Engine, operator: httpx2.AsyncClient, open_client: OpenClient
) -> None:
    owner = await engine.people.owner()
    await set_password(engine, owner.user_id or "", "root@example.com")
    async with engine.db.write() as session:
        key, _ = await api_tokens.create_token(session, owner, "all", scopes=owner.scopes)
    async with open_client(public_url="https://ask.example.com") as main:
        base = "https://ask.example.com"
        body = {"email": "root@example.com", "password": PASSWORD}
        signed_in = await main.post(f"{base}/api/v1/user/login", json=body)
        user_jwt = signed_in.json()["access_token"]
        stepped = await main.post(
            f"{base}/api/v1/user/step_up", json={"password": PASSWORD}, headers=bearer(user_jwt)
        )
        admin_jwt = stepped.json()["access_token"]
        for token in (key, user_jwt, admin_jwt, "sj_x", "a.b.c"):
            said = await operator.get("/admin/v1/tenants", headers=bearer(token))
            assert said.status_code == 401, token
        assert (await operator.get("/admin/v1/tenants")).status_code == 401  # keyless on loopback

        own = (await engine.people.sign_in.open_operator(owner)).access_token
        assert (await operator.get("/admin/v1/tenants", headers=bearer(own))).status_code == 200
        elsewhere = await main.get(f"{base}/api/v1/user", headers=bearer(own))
        absent = await main.get(f"{base}/admin/v1/tenants", headers=bearer(own))
        assert (elsewhere.status_code, absent.status_code) == (401, 404)
        for path in ("/api/v1/members", "/mcp", "/"):
            assert (await operator.get(path, headers=bearer(own))).status_code == 404


async def test_an_owner_of_another_tenant_and_an_admin_of_the_first_are_refused_alike(
    engine: Engine, operator: httpx2.AsyncClient
) -> None:
    owner = await engine.people.owner()
    async with engine.db.write() as session:
        admin = await members.add_member(session, owner, email="ad@example.com", role=Role.ADMIN)
    await set_password(engine, admin.user_id, "ad@example.com")
    body = {"email": "ad@example.com", "password": PASSWORD}
    refused = await operator.post("/admin/v1/sign_in", json=body)
    unknown = await operator.post("/admin/v1/sign_in", json=body | {"email": "no@example.com"})
    assert (refused.status_code, refused.json()["detail"]) == (401, unknown.json()["detail"])


async def test_a_sign_in_of_the_operator_ends_after_ten_minutes(
    engine: Engine, operator: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await engine.people.owner()
    own = (await engine.people.sign_in.open_operator(owner)).access_token
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(minutes=11))
    assert (await operator.get("/admin/v1/tenants", headers=bearer(own))).status_code == 401


async def test_every_route_of_the_operator_is_documented(engine: Engine) -> None:
    app = build_operator_app(engine, engine.settings, ComponentTools(engine))
    routes = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    written = re.findall(r"^\| ([A-Z]+) \| `([^`]+)` ", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(routes) == sorted(written)


async def test_another_host_name_and_a_foreign_page_are_refused(
    engine: Engine, operator: httpx2.AsyncClient
) -> None:
    own = (await engine.people.sign_in.open_operator(await engine.people.owner())).access_token
    named = await operator.get(
        "/admin/v1/tenants", headers=bearer(own) | {"Host": "scrubjay.example.com"}
    )
    foreign = await operator.get(
        "/admin/v1/tenants", headers=bearer(own) | {"Origin": "https://evil.example"}
    )
    assert (named.status_code, foreign.status_code) == (421, 403)
