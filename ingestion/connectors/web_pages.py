"""What a page, a sitemap and a feed say: links, canonical address, text, entries. Pure.

Documents come from strangers: nothing is looked up while reading, entities are not expanded, a
document type is refused where markup is XML, and sizes are bounded before anything is parsed.
"""

from __future__ import annotations

import email.utils
import hashlib
import html
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from lxml import etree
from lxml import html as lxml_html

URL_MAX = 2000
LINKS_MAX = 500
DEPTH_MAX = 12
REPEATS_MAX = 3  # of one path segment
SITEMAP_BYTES, SITEMAP_URLS = 50 * 2**20, 50_000  # sitemaps.org, of one file
TEXT_LEAST = 200  # characters of a page that is not drawn by scripts alone
TRACKING = re.compile(r"(?:utm_\w+|fbclid|gclid|mc_cid|mc_eid|msclkid|yclid|_ga)")
_UNSEEN = ("script", "style", "noscript", "template")


class UnreadableMarkup(ValueError):
    """It is no sitemap or feed that can be read; the text says why."""


@dataclass(frozen=True, slots=True)
class WebPage:
    """What a page says of itself. `digest` changes with its text, and with nothing else."""

    title: str
    digest: str
    canonical: str
    links: Sequence[str]
    is_noindex: bool
    is_nofollow: bool
    needs_scripts: bool


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """An entry of a feed."""

    id: str
    url: str
    title: str
    content: str  # HTML
    updated_at: datetime | None


def read_page(data: bytes, url: str) -> WebPage:
    """A page; what can't be parsed is a page without anything."""
    try:
        tree = lxml_html.document_fromstring(data, parser=lxml_html.HTMLParser(no_network=True))
    except (etree.ParserError, ValueError):
        tree = lxml_html.document_fromstring("<html></html>")
    has_scripts = next(tree.iter("script"), None) is not None
    base = next((node.get("href") for node in tree.iter("base") if node.get("href")), "")
    root = urljoin(url, base)
    robots = " ".join(
        (node.get("content") or "").lower()
        for node in tree.iter("meta")
        if (node.get("name") or "").lower() in {"robots", "scrubjay"}
    )
    canonical = next(
        (
            node.get("href") or ""
            for node in tree.iter("link")
            if "canonical" in (node.get("rel") or "").lower().split()
        ),
        "",
    )
    links = [
        normal_url(urljoin(root, (node.get("href") or "").strip()))
        for node in tree.iter("a")
        if "nofollow" not in (node.get("rel") or "").lower().split()
    ]
    title = next((" ".join(node.text_content().split()) for node in tree.iter("title")), "")
    for node in list(tree.iter(*_UNSEEN)):
        node.drop_tree()
    text = " ".join(tree.text_content().split())
    return WebPage(
        title=title[:500],
        digest=hashlib.sha256(f"{title}\n{text}".encode("utf-8", "replace")).hexdigest()[:32],
        canonical=normal_url(urljoin(root, canonical)) if canonical else "",
        links=[link for link in dict.fromkeys(links) if link][:LINKS_MAX],
        is_noindex="noindex" in robots or "none" in robots.replace(",", " ").split(),
        is_nofollow="nofollow" in robots or "none" in robots.replace(",", " ").split(),
        needs_scripts=has_scripts and len(text) < TEXT_LEAST,
    )


def normal_url(url: str) -> str:
    """One address a page: no fragment, query sorted and without tracking; empty for what is no page."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        return ""
    host = f"[{host}]" if ":" in host else host
    if port is not None and port != (443 if parts.scheme == "https" else 80):
        host = f"{host}:{port}"
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query = urlencode(sorted((k, v) for k, v in pairs if not TRACKING.fullmatch(k.lower())))
    path = re.sub(r"[\x00-\x20\x7f\\]", lambda match: f"%{ord(match[0]):02X}", parts.path) or "/"
    found = urlunsplit((parts.scheme, host, path, query, ""))
    return found if len(found) <= URL_MAX else ""


def is_trap(url: str) -> bool:
    """Whether an address looks like one of endlessly many."""
    segments = [part for part in urlsplit(url).path.split("/") if part]
    return any(segments.count(part) > REPEATS_MAX for part in set(segments)) or len(segments) > 30


def read_sitemap(data: bytes) -> tuple[list[tuple[str, str]], list[str]]:
    """The addresses of a sitemap with their `lastmod`, and the sitemaps that an index names."""
    tree = _parse_xml(_unpacked(data))
    name = _name(tree)
    pages: list[tuple[str, str]] = []
    more: list[str] = []
    if name not in {"urlset", "sitemapindex"}:
        raise UnreadableMarkup(f"It is no sitemap: its root is {name[:40]!r}.")
    for node in tree:
        found = normal_url(_text(node, "loc"))
        if not found:
            continue
        if name == "urlset":
            pages.append((found, _text(node, "lastmod")))
        else:
            more.append(found)
        if len(pages) + len(more) >= SITEMAP_URLS:
            break
    return pages, more


def is_feed(data: bytes) -> bool:
    """Whether a document is RSS or Atom, by its beginning."""
    head = data[:2000].lstrip().lower()
    return b"<rss" in head or b"<feed" in head or b"<rdf:rdf" in head


def is_sitemap(data: bytes) -> bool:
    """Whether a document is a sitemap, by its beginning."""
    head = _unpacked(data, 2000) if data[:2] == b"\x1f\x8b" else data[:2000]
    return b"<urlset" in head or b"<sitemapindex" in head


def read_feed(data: bytes, url: str) -> list[FeedEntry]:
    """The entries of an RSS 0.9x, 1.0 or 2.0, or Atom feed, in its order."""
    tree = _parse_xml(data)
    entries = [node for node in tree.iter() if _name(node) in {"item", "entry"}]
    return [_entry(node, url) for node in entries[:SITEMAP_URLS]]


def _entry(node: Any, base: str) -> FeedEntry:  # noqa: ANN401 (an lxml element)
    link = _text(node, "link")
    for child in node:
        is_link = _name(child) == "link" and child.get("rel", "alternate") == "alternate"
        if is_link and child.get("href"):
            link = child.get("href")
            break
    url = normal_url(urljoin(base, link.strip())) if link.strip() else ""
    title = " ".join(html.unescape(_text(node, "title")).split())
    content = _text(node, "encoded") or _text(node, "content") or _text(node, "description")
    content = content or _text(node, "summary")
    said = _text(node, "id") or _text(node, "guid") or url
    own = said or hashlib.sha256(f"{title}\n{content}".encode()).hexdigest()
    at = next(
        (
            text
            for name in ("updated", "modified", "pubDate", "published", "date")
            if (text := _text(node, name))
        ),
        "",
    )
    return FeedEntry(own[:URL_MAX], url, title[:500], content, parse_date(at))


def parse_date(said: str) -> datetime | None:
    """A date of a feed or sitemap, aware, in UTC; None for what can't be read, never now."""
    said = said.strip()
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        try:
            at = email.utils.parsedate_to_datetime(said)
        except (ValueError, IndexError):
            return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def entry_page(entry: FeedEntry) -> bytes:
    """An entry as a page of its own."""
    title = html.escape(entry.title)
    head = f"<!doctype html><html><head><meta charset='utf-8'><title>{title}</title></head>"
    return f"{head}<body><h1>{title}</h1>{entry.content}</body></html>".encode()


def _parse_xml(data: bytes) -> Any:  # noqa: ANN401 (an lxml element)
    if re.search(rb"<!DOCTYPE|<!ENTITY", data[:20_000], re.IGNORECASE):
        raise UnreadableMarkup("It declares a document type, which is not read.")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, recover=True, huge_tree=False
    )
    try:
        tree = etree.fromstring(data.strip(), parser)
    except etree.XMLSyntaxError as error:
        raise UnreadableMarkup(f"It is no XML: {error.msg}.") from None
    if tree is None:
        raise UnreadableMarkup("It is empty.")
    return tree


def _unpacked(data: bytes, most: int = SITEMAP_BYTES) -> bytes:
    """A sitemap, unzipped as far as the limit."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        reader = zlib.decompressobj(wbits=31)
        unpacked = reader.decompress(data, most)
    except zlib.error:
        raise UnreadableMarkup("It is packed, and damaged.") from None
    if reader.unconsumed_tail and most == SITEMAP_BYTES:
        raise UnreadableMarkup(f"It has more than {most:,} bytes.")
    return unpacked


def _name(node: Any) -> str:  # noqa: ANN401 (an lxml element)
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def _children(node: Any, name: str) -> Iterator[Any]:  # noqa: ANN401
    return (child for child in node if _name(child) == name)


def _text(node: Any, name: str) -> str:  # noqa: ANN401 (an lxml element)
    for child in _children(node, name):
        if len(child):  # XHTML within Atom
            inner = "".join(etree.tostring(one, encoding="unicode") for one in child)
            return f"{child.text or ''}{inner}"
        return str(child.text or "").strip()
    return ""
