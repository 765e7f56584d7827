"""PowerPoint presentations (.pptx): each slide under its title, with lists, tables, charts and notes.

Shapes are read from top to bottom and left to right, as eyes do; files keep them in the order they
were drawn. Pictures give the text that was written to describe them.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field

from lxml import etree

from ingestion.convert.archive import Archive, damaged, directory
from ingestion.convert.document import (
    BlockPlace,
    ConversionLimits,
    Converted,
    TextWriter,
    cell,
    render_table,
)
from ingestion.convert.drawing import read_chart
from ingestion.convert.office import (
    Relation,
    attribute,
    local_name,
    read_core,
    read_relations,
    safe_link,
)
from ingestion.convert.titles import given_title

MIME = "application/vnd.openxmlformats-officedocument.presentationml.presentation"

_P = "http://schemas.openxmlformats.org/presentationml/2006/main"
_A = "http://schemas.openxmlformats.org/drawingml/2006/main"
_TITLES = frozenset(("title", "ctrTitle"))
_UNSAID = frozenset(("dt", "ftr", "sldNum", "hdr", "sldImg"))  # placeholders that say nothing
_DEPTH = 30


def is_pptx(data: bytes) -> bool:
    """Whether `data` is a zip archive that names a presentation's body."""
    return b"ppt/presentation.xml" in directory(data)


def sample() -> bytes:
    """A small presentation, for warming up and for tests."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("ppt/presentation.xml", f'<p:presentation xmlns:p="{_P}"/>')
        archive.writestr(
            "ppt/slides/slide1.xml",
            f'<p:sld xmlns:p="{_P}" xmlns:a="{_A}"><p:cSld><p:spTree><p:sp><p:txBody><a:p><a:r>'
            "<a:t>A</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld></p:sld>",
        )
    return out.getvalue()


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The slides in their order."""
    archive = Archive(data, limits)
    writer = TextWriter(limits)
    parts = _slide_parts(archive)
    for number, part in enumerate(parts, start=1):
        writer.place = BlockPlace("slide", number, number)
        root = archive.xml(part)
        if root is not None:
            _Slide(archive, writer, number, read_relations(archive, part)).write(root)
    text, blocks = writer.finish()
    core = read_core(archive)
    first = next((block for block in blocks if block.kind == "heading"), None)
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=given_title(core.title) or (first.heading_path[-1] if first else ""),
        author=core.author,
        created_at=core.created_at,
        updated_at=core.updated_at,
        page_count=len(parts),
        language=core.language,
    )


def _slide_parts(archive: Archive) -> list[str]:
    root = archive.xml("ppt/presentation.xml")
    if root is None:
        raise damaged()
    relations = read_relations(archive, "ppt/presentation.xml")
    listed = []
    for element in root.iter("{*}sldId"):
        name = next((v for k, v in element.attrib.items() if k.endswith("}id")), "")
        if (relation := relations.get(name)) is not None and relation.kind == "slide":
            listed.append(relation.target)
    if listed:
        return listed
    slides = [n for n in archive.names() if n.startswith("ppt/slides/slide") and n.endswith(".xml")]
    return sorted(slides, key=lambda name: (len(name), name))


@dataclass(slots=True)
class _Shape:
    element: etree._Element
    role: str  # of a placeholder
    top: int
    left: int


@dataclass(slots=True)
class _Slide:
    archive: Archive
    writer: TextWriter
    number: int
    relations: dict[str, Relation]
    _list: list[str] = field(default_factory=list)

    def write(self, root: etree._Element) -> None:
        """Title, shapes, notes."""
        tree = next(root.iter("{*}spTree"), None)
        shapes = [] if tree is None else self._shapes(tree, 0)
        title = next((shape for shape in shapes if shape.role in _TITLES), None)
        said = " ".join(self._paragraphs(title.element)) if title is not None else ""
        self.writer.heading(1, said or f"Slide {self.number}", page=self.number)
        for shape in sorted(shapes, key=lambda shape: (shape.top, shape.left)):
            if shape is not title and shape.role not in _UNSAID:
                self._shape(shape)
        self._notes()

    def _shapes(self, parent: etree._Element, depth: int) -> list[_Shape]:
        found: list[_Shape] = []
        for element in parent:
            name = local_name(element)
            if name == "grpSp" and depth < _DEPTH:
                inner = self._shapes(element, depth + 1)
                top, left = _corner(element)
                # A group's shapes have coordinates of their own: they stay together at its corner.
                inner.sort(key=lambda shape: (shape.top, shape.left))
                found += [_Shape(shape.element, shape.role, top, left) for shape in inner]
            elif name == "AlternateContent" and depth < _DEPTH:
                choice = next((child for child in element if local_name(child) == "Choice"), None)
                found += [] if choice is None else self._shapes(choice, depth + 1)
            elif name in {"sp", "pic", "graphicFrame", "cxnSp"}:
                placeholder = next(element.iter("{*}ph"), None)
                role = "" if placeholder is None else placeholder.get("type") or "body"
                found.append(_Shape(element, role, *_corner(element)))
        return found

    def _shape(self, shape: _Shape) -> None:
        element = shape.element
        name = local_name(element)
        if name == "pic":
            described = next(element.iter("{*}cNvPr"), None)
            if described is not None and (text := described.get("descr") or ""):
                self.writer.add("paragraph", " ".join(text.split()), page=self.number)
        elif name == "graphicFrame":
            self._frame(element)
        else:
            self._text(element, bulleted=shape.role in {"body", "obj", "subTitle", ""})

    def _text(self, element: etree._Element, *, bulleted: bool) -> None:
        body = next((child for child in element if local_name(child) == "txBody"), None)
        if body is None:
            return
        paragraphs = [item for item in body if local_name(item) == "p"]
        said = [(self._runs(paragraph), paragraph) for paragraph in paragraphs]
        said = [(text, paragraph) for text, paragraph in said if text.strip()]
        as_list = bulleted and len(said) > 1
        for text, paragraph in said:
            level, bullet = _bullet(paragraph)
            if bullet or (as_list and bullet is None) or level:
                self._list.append(f"{'  ' * level}- {' '.join(text.split())}")
            else:
                self._flush()
                self.writer.add("paragraph", text.strip(), page=self.number)
        self._flush()

    def _flush(self) -> None:
        if self._list:
            self.writer.add("list", "\n".join(self._list), page=self.number)
            self._list.clear()

    def _paragraphs(self, element: etree._Element) -> list[str]:
        texts = (" ".join(self._runs(item).split()) for item in element.iter("{*}p"))
        return [text for text in texts if text]

    def _runs(self, paragraph: etree._Element) -> str:
        pieces = []
        for run in paragraph:
            name = local_name(run)
            if name in {"r", "fld"}:
                text = "".join(t.text or "" for t in run.iter("{*}t"))
                pieces.append(self._linked(run, text))
            elif name == "br":
                pieces.append("\n")
            elif name not in {"pPr", "endParaRPr"}:
                pieces.append("".join(t.text or "" for t in run.iter("{*}t")))  # mathematics
        return "".join(pieces)

    def _linked(self, run: etree._Element, text: str) -> str:
        click = next(run.iter("{*}hlinkClick"), None)
        relation = self.relations.get(attribute(click, "id")) if click is not None else None
        target = safe_link(relation.target) if relation is not None and relation.external else ""
        return f"[{text}]({target})" if target and text.strip() else text

    def _frame(self, element: etree._Element) -> None:
        table = next(element.iter("{*}tbl"), None)
        if table is not None:
            rows = [
                [cell(" ".join(self._paragraphs(item))) for item in row if local_name(item) == "tc"]
                for row in table.iter("{*}tr")
            ]
            self.writer.add("table", render_table([r for r in rows if any(r)]), page=self.number)
            return
        for item in element.iter("{*}chart", "{*}relIds"):
            name = attribute(item, "dm" if local_name(item) == "relIds" else "id")
            relation = self.relations.get(name)
            root = None if relation is None else self.archive.xml(relation.target)
            if root is None:
                continue
            if local_name(item) == "chart":
                self._chart(root)
            else:  # a diagram: its points are a list
                texts = [t for point in root.iter("{*}pt") for t in self._paragraphs(point)]
                self.writer.add("list", "\n".join(f"- {t}" for t in texts), page=self.number)

    def _chart(self, root: etree._Element) -> None:
        said, rows = read_chart(root)
        self.writer.add("paragraph", said, page=self.number)
        self.writer.add("table", render_table(rows), page=self.number)

    def _notes(self) -> None:
        part = next((r.target for r in self.relations.values() if r.kind == "notesSlide"), "")
        root = self.archive.xml(part) if part else None
        tree = None if root is None else next(root.iter("{*}spTree"), None)
        if tree is None:
            return
        said = [
            text
            for shape in self._shapes(tree, 0)
            if shape.role not in _UNSAID
            for text in self._paragraphs(shape.element)
        ]
        if said:
            self.writer.add("paragraph", "Notes: " + "\n".join(said), page=self.number)


def _corner(element: etree._Element) -> tuple[int, int]:
    """Top and left; a placeholder without them is where its layout puts it: first."""
    offset = next(element.iter("{*}off"), None)
    if offset is None:
        return 0, 0
    values = (offset.get("y") or "0", offset.get("x") or "0")
    top, left = (int(v) if v.lstrip("-").isdecimal() else 0 for v in values)
    return top, left


def _bullet(paragraph: etree._Element) -> tuple[int, bool | None]:
    """The paragraph's level, and whether it has a bullet; None where its layout decides."""
    properties = next((item for item in paragraph if local_name(item) == "pPr"), None)
    if properties is None:
        return 0, None
    level = properties.get("lvl") or "0"
    names = {local_name(property_) for property_ in properties}
    bullet = True if names & {"buChar", "buAutoNum", "buBlip"} else None
    return int(level) if level in "012345678" else 0, False if "buNone" in names else bullet
