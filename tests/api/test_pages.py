"""The pages: they ask without a script, escape everything and show what was cited."""

from __future__ import annotations

import re
from html import unescape

from api.prose import Mark, render_prose
from engine.engine import Engine
from engine.search.links import path_of


async def test_the_front_page_answers_without_a_script(client) -> None:
    page = await client.get("/", params={"q": "How many hours of advanced sick leave?"})
    link = unescape(re.findall(r'href="([^"]*/d/[^"]*)"', page.text)[0])
    opened = await client.get(link)
    assert page.status_code == 200
    assert "240 hours" in page.text
    assert '<mark class="quote">' in opened.text or 'class="quote">' in opened.text
    assert opened.headers["x-robots-tag"] == "noindex, nofollow"


async def test_the_form_streams_html_of_our_own(client) -> None:
    question = {"q": "How many hours of advanced sick leave?"}
    answer = await client.post("/ask", data=question, headers={"origin": "http://127.0.0.1:7337"})
    assert "event: conversation\n" in answer.text
    assert "event: searching\n" in answer.text
    assert "event: answered\n" in answer.text
    assert "cite-1" in answer.text


async def test_pages_hold_no_inline_script_or_style_and_forbid_both(client) -> None:
    page = await client.get("/", params={"q": '"><script>alert(1)</script>'})
    policy = page.headers["content-security-policy"]
    assert "<script>alert" not in page.text
    assert "style=" not in page.text
    assert re.findall(r"<script(?! src=)", page.text) == []
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_a_documents_html_is_shown_as_text(client, engine: Engine) -> None:
    found = await engine.search.find(await engine.people.owner(), "lodging rate", kb="team")
    page = await client.get(path_of(found.hits[0].id))
    assert "&lt;b&gt;Always.&lt;/b&gt;" in page.text
    assert "<em>" in page.text


async def test_a_link_that_is_not_ours_opens_nothing(client, engine: Engine) -> None:
    owner = await engine.people.owner()
    signed = engine.search.sign_link(owner, "0" * 32)
    forged = signed[:-2] + ("AA" if signed[-2:] != "AA" else "BB")
    browser = {"accept": "text/html"}
    absent = await client.get(f"/v/{signed}", headers=browser)
    wrong = await client.get(f"/v/{forged}", headers=browser)
    assert absent.status_code == 404
    assert wrong.status_code == 410
    assert "text/html" in wrong.headers["content-type"]


async def test_a_long_document_is_turned_page_by_page(client, engine: Engine) -> None:
    import asyncio

    from engine.documents.adding import NewDocument
    from ingestion.host import run_worker

    owner = await engine.people.owner()
    text = "# Long\n\n" + "\n\n".join(f"Paragraph {n} of the long story." for n in range(2000))
    added = await engine.documents.add(
        owner, "team", NewDocument(data=text.encode(), filename="l.md")
    )
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    seen = ""
    link = path_of(added.document_id)
    for _ in range(10):
        page = (await client.get(link)).text
        seen += page
        following = re.search(r'href="([^"]*)" rel="next"', page)
        if following is None:
            break
        link = unescape(following[1])
    found = await engine.search.find(owner, "Paragraph 1234 of the long story", mode="keyword")
    passage = await engine.search.fetch(owner, found.hits[0].id)
    await engine.documents.delete(owner, added.document_id)
    assert passage.start > 0
    assert passage.text.startswith("Paragraph ")  # not amid a sentence
    missing = [n for n in range(2000) if f"Paragraph {n} of" not in seen]
    assert missing == []
    assert (await client.get(link)).status_code == 404


async def test_the_state_and_static_files_are_served(client) -> None:
    state = await client.get("/state")
    style = await client.get("/static/app.css")
    again = await client.get("/static/app.css", headers={"if-none-match": style.headers["etag"]})
    assert "team" in state.text
    assert style.headers["content-type"].startswith("text/css")
    assert again.status_code == 304
    assert (await client.get("/static/front.html")).status_code == 404


def test_marks_lie_where_the_source_says() -> None:
    text = "# Title\n\nOne *two* three.\n\n- four\n"
    start = text.index("two")
    html = render_prose(text, marks=[Mark(9, len(text)), Mark(start, start + 3, "quote")])
    assert html == (
        '<h2>Title</h2><p><mark id="passage" tabindex="-1">One </mark>'
        '<em><mark class="quote">two</mark></em><mark> three.</mark></p>'
        '<ul><li class="d0"><mark>four</mark></li></ul>'
    )


def test_prose_neither_loads_nor_links_anything() -> None:
    html = render_prose(
        "![x](http://e/x.png) [go](javascript:alert(1)) <img src=x onerror=y> [2]\n\n"
        '```\n</code></pre><script>\n```\n\n| "a" | <b> |\n|---|---|\n',
        refs={1},
    )
    assert "<img" not in html
    assert "href" not in html
    assert "<script" not in html
    assert "[2]" in html
