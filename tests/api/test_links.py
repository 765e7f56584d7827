"""Addresses and links: who opens what, and what a thief gets."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import select

from engine import clock
from engine.db.tables import Live
from engine.documents.adding import NewDocument
from engine.domain import Principal, Role, Scope
from engine.engine import Engine
from engine.search.links import path_of
from tests.api.test_sign_in import PASSWORD, signing_member

READS = [Scope.KB_READ, Scope.KB_ASK]
BROWSER = {"accept": "text/html"}
PERSON = BROWSER | {"sec-fetch-user": "?1", "sec-fetch-mode": "navigate"}


@pytest.fixture
async def owner(engine: Engine) -> Principal:
    return await engine.people.owner()


@pytest.fixture
async def passage(engine: Engine, owner: Principal) -> str:
    """The id of a passage that has no web address."""
    found = await engine.search.find(owner, "How many hours of sick leave?", kb="team")
    assert found.hits[0].url == ""
    return found.hits[0].id


async def token_of(engine: Engine, owner: Principal, name: str = "t", **more: object) -> str:
    secret, _ = await engine.people.create_token(owner, name, scopes=READS, **more)  # type: ignore[arg-type]
    return secret


async def link_of(client: httpx2.AsyncClient, secret: str) -> str:
    """The URL in a search result of a token."""
    found = await client.post(
        "/api/v1/search",
        json={"query": "How many hours of sick leave?"},
        headers={"authorization": f"Bearer {secret}"},
    )
    return str(found.json()["hits"][0]["url"])


def another(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Another browser of the same server."""
    return httpx2.AsyncClient(transport=client._transport, base_url=client.base_url)


async def test_an_address_is_the_same_each_time_and_opens_for_who_may_read(
    client, open_client, engine, owner, passage
) -> None:
    path = path_of(passage)
    opened = await client.get(path, headers=BROWSER)  # the local owner, without a key
    assert opened.status_code == 200
    assert "240 hours" in opened.text
    first, second = [
        (await client.post("/api/v1/search", json={"query": "sick leave hours"})).json()
        for _ in range(2)
    ]
    assert [hit["url"] for hit in first["hits"]] == [hit["url"] for hit in second["hits"]]
    async with open_client(public_url="https://kb.example", base_url="https://kb.example") as far:
        secret = await token_of(engine, owner)
        signed_in = {"authorization": f"Bearer {secret}"}
        assert "240 hours" in (await far.get(path, headers=signed_in)).text


async def test_nobody_who_is_not_known_opens_an_address_and_the_sign_in_leads_back(
    open_client, passage
) -> None:
    async with open_client(public_url="https://kb.example", base_url="https://kb.example") as far:
        for path in (path_of(passage), path_of(f"{'0' * 31}1"), "/d/nothing/such"):
            sent = await far.get(path, headers=BROWSER)
            assert (sent.status_code, sent.headers["location"]) == (
                303,
                f"/sign-in?return_to={path}",
            )
            bare = await far.get(path)
            assert bare.status_code == 401
            assert "240 hours" not in sent.text + bare.text


async def test_who_can_sign_in_is_given_addresses_and_opens_them_signed_in(
    open_client, engine, owner, passage
) -> None:
    email = await signing_member(engine, "cleo", Role.MEMBER)
    secret = await token_of(engine, await engine.people.act_as(owner, email), "of cleo")
    async with open_client(public_url="https://kb.example", base_url="https://kb.example") as far:
        url = await link_of(far, secret)
        assert url == f"https://kb.example{path_of(passage)}"
        sent = await far.get(url, headers=BROWSER)
        form = {"email": email, "password": PASSWORD, "return_to": path_of(passage)}
        headers = BROWSER | {"origin": "https://kb.example"}
        entered = await far.post("/sign-in", data=form, headers=headers)
        assert sent.headers["location"].endswith(path_of(passage))
        assert entered.headers["location"] == path_of(passage)
        assert "240 hours" in (await far.get(url, headers=BROWSER)).text
        await engine.people.change_member(owner, email, active=False)
        assert (await far.get(url, headers=BROWSER)).status_code == 303
    await engine.people.change_member(owner, email, active=True)


async def test_absent_forbidden_and_another_tenants_look_the_same(client, engine, owner) -> None:
    from ingestion.host import run_worker

    tenant = await engine.people.create_tenant(owner, "others")
    theirs = await engine.people._principal(tenant.id, owner.user_id or "")
    await engine.knowledge_bases.create(theirs, "theirs")
    theirs = await engine.people._principal(tenant.id, owner.user_id or "")
    member = await engine.people.add_member(owner, "bea@example.org")
    new = NewDocument(data=b"# Closed\n\nNot for the owner.", filename="closed.md")
    added = [
        await engine.documents.add(theirs, "theirs", new),
        await engine.documents.add(owner, "team", replace(new, acl=[f"u:{member.user_id}"])),
    ]
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    ids = [item.document_id for item in added]
    async with engine.db.read() as session:
        rows = (await session.execute(select(Live.document_id, Live.revision_id))).all()
        revisions = {document_id: revision_id for document_id, revision_id in rows}  # noqa: C416
    for shape in ("{}", "{}.0", "{}~0"):
        absent = await client.get(path_of(shape.format("0" * 31 + "1")), headers=BROWSER)
        assert absent.status_code == 404
        for id_ in ids:
            closed = revisions[id_] if "." in shape else id_
            answer = await client.get(path_of(shape.format(closed)), headers=BROWSER)
            assert answer.status_code == 404
            assert without_ids(answer.text) == without_ids(absent.text)
    await engine.people.delete_tenant(owner, "others")  # other files share this home


def without_ids(page: str) -> str:
    """A page without what names the request."""
    return re.sub(r"[0-9a-f]{8,32}", "…", page)


@pytest.mark.parametrize(
    "path",
    ["/d/abc/../../secret.key", "/d/%2e%2e%2fsecret.key", "/d/a/%2e%2e/%2e%2e", "/d/a/b", "/d/a/1%00", "/d/a/1?at=x", "/d/a/1;x", "/d/a%2f1", "/d/", "/d/é"],
)  # fmt: skip
async def test_no_odd_path_leads_anywhere(client, path) -> None:
    answer = await client.get(path, headers=BROWSER)
    assert answer.status_code in {400, 404, 422}


async def test_a_document_is_stored_nowhere_on_the_way_and_sends_no_referrer(
    client, engine, owner, passage
) -> None:
    secret = await token_of(engine, owner)
    signed = engine.search.sign_link(await engine.people.authenticate(secret), passage)
    for path in (path_of(passage), f"/v/{signed}"):
        answer = await client.get(path, headers=BROWSER)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "private, no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert answer.headers["vary"] == "Authorization, Cookie"


async def test_a_revision_that_was_replaced_says_so_and_shows_the_present_one(
    client, engine, owner
) -> None:
    from ingestion.host import run_worker

    async def put(text: str) -> str:
        new = NewDocument(data=text.encode(), filename="tide.md", external_id="tide.md")
        added = await engine.documents.add(owner, "team", new)
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)
        found = await engine.search.find(owner, "when is the tide", mode="keyword")
        assert added.document_id in {hit.document_id for hit in found.hits}
        return next(hit.id for hit in found.hits if hit.document_id == added.document_id)

    cited = await put("# Tide\n\nThe tide is at noon.")
    await put("# Tide\n\nThe tide is at midnight.")
    page = (await client.get(path_of(cited), headers=BROWSER)).text
    assert "has changed since it was cited" in page
    assert "midnight" in page
    assert "at noon" not in page
    whole = (await client.get(path_of(cited.partition(".")[0]), headers=BROWSER)).text
    assert "midnight" in whole


# Where nobody can sign in


async def test_a_tokens_link_opens_for_one_browser_and_dies_with_the_token(
    open_client, engine, owner
) -> None:
    async with open_client(public_url="https://kb.example", base_url="https://kb.example") as far:
        secret = await token_of(engine, owner, "short")
        url = await link_of(far, secret)
        assert url.startswith("https://kb.example/v/")
        assert url == await link_of(far, secret)  # the same for a while
        opened = await far.get(url, headers=PERSON)
        assert opened.status_code == 200
        assert "240 hours" in opened.text
        cookie = opened.headers["set-cookie"]
        for part in ("__Host-sj_reader=", "HttpOnly", "Secure", "SameSite=lax", "Path=/"):
            assert part.lower() in cookie.lower()
        assert (await far.get(url, headers=PERSON)).status_code == 200  # again, here
        async with another(far) as thief:
            for headers in (PERSON, BROWSER, {}):
                replayed = await thief.get(url, headers=headers)
                assert replayed.status_code == 410
                assert "240 hours" not in replayed.text
        [info] = [t for t in await engine.people.list_tokens(owner) if t.name == "short"]
        await engine.people.revoke_token(owner, info.id)
        ended = await far.get(url, headers=PERSON)
    assert ended.status_code == 410
    assert "ask again" in ended.text


async def test_a_link_ends_with_the_time_of_its_token_and_with_its_own(
    open_client, engine, owner, passage, monkeypatch
) -> None:
    secret = await token_of(engine, owner, "soon", expires_in=timedelta(minutes=5))
    lasting = await token_of(engine, owner, "later")
    async with open_client(public_url="https://kb.example", base_url="https://kb.example") as far:
        urls = [await link_of(far, secret), await link_of(far, lasting)]
        now = clock.now
        monkeypatch.setattr(clock, "now", lambda: now() + timedelta(minutes=6))
        assert [(await far.get(url)).status_code for url in urls] == [410, 200]
        monkeypatch.setattr(clock, "now", lambda: now() + timedelta(minutes=61))
        assert [(await far.get(url)).status_code for url in urls] == [410, 410]


async def test_a_link_reads_no_more_than_its_token_may(open_client, engine, owner, passage) -> None:
    secret, _ = await engine.people.create_token(owner, "asks", scopes=[Scope.OPS_READ])
    signed = engine.search.sign_link(await engine.people.authenticate(secret), passage)
    async with open_client(public_url="https://kb.example", base_url="https://kb.example") as far:
        refused = await far.get(f"/v/{signed}", headers=BROWSER)
    assert refused.status_code == 403
    assert "240 hours" not in refused.text


async def test_a_preview_uses_no_link_up_and_a_person_takes_it_from_a_program(
    open_client, engine, owner
) -> None:
    async with open_client(public_url="https://kb.example", base_url="https://kb.example") as far:
        url = await link_of(far, await token_of(engine, owner))
        assert (await far.head(url)).status_code == 204
        assert (await far.get(url, headers={"sec-purpose": "prefetch"})).status_code == 204
        async with another(far) as scanner, another(far) as second:
            assert (await scanner.get(url)).status_code == 200
            assert (await second.get(url)).status_code == 410
            assert (await far.get(url, headers=PERSON)).status_code == 200
            assert (await scanner.get(url)).status_code == 410
            assert (await second.get(url, headers=PERSON)).status_code == 410


async def test_links_of_before_and_forged_ones_end_politely(client, engine) -> None:
    old = engine.secrets.sign("viewer-links", "t:u:" + "0" * 32, expires_at=clock.now())
    for signed in (old, "x", "t1.2.3.4", "a" * 300, "%01", "é"):
        page = await client.get(f"/v/{signed}", headers=BROWSER)
        assert page.status_code == 410
        assert "This link has ended" in page.text
        assert "ask again" in page.text
        bare = await client.get(f"/v/{signed}")
        assert (bare.status_code, bare.json()["code"]) == (410, "link_ended")
