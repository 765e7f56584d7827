"""Word documents (.docx): headings, paragraphs, lists, tables, links and footnotes as Markdown.

An own walk over the XML: five times faster than converting to HTML first, and nothing is resolved
or executed on the way. Text boxes, charts, diagrams and
documents within the document (altChunk) follow the paragraph they stand in. Deleted text, comments
and field codes are left out; Word knows pages only
when it draws them, so blocks have none.
"""

from __future__ import annotations

import io
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lxml import etree

from ingestion.convert import html, mail, rtf
from ingestion.convert import text as plain
from ingestion.convert.archive import ZIP_MAGIC, Archive, damaged, directory, parse_xml
from ingestion.convert.document import (
    ConversionError,
    ConversionLimits,
    Converted,
    TextWriter,
    cell,
    render_table,
)
from ingestion.convert.drawing import read_chart, read_paragraphs
from ingestion.convert.office import (
    R,
    Relation,
    attribute,
    local_name,
    read_core,
    read_relations,
    safe_link,
)
from ingestion.convert.titles import document_title

MIME = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT_W = b"http://purl.oclc.org/ooxml/wordprocessingml/main"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"

_SKIPPED = frozenset(
    (
        *(f"{_W}{name}" for name in ("del", "moveFrom", "pPr", "rPr", "instrText", "txbxContent")),
        *(
            f"{_W}{name}"
            for name in ("sectPr", "tblPr", "trPr", "tcPr", "sdtPr", "commentReference")
        ),
        f"{_MC}Fallback",
    )
)
_FORMULAS = {  # the text before, between and after the parts of mathematics
    f"{_M}f": ("", "/", ""),
    f"{_M}sSup": ("", "^", ""),
    f"{_M}sSub": ("", "_", ""),
    f"{_M}rad": ("\u221a", "", ""),
}
_WITHIN = 3  # documents within documents
_DEPTH = 40  # of tables and content controls within one another


def is_docx(data: bytes) -> bool:
    """Whether `data` is a zip archive whose directory names a Word document's body.

    A truncated file has no directory any more; its first members still show what it is.
    """
    if not data.startswith(ZIP_MAGIC):
        return False
    names = directory(data)
    if not names:
        return b"word/" in data[:4096] and b"[Content_Types].xml" in data
    return b"word/document" in names


def sample() -> bytes:
    """A small document, for warming up and for tests."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        body = (
            f'<w:document xmlns:w="{_W[1:-1]}"><w:body><w:p><w:r><w:t>A</w:t></w:r></w:p></w:body>'
        )
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", f"{body}</w:document>")
    return out.getvalue()


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The document's body, then its footnotes."""
    return _convert(data, limits, 0)


def _convert(data: bytes, limits: ConversionLimits, depth: int) -> Converted:
    archive = Archive(data, limits)
    part = next(
        (r.target for r in read_relations(archive, "").values() if r.kind == "officeDocument"),
        "word/document.xml",
    )
    body_bytes = archive.read(part)
    if body_bytes is None:
        raise damaged()
    if _STRICT_W in body_bytes:  # ISO strict: the same names in another namespace
        body_bytes = body_bytes.replace(_STRICT_W, _W[1:-1].encode("ascii"))
    root = parse_xml(body_bytes)
    writer = TextWriter(limits)
    parts = DocxParts(archive, read_relations(archive, part), limits, depth)
    styles, numbers = archive.xml("word/styles.xml"), archive.xml("word/numbering.xml")
    walker = DocxWalker(writer, read_styles(styles), _read_numbering(numbers), parts)
    body = root.find(f"{_W}body")
    if body is None:
        raise damaged()
    walker.blocks(body)
    walker.flush()
    for name in ("word/footnotes.xml", "word/endnotes.xml"):
        notes = archive.xml(name)
        if notes is not None:
            walker.notes(notes)
    text, blocks = writer.finish()
    core = read_core(archive)
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=document_title(core.title, blocks, walker.title),
        author=core.author,
        created_at=core.created_at,
        updated_at=core.updated_at,
        language=core.language,
    )


@dataclass(frozen=True, slots=True)
class WordStyle:
    """What of a paragraph style matters: `level` of a heading from 1, `list_` its numbering."""

    level: int = 0
    title: bool = False
    list_: tuple[str, int] | None = None
    code: bool = False
    quote: bool = False


class DocxParts:
    """The other parts of a package that a document's body refers to."""

    def __init__(
        self,
        archive: Archive | None,
        relations: Mapping[str, Relation],
        limits: ConversionLimits,
        depth: int = 0,
    ) -> None:
        self._archive = archive
        self._relations = relations
        self._limits = limits
        self._depth = depth
        self.links = {
            name: link
            for name, one in relations.items()
            if one.external and (link := safe_link(one.target))
        }

    def xml(self, relation: str) -> etree._Element | None:
        """The root of a part; None where there is none."""
        one = self._relations.get(relation)
        if one is None or one.external or self._archive is None:
            return None
        try:
            return self._archive.xml(one.target)
        except ConversionError:
            return None  # a picture of a chart that can't be read costs no document

    def document(self, relation: str) -> Converted | None:
        """A document within the document, by what it is; None where it can't be read."""
        one = self._relations.get(relation)
        if one is None or one.external or self._archive is None or self._depth >= _WITHIN:
            return None
        data = self._archive.read(one.target)
        try:
            return _read_within(data, self._limits, self._depth + 1) if data else None
        except ConversionError as error:
            if error.code == "too_large":
                raise
            return None


def _read_within(data: bytes, limits: ConversionLimits, depth: int) -> Converted:
    if data.startswith(ZIP_MAGIC):
        return _convert(data, limits, depth)
    if rtf.is_rtf(data):
        return rtf.convert(data, limits)
    if mail.is_mail(data) or b"MIME-Version:" in data[:500]:
        return mail.convert(data, limits)
    if html.is_html(data) or data.lstrip()[:1] == b"<":
        return html.convert(data, limits)
    return plain.convert(data.rstrip(), limits)


class DocxWalker:
    """Writes the blocks of a body in WordprocessingML."""

    def __init__(
        self,
        writer: TextWriter,
        styles: dict[str, WordStyle],
        bullets: dict[tuple[str, int], bool],
        parts: DocxParts | None = None,
    ) -> None:
        self._writer = writer
        self._styles = styles
        self._bullets = bullets
        self._parts = parts
        self._links = {} if parts is None else parts.links
        self._list: list[str] = []
        self._code: list[str] = []
        self._counters: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self.title = ""

    def blocks(self, parent: etree._Element, depth: int = 0) -> None:
        """Write the paragraphs and tables directly or by wrappers within `parent`."""
        if depth > _DEPTH:
            return
        for child in parent:
            if child.tag == f"{_W}p":
                self._paragraph(child)
            elif child.tag == f"{_W}tbl":
                self.flush()
                self._table(child, depth)
            elif child.tag == f"{_W}altChunk":
                self.flush()
                self._include(attribute(child, "id"))
            elif isinstance(child.tag, str) and child.tag not in _SKIPPED:
                self.blocks(child, depth + 1)  # content controls, custom XML, insertions

    def _include(self, relation: str) -> None:
        """Write a document that stands within this one (ECMA-376 part 1, 17.17.2.1)."""
        document = None if self._parts is None else self._parts.document(relation)
        if document is not None and document.blocks:
            self._writer.include(document)

    def flush(self) -> None:
        """End a list or a listing."""
        if self._list:
            self._writer.add("list", "\n".join(self._list))
            self._list.clear()
        if self._code:
            self._writer.add("code", "\n".join(("```", *self._code, "```")))
            self._code.clear()

    def notes(self, root: etree._Element) -> None:
        """Write footnotes or endnotes as `[^id]: text`."""
        for note in root:
            if note.get(f"{_W}type") not in {"separator", "continuationSeparator"}:
                text = " ".join(self._text(p) for p in note.iter(f"{_W}p")).strip()
                if text:
                    self._writer.add("paragraph", f"[^{note.get(f'{_W}id')}]: {text}")

    def _paragraph(self, paragraph: etree._Element) -> None:
        style, list_ = self._style(paragraph)
        text = self._text(paragraph).strip("\n")
        if style.code and text:
            self._code.append(text)
        elif not text.strip():
            pass
        elif style.level:
            self.flush()
            title = " ".join(text.split())
            if style.title and not self.title:
                self.title = title
            self._writer.heading(style.level, title)
        elif list_ is not None:
            self._list.append(self._item(text.strip(), *list_))
        else:
            self.flush()
            if style.quote:
                text = "\n".join(f"> {line}" for line in text.split("\n"))
            self._writer.add("quote" if style.quote else "paragraph", text.strip())
        self._drawn(paragraph)

    def _drawn(self, element: etree._Element) -> None:
        """Write what is drawn in a paragraph or a cell: text boxes, charts and diagrams."""
        for item in element.iter(f"{_W}txbxContent", "{*}chart", "{*}relIds"):
            if not _is_shown(item, element):
                continue
            self.flush()
            if item.tag == f"{_W}txbxContent":
                self.blocks(item, _DEPTH - 4)  # what boxes within it hold is drawn by it
                self.flush()
                continue
            is_chart = local_name(item) == "chart"
            name = attribute(item, "id" if is_chart else "dm")
            root = None if self._parts is None else self._parts.xml(name)
            if root is None:
                continue
            if is_chart:
                said, rows = read_chart(root)
                self._writer.add("paragraph", said)
                self._writer.add("table", render_table(rows))
            else:
                self._writer.add("list", "\n".join(f"- {said}" for said in read_paragraphs(root)))

    def _style(self, paragraph: etree._Element) -> tuple[WordStyle, tuple[str, int] | None]:
        properties = paragraph.find(f"{_W}pPr")
        if properties is None:
            return self._styles.get("", _NORMAL), None
        named = properties.find(f"{_W}pStyle")
        style = self._styles.get("" if named is None else _value(named), _NORMAL)
        level = _outline_level(properties)
        if level and not style.level:
            style = WordStyle(level=level)
        return style, _list_of(properties, style.list_)

    def _item(self, text: str, number_id: str, level: int) -> str:
        indent = "  " * level
        if self._bullets.get((number_id, level), True):
            return f"{indent}- {text}"
        counters = self._counters[number_id]
        for deeper in [counter for counter in counters if counter > level]:
            del counters[deeper]
        counters[level] = counters.get(level, 0) + 1
        return f"{indent}{counters[level]}. {text}"

    def _text(self, element: etree._Element, depth: int = 0) -> str:
        pieces: list[str] = []
        for child in element:
            tag = child.tag
            if tag in {f"{_W}t", f"{_M}t"}:
                pieces.append(child.text or "")
            elif tag in {f"{_W}tab", f"{_W}ptab"}:
                pieces.append("\t")
            elif tag in {f"{_W}br", f"{_W}cr"}:
                pieces.append("\n")
            elif tag == f"{_W}noBreakHyphen":
                pieces.append("-")
            elif tag in {f"{_W}footnoteReference", f"{_W}endnoteReference"}:
                pieces.append(f"[^{child.get(f'{_W}id')}]")
            elif tag == f"{_W}hyperlink":
                pieces.append(self._link(child, depth))
            elif tag in _FORMULAS and depth < _DEPTH:
                pieces.append(self._formula(child, depth))
            elif isinstance(tag, str) and tag not in _SKIPPED and depth < _DEPTH:
                pieces.append(self._text(child, depth + 1))
        return "".join(pieces)

    def _formula(self, element: etree._Element, depth: int) -> str:
        """A fraction, power, index or root on one line, as people type it."""
        before, between, after = _FORMULAS[element.tag]
        parts = [
            self._text(part, depth + 1).strip()
            for part in element
            if part.tag not in {f"{_M}fPr", f"{_M}sSupPr", f"{_M}sSubPr", f"{_M}radPr", f"{_M}deg"}
        ]
        return before + between.join(map(_grouped, filter(None, parts))) + after

    def _link(self, element: etree._Element, depth: int) -> str:
        text = self._text(element, depth + 1)
        target = self._links.get(element.get(f"{R}id") or "", "")
        return f"[{text}]({target})" if target and text.strip() else text

    def _table(self, table: etree._Element, depth: int) -> None:
        rows = [[cell(text) for text in row] for row in self._rows(table, depth)]
        if max((len(row) for row in rows), default=0) > 1:
            self._writer.add("table", render_table(rows))
            self._drawn(table)
            return
        for item in table.iterfind(f"{_W}tr/{_W}tc"):  # a frame around text, not a table
            self.blocks(item, depth + 1)
        self.flush()

    def _rows(self, table: etree._Element, depth: int) -> Iterator[list[str]]:
        for row in table.iterfind(f"{_W}tr"):
            cells: list[str] = []
            for item in row.iter(f"{_W}tc"):
                if next(item.iterancestors(f"{_W}tr")) is not row:
                    continue  # of a table within a cell: its text is in that cell's
                merged = item.find(f"{_W}tcPr/{_W}vMerge")
                goes_on = merged is not None and _value(merged) != "restart"
                cells.append("" if goes_on else self._cell(item, depth))
                span = item.find(f"{_W}tcPr/{_W}gridSpan")
                width = _value(span) if span is not None else ""
                cells.extend([""] * min(int(width) - 1 if width.isdecimal() else 0, 50))
            if any(cells):
                yield cells

    def _cell(self, element: etree._Element, depth: int) -> str:
        if depth > _DEPTH:
            return ""
        pieces: list[str] = []
        for child in element:
            if child.tag == f"{_W}p":
                pieces.append(self._text(child))
            elif child.tag == f"{_W}tbl":
                pieces.extend("; ".join(filter(None, row)) for row in self._rows(child, depth + 1))
            elif isinstance(child.tag, str) and child.tag not in _SKIPPED:
                pieces.append(self._cell(child, depth + 1))
        return " ".join(piece for piece in pieces if piece.strip())


_NORMAL = WordStyle()


def _is_shown(item: etree._Element, within: etree._Element) -> bool:
    """Whether something drawn is not the older twin of another, and not within a box itself."""
    for above in item.iterancestors():
        if above is within:
            return True
        if above.tag in {f"{_W}txbxContent", f"{_MC}Fallback"}:
            return False
    return True


def _grouped(text: str) -> str:
    """Within brackets where it is more than one word or number."""
    return text if text.isalnum() or (text[0] == "(" and text[-1] == ")") else f"({text})"


def _value(element: etree._Element) -> str:
    return element.get(f"{_W}val") or ""


def _outline_level(properties: etree._Element) -> int:
    outline = properties.find(f"{_W}outlineLvl")
    value = "" if outline is None else _value(outline)
    return int(value) + 1 if value.isdecimal() and int(value) < 9 else 0


def _list_of(
    properties: etree._Element, inherited: tuple[str, int] | None
) -> tuple[str, int] | None:
    number = properties.find(f"{_W}numPr")
    if number is None:
        return inherited
    level, name = number.find(f"{_W}ilvl"), number.find(f"{_W}numId")
    number_id = _value(name) if name is not None else (inherited or ("", 0))[0]
    depth = _value(level) if level is not None else ""
    if number_id in {"", "0"}:  # 0 takes a paragraph out of its style's list
        return None
    return number_id, min(int(depth), 8) if depth.isdecimal() else 0


def read_styles(root: etree._Element | None) -> dict[str, WordStyle]:
    """Paragraph styles by id; "" is what paragraphs without one have."""
    if root is None:
        return {}
    elements = {style.get(f"{_W}styleId") or "": style for style in root.iterfind(f"{_W}style")}
    return {name: _read_style(name, elements) for name in elements}


def _read_style(name: str, elements: dict[str, etree._Element]) -> WordStyle:
    level, list_ = 0, None
    title = code = quote = False
    seen: set[str] = set()
    while name in elements and name not in seen:  # up the chain, which may be a circle
        seen.add(name)
        element = elements[name]
        label = element.find(f"{_W}name")
        called = _value(label).lower() if label is not None else ""
        if called.startswith("heading ") and called[8:].isdecimal():
            level = level or int(called[8:])
        title = title or called == "title"
        code = code or called in {"html preformatted", "source code", "code", "preformatted text"}
        quote = quote or called in {"quote", "intense quote", "quotations"}
        properties = element.find(f"{_W}pPr")
        if properties is not None:
            level = level or _outline_level(properties)
            list_ = list_ or _list_of(properties, None)
        based = element.find(f"{_W}basedOn")
        name = _value(based) if based is not None else ""
    if title:
        level = 1
    return WordStyle(level, title, None if level else list_, code, quote)


def _read_numbering(root: etree._Element | None) -> dict[tuple[str, int], bool]:
    """Whether a list's level has bullets, by numbering id and level."""
    if root is None:
        return {}
    kinds: dict[str, dict[int, bool]] = {}
    for abstract in root.iterfind(f"{_W}abstractNum"):
        levels = kinds.setdefault(abstract.get(f"{_W}abstractNumId") or "", {})
        for level in abstract.iterfind(f"{_W}lvl"):
            form, depth = level.find(f"{_W}numFmt"), level.get(f"{_W}ilvl") or ""
            if depth.isdecimal():
                levels[int(depth)] = form is None or _value(form) in {"bullet", "none", ""}
    bullets: dict[tuple[str, int], bool] = {}
    for number in root.iterfind(f"{_W}num"):
        abstract_id = number.find(f"{_W}abstractNumId")
        if abstract_id is not None:
            for depth, bullet in kinds.get(_value(abstract_id), {}).items():
                bullets[number.get(f"{_W}numId") or "", depth] = bullet
    return bullets
