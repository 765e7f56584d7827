"""OpenDocument files: texts, sheets and presentations (.odt, .ods, .odp), also as flat XML.

The three share one vocabulary, so one reader walks them all: headings, paragraphs, lists, tables,
links and footnotes as Markdown, each sheet or slide under its name. Deletions that are tracked and
comments are left out.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lxml import etree

from ingestion.convert.archive import ZIP_MAGIC, Archive, damaged, directory, encrypted, parse_xml
from ingestion.convert.document import (
    BlockPlace,
    ConversionLimits,
    Converted,
    TextWriter,
    cell,
    render_table,
)
from ingestion.convert.office import attribute, local_name, parse_moment, safe_link
from ingestion.convert.sheets import Row, write_rows
from ingestion.convert.titles import document_title

MIME = "application/vnd.oasis.opendocument.text"

_BASE = "application/vnd.oasis.opendocument."
_SKIPPED = frozenset(
    (
        *(
            "tracked-changes",
            "annotation",
            "annotation-end",
            "change",
            "change-start",
            "change-end",
        ),
        *("forms", "sequence-decls", "variable-decls", "index-title-template", "bookmark"),
        *("user-field-decls", "automatic-styles", "settings", "thumbnail", "desc", "title"),
    )
)
_DEPTH = 60
_COLUMNS = 500
_REPEATED = 1000  # times a row with cells is repeated
_ENCRYPTED = b":encryption-data"
_FLAT = re.compile(rb"<office:document\b")


def is_odf(data: bytes) -> bool:
    """Whether `data` is an OpenDocument package, or the same as one XML file."""
    if data.startswith(ZIP_MAGIC):
        names = directory(data)
        packed = b"content.xml" in names and b"META-INF/manifest.xml" in names
        return _BASE.encode("ascii") in data[:200] or packed
    return data[:5] == b"<?xml" and _FLAT.search(data[:4096]) is not None


def sample() -> bytes:
    """A small text, for warming up and for tests."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", MIME)
        archive.writestr(
            "content.xml",
            '<o:document-content xmlns:o="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
            ' xmlns:t="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><o:body><o:text><t:p>A</t:p>'
            "</o:text></o:body></o:document-content>",
        )
    return out.getvalue()


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The document's body."""
    if data.startswith(ZIP_MAGIC):
        archive = Archive(data, limits)
        if _ENCRYPTED in (archive.read("META-INF/manifest.xml") or b""):
            raise encrypted()
        content = archive.xml("content.xml")
        meta = archive.xml("meta.xml")
        mime = (archive.read("mimetype") or b"").decode("ascii", "replace").strip()
    else:
        content = meta = parse_xml(data)
        mime = attribute(content, "mimetype")
    body = None if content is None else next(content.iter("{*}body"), None)
    if content is None or body is None or not len(body):
        raise damaged()
    writer = TextWriter(limits)
    walker = _OdfWalker(writer, limits, _read_list_styles(content))
    kind = local_name(body[0])
    if kind == "spreadsheet":
        walker.sheets(body[0])
    elif kind in {"presentation", "drawing"}:
        walker.slides(body[0])
    else:
        walker.blocks(body[0])
    text, blocks = writer.finish()
    if kind == "spreadsheet" and not any(block.kind != "heading" for block in blocks):
        text, blocks = "", []
    facts = _read_meta(meta)
    return Converted(
        text=text,
        blocks=blocks,
        mime=mime if mime.startswith(_BASE) else MIME,
        title=document_title(
            facts.get("title", ""), () if kind == "spreadsheet" else blocks, walker.title
        ),
        author=facts.get("creator", "") or facts.get("initial-creator", ""),
        created_at=parse_moment(facts.get("creation-date")),
        updated_at=parse_moment(facts.get("date")),
        page_count=walker.slide or None,
        language=facts.get("language", "").lower(),
        notice=walker.notice,
    )


def _read_meta(root: etree._Element | None) -> dict[str, str]:
    meta = None if root is None else next(root.iter("{*}meta"), None)
    facts: dict[str, str] = {}
    for item in () if meta is None else meta:
        facts.setdefault(local_name(item), " ".join((item.text or "").split())[:500])
    return facts


def _read_list_styles(content: etree._Element) -> dict[str, set[int]]:
    """The levels, from 0, that are numbered, by the name of a list's style."""
    styles = {}
    for style in content.iter("{*}list-style"):
        numbered = {
            int(attribute(item, "level") or 1) - 1
            for item in style
            if local_name(item) == "list-level-style-number" and attribute(item, "num-format")
        }
        styles[attribute(style, "name")] = numbered
    return styles


@dataclass(slots=True)
class _OdfWalker:
    writer: TextWriter
    limits: ConversionLimits
    numbered: dict[str, set[int]]
    title: str = ""
    notice: str = ""
    slide: int = 0
    notes: list[str] = field(default_factory=list)

    def blocks(self, parent: etree._Element, depth: int = 0) -> None:
        """Write what is within `parent`, then the footnotes it has."""
        for child in parent:
            self._block(child, depth)
        if depth == 0:
            for note in self.notes:
                self.writer.add("paragraph", note)
            self.notes.clear()

    def _block(self, child: etree._Element, depth: int) -> None:
        name = local_name(child)
        if name in _SKIPPED or not name or depth > _DEPTH:
            return
        if name == "h":
            level = attribute(child, "outline-level") or "1"
            self.writer.heading(int(level) if level.isdecimal() else 1, self._text(child))
        elif name == "p":
            text = self._text(child).strip()
            if not self.title and attribute(child, "style-name") == "Title":
                self.title = " ".join(text.split())
            self.writer.add("paragraph", text, page=self.slide or None)
            self._frames(child, depth)
        elif name == "list":
            lines = list(self._items(child, 0, attribute(child, "style-name"), depth))
            self.writer.add("list", "\n".join(lines), page=self.slide or None)
        elif name == "table":
            rows = [[cell(text) for text in cells] for _, cells in self._rows(child, depth)]
            if max((len(row) for row in rows), default=0) > 1:
                self.writer.add("table", render_table(rows), page=self.slide or None)
            else:
                self.writer.add("paragraph", "\n".join(row[0] for row in rows if row))
        else:
            self.blocks(child, depth + 1)

    def _frames(self, paragraph: etree._Element, depth: int) -> None:
        """Text boxes that hang on a paragraph."""
        for box in paragraph.iter("{*}text-box"):
            self.blocks(box, depth + 2)

    def _items(self, element: etree._Element, level: int, style: str, depth: int) -> Iterator[str]:
        number = 0
        for item in element:
            if local_name(item) not in {"list-item", "list-header"} or depth > _DEPTH:
                continue
            number += 1
            mark = f"{number}." if level in self.numbered.get(style, ()) else "-"
            for child in item:
                name = local_name(child)
                if name == "list":
                    inner = attribute(child, "style-name") or style
                    yield from self._items(child, level + 1, inner, depth + 1)
                elif name in {"p", "h"} and (text := " ".join(self._text(child).split())):
                    yield f"{'  ' * level}{mark} {text}"
                    mark = " " * len(mark)

    def _text(self, element: etree._Element, depth: int = 0) -> str:
        pieces = [element.text or ""]
        for child in element:
            pieces.append(self._inline(child, depth))
            pieces.append(child.tail or "")
        return "".join(pieces)

    def _inline(self, child: etree._Element, depth: int) -> str:  # noqa: PLR0911 (one a kind)
        name = local_name(child)
        if name in _SKIPPED or name == "text-box" or not name or depth > _DEPTH:
            return ""
        if name == "s":
            count = attribute(child, "c") or "1"
            return " " * min(int(count) if count.isdecimal() else 1, 80)
        if name == "tab":
            return "\t"
        if name == "line-break":
            return "\n"
        if name == "a":
            text, target = self._text(child, depth + 1), safe_link(attribute(child, "href"))
            return f"[{text}]({target})" if target and text.strip() else text
        if name == "note":
            return self._note(child, depth)
        return self._text(child, depth + 1)

    def _note(self, element: etree._Element, depth: int) -> str:
        parts = {local_name(child): child for child in element}
        if "note-body" not in parts:
            return ""
        mark = "".join(parts["note-citation"].itertext()) if "note-citation" in parts else "*"
        said = " ".join(self._text(p, depth + 1) for p in parts["note-body"].iter("{*}p"))
        self.notes.append(f"[^{mark}]: {' '.join(said.split())}")
        return f"[^{mark}]"

    def sheets(self, body: etree._Element) -> None:
        """Each sheet under a heading of its name."""
        left = self.limits.rows
        for table in body:
            if local_name(table) != "table":
                continue
            name = " ".join(attribute(table, "name").split())
            self.writer.heading(1, name)
            rows: list[Row] = []
            for row in self._rows(table, 0):
                if not left:
                    self.notice = (
                        f"Only the first {self.limits.rows:,} rows were read; split the file to"
                        " have all."
                    )
                    break
                rows.append(row)
                left -= 1
            write_rows(self.writer, rows, name=name)

    def _rows(self, table: etree._Element, depth: int) -> Iterator[Row]:
        """Rows with cells; what is repeated thousands of times is empty, or a trap."""
        number = 0
        for row in table.iter("{*}table-row"):
            if next(row.iterancestors("{*}table")) is not table:
                continue  # of a table within a cell: its text is in that cell's
            times = _repeated(row, "number-rows-repeated")
            cells = self._cells(row, depth)
            if any(cells):
                for step in range(min(times, _REPEATED)):
                    yield number + step + 1, cells
            number += times

    def _cells(self, row: etree._Element, depth: int) -> Sequence[str]:
        cells: list[str] = []
        empty = 0
        for item in row:
            name = local_name(item)
            if name not in {"table-cell", "covered-table-cell"}:
                continue
            times = _repeated(item, "number-columns-repeated")
            text = "" if name == "covered-table-cell" else self._cell(item, depth)
            if not text:
                empty += times
                continue
            if len(cells) + empty >= _COLUMNS:
                break
            cells.extend([""] * empty)
            empty = 0
            cells.extend([text] * min(times, _COLUMNS - len(cells)))
        return cells

    def _cell(self, element: etree._Element, depth: int) -> str:
        if depth > _DEPTH:
            return ""
        pieces = []
        for child in element:
            name = local_name(child)
            if name == "table":
                rows = self._rows(child, depth + 1)
                pieces += ["; ".join(filter(None, cells)) for _, cells in rows]
            elif name in {"p", "h"}:
                pieces.append(self._text(child))
            elif name == "list":
                pieces += self._items(child, 0, "", depth + 1)
            elif name not in _SKIPPED and name:
                pieces.append(self._cell(child, depth + 1))
        text = " ".join(piece for piece in pieces if piece.strip())
        return text.strip() or (attribute(element, "value") if len(element) else "")

    def slides(self, body: etree._Element) -> None:
        """Each slide under its title, its notes last."""
        for page in body:
            if local_name(page) != "page":
                continue
            self.slide += 1
            self.writer.place = BlockPlace("slide", self.slide, self.slide)
            frames = [line for line in page if local_name(line) != "notes"]
            title = next((f for f in frames if attribute(f, "class") == "title"), None)
            said = "" if title is None else " ".join(self._paragraphs(title))
            self.writer.heading(1, said or f"Slide {self.slide}", page=self.slide)
            for frame in frames:
                if frame is not title:
                    self._block(frame, 1)
            notes = next((line for line in page if local_name(line) == "notes"), None)
            if notes is not None and (texts := self._paragraphs(notes)):
                self.writer.add("paragraph", "Notes: " + "\n".join(texts), page=self.slide)

    def _paragraphs(self, element: etree._Element) -> list[str]:
        texts = (" ".join(self._text(p).split()) for p in element.iter("{*}p"))
        return [text for text in texts if text and text != "<number>"]


def _repeated(element: etree._Element, name: str) -> int:
    times = attribute(element, name)
    return min(int(times), 1 << 24) if times.isdecimal() and len(times) < 9 else 1
