"""A web site as a source: crawled, by sitemap, as a feed; robots, canonical pages, traps, 304."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.errors import InvalidInput
from engine.sources import sweeping
from tests.fakes.installations import parse_inline
from tests.fakes.sources import FakeSite, SourceInstallation, open_site, open_sources

LONG = "Everything about the garden and how it is kept in order through all of the seasons. " * 4


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    async with open_site() as site:
        site.page("/docs/", "Start", f"Welcome. {LONG}", "/docs/a", "/docs/b", "/other/x")
        site.page("/docs/a", "Apples", f"Apples are red. {LONG}", "/docs/c#part", "b")
        site.page("/docs/b", "Pears", f"Pears are green. {LONG}")
        site.page("/docs/c", "Plums", f"Plums are blue. {LONG}", "https://elsewhere.example/")
        site.page("/other/x", "Other", f"Not below the prefix. {LONG}")
        yield site


@pytest.fixture
async def notes(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SourceInstallation]:
    from ingestion.connectors.web import WebConnector

    parse_inline(monkeypatch)
    monkeypatch.setattr(WebConnector, "rate_per_s", 0.0)
    async with open_sources(home) as opened:
        yield opened


async def test_pages_below_the_start_are_found_by_their_links(notes, site):
    info = await notes.connect("web", url=f"{site.url}/docs/")
    assert info.last_run.state == "ok", info
    assert await notes.titles() == ["Apples", "Pears", "Plums", "Start"]
    assert "/other/x" not in site.paths()


async def test_an_unchanged_page_is_asked_for_with_what_is_known_of_it(notes, site):
    for path, (status, headers, body) in list(site.pages.items()):
        site.pages[path] = (status, {**headers, "etag": f'"{path}"'}, body)
    await notes.connect("web", url=f"{site.url}/docs/")
    site.asked.clear()
    info = await notes.sync("web")
    asked = {path: headers.get("if-none-match") for path, headers in site.asked}
    assert asked["/docs/c"] == '"/docs/c"'
    assert info.last_run.counts["unchanged"] == 4
    assert await notes.titles() == ["Apples", "Pears", "Plums", "Start"]


async def test_headers_that_move_are_no_change(notes, site):
    await notes.connect("web", url=f"{site.url}/docs/")
    for path, (status, headers, body) in list(site.pages.items()):
        site.pages[path] = (status, {**headers, "last-modified": "now"}, body)
    info = await notes.sync("web")
    assert info.last_run.counts.get("changed", 0) == 0


async def test_a_page_is_gone_once_it_was_missing_for_an_hour(notes, site, monkeypatch):
    await notes.connect("web", url=f"{site.url}/docs/")
    del site.pages["/docs/b"]
    await notes.sync("web")
    assert "Pears" in await notes.titles()
    now = sweeping.clock.now
    from datetime import timedelta

    monkeypatch.setattr("engine.sources.sweeping.clock", _Later(now() + timedelta(hours=2)))
    await notes.sync("web")
    assert await notes.titles() == ["Apples", "Plums", "Start"]


class _Later:
    def __init__(self, at) -> None:
        self._at = at

    def now(self):
        return self._at


async def test_what_robots_txt_disallows_is_left_out_with_the_reason(notes, site):
    site.put("/robots.txt", "User-agent: *\nDisallow: /docs/a\n", content_type="text/plain")
    await notes.connect("web", url=f"{site.url}/docs/")
    assert await notes.titles() == ["Pears", "Start"]
    [left] = await notes.engine.sources.why(notes.owner, "web")
    assert (left.id, left.reason) == (
        f"{site.url}/docs/a",
        "The site's robots.txt doesn't allow it.",
    )


async def test_each_host_is_asked_for_its_own_robots_txt(notes, site):
    async with open_site() as other:
        other.put("/robots.txt", "User-agent: *\nDisallow: /docs/kept\n", content_type="text/plain")
        other.page("/docs/kept", "Kept", f"Kept to itself. {LONG}")
        other.page("/docs/open", "Open", f"Open to all. {LONG}")
        site.page("/docs/", "Start", LONG, f"{other.url}/docs/kept", f"{other.url}/docs/open")
        await notes.connect("web", url=f"{site.url}/docs/", hosts=[other.url.partition("//")[2]])
        assert await notes.titles() == ["Open", "Start"]
        assert "/docs/kept" not in other.paths()
        [left] = await notes.engine.sources.why(notes.owner, "web")
        assert left.id == f"{other.url}/docs/kept"


async def test_a_start_page_that_robots_txt_disallows_is_not_connected(notes, site):
    site.put("/robots.txt", "User-agent: *\nDisallow: /\n", content_type="text/plain")
    with pytest.raises(InvalidInput, match=r"robots\.txt"):
        await notes.connect("web", url=f"{site.url}/docs/")


async def test_an_error_page_or_login_in_place_of_the_site_removes_nothing(notes, site):
    await notes.connect("web", url=f"{site.url}/docs/")
    kept = dict(site.pages)
    for body, status in (
        ("<form><input type=password name=p></form>", 200),
        ("down", 500),
        ("", 200),
    ):
        for path in kept:
            site.put(path, body, status=status)
        await notes.engine.sources.sync(notes.owner, "web")
        async with notes.working():
            pass
        assert await notes.titles() == ["Apples", "Pears", "Plums", "Start"], (body, status)
        await notes.engine.sources.pause(notes.owner, "web")
        await notes.engine.sources.resume(notes.owner, "web")


async def test_one_page_with_several_addresses_is_one_document(notes, site):
    head = '<link rel="canonical" href="/docs/a">'
    site.page("/docs/print-a", "Apples", f"Apples, to print. {LONG}", head=head)
    site.page("/docs/copy", "Pears", f"Pears are green. {LONG}")
    site.page(
        "/docs/", "Start", LONG, "/docs/print-a", "/docs/a?utm_source=x", "/docs/b", "/docs/copy"
    )
    await notes.connect("web", url=f"{site.url}/docs/")
    assert await notes.titles() == ["Apples", "Pears", "Plums", "Start"]
    [left] = await notes.engine.sources.why(notes.owner, "web")
    assert "same text" in left.reason


async def test_a_canonical_address_that_is_not_there_costs_no_page(notes, site):
    head = '<link rel="canonical" href="/docs/nowhere">'
    site.page("/docs/b", "Pears", f"Pears are green. {LONG}", head=head)
    await notes.connect("web", url=f"{site.url}/docs/")
    assert "Pears" in await notes.titles()


async def test_noindex_is_a_deletion_and_traps_are_left_out(notes, site):
    head = '<meta name="robots" content="noindex">'
    site.page("/docs/b", "Pears", f"Pears are green. {LONG}", head=head)
    site.page("/docs/c", "Plums", f"Plums are blue. {LONG}", "/docs/x/x/x/x/x")
    site.page("/docs/x/x/x/x/x", "Trap", LONG)
    await notes.connect("web", url=f"{site.url}/docs/")
    assert await notes.titles() == ["Apples", "Plums", "Start"]
    [left] = await notes.engine.sources.why(notes.owner, "web")
    assert "repeats" in left.reason


async def test_a_redirect_to_another_host_is_not_followed(notes, site):
    site.put("/docs/b", "", status=302, location="http://169.254.169.254/latest/meta-data")
    await notes.connect("web", url=f"{site.url}/docs/")
    assert await notes.titles() == ["Apples", "Plums", "Start"]
    [left] = await notes.engine.sources.why(notes.owner, "web")
    assert "169.254.169.254" in left.reason


async def test_a_sitemap_names_the_pages_packed_or_not(notes, site):
    inner = "".join(f"<url><loc>{site.url}/docs/{x}</loc></url>" for x in "abc")
    packed = gzip.compress(
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{inner}</urlset>'.encode()
    )
    site.put("/maps/1.xml.gz", packed, content_type="application/gzip")
    index = f"<sitemapindex><sitemap><loc>{site.url}/maps/1.xml.gz</loc></sitemap></sitemapindex>"
    site.put("/sitemap.xml", index, content_type="application/xml")
    info = await notes.connect("web", url=f"{site.url}/sitemap.xml")
    assert info.last_run.state == "ok"
    assert await notes.titles() == ["Apples", "Pears", "Plums"]


async def test_a_bomb_in_place_of_a_sitemap_is_refused(notes, site):
    site.put("/sitemap.xml", gzip.compress(b" " * (60 * 2**20)), content_type="application/gzip")
    info = await notes.connect("web", url=f"{site.url}/sitemap.xml", mode="sitemap")
    assert info.last_run.state == "failed"
    assert "bytes" in info.scopes[0].error
    entities = '<!DOCTYPE x [<!ENTITY a "aaaa">]><urlset><url><loc>&a;</loc></url></urlset>'
    site.put("/sitemap.xml", entities, content_type="application/xml")
    info = await notes.sync("web")
    assert "document type" in info.scopes[0].error


RSS = """<rss version="2.0"><channel><title>News</title>
<item><title>First &amp; last</title><link>{url}/n/1</link><guid>one</guid>
<pubDate>Mon, 02 Nov 2026 08:00:00 +0100</pubDate><description>The first news.</description></item>
<item><title>Second</title><link>{url}/n/2</link><description>The second news.</description></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>
<entry><title>Third</title><id>tag:three</id><link href="{url}/n/3"/>
<updated>2026-11-03T08:00:00Z</updated>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">The <b>third</b> news.</div>
</content></entry></feed>"""


async def test_entries_of_a_feed_are_kept_when_the_feed_goes_on(notes, site):
    site.put("/feed", RSS.format(url=site.url), content_type="application/rss+xml")
    info = await notes.connect("web", url=f"{site.url}/feed")
    assert (info.last_run.state, await notes.titles()) == ("ok", ["First & last", "Second"])
    site.put("/feed", ATOM.format(url=site.url), content_type="application/atom+xml")
    info = await notes.sync("web")
    assert info.last_run.state == "ok"
    assert await notes.titles() == ["First & last", "Second", "Third"]
    page = await notes.engine.documents.page(notes.owner, "notes")
    [first] = [one for one in page.documents if one.title.startswith("First")]
    assert first.url == f"{site.url}/n/1"


async def test_a_site_in_the_private_network_is_not_crawled(home, monkeypatch, site):
    parse_inline(monkeypatch)
    async with open_sources(home, {"processing.allow_private_urls": False}) as notes:
        with pytest.raises(InvalidInput, match="private or reserved"):
            await notes.connect("web", url=f"{site.url}/docs/")


async def test_more_pages_than_wanted_are_said(notes, site):
    info = await notes.connect("web", url=f"{site.url}/docs/", max_pages=2)
    assert info.last_run.state == "partial"
    assert "max_pages" in info.scopes[0].error
