"""A web site: its pages from a start address on, a sitemap's, or the entries of a feed.

The crawl is a breadth-first walk whose frontier is the cursor, so that a killed step is repeated
and no page is lost. Pages are asked for with what the server said of them last time; a page's
version is a hash of its text, since many servers change their headers with every answer. Only the
hosts of the settings are asked, and what their robots.txt keeps for itself is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit, urlunsplit

import anyio.to_thread
from pydantic import Field

from engine.errors import Unavailable
from engine.net.login_pages import asks_for_login
from engine.sources.contract import (
    Change,
    Connector,
    Finding,
    KindSettings,
    LeftOut,
    Offers,
    Put,
    ScopeRef,
    SourceContext,
    SourceRefused,
    Step,
)
from engine.sources.http import SourceAnswer, host_of
from ingestion.connectors import web_pages
from ingestion.connectors.web_pages import DEPTH_MAX, UnreadableMarkup, WebPage

PAGES_A_STEP = 10
USER_AGENT = "Scrubjay"
LEFT_OUT_MAX = 200  # pages that are left out, kept with their reason
_PAGES = {"text/html", "application/xhtml+xml"}
_FILES = {
    "application/pdf": ".pdf",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}


class WebSettings(KindSettings):
    """What a source of the kind `web` takes."""

    url: str = Field(max_length=2000, description="The address to start at.")
    mode: Literal["auto", "crawl", "sitemap", "feed"] = Field(
        default="auto",
        description="How pages are found: by links, from a sitemap, or as the entries of an RSS or "
        "Atom feed. auto: by what is at the address.",
    )
    prefix: str = Field(
        default="",
        description="Only pages whose path begins so. Empty: the start address's folder.",
    )
    hosts: list[str] = Field(
        default_factory=list, description="Other hosts to read besides that of the address."
    )
    max_pages: int = Field(default=1_000, ge=1, le=5_000, description="Most pages to take.")
    articles: bool = Field(
        default=False, description="Of a feed: fetch each entry's page in place of its text."
    )
    obey_robots: bool = Field(default=True, description="Leave out what robots.txt disallows.")


@dataclass(slots=True)
class _Crawl:
    """The frontier: addresses to go to with their depth, and those that are known."""

    todo: list[tuple[str, int, str]]  # address, depth, the address that named it canonical
    seen: set[str]
    texts: dict[str, str]  # digests of texts taken, and where
    rules: dict[str, str]  # the robots.txt of each site, by its address
    taken: int = 0
    left: int = 0
    delay_s: float = 0.0
    changes: list[Change] = field(default_factory=list)

    @classmethod
    def load(cls, cursor: Mapping[str, Any]) -> _Crawl:
        return cls(
            todo=[(str(u), int(d), str(a)) for u, d, a in cursor["todo"]],
            seen=set(cursor["seen"]),
            texts=dict(cursor["texts"]),
            rules=dict(cursor.get("rules", {})),
            taken=cursor["taken"],
            left=cursor["left"],
            delay_s=cursor["delay_s"],
        )

    def dump(self) -> dict[str, Any]:
        return {
            "mode": "crawl",
            "todo": self.todo,
            "seen": sorted(self.seen),
            "texts": self.texts,
            "rules": self.rules,
            "taken": self.taken,
            "left": self.left,
            "delay_s": self.delay_s,
        }

    def go_to(self, url: str, depth: int, alias: str = "") -> None:
        key = _key(url)
        if key not in self.seen:
            self.seen.add(key)
            self.todo.append((url, depth, alias))

    def leave_out(self, url: str, reason: str, title: str = "") -> None:
        self.left += 1
        if self.left <= LEFT_OUT_MAX:
            self.changes.append(LeftOut(url, reason, title, url))


class WebConnector(Connector[WebSettings]):
    """Pages of a site; an item is a page, its id the canonical address."""

    kind: ClassVar[str] = "web"
    title: ClassVar[str] = "Web site, sitemap or feed"
    offers: ClassVar[Offers] = Offers(absence_after_s=3_600.0, every_s=86_400)
    rate_per_s: ClassVar[float] = 2.0
    settings = WebSettings

    async def check(self, ctx: SourceContext[WebSettings]) -> list[Finding]:
        """Whether the address answers, may be read, and holds text."""
        mode, answer = await _begin(ctx)
        if mode != "crawl":
            return [Finding("reachable", f"{ctx.settings.url} is a {mode} that can be read.")]
        robots = await _robots(ctx, answer.url)
        if ctx.settings.obey_robots and not _may(robots, answer.url):
            said = f"The robots.txt of {host_of(answer.url)} doesn't allow this page to be read."
            return [Finding("robots", said, ok=False, field="url")]
        page = await anyio.to_thread.run_sync(web_pages.read_page, answer.data, answer.url)
        if page.needs_scripts:
            said = "The page is drawn by scripts, which are not run: its text can't be read."
            return [Finding("scripts", said, ok=False, field="url")]
        return [Finding("reachable", f"“{page.title or answer.url}” has {len(page.links)} links.")]

    async def scopes(self, ctx: SourceContext[WebSettings]) -> list[ScopeRef]:
        """The site."""
        return [ScopeRef("site", ctx.settings.url, "site")]

    async def listing(
        self,
        ctx: SourceContext[WebSettings],
        scope: ScopeRef,  # noqa: ARG002 (the contract's)
        cursor: Mapping[str, Any],
    ) -> Step:
        """Some pages."""
        if cursor.get("mode") == "sitemap":
            return await _sitemaps(ctx, cursor)
        if cursor.get("mode") == "crawl":
            return await _crawl(ctx, _Crawl.load(cursor))
        mode, answer = await _begin(ctx)
        if mode == "feed":
            return await _feed(ctx, answer)
        crawl = _Crawl([], set(), {}, {})
        await _rules(ctx, crawl, answer.url)
        if mode == "sitemap":
            start = web_pages.normal_url(answer.url)
            return Step([], {**crawl.dump(), "mode": "sitemap", "maps": [start]}, more=True)
        crawl.go_to(web_pages.normal_url(answer.url) or ctx.settings.url, 0)
        return Step([], crawl.dump(), more=True)


async def _begin(ctx: SourceContext[WebSettings]) -> tuple[str, SourceAnswer]:
    answer = await ctx.http.get(
        ctx.settings.url, hosts=_hosts(ctx.settings), max_bytes=ctx.max_bytes
    )
    if answer.status != 200:
        raise SourceRefused(
            f"{host_of(ctx.settings.url)} answered {answer.status} at {ctx.settings.url}: check the"
            " address. Nothing was removed."
        )
    if asks_for_login(ctx.settings.url, answer.url, answer.mime, answer.data):
        raise SourceRefused(f"{ctx.settings.url} asks for a login: nothing was removed.")
    if ctx.settings.mode != "auto":
        return ctx.settings.mode, answer
    if web_pages.is_feed(answer.data):
        return "feed", answer
    return ("sitemap" if web_pages.is_sitemap(answer.data) else "crawl"), answer


def _hosts(settings: WebSettings) -> list[str]:
    return [host_of(settings.url), *(host.lower() for host in settings.hosts)]


def _prefix(settings: WebSettings) -> str:
    return settings.prefix or urlsplit(settings.url).path.rpartition("/")[0] + "/"


def _is_within(settings: WebSettings, url: str) -> bool:
    return host_of(url) in _hosts(settings) and urlsplit(url).path.startswith(_prefix(settings))


async def _robots(ctx: SourceContext[WebSettings], url: str) -> str:
    """The robots.txt; what can't be asked for disallows everything, and the step is tried again."""
    where = urlunsplit((*urlsplit(url)[:2], "/robots.txt", "", ""))
    answer = await ctx.http.get(where, hosts=_hosts(ctx.settings), max_bytes=2**20)
    if answer.status != 200:
        return ""
    return str(answer.data[: 512 * 1024].decode("utf-8", "replace"))


async def _rules(ctx: SourceContext[WebSettings], crawl: _Crawl, url: str) -> str:
    """The robots.txt of the site of a page, asked for once a look; the slowest pace is kept to."""
    parts = urlsplit(url)
    site = f"{parts.scheme}://{parts.netloc}"
    if site not in crawl.rules:
        crawl.rules[site] = await _robots(ctx, url)
        crawl.delay_s = max(crawl.delay_s, _delay(crawl.rules[site]))
    return crawl.rules[site]


def _may(robots: str, url: str) -> bool:
    from protego import Protego  # noqa: PLC0415 (only for those that have a web source)

    return bool(Protego.parse(robots).can_fetch(url, USER_AGENT))


def _delay(robots: str) -> float:
    from protego import Protego  # noqa: PLC0415

    return min(float(Protego.parse(robots).crawl_delay(USER_AGENT) or 0.0), 60.0)


async def _sitemaps(ctx: SourceContext[WebSettings], cursor: Mapping[str, Any]) -> Step:
    """One sitemap: its pages join the frontier, the sitemaps that it names are next."""
    crawl = _Crawl.load(cursor)
    maps = list(cursor["maps"])
    where = maps.pop(0)
    answer = await ctx.http.get(
        where, hosts=_hosts(ctx.settings), max_bytes=web_pages.SITEMAP_BYTES
    )
    if answer.status != 200:
        raise SourceRefused(f"The sitemap {where} answered {answer.status}: nothing was removed.")
    try:
        pages, more = await anyio.to_thread.run_sync(web_pages.read_sitemap, answer.data)
    except UnreadableMarkup as fault:
        raise SourceRefused(f"The sitemap {where} can't be read: {fault}") from None
    for url, _ in pages:
        if host_of(url) in _hosts(ctx.settings):
            crawl.go_to(url, DEPTH_MAX)
    read = {str(one) for one in cursor.get("read", ())} | {where}
    maps += [one for one in more if one not in read and one not in maps]
    if maps:
        state = {**crawl.dump(), "mode": "sitemap", "maps": maps, "read": sorted(read)}
        return Step([], state, more=True)
    return Step([], crawl.dump(), more=bool(crawl.todo))


async def _crawl(ctx: SourceContext[WebSettings], crawl: _Crawl) -> Step:
    """Some pages of the frontier; what can't be reached now makes the listing incomplete."""
    missed = ""
    for _ in range(1 if crawl.delay_s else PAGES_A_STEP):
        if not crawl.todo or crawl.taken >= ctx.settings.max_pages:
            break
        url, depth, alias = crawl.todo[0]
        try:
            await _visit(ctx, crawl, url, depth, alias)
        except Unavailable as fault:
            missed = f"{url}: {fault}"
        crawl.todo.pop(0)
    more = bool(crawl.todo) and crawl.taken < ctx.settings.max_pages
    if crawl.todo and not more:
        missed = missed or f"There are more than {ctx.settings.max_pages:,} pages: set max_pages."
    return Step(
        crawl.changes,
        crawl.dump() if more else {},
        more=more,
        complete=not missed,
        note=missed,
        pause_s=crawl.delay_s if more else 0.0,
    )


async def _visit(
    ctx: SourceContext[WebSettings], crawl: _Crawl, url: str, depth: int, alias: str
) -> None:
    settings = ctx.settings
    if web_pages.is_trap(url):
        crawl.leave_out(url, "Its path repeats itself, as that of endlessly many pages.")
        return
    known = (await ctx.known([url])).get(url)
    headers = {} if known is None else _conditions(known.details)
    try:
        if settings.obey_robots and not _may(await _rules(ctx, crawl, url), url):
            crawl.leave_out(url, "The site's robots.txt doesn't allow it.")
            return
        answer = await ctx.http.get(
            url, hosts=_hosts(settings), headers=headers, max_bytes=ctx.max_bytes
        )
    except SourceRefused as refusal:
        if refusal.login:
            crawl.leave_out(url, "The page asks for a login.")
        else:
            crawl.leave_out(url, str(refusal))
        return
    if answer.status == 304 and known is not None:
        for link in known.details.get("_links", ()):
            _follow(crawl, settings, link, depth)
        digest = known.version.partition(":")[2] or known.version
        crawl.texts.setdefault(digest, url)
        crawl.taken += 1
        crawl.changes.append(Put(url, known.version, url=url, details=known.details))
        return
    if answer.status != 200:
        if alias:  # the page that named it canonical is itself to be taken
            crawl.todo.append((alias, depth, alias))
        elif answer.status not in {404, 410}:
            crawl.leave_out(url, f"The site answered {answer.status}.")
        return
    await _take(crawl, settings, url, depth, alias, answer)


def _conditions(details: Mapping[str, Any]) -> dict[str, str]:
    named = {"If-None-Match": "_etag", "If-Modified-Since": "_modified"}
    return {header: str(details[key]) for header, key in named.items() if details.get(key)}


async def _take(
    crawl: _Crawl, settings: WebSettings, url: str, depth: int, alias: str, answer: SourceAnswer
) -> None:
    at = web_pages.normal_url(answer.url)
    if at != url:  # a redirect: the page is where it led, once
        if not at or (_key(at) in crawl.seen and at != alias):
            return
        crawl.seen.add(_key(at))
    if asks_for_login(url, answer.url, answer.mime, answer.data):
        crawl.leave_out(at, "The page asks for a login.")
    elif answer.mime in _FILES:
        _take_file(crawl, at, answer)
    elif answer.mime in _PAGES:  # not pictures, styles and what else a page is made of
        await _take_page(crawl, settings, at, depth, alias, answer)


async def _take_page(
    crawl: _Crawl, settings: WebSettings, at: str, depth: int, alias: str, answer: SourceAnswer
) -> None:
    page = await anyio.to_thread.run_sync(web_pages.read_page, answer.data, at)
    links = [] if page.is_nofollow else [x for x in page.links if _is_within(settings, x)]
    for link in links:
        _follow(crawl, settings, link, depth)
    if _goes_by_another(crawl, settings, page, at, depth, alias) or page.is_noindex:
        return
    if page.needs_scripts:
        crawl.leave_out(at, "It is drawn by scripts, which are not run.", page.title)
        return
    if (other := crawl.texts.get(page.digest)) not in {None, at}:
        crawl.leave_out(at, f"It has the same text as {other}.", page.title)
        return
    crawl.texts[page.digest] = at
    crawl.taken += 1
    details = _validators(answer) | {"_links": links[:200]}
    crawl.changes.append(
        Put(
            at,
            page.digest,
            title=page.title or at,
            url=at,
            filename="page.html",
            size_bytes=len(answer.data),
            body=answer.data,
            details=details,
        )
    )


def _goes_by_another(
    crawl: _Crawl, settings: WebSettings, page: WebPage, at: str, depth: int, alias: str
) -> bool:
    """Whether a page names another of its site as the one to be taken, which then is gone to."""
    other = page.canonical
    if not other or other == at or alias or host_of(other) not in _hosts(settings):
        return False
    if _key(other) not in crawl.seen:
        crawl.go_to(other, depth, at)
    return True


def _take_file(crawl: _Crawl, at: str, answer: SourceAnswer) -> None:
    digest = hashlib.sha256(answer.data).hexdigest()[:32]
    name = urlsplit(at).path.rpartition("/")[2]
    suffix = _FILES[answer.mime]
    crawl.taken += 1
    crawl.changes.append(
        Put(
            at,
            digest,
            title=name or at,
            url=at,
            filename=name if name.lower().endswith(suffix) else f"{name or 'file'}{suffix}",
            size_bytes=len(answer.data),
            body=answer.data,
            details=_validators(answer),
        )
    )


def _validators(answer: SourceAnswer) -> dict[str, Any]:
    named = {"_etag": "etag", "_modified": "last-modified"}
    return {
        key: answer.headers[header][:500]
        for key, header in named.items()
        if answer.headers.get(header)
    }


def _follow(crawl: _Crawl, settings: WebSettings, link: str, depth: int) -> None:
    if depth < DEPTH_MAX and _is_within(settings, link):
        crawl.go_to(link, depth + 1)


async def _feed(ctx: SourceContext[WebSettings], answer: SourceAnswer) -> Step:
    """The entries of a feed. Those that it no longer names are older, not deleted."""
    try:
        entries = await anyio.to_thread.run_sync(web_pages.read_feed, answer.data, answer.url)
    except UnreadableMarkup as fault:
        raise SourceRefused(f"The feed can't be read: {fault} Nothing was removed.") from None
    changes: list[Change] = []
    for entry in entries[: ctx.settings.max_pages]:
        body = web_pages.entry_page(entry)
        if ctx.settings.articles and entry.url and host_of(entry.url) in _hosts(ctx.settings):
            article = await ctx.http.get(
                entry.url, hosts=_hosts(ctx.settings), max_bytes=ctx.max_bytes
            )
            if article.status == 200 and article.mime in _PAGES:
                body = article.data
        changes.append(
            Put(
                entry.id,
                hashlib.sha256(body).hexdigest()[:32],
                title=entry.title or entry.url or entry.id,
                url=entry.url,
                filename="entry.html",
                size_bytes=len(body),
                updated_at=entry.updated_at,
                body=body,
            )
        )
    return Step(changes, {}, more=False, is_window=True)


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]
