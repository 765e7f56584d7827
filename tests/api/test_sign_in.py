"""Signing in over HTTP: the pages, their cookies, and the API for programs."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from sqlalchemy import delete, update

from engine import clock
from engine.db.tables import Ephemeral, User
from engine.domain import Role, Scope
from engine.engine import Engine
from engine.people import members
from engine.people.factors import totp
from engine.people.sessions import SignInClient
from tests.api.conftest import OpenClient

PASSWORD = "plum kettle orbit 42"
OTHER_PASSWORD = "seven grey lanterns sing"
ORIGIN = "http://127.0.0.1:7337"
HTML = {"accept": "text/html"}
FORM = HTML | {"origin": ORIGIN}
OUTSIDER = "nobody@elsewhere.example"
AWAY = {"x-forwarded-for": "192.0.2.7"}  # as by a proxy: so nobody is the local owner


@pytest.fixture(autouse=True)
async def full_buckets(engine: Engine) -> None:
    """The guesses of one test are not those of the next."""
    async with engine.db.write() as session:
        await session.execute(delete(Ephemeral))


@pytest.fixture
async def ada(engine: Engine) -> str:
    """A member's address, who has a password; made once for the module's data folder."""
    return await signing_member(engine, "ada", Role.MEMBER)


async def signing_member(engine: Engine, name: str, role: Role) -> str:
    owner, email = await engine.people.owner(), f"{name}@example.com"
    async with engine.db.read() as session:
        known = {m.email: m for m in await members.list_members(session, owner)}
    if email not in known:
        await engine.people.add_member(owner, email, name=name, role=role)
    else:
        await engine.people.change_member(owner, email, role=role, active=True)
    link = await engine.people.sign_in.make_password_link(owner, email)
    await engine.people.sign_in.set_password(link, PASSWORD)
    return email


@pytest.fixture
async def away(open_client: OpenClient) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser that is not on this machine."""
    async with open_client() as client:
        client.headers.update(AWAY)
        yield client


async def enter(client: httpx2.AsyncClient, email: str, **form: str) -> httpx2.Response:
    sent = {"email": email, "password": PASSWORD, "return_to": "/"} | form
    return await client.post("/sign-in", data=sent, headers=FORM)


async def csrf_of(client: httpx2.AsyncClient) -> str:
    page = await client.get("/account", headers=HTML)
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


async def login(client: httpx2.AsyncClient, email: str, password: str = PASSWORD):
    return await client.post("/api/v1/user/login", json={"email": email, "password": password})


async def bearer(client: httpx2.AsyncClient, email: str) -> dict[str, str]:
    token = (await login(client, email)).json()["access_token"]
    return {"authorization": f"Bearer {token}"}


async def as_admin(client: httpx2.AsyncClient, email: str) -> dict[str, str]:
    """What a program sends that has just confirmed who it acts for."""
    confirmed = await client.post(
        "/api/v1/user/step_up", json={"password": PASSWORD}, headers=await bearer(client, email)
    )
    return {"authorization": f"Bearer {confirmed.json()['access_token']}"}


async def test_a_browser_signs_in_where_it_was_going_and_out_again(away, ada: str) -> None:
    asked = await away.get("/?q=lodging+rate", headers=HTML)
    assert (asked.status_code, asked.headers["location"]) == (
        303,
        "/sign-in?return_to=/%3Fq%3Dlodging%2Brate",
    )
    page = await away.get(asked.headers["location"], headers=HTML)
    assert 'value="/?q=lodging+rate"' in page.text
    assert page.headers["referrer-policy"] == "same-origin"

    entered = await enter(away, ada, return_to="/?q=lodging+rate")
    assert (entered.status_code, entered.headers["location"]) == (303, "/?q=lodging+rate")
    front = await away.get("/", headers=HTML)
    assert 'href="/account">ada</a>' in front.text

    left = await away.post("/sign-out", data={"csrf": await csrf_of(away)}, headers=FORM)
    assert (left.status_code, left.headers["location"]) == (303, "/sign-in")
    assert (await away.get("/", headers=HTML)).status_code == 303


async def test_cookies_are_for_this_host_alone_and_out_of_reach_of_scripts(
    open_client: OpenClient, ada: str
) -> None:
    async with open_client(
        public_url="https://ask.example.com", base_url="https://ask.example.com"
    ) as client:
        sent = {"email": ada, "password": PASSWORD, "return_to": "/"}
        headers = HTML | {"origin": "https://ask.example.com"}
        entered = await client.post("/sign-in", data=sent, headers=headers)
        lines = [line.lower() for line in entered.headers.get_list("set-cookie")]
        assert [line.partition("=")[0] for line in lines] == [
            "__host-sj_session",
            "__host-sj_device",
        ]
        for line in lines:
            assert {"httponly", "secure", "samesite=lax", "path=/"} <= set(line.split("; "))
            assert "domain=" not in line
        assert (await client.get("/account", headers=HTML)).status_code == 200
        kept = client.cookies["__Host-sj_session"]
        client.cookies.clear()
        plain = await client.get("/account", headers=HTML | {"cookie": f"sj_session={kept}"})
        assert plain.status_code == 303


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https:evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "/%5cevil.example",
        "/%255cevil.example",
        "/%2f%2fevil.example",
        "/%2Fevil.example",
        "\\\\evil.example",
        "/\r\nlocation: //evil.example",
        "/%0d%0alocation:%20//evil.example",
        "javascript:alert(1)",
        " //evil.example",
        "/\t/evil.example",
        "",
    ],
)
async def test_a_sign_in_leads_to_no_other_site(away, ada: str, target: str) -> None:
    entered = await enter(away, ada, return_to=target)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    again = await away.get("/sign-in", params={"return_to": target}, headers=HTML)
    assert again.headers["location"] == "/"


async def test_a_planted_cookie_is_replaced_and_stays_nobody(away, ada: str) -> None:
    planted = "sj_session_" + "p" * 43
    away.cookies.set("sj_session", planted)
    assert (await away.get("/account", headers=HTML)).status_code == 303
    entered = await enter(away, ada)
    assert "sj_session=sj_session_" in entered.headers["set-cookie"]
    assert planted not in entered.headers["set-cookie"]
    away.cookies.clear()
    away.cookies.set("sj_session", planted)
    assert (await away.get("/account", headers=HTML)).status_code == 303


async def test_each_sign_in_has_a_new_cookie(away, ada: str) -> None:
    await enter(away, ada)
    first = away.cookies["sj_session"]
    await enter(away, ada)
    assert away.cookies["sj_session"] != first


async def test_a_wrong_sign_in_shows_the_form_again_and_says_nothing_of_the_account(
    away, ada: str
) -> None:
    pages = []
    for email in (ada, "nobody@example.com"):
        page = await enter(away, email, password='wrong"><script>')
        assert page.status_code == 401
        assert "set-cookie" not in page.headers
        assert "wrong" not in page.text
        pages.append(page.text.replace(email, "ADDRESS"))
    assert pages[0] == pages[1]
    assert "match an active account" in pages[0]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({}, 403),
        ({"origin": ORIGIN, "sec-fetch-site": "cross-site"}, 403),
        ({"origin": ORIGIN}, 403),
        ({"origin": ORIGIN, "x-csrf-token": "made.up.a.b"}, 403),
    ],
)
async def test_a_cookie_alone_changes_nothing(
    away, ada: str, headers: dict[str, str], status: int
) -> None:
    await enter(away, ada)
    for path, sent in (
        ("/sign-out", {"data": {"csrf": "x"}}),
        ("/account/password", {"data": {"csrf": ""}}),
        ("/api/v1/user/logout", {"json": {"everywhere": True}}),
        ("/ask", {"data": {"q": "lodging rate"}}),
        (
            "/api/v1/search",
            {"content": '{"query": "x"}', "headers": {"content-type": "text/plain"}},
        ),
    ):
        more = sent.pop("headers", {})
        answer = await away.post(path, headers=headers | more, **sent)
        assert answer.status_code == status, path
    assert (await away.get("/account", headers=HTML)).status_code == 200


async def test_our_own_page_asks_with_the_token_it_was_given(away, ada: str) -> None:
    await enter(away, ada)
    front = await away.get("/", headers=HTML)
    token = re.search(r'<meta name="csrf-token" content="([^"]+)">', front.text)[1]
    headers = {"origin": ORIGIN, "x-csrf-token": token, "accept": "text/event-stream"}
    answer = await away.post("/ask", data={"q": "lodging rate"}, headers=headers)
    assert (answer.status_code, "event: answered" in answer.text) == (200, True)
    first = token
    await enter(away, ada)
    stale = await away.post("/ask", data={"q": "x"}, headers=headers | {"x-csrf-token": first})
    assert stale.status_code == 403


async def test_a_program_signs_in_refreshes_and_signs_out(away, ada: str) -> None:
    entered = await login(away, ada.upper())
    body = entered.json()
    assert (entered.status_code, body["token_type"], body["expires_in"]) == (200, "Bearer", 600)
    assert "set-cookie" not in entered.headers
    assert entered.headers["cache-control"] == "no-store"
    headers = {"authorization": f"Bearer {body['access_token']}"}
    who = (await away.get("/api/v1/user", headers=headers)).json()
    assert (who["name"], who["role"], who["id"]) == ("ada", "member", body["user_id"])
    found = await away.post("/api/v1/search", json={"query": "lodging rate"}, headers=headers)
    assert found.status_code == 200

    renewed = await away.post("/api/v1/user/refresh", json={"refresh_token": body["refresh_token"]})
    headers = {"authorization": f"Bearer {renewed.json()['access_token']}"}
    listed = (await away.get("/api/v1/user/sessions", headers=headers)).json()["sessions"]
    assert [item["id"] for item in listed if item["current"]] == [body["session_id"]]

    ended = await away.post("/api/v1/user/logout", json={"everywhere": True}, headers=headers)
    assert ended.json()["ended"] == len(listed)
    for path in ("/api/v1/user", "/api/v1/status"):
        assert (await away.get(path, headers=headers)).status_code == 401
    again = await away.post(
        "/api/v1/user/refresh", json={"refresh_token": renewed.json()["refresh_token"]}
    )
    assert again.status_code == 401


async def test_a_wrong_login_is_one_problem_whatever_is_wrong(away, ada: str) -> None:
    answers = [await login(away, ada, "wrong"), await login(away, "nobody@example.com")]
    bodies = [answer.json() | {"correlation_id": ""} for answer in answers]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert bodies[0] == bodies[1]
    wrong = await away.post("/api/v1/user/login", json={"email": ada, "pass": PASSWORD})
    assert wrong.status_code == 422
    assert [item["field"] for item in wrong.json()["errors"]] == ["password", "pass"]
    assert PASSWORD not in wrong.text


async def test_many_guesses_are_told_when_to_try_again(away, engine: Engine) -> None:
    email = await signing_member(engine, "guessed", Role.MEMBER)
    statuses = [(await login(away, email, f"guess {n}")).status_code for n in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    refused = await login(away, email)
    assert 0 < int(refused.headers["retry-after"]) <= 60


async def test_a_session_acts_at_the_mcp_door_until_it_ends(away, ada: str) -> None:
    token = (await login(away, ada)).json()["access_token"]
    headers = {
        "authorization": f"Bearer {token}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2025-06-18",
    }
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    assert (await away.post("/mcp", json=call, headers=headers)).status_code == 200
    await away.post(
        "/api/v1/user/logout", json={}, headers={"authorization": headers["authorization"]}
    )
    assert (await away.post("/mcp", json=call, headers=headers)).status_code == 401


async def test_what_a_member_changes_in_their_account(away, ada: str) -> None:
    await enter(away, ada)
    other = (await login(away, ada)).json()["access_token"]
    sent = {"csrf": await csrf_of(away), "current_password": PASSWORD}
    refused = await away.post(
        "/account/password", data=sent | {"new_password": "short"}, headers=FORM
    )
    assert (refused.status_code, "too short" in refused.text) == (422, True)
    changed = await away.post(
        "/account/password", data=sent | {"new_password": OTHER_PASSWORD}, headers=FORM
    )
    assert (changed.status_code, "is changed" in changed.text) == (200, True)
    by_token = {"authorization": f"Bearer {other}"}
    assert (await away.get("/api/v1/user", headers=by_token)).status_code == 401
    assert (await away.get("/account", headers=HTML)).status_code == 200
    assert (await login(away, ada)).status_code == 401


async def test_a_password_link_is_opened_without_effect_and_used_once(away, engine: Engine) -> None:
    email = await signing_member(engine, "linked", Role.MEMBER)
    owner = await engine.people.owner()
    link = await engine.people.sign_in.make_password_link(owner, email)
    for _ in range(2):  # a program that looks into mail opens it first
        page = await away.get("/set-password", headers=HTML)
        assert (page.status_code, link in page.text) == (200, False)
    sent = {"link": link, "password": OTHER_PASSWORD}
    assert (await away.post("/set-password", data=sent, headers=FORM)).status_code == 200
    assert (await login(away, email, OTHER_PASSWORD)).status_code == 200
    assert (await away.post("/set-password", data=sent, headers=FORM)).status_code == 410


async def test_the_first_owner_is_welcomed_once(engine: Engine, away) -> None:
    owner = await engine.people.owner()
    link = await engine.people.sign_in.make_owner_link(owner)
    sent = {"link": link, "email": "boss@example.com", "name": "", "password": PASSWORD}
    entered = await away.post("/welcome", data=sent, headers=FORM)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert (await away.get("/account", headers=HTML)).status_code == 200
    assert (await away.post("/welcome", data=sent, headers=FORM)).status_code == 410
    assert (await login(away, "boss@example.com")).status_code == 200
    async with engine.db.write() as session:  # others that share the folder ask as an owner without
        unclaimed = {"email": None, "password_hash": None}
        await session.execute(update(User).where(User.id == owner.user_id).values(**unclaimed))


async def test_admins_manage_members_and_each_change_holds_at_once(away, engine: Engine) -> None:
    admin = await signing_member(engine, "anna", Role.ADMIN)
    worker = await signing_member(engine, "will", Role.CURATOR)
    by_admin = await as_admin(away, admin)
    by_worker = {"authorization": f"Bearer {(await login(away, worker)).json()['access_token']}"}

    listed = (await away.get("/api/v1/members", headers=by_admin)).json()["members"]
    assert {"anna", "will"} <= {member["name"] for member in listed}
    assert (await away.get("/api/v1/members", headers=by_worker)).status_code == 403

    changed = await away.patch(
        f"/api/v1/members/{worker}", json={"role": "guest"}, headers=by_admin
    )
    assert (changed.status_code, changed.json()["role"]) == (200, "guest")
    assert (await away.get("/api/v1/user", headers=by_worker)).json()["role"] == "guest"
    to_owner = await away.patch(
        f"/api/v1/members/{worker}", json={"role": "owner"}, headers=by_admin
    )
    assert to_owner.status_code == 403
    nothing = await away.patch(f"/api/v1/members/{worker}", json={}, headers=by_admin)
    assert nothing.status_code == 422
    unknown = await away.patch("/api/v1/members/x@y.z", json={"active": False}, headers=by_admin)
    assert unknown.status_code == 404

    off = await away.patch(f"/api/v1/members/{worker}", json={"active": False}, headers=by_admin)
    assert (off.status_code, off.json()["active"]) == (200, False)
    assert (await away.get("/api/v1/user", headers=by_worker)).status_code == 401
    assert (await login(away, worker)).status_code == 401

    gone = await away.delete(f"/api/v1/members/{worker}", headers=by_admin)
    assert gone.status_code == 200
    assert (await away.delete(f"/api/v1/members/{worker}", headers=by_admin)).status_code == 404


async def test_a_member_is_added_and_sets_a_password_by_a_link(away, engine: Engine) -> None:
    admin = await signing_member(engine, "anna", Role.ADMIN)
    by_admin = await as_admin(away, admin)
    added = await away.post(
        "/api/v1/members", json={"email": "New@Example.com", "name": "New"}, headers=by_admin
    )
    assert (added.status_code, added.json()["email"]) == (201, "new@example.com")
    twice = await away.post("/api/v1/members", json={"email": "new@example.com"}, headers=by_admin)
    assert twice.status_code == 409
    made = await away.post("/api/v1/members/new@example.com/password_link", headers=by_admin)
    path, _, secret = made.json()["url"].removeprefix(ORIGIN).partition("#")
    assert path == "/set-password"
    sent = {"link": secret, "password": OTHER_PASSWORD}
    assert (await away.post(path, data=sent, headers=FORM)).status_code == 200
    assert (await login(away, "new@example.com", OTHER_PASSWORD)).status_code == 200


async def test_the_address_of_a_proxy_is_not_that_of_a_guesser(engine: Engine) -> None:
    from starlette.requests import Request

    from api.cookies import client_of

    def seen(peer: str, forwarded: str) -> SignInClient:
        headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
        app = type("App", (), {"state": type("State", (), {"service": None})()})()
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [*headers, (b"host", b"127.0.0.1")],
            "client": (peer, 1),
            "scheme": "http",
            "app": app,
        }
        app.state.service = type("Service", (), {"settings": engine.settings})()
        return client_of(Request(scope))

    assert seen("10.0.0.2", "203.0.113.9, 198.51.100.7").address == "198.51.100.7"
    assert seen("127.0.0.1", "").address == "127.0.0.1"
    assert seen("127.0.0.1", "no address").address == "127.0.0.1"
    assert seen("9.9.9.9", "198.51.100.7").address == "9.9.9.9"


async def test_admin_verbs_take_a_session_that_was_just_confirmed(away, engine: Engine) -> None:
    admin = await signing_member(engine, "anna", Role.ADMIN)
    plain = await bearer(away, admin)
    secret, _ = await engine.people.create_token(
        await engine.people.owner(), "t", scopes=list(Scope)
    )
    body = {"email": "x@example.com"}
    for headers in (plain, {"authorization": f"Bearer {secret}"}):
        refused = await away.post("/api/v1/members", json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")
    wrong = await away.post("/api/v1/user/step_up", json={"password": "x"}, headers=plain)
    assert wrong.status_code == 401
    confirmed = await away.post("/api/v1/user/step_up", json={"password": PASSWORD}, headers=plain)
    headers = {"authorization": f"Bearer {confirmed.json()['access_token']}"}
    assert (await away.post("/api/v1/members", json=body, headers=headers)).status_code == 201
    # A token that was copied before the confirmation is as good as before, and no better.
    still = await away.post("/api/v1/members", json=body, headers=plain)
    assert still.json()["code"] == "step_up_required"
    removed = await away.delete("/api/v1/members/x@example.com", headers=headers)
    assert removed.status_code == 200


async def test_a_browser_confirms_and_gets_another_cookie(away, engine: Engine) -> None:
    await enter(away, await signing_member(engine, "anna", Role.ADMIN))
    before, csrf = away.cookies["sj_session"], await csrf_of(away)
    sent = {"csrf": csrf, "password": PASSWORD, "return_to": "/account"}
    refused = await away.post("/account/confirm", data=sent | {"password": "x"}, headers=FORM)
    assert refused.status_code == 401
    confirmed = await away.post("/account/confirm", data=sent, headers=FORM)
    assert (confirmed.status_code, confirmed.headers["location"]) == (303, "/account")
    assert away.cookies["sj_session"] != before
    headers = {"origin": ORIGIN, "x-csrf-token": csrf}
    done = await away.post("/api/v1/members", json={"email": "y@example.com"}, headers=headers)
    assert done.status_code == 201
    await away.delete("/api/v1/members/y@example.com", headers=headers)
    away.cookies.clear()
    away.cookies.set("sj_session", before)
    assert (await away.get("/account", headers=HTML)).status_code == 303


async def test_an_authenticator_app_is_set_up_in_the_browser_and_then_asked_for(
    away, engine: Engine
) -> None:
    email = await signing_member(engine, "tara", Role.MEMBER)
    await enter(away, email)
    csrf = await csrf_of(away)
    needs = await away.post("/account/app", data={"csrf": csrf}, headers=FORM)
    assert needs.headers["location"] == "/account/confirm"
    sent = {"csrf": csrf, "password": PASSWORD}
    await away.post("/account/confirm", data=sent, headers=FORM)
    page = await away.post("/account/app", data={"csrf": csrf}, headers=FORM)
    secret = base64.b32decode(re.search(r"<code>([A-Z2-7]{32})</code>", page.text)[1])
    step = int(clock.now().timestamp()) // 30
    sent = {"csrf": csrf, "code": totp(secret, step)}
    shown = await away.post("/account/app/confirm", data=sent, headers=FORM)
    codes = re.search(r"<code>([a-z0-9\n]+)</code>", shown.text)[1].split()
    assert len(codes) == 10

    without = await login(away, email)
    assert (without.status_code, without.json()["code"]) == (401, "code_required")
    again = {"email": email, "password": PASSWORD, "code": totp(secret, step)}
    assert (await away.post("/api/v1/user/login", json=again)).status_code == 401
    with_code = again | {"code": codes[0]}
    entered = await away.post("/api/v1/user/login", json=with_code)
    assert entered.status_code == 200
    assert (await away.post("/api/v1/user/login", json=with_code)).status_code == 401


async def test_groups_and_grants_open_and_close_a_knowledge_base_at_once(
    away, engine: Engine
) -> None:
    """Invite, assign a role, share with a group, revoke: each holds at the next request."""
    admin = await signing_member(engine, "anna", Role.ADMIN)
    reader = await signing_member(engine, "rita", Role.CURATOR)
    by_admin, by_reader = await as_admin(away, admin), await bearer(away, reader)
    query = {"query": "salary chief gardener"}

    async def titles() -> list[str]:
        found = await away.post("/api/v1/search", json=query, headers=by_reader)
        return [hit["title"] for hit in found.json()["hits"]]

    async def add_one() -> int:
        sent = {"data": {"kb": "board"}, "files": {"file": ("a.md", b"# A\n\nText.\n")}}
        return (await away.post("/api/v1/documents", headers=by_reader, **sent)).status_code

    assert "Salaries" not in await titles()
    grants = "/api/v1/knowledge_bases/board/grants"
    assert (await away.get(grants, headers=by_reader)).status_code == 404
    made = await away.post("/api/v1/groups", json={"name": "board"}, headers=by_admin)
    assert made.status_code == 201
    put = await away.put(f"{grants}/group:board", json={"level": "read"}, headers=by_admin)
    assert (put.status_code, put.json()["level"]) == (200, "read")
    assert "Salaries" not in await titles()
    member = f"/api/v1/groups/board/members/{reader}"
    await away.put(member, headers=by_admin)
    assert "Salaries" in await titles()
    assert await add_one() == 403
    assert (await away.get(grants, headers=by_reader)).status_code == 403

    await away.put(f"{grants}/group:board", json={"level": "write"}, headers=by_admin)
    assert await add_one() == 202
    await away.put(f"{grants}/group:board", json={"level": "manage"}, headers=by_admin)
    listed = (await away.get(grants, headers=by_reader)).json()["grants"]
    assert {"token": made.json()["token"], "level": "manage", "name": "group board"} in listed
    beyond = await away.put(f"{grants}/user:{OUTSIDER}", json={}, headers=by_reader)
    assert beyond.status_code == 422

    await away.delete(member, headers=by_admin)
    assert "Salaries" not in await titles()
    assert await add_one() == 404
    await away.put(f"{grants}/user:{reader}", json={}, headers=by_admin)
    assert "Salaries" in await titles()
    await away.delete(f"{grants}/user:{reader}", headers=by_admin)
    assert "Salaries" not in await titles()
    assert (await away.delete("/api/v1/groups/board", headers=by_admin)).status_code == 200


async def test_a_token_is_made_narrowed_and_revoked_over_the_api(away, engine: Engine) -> None:
    by_member = await bearer(away, await signing_member(engine, "ada", Role.MEMBER))
    body = {"name": "reports", "scopes": ["kb:read"], "knowledge_bases": ["team"]}
    made = await away.post("/api/v1/tokens", json=body, headers=by_member)
    token = made.json()["token"]
    assert (made.status_code, len(made.json()["kb_ids"])) == (201, 1)
    by_token = {"authorization": f"Bearer {token}"}
    listed = await away.get("/api/v1/knowledge_bases", headers=by_token)
    assert [kb["name"] for kb in listed.json()["knowledge_bases"]] == ["team"]
    assert token not in (await away.get("/api/v1/tokens", headers=by_member)).text
    unknown = await away.post(
        "/api/v1/tokens", json=body | {"knowledge_bases": ["board"]}, headers=by_member
    )
    assert unknown.status_code == 404
    beyond = await away.post(
        "/api/v1/tokens", json=body | {"scopes": ["kb:admin"]}, headers=by_member
    )
    assert beyond.status_code == 403
    again = await away.post("/api/v1/tokens", json=body, headers=by_token)
    assert again.status_code == 403
    in_query = await away.get(f"/api/v1/user?key={token}")
    assert in_query.status_code == 401
    ended = await away.delete(f"/api/v1/tokens/{made.json()['id']}", headers=by_member)
    assert ended.status_code == 200
    assert (await away.get("/api/v1/user", headers=by_token)).status_code == 401
