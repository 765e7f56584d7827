"""XML of any vocabulary, feeds and drawings (.svg): the words within, as paragraphs and records.

Entities are refused where a file declares its own, and none leads anywhere. An element whose
children hold only text is a record, written as `name: value`; text among elements is a paragraph.
"""

from __future__ import annotations

import re

from lxml import etree

from ingestion.convert import html
from ingestion.convert.document import ConversionError, ConversionLimits, Converted, TextWriter
from ingestion.convert.encoding import decode_text
from ingestion.convert.office import local_name

MIME = "application/xml"
SVG_MIME = "image/svg+xml"

_BEGINS = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml[\s?]|!DOCTYPE\s|!--|svg[\s>])", re.IGNORECASE)
_SVG = re.compile(rb"<(?:\w+:)?svg[\s>]")
_DECLARED = re.compile(r"^\s*<\?xml[^>]*\?>")
_DEPTH = 200
_HEADINGS = 3
_TITLES = frozenset(("title", "head", "heading", "caption", "label"))
_INLINE = frozenset(
    (
        *("a", "b", "i", "u", "em", "strong", "emphasis", "ref", "link", "xref", "code", "sub"),
        *("sup", "span", "q", "quote", "term", "literal", "ulink", "hi", "italic", "bold", "tt"),
        *("tspan", "note", "footnote", "name", "date", "filename", "command", "option", "g", "x"),
    )
)


def is_xml(data: bytes) -> bool:
    """Whether `data` begins as XML does, with a declaration, a type or a comment."""
    return _BEGINS.match(data[:512]) is not None


def is_svg(data: bytes) -> bool:
    """Whether `data` is XML whose first element is a drawing."""
    return is_xml(data) and _SVG.search(data[:16384]) is not None


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The document's words."""
    root = parse(data)
    if etree.QName(root).namespace == "http://www.w3.org/1999/xhtml":
        return html.convert(data, limits)
    writer = TextWriter(limits)
    _XmlWalker(writer).element(root, 0, 0)
    text, blocks = writer.finish()
    title = next(
        (
            said
            for item in root.iter()
            if local_name(item) in {"title", "name"} and (said := " ".join(item.itertext()).strip())
        ),
        "",
    )
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=" ".join(title.split())[:300],
        language=(root.get("{http://www.w3.org/XML/1998/namespace}lang") or "").lower(),
    )


def convert_svg(data: bytes, limits: ConversionLimits) -> Converted:
    """A drawing's title, description and labels, in the order they are drawn."""
    root = parse(data)
    writer = TextWriter(limits)
    title = ""
    labels: list[str] = []
    for element in root.iter("{*}title", "{*}desc", "{*}text"):
        said = " ".join("".join(element.itertext()).split())
        name = local_name(element)
        if name == "text" and element.find("{*}tspan") is not None:
            said = " ".join(" ".join(element.itertext()).split())
        if not said:
            continue
        if name == "title" and not title:
            title = said
            writer.heading(1, said)
        elif name == "text":
            labels.append(said)
        else:
            writer.add("paragraph", said)
    writer.add("paragraph", "\n".join(labels))
    text, blocks = writer.finish()
    if not blocks:
        raise ConversionError(
            "no_text",
            "the drawing contains no text (its letters may be shapes): add a version with text",
        )
    return Converted(text=text, blocks=blocks, mime=SVG_MIME, title=title[:300])


def parse(data: bytes) -> etree._Element:
    """The root of a document that declares no entities of its own."""
    text, _ = decode_text(data, declared=True)
    content = _DECLARED.sub("", text).lstrip().encode("utf-8", "replace")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
        encoding="utf-8",
    )
    try:
        root: etree._Element = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        if "<!ENTITY" in text[:100_000].upper():
            raise _declares() from error
        if "depth" in str(error).lower():
            raise ConversionError(
                "too_large",
                "the file nests its elements too deeply: export it flatter and add that",
            ) from error
        raise ConversionError(
            "unreadable",
            "the XML is damaged or truncated: export it again from its own program and add that",
        ) from error
    types = root.getroottree().docinfo.internalDTD
    if types is not None and next(iter(types.iterentities()), None) is not None:
        raise _declares()
    return root


def _declares() -> ConversionError:
    return ConversionError(
        "unreadable",
        "the file declares XML entities of its own, which Scrubjay never expands: save it without"
        " them and add that",
    )


class _XmlWalker:
    def __init__(self, writer: TextWriter) -> None:
        self._writer = writer

    def element(self, element: etree._Element, depth: int, level: int) -> None:
        """Write an element: as a paragraph, a record, or its children one after another."""
        if depth > _DEPTH:
            self._writer.add("paragraph", _said(element))
            return
        children = [item for item in element if isinstance(item.tag, str)]
        if not children:
            self._writer.add("paragraph", _line(element))
        elif _is_mixed(element, children):
            self._writer.add("paragraph", _said(element))
        elif depth and not any(len(child) and not _is_inline(child) for child in children):
            lines = [*_attributes(element), *(line for child in children if (line := _line(child)))]
            self._writer.add("paragraph", "\n".join(lines))
        else:
            self._container(element, children, depth, level)

    def _container(
        self, element: etree._Element, children: list[etree._Element], depth: int, level: int
    ) -> None:
        self._writer.add("paragraph", "\n".join(_attributes(element)) if depth else "")
        first = next((c for c in children if local_name(c).lower() in _TITLES), None)
        if first is not None and level < _HEADINGS and (title := _said(first)) and len(title) < 300:
            level += 1
            self._writer.heading(level, title)
            children = [child for child in children if child is not first]
        facts: list[str] = []
        for child in children:
            if not len(child):
                facts.append(_line(child))
                continue
            self._flush(facts)
            self.element(child, depth + 1, level)
        self._flush(facts)

    def _flush(self, facts: list[str]) -> None:
        self._writer.add("paragraph", "\n".join(filter(None, facts)))
        facts.clear()


def _is_mixed(element: etree._Element, children: list[etree._Element]) -> bool:
    if (element.text or "").strip():
        return True
    return any((child.tail or "").strip() for child in children)


def _is_inline(element: etree._Element) -> bool:
    return local_name(element).lower() in _INLINE


def _said(element: etree._Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _line(element: etree._Element) -> str:
    """`name: text (attribute value, …)` of an element without others in it."""
    said = _said(element)
    name = local_name(element)
    if name.lower() in {"p", "para", "li", "item", "text", "description", "content"} and said:
        return said
    facts = "; ".join(_attributes(element))
    if not said:
        return f"{name}: {facts}" if facts else ""
    return f"{name}: {said} ({facts})" if facts else f"{name}: {said}"


def _attributes(element: etree._Element) -> list[str]:
    return [
        f"{name.rpartition('}')[2]}: {value}"
        for name, value in element.attrib.items()
        if value.strip() and len(value) < 500 and "schemaLocation" not in name
    ]
