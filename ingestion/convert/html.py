"""Web pages: what a reader came for, without menus, scripts and what is hidden from the eye.

The content is `main` or the page's one `article` where it has them, else the body without its
navigation, banner and footer; what only its name tells from content, `page_frame.py` takes off. Links are kept where they lead to the web, code stays verbatim, and
tables become pipe tables, except those that only lay out a page.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

from lxml import etree, html

from ingestion.convert.document import (
    ConversionError,
    ConversionLimits,
    Converted,
    TextWriter,
    cell,
    render_table,
)
from ingestion.convert.encoding import decode_text
from ingestion.convert.html_tables import table_rows
from ingestion.convert.page_frame import drop_frame, drop_residue

MIME = "text/html"

_BEGINS = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)

_NEVER = frozenset(
    [
        "script",
        "style",
        "noscript",
        "template",
        "nav",
        "svg",
        "math",
        "canvas",
        "iframe",
        "object",
        "embed",
        "audio",
        "video",
        "select",
        "datalist",
        "button",
        "dialog",
        "head",
        "input",
        "textarea",
        "map",
    ]
)
_FRAME = frozenset(("header", "footer", "aside"))  # boilerplate, unless they belong to an article
_FRAME_ROLES = frozenset(("navigation", "banner", "contentinfo", "search", "menu", "menubar"))
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "dir",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "menu",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "ul",
        "caption",
    ]
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?:\.0*)?\s*(?:;|$)"
    r"|font-size\s*:\s*0(?:px|pt|em|%)?\s*(?:;|$)",
    re.IGNORECASE,
)
_DEPTH = 120  # of nested elements that are kept apart; deeper ones give their bare text


def is_html(data: bytes) -> bool:
    """Whether the first bytes begin a web page."""
    return _BEGINS.match(data[:4096]) is not None


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The page's main content as Markdown."""
    writer = TextWriter(limits)
    root, encoding = write_page(data, writer)
    canonical, blocks = writer.finish()
    return Converted(
        text=canonical,
        blocks=blocks,
        mime=MIME,
        title=_title(root),
        author=_meta(root, "author", "article:author"),
        created_at=_moment(_meta(root, "article:published_time", "date", "dc.date")),
        updated_at=_moment(_meta(root, "article:modified_time", "last-modified")),
        language=(root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang") or "")
        .strip()
        .lower(),
        metadata={} if encoding == "utf-8" else {"encoding": encoding},
    )


def write_page(
    data: bytes, writer: TextWriter, *, within: bool = False
) -> tuple[html.HtmlElement, str]:
    """Write a page's main content; the page, and the encoding it was in.

    Books and messages hold pages as well: `within` them a link leads somewhere by itself alone.
    """
    text, encoding = decode_text(data, declared=True)
    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        root = html.document_fromstring(text.encode("utf-8", "ignore"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise ConversionError(
            "empty", "the page contains no text: save it from the browser and add that"
        ) from error
    for link in root.iter("a") if within else ():
        if "://" not in (link.get("href") or ""):
            link.attrib.pop("href", None)
    content = _content(root)
    if not within:
        drop_frame(content)
        drop_residue(content, text)
    walker = _HtmlWalker(writer)
    walker.walk(content)
    walker.flush()
    return root, encoding


def _content(root: html.HtmlElement) -> html.HtmlElement:
    for path in ("//main", "//*[@role='main']", "//article"):
        found = [element for element in root.xpath(path) if not _is_hidden(element)]
        if len(found) == 1 and len(found[0].text_content().strip()) > 100:
            return found[0]
    bodies = root.xpath("//body")
    return bodies[0] if bodies else root


class _HtmlWalker:
    """Writes the blocks of an element in order; loose text between them becomes paragraphs."""

    def __init__(self, writer: TextWriter) -> None:
        self._writer = writer
        self._loose: list[str] = []
        self._in_article = False

    def walk(self, element: html.HtmlElement, depth: int = 0) -> None:
        """Everything within `element`."""
        if depth > _DEPTH:
            self._loose.append(" ".join(element.itertext()))
            return
        self._loose.append(element.text or "")
        for child in element:
            self._child(child, depth)
            self._loose.append(child.tail or "")

    def flush(self) -> None:
        """End the paragraph made of loose text."""
        text = _squeeze("".join(self._loose))
        self._loose.clear()
        if text:
            self._writer.add("paragraph", text)

    def _child(self, child: html.HtmlElement, depth: int) -> None:
        tag = child.tag
        if not isinstance(tag, str) or _is_hidden(child):
            return
        if tag in _FRAME and not self._in_article:
            return
        if tag not in _BLOCKS:
            if _has_blocks(child):
                self.walk(child, depth + 1)
            else:
                self._loose.append(_inline(child, depth))
            return
        self.flush()
        if not self._leaf(child, tag, depth):
            outer, self._in_article = self._in_article, self._in_article or tag == "article"
            self.walk(child, depth + 1)
            self._in_article = outer
        self.flush()

    def _leaf(self, child: html.HtmlElement, tag: str, depth: int) -> bool:
        """Write a block that is rendered whole; False where it only holds other blocks."""
        if tag in _HEADINGS:
            self._writer.heading(_HEADINGS[tag], _squeeze(_inline(child, depth)))
        elif tag == "pre":
            self._writer.add("code", _fenced(child))
        elif tag in {"ul", "ol", "menu", "dir"}:
            self._writer.add("list", "\n".join(_items(child, 0, depth)))
        elif tag == "blockquote" and not _has_blocks(child, besides={"p"}):
            text = "\n\n".join(_paragraphs(child, depth))
            self._writer.add("quote", "\n".join(f"> {line}".rstrip() for line in text.split("\n")))
        elif tag == "table":
            rows = _rows(child, depth)
            if rows is None:
                return False
            for caption in child.findall("caption"):
                self._writer.add("paragraph", _squeeze(_inline(caption, depth)))
            self._writer.add("table", render_table(rows))
        else:
            return False
        return True


def _is_hidden(element: html.HtmlElement) -> bool:
    get = element.get
    return (
        element.tag in _NEVER
        or get("hidden") is not None
        or (get("aria-hidden") or "").lower() == "true"
        or (get("role") or "").lower() in _FRAME_ROLES
        or _HIDDEN_STYLE.search(get("style") or "") is not None
    )


def _has_blocks(element: html.HtmlElement, *, besides: set[str] | None = None) -> bool:
    wanted = _BLOCKS - (besides or set())
    return any(
        iterdescendant.tag in wanted
        for iterdescendant in element.iterdescendants()
        if isinstance(iterdescendant.tag, str)
    )


def _inline(element: html.HtmlElement, depth: int) -> str:
    """An element's text on one line, links and code marked."""
    if element.tag == "br":
        return "\n"
    if element.tag == "img":
        return f" {element.get('alt') or ''} "
    if depth > _DEPTH:
        return " ".join(element.itertext())
    pieces = [element.text or ""]
    for child in element:
        if isinstance(child.tag, str) and not _is_hidden(child):
            text = _inline(child, depth + 1)
            pieces.append(f" {text} " if child.tag in _BLOCKS else text)
        pieces.append(child.tail or "")
    text = "".join(pieces)
    if element.tag == "a" and (target := _safe_link(element.get("href"))) and text.strip():
        return f"[{_squeeze(text)}]({target})"
    if element.tag in {"code", "kbd", "samp", "tt"} and text.strip() and "`" not in text:
        return f"`{_squeeze(text)}`"
    return text


def _safe_link(target: str | None) -> str:
    """A link's target where following it is harmless, else nothing."""
    target = re.sub(r"[\s\x00-\x1f]", "", target or "")
    try:
        parts = urlsplit(target)
    except ValueError:
        return ""
    if parts.scheme not in {"", "http", "https", "mailto"} or not (parts.path or parts.netloc):
        return ""
    return target.replace("(", "%28").replace(")", "%29")


def _squeeze(text: str) -> str:
    """One space for any white space, but line breaks that were asked for are kept."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return " ".join(line for line in lines if line)


def _paragraphs(element: html.HtmlElement, depth: int) -> list[str]:
    inner = [_squeeze(_inline(p, depth + 1)) for p in element.iter("p")]
    return [text for text in inner if text] or [_squeeze(_inline(element, depth))]


def _items(element: html.HtmlElement, indent: int, depth: int) -> list[str]:
    """The lines of a list, those of nested lists indented."""
    lines: list[str] = []
    number = 0
    for item in element:
        if not isinstance(item.tag, str) or _is_hidden(item):
            continue
        if item.tag in {"ul", "ol"}:  # out of place, but met
            lines.extend(_items(item, indent + 1, depth + 1) if depth < _DEPTH else [])
            continue
        number += 1
        nested = [c for c in item if c.tag in {"ul", "ol", "menu"} and not _is_hidden(c)]
        for inner in nested:
            tail = inner.tail
            item.remove(inner)  # lxml takes the tail along
            if tail:
                item.append(_tail(tail))
        mark = f"{number}." if element.tag == "ol" else "-"
        if text := _squeeze(_inline(item, depth + 1)):
            lines.append(f"{'  ' * indent}{mark} {text}")
        for inner in nested:
            if depth < _DEPTH:
                lines.extend(_items(inner, indent + 1, depth + 1))
            else:
                lines.append(_squeeze(" ".join(inner.itertext())))
    return lines


def _tail(text: str) -> html.HtmlElement:
    span = html.Element("span")
    span.text = f" {text}"
    return span


def _fenced(element: html.HtmlElement) -> str:
    code = "".join(element.itertext()).strip("\n")
    language = ""
    for item in (element, *element.iter("code")):
        if match := re.search(r"\blang(?:uage)?-([\w+#-]+)", item.get("class") or ""):
            language = match[1]
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", code)), default=0))
    return f"{ticks}{language}\n{code}\n{ticks}" if code.strip() else ""


def _rows(table: html.HtmlElement, depth: int) -> list[list[str]] | None:
    """The cells of a table, or None where it only lays out other blocks."""
    if next(table.iterdescendants("table"), None) is not None:
        return None
    rows = table_rows(table, lambda item: cell(_inline(item, depth + 1)), _is_hidden)
    if max((len(row) for row in rows), default=0) < 2:
        return None
    return rows


def _title(root: html.HtmlElement) -> str:
    named = _meta(root, "og:title")
    found = " ".join((root.findtext(".//title") or "").split())
    first = root.find(".//h1")
    heading = _squeeze(first.text_content()) if first is not None else ""
    return (found or named or heading)[:500]


def _meta(root: html.HtmlElement, *names: str) -> str:
    for element in root.iter("meta"):
        name = (element.get("name") or element.get("property") or "").lower()
        if name in names and (content := (element.get("content") or "").strip()):
            return " ".join(content.split())[:500]
    return ""


def _moment(value: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
