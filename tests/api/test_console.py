"""The console's pages: a team's work by forms alone, and nothing for who may not."""

from __future__ import annotations

import asyncio
import re
from html import unescape

import httpx2
import pytest

from engine.domain import Role
from engine.engine import Engine
from ingestion.host import run_worker
from tests.api.test_sign_in import (
    FORM,
    HTML,
    PASSWORD,
    away,
    csrf_of,
    enter,
    full_buckets,
    signing_member,
)

__all__ = ["away", "full_buckets"]  # fixtures

PAGES = ("/console", "/console/people", "/console/tokens", "/console/activity", "/console/insight")


async def new_kb(client: httpx2.AsyncClient, name: str, **sent: str) -> str:
    """The path of a knowledge base made by the form."""
    made = await client.post("/console/knowledge", data={"name": name} | sent, headers=FORM)
    assert made.status_code == 303, made.text
    return made.headers["location"]


async def ingested(engine: Engine) -> None:
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)


def link_to(page: str, title: str) -> str:
    """Where a link with this text leads."""
    found = re.search(rf'href="([^"]+)">{re.escape(title)}</a>', page)
    assert found is not None, page
    return unescape(found[1])


async def test_files_are_added_judged_and_deleted_without_a_script(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    kb = await new_kb(client, "Greenhouse", description="Plants and pots")
    files = [
        (
            "file",
            ("watering.md", b"# Watering\n\nThe ferns get water every third day.", "text/markdown"),
        ),
        ("file", ("broken.pdf", b"%PDF-1.7 nothing more", "application/pdf")),
    ]
    sent = await client.post(f"{kb}/files", files=files, headers=FORM)
    assert sent.headers["location"] == kb
    told = await client.get(kb, headers=HTML)
    assert "2 documents on the way." in told.text
    assert "on the way." not in (await client.get(kb, headers=HTML)).text  # said once
    await ingested(engine)

    page = (await client.get(kb, headers=HTML)).text
    assert "damaged" in page
    failed = (await client.get(f"{kb}?state=failed", headers=HTML)).text
    assert "broken.pdf" in failed
    assert "Watering" not in failed

    tested = (await client.get(f"{kb}/test?q=how+often+do+ferns+get+water", headers=HTML)).text
    assert "every third day" in tested
    assert 'class="number"' in tested

    document = link_to(page, "Watering")
    shown = (await client.get(document, headers=HTML)).text
    assert "every third day" in shown
    await client.post(document, data={"do": "hide"}, headers=FORM)
    hidden = (await client.get(f"{kb}/test?q=how+often+do+ferns+get+water", headers=HTML)).text
    assert "every third day" not in hidden
    await client.post(document, data={"do": "unhide"}, headers=FORM)
    gone = await client.post(document, data={"do": "delete"}, headers=FORM)
    assert gone.headers["location"] == kb
    assert (await client.get(document, headers=HTML)).status_code == 404


async def test_one_of_many_that_fails_is_told_and_the_others_are_done(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    kb = await new_kb(client, "Cellar")
    files = [
        ("file", ("a.md", b"# Shelf\n\nThe jars stand on the shelf.", "text/markdown")),
        ("file", ("b.pdf", b"%PDF-1.7 nothing", "application/pdf")),
    ]
    await client.post(f"{kb}/files", files=files, headers=FORM)
    await ingested(engine)
    page = (await client.get(kb, headers=HTML)).text
    ids = re.findall(r'name="id" value="([^"]+)"', page)
    await client.post(f"{kb}/documents", data={"id": ids, "do": "retry"}, headers=FORM)
    told = (await client.get(kb, headers=HTML)).text
    assert "1 document queued again. 1 not:" in told
    assert "only failed or cancelled documents" in unescape(told)


async def test_a_hidden_passage_is_for_those_alone_who_may_show_it_again(
    client: httpx2.AsyncClient, away: httpx2.AsyncClient, engine: Engine
) -> None:
    kb = await new_kb(client, "Attic")
    text = b"# Boxes\n\nThe winter coats are in the blue box."
    await client.post(f"{kb}/files", files=[("file", ("b.md", text))], headers=FORM)
    await ingested(engine)
    document = link_to((await client.get(kb, headers=HTML)).text, "Boxes")
    page = (await client.get(document, headers=HTML)).text
    passage = re.findall(r'name="passage" value="([^"]+)"', page)[0]
    await client.post(document, data={"passage": passage, "do": "hide"}, headers=FORM)
    assert "blue box" in (await client.get(document, headers=HTML)).text

    await enter(away, await signing_member(engine, "reader", Role.MEMBER))
    seen = await away.get(document, headers=HTML)
    assert seen.status_code == 200
    assert "blue box" not in seen.text
    assert "Hide" not in seen.text


async def test_who_may_not_is_offered_nothing_and_refused(
    client: httpx2.AsyncClient, away: httpx2.AsyncClient, engine: Engine
) -> None:
    private = await new_kb(client, "Payroll", **{"for": "me"})
    assert (await client.get(f"{private}/test?q=pay", headers=HTML)).status_code == 200
    await enter(away, await signing_member(engine, "member", Role.MEMBER))
    page = (await away.get("/console", headers=HTML)).text
    assert "Payroll" not in page
    assert "/console/people" not in page
    assert "New knowledge base" not in page
    for path in (private, f"{private}/test?q=pay", f"{private}/settings"):
        assert (await away.get(path, headers=HTML)).status_code == 404, path
    assert (await away.get("/console/people", headers=HTML)).status_code == 403
    csrf = await csrf_of(away)
    for path, sent in (
        (f"{private}/files", {}),
        (f"{private}/delete", {"name": "Payroll"}),
        (f"{private}/grants", {"do": "grant", "to": "everyone", "level": "read"}),
        ("/console/knowledge", {"name": "Mine"}),
        ("/console/people", {"email": "x@example.com", "role": "member"}),
    ):
        refused = await away.post(path, data=sent | {"csrf": csrf}, headers=FORM)
        assert refused.status_code in {403, 404, 415}, path


async def test_a_form_of_a_signed_in_browser_needs_what_only_our_pages_know(
    away: httpx2.AsyncClient, engine: Engine
) -> None:
    await enter(away, await signing_member(engine, "curator", Role.CURATOR))
    made = {"name": "Bees"}
    assert (await away.post("/console/knowledge", data=made, headers=FORM)).status_code == 403
    no_origin = await away.post("/console/knowledge", data=made, headers=HTML)
    assert no_origin.status_code == 403
    csrf = await csrf_of(away)
    done = await away.post("/console/knowledge", data=made | {"csrf": csrf}, headers=FORM)
    assert done.status_code == 303
    files = [("file", ("hive.md", b"# Hive\n\nThe hive is behind the shed."))]
    kb = done.headers["location"]
    assert (await away.post(f"{kb}/files", files=files, headers=FORM)).status_code == 403
    script = FORM | {"accept": "application/json"}
    by_script = await away.post(f"{kb}/files", files=files, headers=script)
    assert by_script.headers["content-type"] == "application/problem+json"
    sent = await away.post(f"{kb}/files", data={"csrf": csrf}, files=files, headers=FORM)
    assert sent.status_code == 303


async def test_what_is_dangerous_asks_first_who_is_there(
    away: httpx2.AsyncClient, engine: Engine
) -> None:
    await enter(away, await signing_member(engine, "admin", Role.ADMIN))
    csrf = await csrf_of(away)
    person = {"email": "newcomer@console.example", "role": "member", "csrf": csrf}
    asked = await away.post("/console/people", data=person, headers=FORM)
    assert asked.headers["location"].startswith("/account/confirm?return_to=/console/people")
    confirm = {"csrf": csrf, "password": PASSWORD, "return_to": "/console/people"}
    back = await away.post("/account/confirm", data=confirm, headers=FORM)
    assert back.headers["location"] == "/console/people"
    person["csrf"] = await csrf_of(away)
    added = await away.post("/console/people", data=person, headers=FORM)
    assert added.status_code == 200
    assert "/set-password#" in added.text
    assert "newcomer@console.example" in (await away.get("/console/people", headers=HTML)).text


async def test_a_tokens_secret_is_shown_once(client: httpx2.AsyncClient) -> None:
    made = await client.post(
        "/console/tokens", data={"name": "editor", "scope": ["kb:read"], "days": "7"}, headers=FORM
    )
    [secret] = re.findall(r"<code>(sj_[^<]+)</code></pre>", made.text)
    listed = (await client.get("/console/tokens", headers=HTML)).text
    assert secret not in listed
    assert "editor" in listed
    wrong = await client.post("/console/tokens", data={"name": "x", "days": "many"}, headers=FORM)
    assert wrong.status_code == 422
    ended = await client.post(re.findall(r"/console/tokens/\w+", listed)[0], headers=FORM)
    assert ended.status_code == 303


async def test_settings_are_changed_granted_and_refused_in_words(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    kb = await new_kb(client, "Workshop")
    saved = await client.post(
        f"{kb}/search", data={"alpha": "0.4", "rerank": "false"}, headers=FORM
    )
    assert saved.status_code == 303
    known = await engine.knowledge_bases.get(await engine.people.owner(), "Workshop")
    assert known.search == {"alpha": 0.4, "rerank": False}
    wrong = await client.post(f"{kb}/search", data={"alpha": "7"}, headers=FORM)
    assert wrong.status_code == 422
    assert "alpha" in wrong.text
    await client.post(f"{kb}/grants", data={"do": "revoke", "to": "tenant"}, headers=FORM)
    assert "Only its owner" in (await client.get(f"{kb}/settings", headers=HTML)).text
    assert "Workshop" in (await client.get("/console", headers=HTML)).text
    assert "may not read it" in (await client.get(kb, headers=HTML)).text
    kept = await client.post(f"{kb}/delete", data={"name": "workshop?"}, headers=FORM)
    assert kept.status_code == 422
    gone = await client.post(f"{kb}/delete", data={"name": "Workshop"}, headers=FORM)
    assert gone.headers["location"] == "/console"
    assert (await client.get(kb, headers=HTML)).status_code == 404


async def test_groups_are_made_filled_and_deleted(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    await signing_member(engine, "grace", Role.MEMBER)
    for sent in (
        {"do": "create", "group": "Gardeners"},
        {"do": "add", "group": "Gardeners", "member": "grace@example.com"},
    ):
        done = await client.post("/console/groups", data=sent, headers=FORM)
        assert done.status_code == 303, done.text
    page = (await client.get("/console/people", headers=HTML)).text
    assert "Gardeners" in page
    assert "1 member<" in page
    await client.post("/console/groups", data={"do": "delete", "group": "Gardeners"}, headers=FORM)
    assert 'value="Gardeners"' not in (await client.get("/console/people", headers=HTML)).text


@pytest.mark.parametrize("name", ['<script>alert("x")</script>', "a'\"><img src=x>"])
async def test_what_people_call_things_is_text(client: httpx2.AsyncClient, name: str) -> None:
    kb = await new_kb(client, name)
    for path in (kb, f"{kb}/settings", f"{kb}/test?q={name}", "/console"):
        page = (await client.get(path, headers=HTML)).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "style=" not in page


@pytest.mark.parametrize("path", PAGES)
async def test_pages_hold_no_inline_script_and_every_field_has_a_name(
    client: httpx2.AsyncClient, path: str
) -> None:
    page = (await client.get(path, headers=HTML)).text
    assert re.findall(r"<script(?! src=)", page) == []
    assert "style=" not in page
    assert re.findall(r" on[a-z]+=", page) == []
    labelled = set(re.findall(r'<label[^>]* for="([^"]+)"', page))
    fields = set(re.findall(r'<(?:input|select)[^>]* id="([^"]+)"', page))
    assert fields <= labelled


async def test_a_page_of_what_is_absent_or_odd_says_so(client: httpx2.AsyncClient) -> None:
    for path in (
        "/console/knowledge/nothing",
        "/console/documents/nothing",
        "/console/documents/%00",
    ):
        page = await client.get(path, headers=HTML)
        assert page.status_code == (400 if "%00" in path else 404), path
        assert "text/html" in page.headers["content-type"]
