"""Addresses of ours lead where their ids lead, for whoever may read that, and for nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.places import NewWorkspace
from engine.documents.adding import NewDocument
from engine.domain import Principal
from engine.engine import Engine
from engine.errors import InvalidInput, NotFound
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.fakes.chats import say, ts
from tests.fakes.homes import fill, home_settings, make_member_token

PAGE = "https://docs.example.com/guide?x=1"


@pytest.fixture
async def engine(tmp_path: Path):
    settings = home_settings(tmp_path / "home")
    await fill(settings)
    async with open_engine(settings) as opened:
        yield opened


async def hit_of(engine: Engine, principal: Principal, query: str):
    return (await engine.search.find(principal, query, limit=1)).hits[0]


async def test_every_address_of_a_document_leads_to_it(engine: Engine) -> None:
    owner = await engine.people.owner()
    hit = await hit_of(engine, owner, "lodging rate")
    signed = engine.search.sign_link(owner, hit.id)
    by_id = await engine.search.fetch(owner, hit.id)
    for address in (
        f"http://127.0.0.1:7337/v/{signed}",
        f"https://kb.example.com/base/v/{signed}?quote=1-2#passage",
        f" http://127.0.0.1:7337/v/{signed} ",
    ):
        assert await engine.search.fetch(owner, address) == by_id
    whole = await engine.search.fetch(owner, hit.document_id)
    assert await engine.search.fetch(owner, f"kb://team/documents/{hit.document_id}") == whole
    later = await engine.search.fetch(owner, f"kb://team/documents/{hit.document_id}~3")
    assert later.start == 3


async def test_a_link_made_for_another_opens_what_its_reader_may_read(engine: Engine) -> None:
    owner = await engine.people.owner()
    member = await engine.people.authenticate(await make_member_token(engine))
    shared = await hit_of(engine, owner, "lodging rate")
    secret = await hit_of(engine, owner, "salary of the chief gardener")
    link = "http://127.0.0.1:7337/v/"
    opened = await engine.search.fetch(member, link + engine.search.sign_link(owner, shared.id))
    assert opened.title == "Hotels"
    for address in (
        link + engine.search.sign_link(owner, secret.id),
        f"kb://board/documents/{secret.document_id}",
        f"kb://team/documents/{secret.document_id}",
        f"kb://team/documents/{'0' * 32}",
        "kb://team",
        "kb:///documents/",
        "https://nowhere.example.com/page",
        "http://[broken/v/x",
        f"{link}not-signed",
        f"{link}a.b.c.d",
    ):
        with pytest.raises(NotFound):
            await engine.search.fetch(member, address)


async def test_absent_and_forbidden_addresses_look_the_same(engine: Engine) -> None:
    owner = await engine.people.owner()
    member = await engine.people.authenticate(await make_member_token(engine))
    secret = await hit_of(engine, owner, "salary of the chief gardener")
    said = []
    for id_ in (secret.document_id, "0" * 32):
        with pytest.raises(NotFound) as refused:
            await engine.search.fetch(member, f"kb://board/documents/{id_}")
        said.append(str(refused.value).replace(id_, "ID"))
    assert said[0] == said[1]


async def test_a_web_page_is_read_by_its_own_address(engine: Engine) -> None:
    owner = await engine.people.owner()
    member = await engine.people.authenticate(await make_member_token(engine))
    for kb, url in (("team", PAGE), ("board", "https://secret.example.com/")):
        new = NewDocument(
            data=b"# Guide\n\nTurn left.\n", filename="g.md", url=url, external_id=url
        )
        await engine.documents.add(owner, kb, new)
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    for address in (PAGE, "https://DOCS.example.com:443/guide?x=1#left"):
        assert (await engine.search.fetch(member, address)).text.startswith("# Guide")
    assert (await engine.search.fetch(owner, "https://secret.example.com")).text
    with pytest.raises(NotFound):
        await engine.search.fetch(member, "https://secret.example.com/")


async def test_a_message_is_read_by_its_permalink(engine: Engine) -> None:
    owner = await engine.people.owner()
    team = await engine.knowledge_bases.get(owner, "team")
    workspace = NewWorkspace("slack", "T1", "Acme", imported=True, url="https://acme.slack.com")
    place = await engine.chats.history.begin_import(
        owner, workspace, [NewPerson("U1", "Ada", is_full_member=True)]
    )
    channel = NewChannel("C1", "general", is_public=True)
    await engine.chats.history.import_channel(owner, place, team.id, channel, ["U1"])
    said = [say(0, "The zebra budget is 40 million rupees.")]
    await engine.chats.history.import_messages(place, "C1", said)
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    owner = await engine.people.owner()
    member = await engine.people.authenticate(await make_member_token(engine))
    url = f"https://acme.slack.com/archives/C1/p{ts(0).replace('.', '')}"
    page = await engine.search.fetch(owner, f"{url}?thread_ts=1.2&cid=C1")
    assert "zebra budget" in page.text
    assert page.highlight is not None
    for wrong in (url.replace("C1", "C2"), url[:-1] + "9"):
        with pytest.raises(NotFound):
            await engine.search.fetch(owner, wrong)
    if member.tokens.isdisjoint(owner.tokens - member.tokens):
        with pytest.raises(NotFound):
            await engine.search.fetch(member, url)


async def test_pages_lead_back_as_well_as_on(engine: Engine) -> None:
    owner = await engine.people.owner()
    text = "# Long\n\n" + "\n\n".join(f"Paragraph {n} of the story." for n in range(3000))
    added = await engine.documents.add(owner, "team", NewDocument(data=text.encode()))
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    page = await engine.search.fetch(owner, added.document_id)
    assert page.prev_id == ""
    starts = [page.start]
    while page.next_id:
        page = await engine.search.fetch(owner, page.next_id)
        starts.append(page.start)
    back = [page.start]
    while page.prev_id:
        earlier = await engine.search.fetch(owner, page.prev_id)
        assert earlier.start < page.start <= earlier.end  # nothing in between is left out
        page = earlier
        back.append(page.start)
    assert len(starts) > 3
    assert back[-1] == 0
    assert len(back) <= len(starts) + 1


async def test_what_is_too_long_for_an_address_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput):
        await engine.search.fetch(await engine.people.owner(), "x" * 4_001)
