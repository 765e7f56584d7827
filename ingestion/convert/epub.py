"""EPUB books: the chapters in reading order, each as the web page it is."""

from __future__ import annotations

import io
import posixpath
import zipfile
from urllib.parse import unquote

from lxml import etree

from ingestion.convert import html
from ingestion.convert.archive import ZIP_MAGIC, Archive, damaged, directory
from ingestion.convert.document import ConversionError, ConversionLimits, Converted, TextWriter
from ingestion.convert.office import local_name, parse_moment
from ingestion.convert.titles import document_title

MIME = "application/epub+zip"

_FONTS = ("idpf.org/2008/embedding", "ns.adobe.com/pdf/enc")  # fonts that are only disguised


def is_epub(data: bytes) -> bool:
    """Whether `data` is a zip archive that says it is a book."""
    if not data.startswith(ZIP_MAGIC):
        return False
    return MIME.encode("ascii") in data[:200] or b"META-INF/container.xml" in directory(data)


def sample() -> bytes:
    """A small book, for warming up and for tests."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", MIME)
        archive.writestr("META-INF/container.xml", '<c><r><rootfile full-path="o/b.opf"/></r></c>')
        archive.writestr(
            "o/b.opf",
            '<package><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
            '</manifest><spine><itemref idref="a"/></spine></package>',
        )
        archive.writestr("o/a.xhtml", "<html><body><h1>A</h1><p>B</p></body></html>")
    return out.getvalue()


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The book's chapters."""
    archive = Archive(data, limits)
    _refuse_locked(archive)
    container = archive.xml("META-INF/container.xml")
    file = None if container is None else next(container.iter("{*}rootfile"), None)
    path = "" if file is None else unquote(file.get("full-path") or "")
    package = _xml(archive, path)
    if package is None:
        raise damaged()
    items = {entry.get("id") or "": entry for entry in package.iter("{*}item")}
    titles = _read_contents(archive, path, items)
    writer = TextWriter(limits)
    for reference in package.iter("{*}itemref"):
        item = items.get(reference.get("idref") or "")
        if item is None or "nav" in (item.get("properties") or "").split():
            continue
        name = _join(path, item.get("href") or "")
        content = archive.read(name)
        if content is None:
            continue
        if not _has_heading(content) and (title := titles.get(name)):
            writer.heading(1, title)
        html.write_page(content, writer, within=True)
    text, blocks = writer.finish()
    facts = _read_facts(package)
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=document_title(facts.get("title", ""), blocks),
        author=facts.get("creator", ""),
        created_at=parse_moment(facts.get("date")),
        language=facts.get("language", "").lower(),
    )


def _xml(archive: Archive, name: str) -> etree._Element | None:
    """Like `Archive.xml`, but a document type without entities, as tables of contents have, may be."""
    content = archive.read(name)
    if content is None:
        return None
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, recover=True
    )
    try:
        root: etree._Element | None = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    return root


def _refuse_locked(archive: Archive) -> None:
    root = archive.xml("META-INF/encryption.xml")
    for method in () if root is None else root.iter("{*}EncryptionMethod"):
        if not any(mark in (method.get("Algorithm") or "") for mark in _FONTS):
            raise ConversionError(
                "encrypted",
                "the book is locked to its reader (DRM): add a copy without protection, or its text",
            )


def _read_contents(archive: Archive, path: str, items: dict[str, etree._Element]) -> dict[str, str]:
    """Titles of chapters by the name of their file, from the book's table of contents."""
    titles: dict[str, str] = {}
    for item in items.values():
        name = _join(path, item.get("href") or "")
        if item.get("media-type") == "application/x-dtbncx+xml":
            root = _xml(archive, name)
            for point in () if root is None else root.iter("{*}navPoint"):
                label = next(point.iter("{*}text"), None)
                source = next(point.iter("{*}content"), None)
                if label is not None and source is not None:
                    _name(titles, name, source.get("src") or "", label.text or "")
        elif "nav" in (item.get("properties") or "").split():
            root = _xml(archive, name)
            for link in () if root is None else root.iter("{*}a"):
                _name(titles, name, link.get("href") or "", "".join(link.itertext()))
    return titles


def _name(titles: dict[str, str], contents: str, target: str, title: str) -> None:
    titles.setdefault(_join(contents, target.partition("#")[0]), " ".join(title.split()))


def _join(path: str, target: str) -> str:
    folder = posixpath.dirname(path)
    return posixpath.normpath(posixpath.join("/", folder, unquote(target))).lstrip("/")


def _has_heading(content: bytes) -> bool:
    lower = content.lower()
    return any(f"<h{level}".encode("ascii") in lower for level in range(1, 7))


def _read_facts(package: etree._Element) -> dict[str, str]:
    facts: dict[str, str] = {}
    meta = next(package.iter("{*}metadata"), None)
    for item in () if meta is None else meta.iter():
        text = " ".join((item.text or "").split())
        if text:
            facts.setdefault(local_name(item), text[:500])
    return facts
