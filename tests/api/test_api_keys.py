"""API tokens over HTTP: every way in which one must not reach further than it was made for."""

from __future__ import annotations

import re
from datetime import timedelta

from sqlalchemy import select, update

from engine import clock
from engine.db.tables import ApiToken, UserSession
from engine.domain import Role, Scope
from engine.engine import Engine
from engine.people.factors import totp
from tests.api.test_sign_in import (
    FORM,
    PASSWORD,
    as_admin,
    away,
    bearer,
    csrf_of,
    enter,
    full_buckets,
    signing_member,
)

__all__ = ["away", "full_buckets"]

READS = {"name": "ci", "scopes": ["kb:read", "kb:ask"]}


def by(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def made(client, headers: dict[str, str], **body: object):
    reply = await client.post("/api/v1/tokens", json=READS | body, headers=headers)
    assert reply.status_code == 201, reply.text
    return reply.json()


async def test_a_token_has_the_scopes_its_creator_has_now(away, engine: Engine) -> None:
    carl = await signing_member(engine, "carl", Role.CURATOR)
    token = (await made(away, await bearer(away, carl), scopes=["kb:read", "kb:write"]))["token"]
    body = {"file": ("t.md", b"# T\n\nx\n")}
    path = "/api/v1/knowledge_bases/team/documents"
    assert (await away.post(path, files=body, headers=by(token))).status_code in {201, 202}
    await engine.people.change_member(await engine.people.owner(), carl, role=Role.MEMBER)
    refused = await away.post(path, files=body, headers=by(token))
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await away.get("/api/v1/user", headers=by(token))).json()["scopes"] == ["kb:read"]


async def test_revoked_expired_unknown_and_query_tokens_are_refused_alike(
    away, engine: Engine
) -> None:
    ada = await bearer(away, await signing_member(engine, "ada", Role.MEMBER))
    revoked, expired, good = [await made(away, ada) for _ in range(3)]
    await away.delete(f"/api/v1/tokens/{revoked['id']}", headers=ada)
    async with engine.db.write() as session:
        past = clock.now() - timedelta(seconds=1)
        await session.execute(
            update(ApiToken).where(ApiToken.id == expired["id"]).values(expires_at=past)
        )
    said = set()
    for token in (revoked["token"], expired["token"], "sj_unknown"):
        refused = await away.get("/api/v1/user", headers=by(token))
        said.add((refused.status_code, refused.json()["code"], refused.json()["detail"]))
    assert [item[:2] for item in said] == [(401, "unauthenticated")]
    assert (await away.get(f"/api/v1/user?key={good['token']}")).status_code == 401
    assert (await away.get("/api/v1/user", headers=by(good["token"]))).status_code == 200


async def test_a_token_reaches_no_other_tenant_and_no_other_knowledge_base(
    away, engine: Engine
) -> None:
    owner = await engine.people.owner()
    known = {tenant.key for tenant in await engine.people.list_tenants(owner)}
    lab = (
        await engine.people.show_tenant(owner, "lab")
        if "lab" in known
        else await engine.people.create_tenant(owner, "lab")
    )
    there = await engine.people._principal(lab.id, owner.user_id or "")
    kb = await engine.knowledge_bases.create(there, f"secret {clock.new_id()}")
    secret, _ = await engine.people.create_token(owner, "t", scopes=[Scope.KB_READ])
    assert (
        await away.get(f"/api/v1/knowledge_bases/{kb.id}", headers=by(secret))
    ).status_code == 404
    team = await engine.knowledge_bases.get(owner, "team")
    narrow, _ = await engine.people.create_token(
        owner, "t", scopes=[Scope.KB_READ], kb_ids=[team.id]
    )
    for path, status in (("team", 200), ("board", 404)):
        found = await away.get(f"/api/v1/knowledge_bases/{path}", headers=by(narrow))
        assert found.status_code == status


async def test_admin_verbs_take_neither_a_token_nor_a_stale_confirmation(
    away, engine: Engine
) -> None:
    anna = await signing_member(engine, "anna", Role.ADMIN)
    secret, _ = await engine.people.create_token(
        await engine.people.owner(), "t", scopes=list(Scope)
    )
    confirmed = await as_admin(away, anna)
    service = READS | {"kind": "service"}
    for headers in (await bearer(away, anna), by(secret)):
        for path, body in (("members", {"email": "x@example.com"}), ("tokens", service)):
            refused = await away.post(f"/api/v1/{path}", json=body, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")
    assert (await away.post("/api/v1/tokens", json=service, headers=confirmed)).status_code == 201
    async with engine.db.write() as session:
        stale = clock.now() - timedelta(minutes=10, seconds=1)
        await session.execute(update(UserSession).values(stepped_up_at=stale))
    refused = await away.post("/api/v1/tokens", json=service, headers=confirmed)
    assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")


async def test_a_code_of_an_app_confirms_once(away, engine: Engine) -> None:
    anna = await signing_member(engine, "anna", Role.ADMIN)
    headers = await as_admin(away, anna)
    begun = (await away.post("/api/v1/user/app", headers=headers)).json()
    import base64

    secret = base64.b32decode(begun["secret"])
    step = int(clock.now().timestamp()) // 30
    first, second = totp(secret, step - 1), totp(secret, step)
    taken = await away.put("/api/v1/user/app", json={"code": first}, headers=headers)
    assert taken.status_code == 200
    confirmed = await away.post("/api/v1/user/step_up", json={"code": second}, headers=headers)
    again = await away.post("/api/v1/user/step_up", json={"code": second}, headers=headers)
    assert (confirmed.status_code, again.status_code) == (200, 401)
    await engine.people.sign_in.reset_factors(await engine.people.owner(), anna)


async def test_a_service_key_answers_for_the_organisation_and_never_ends_by_choice(
    away, engine: Engine
) -> None:
    headers = await as_admin(away, await signing_member(engine, "anna", Role.ADMIN))
    key = await made(away, headers, kind="service", never_expires=True)
    assert (key["kind"], key["expires_at"]) == ("service", None)
    assert re.fullmatch(r"sj_k[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}", key["token"])
    who = (await away.get("/api/v1/user", headers=by(key["token"]))).json()
    assert (who["id"], who["role"], who["api_token_id"]) == (None, "member", key["id"])
    found = await away.get("/api/v1/knowledge_bases", headers=by(key["token"]))
    names = {kb["name"] for kb in found.json()["knowledge_bases"]}
    assert "team" in names
    assert "board" not in names
    asked = await away.post(
        "/api/v1/ask", json={"question": "lodging rate?"}, headers=by(key["token"])
    )
    assert asked.status_code == 200
    more = {"question": "And?", "conversation_id": asked.json()["conversation_id"]}
    assert (await away.post("/api/v1/ask", json=more, headers=by(key["token"]))).status_code == 200
    assert (await away.post("/api/v1/ask", json=more, headers=headers)).status_code == 404
    endless = await away.post(
        "/api/v1/tokens", json=READS | {"never_expires": True}, headers=headers
    )
    assert endless.status_code == 422
    assert (endless.json()["field"], endless.json()["detail"]) == (
        "never_expires",
        (
            "A personal token needs an expiry: set days instead of never_expires. Only a service key"
            " can be without one."
        ),
    )


async def test_a_token_for_a_network_is_refused_elsewhere_at_every_door(
    open_client, engine: Engine
) -> None:
    secret, _ = await engine.people.create_token(
        await engine.people.owner(),
        "t",
        scopes=[Scope.KB_READ],
        networks=["198.51.100.0/24"],
    )
    ping = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"accept": "application/json, text/event-stream"}
    for peer, forwarded, is_in in (
        ("198.51.100.7", "", True),
        ("10.0.0.2", "198.51.100.7", True),  # a proxy of ours says so
        ("10.0.0.2", "203.0.113.9", False),
        ("9.9.9.9", "198.51.100.7", False),  # a stranger says so
        ("9.9.9.9", "", False),
    ):
        async with open_client(peer=peer) as client:
            headers = by(secret) | ({"x-forwarded-for": forwarded} if forwarded else {})
            rest = await client.get("/api/v1/user", headers=headers)
            mcp = await client.post("/mcp", json=ping, headers=headers | accept)
            models = await client.get("/v1/models", headers=headers)
        assert (rest.status_code == 401, mcp.status_code == 401, models.status_code == 401) == (
            not is_in,
            not is_in,
            not is_in,
        ), (peer, forwarded, rest.text, mcp.text)
        if not is_in:
            assert "198.51" not in rest.text + mcp.text + models.text


async def test_the_console_makes_a_service_key_after_a_confirmation(away, engine: Engine) -> None:
    await enter(away, await signing_member(engine, "anna", Role.ADMIN))
    csrf = await csrf_of(away)
    form = {
        "csrf": csrf,
        "name": "nightly",
        "scope": "kb:read",
        "kind": "service",
        "never": "yes",
        "networks": "192.0.2.0/24, 2001:db8::/32",
        "assistants": "helpdesk",
    }
    sent = await away.post("/console/tokens", data=form, headers=FORM)
    assert (sent.status_code, sent.headers["location"]) == (
        303,
        "/account/confirm?return_to=/console/tokens",
    )
    await away.post(
        "/account/confirm",
        data={"csrf": csrf, "password": PASSWORD, "return_to": "/console/tokens"},
        headers=FORM,
    )
    page = await away.post("/console/tokens", data=form, headers=FORM)
    assert page.status_code == 200, page.text
    assert "sj_k" in page.text
    assert "asking helpdesk, from 192.0.2.0/24, 2001:db8::/32" in page.text
    async with engine.db.read() as session:
        [row] = await session.scalars(
            select(ApiToken).where(ApiToken.name == "nightly", ApiToken.assistants.is_not(None))
        )
    assert (row.kind, row.expires_at) == ("service", None)
