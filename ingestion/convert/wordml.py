"""Word as one XML file: what Word 2003 saved (WordprocessingML), and packages laid out flat.

The older language has the newer one's names for most things; what it calls otherwise is renamed,
and `docx.py` reads it. A flat package is packed into the archive it would be.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import zipfile

from lxml import etree

from ingestion.convert import docx, pptx, xlsx
from ingestion.convert.archive import damaged
from ingestion.convert.document import ConversionLimits, Converted, TextWriter
from ingestion.convert.office import R, Relation, local_name, parse_moment
from ingestion.convert.titles import document_title
from ingestion.convert.xml_data import parse

MIME = "application/xml"

_2003 = "{http://schemas.microsoft.com/office/word/2003/wordml}"
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_BEGINS = re.compile(
    rb"[^<]{0,8}(?:<[?!][^>]*>\s*)*<(?:\w+:)?(?:wordDocument\b[^>]*office/word/2003/wordml"
    rb"|package\b[^>]*office/2006/xmlPackage)"
)
_BULLET = "23"  # a list's numbering that is none


def is_wordml(data: bytes) -> bool:
    """Whether the first element is a Word 2003 document or a flat package."""
    return _BEGINS.match(data[:8192]) is not None


def sample() -> bytes:
    """A small document, for warming up and for tests."""
    return (
        f'<?xml version="1.0"?><w:wordDocument xmlns:w="{_2003[1:-1]}"><w:body><w:p><w:r><w:t>A</w:t>'
        "</w:r></w:p></w:body></w:wordDocument>"
    ).encode()


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The document's body."""
    root = parse(data)
    if local_name(root) == "package":
        return _unfold(root, limits)
    facts = {
        local_name(item): (item.text or "").strip()
        for item in root.iterfind("{*}DocumentProperties/*")
    }
    bullets = _bullets(root)
    links = _renamed(root)
    body = root.find(f"{_W}body")
    if body is None:
        raise damaged()
    writer = TextWriter(limits)
    parts = docx.DocxParts(None, links, limits)
    walker = docx.DocxWalker(writer, docx.read_styles(root.find(f"{_W}styles")), bullets, parts)
    walker.blocks(body)
    walker.flush()
    text, blocks = writer.finish()
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=document_title(facts.get("Title", ""), blocks, walker.title),
        author=facts.get("Author", "")[:200],
        created_at=parse_moment(facts.get("Created")),
        updated_at=parse_moment(facts.get("LastSaved")),
    )


def _renamed(root: etree._Element) -> dict[str, Relation]:
    """Give what the two languages call differently the newer name; the links within."""
    links: dict[str, Relation] = {}
    for element in list(root.iter()):
        if not isinstance(element.tag, str):
            continue
        name = local_name(element)
        if name == "annotation" and any(v == "Word.Comment" for v in element.attrib.values()):
            for child in list(element):
                element.remove(child)
        if not element.tag.startswith(_2003):
            continue
        for key, value in list(element.attrib.items()):
            if key.startswith(_2003):
                del element.attrib[key]
                element.set(key.replace(_2003, _W), value)
        newer = {"listPr": "numPr", "ilfo": "numId", "vmerge": "vMerge", "hlink": "hyperlink"}
        element.tag = _W + newer.get(name, name)
        if name == "hlink":
            links[f"h{len(links)}"] = Relation("hyperlink", element.get(f"{_W}dest") or "", True)
            element.set(f"{R}id", f"h{len(links) - 1}")
        elif name in {"footnote", "endnote"}:
            said = " ".join(" ".join(item.text or "" for item in element.iter("{*}t")).split())
            for child in list(element):
                element.remove(child)
            element.tag, element.text = f"{_W}t", f" ({said})" if said else ""
    return links


def _bullets(root: etree._Element) -> dict[tuple[str, int], bool]:
    """Whether a list's level has bullets, by the list's number and level."""
    kinds: dict[str, dict[int, bool]] = {}
    for definition in root.iter(f"{_2003}listDef"):
        levels = kinds.setdefault(definition.get(f"{_2003}listDefId") or "", {})
        for level in definition.iterfind(f"{_2003}lvl"):
            form, depth = level.find(f"{_2003}nfc"), level.get(f"{_2003}ilvl") or ""
            if depth.isdecimal():
                levels[int(depth)] = form is not None and form.get(f"{_2003}val") == _BULLET
    bullets: dict[tuple[str, int], bool] = {}
    for number in root.iter(f"{_2003}list"):
        of = number.find(f"{_2003}ilst")
        for depth, bullet in kinds.get(
            "" if of is None else of.get(f"{_2003}val") or "", {}
        ).items():
            bullets[number.get(f"{_2003}ilfo") or "", depth] = bullet
    return bullets


def _unfold(root: etree._Element, limits: ConversionLimits) -> Converted:
    """A flat package (Flat OPC) as the archive it stands for."""
    out = io.BytesIO()
    names: set[str] = set()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        for part in root.iterfind("{*}part"):
            name = next((v for k, v in part.attrib.items() if k.endswith("}name")), "").lstrip("/")
            inner = part.find("{*}xmlData")
            if inner is not None and len(inner):
                content = etree.tostring(inner[0])
            else:
                try:
                    content = base64.b64decode(part.findtext("{*}binaryData") or "")
                except (binascii.Error, ValueError):
                    continue
            if name and name not in names and "[Content_Types]" not in name:
                names.add(name)
                archive.writestr(name, content)
    data = out.getvalue()
    for is_it, read in (
        (docx.is_docx, docx.convert),
        (pptx.is_pptx, pptx.convert),
        (xlsx.is_xlsx, xlsx.convert),
    ):
        if is_it(data):
            return read(data, limits)
    raise damaged()
