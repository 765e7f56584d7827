"""Excel workbooks (.xlsx): the visible sheets as tables, values as they are shown.

Text boxes, charts and diagrams follow the cells of their
sheet. An own reader that streams each sheet, so that one of a million rows costs only the rows that are
kept. Formulas give the value that was last computed; nothing is ever computed here.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lxml import etree

from ingestion.convert.archive import Archive, damaged, directory, stream_xml
from ingestion.convert.document import (
    ConversionError,
    ConversionLimits,
    Converted,
    TextWriter,
    render_table,
)
from ingestion.convert.drawing import read_chart, read_paragraphs
from ingestion.convert.office import (
    attribute,
    local_name,
    read_core,
    read_relations,
    safe_link,
)
from ingestion.convert.sheets import Row, write_rows
from ingestion.convert.titles import given_title

MIME = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_REFERENCE = re.compile(r"([A-Z]{1,3})(\d+)")
# Formats 14-22 and 45-47 show dates and times; ECMA-376 part 1, 18.8.30.
_DATES = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_DATE_CODE = re.compile(r"[dmyhs]", re.IGNORECASE)
_NO_CODE = re.compile(r'"[^"]*"|\\.|_.|\[(?!h|m|s)[^\]]*\]|General', re.IGNORECASE)
_CELLS = 16_384


def is_xlsx(data: bytes) -> bool:
    """Whether `data` is a zip archive that names a workbook's body."""
    return b"xl/workbook" in directory(data) and b"xl/workbook.bin" not in directory(data)


def sample() -> bytes:
    """A small workbook, for warming up and for tests."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{_S}"><sheets><sheet name="A" sheetId="1"/></sheets></workbook>',
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet xmlns="{_S}"><sheetData><row r="1"><c r="A1"><v>1</v></c></row></sheetData>'
            "</worksheet>",
        )
    return out.getvalue()


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """Each sheet under a heading of its name."""
    archive = Archive(data, limits)
    book = _read_book(archive)
    writer = TextWriter(limits)
    reader = _SheetReader(archive, book, limits.rows)
    for sheet in book.sheets:
        writer.heading(1, sheet.name)
        write_rows(writer, reader.rows(sheet), name=sheet.name)
        _write_drawings(archive, sheet.part, writer)
    text, blocks = writer.finish()
    if not any(block.kind != "heading" for block in blocks):
        text, blocks = "", []  # names of empty sheets are no content
    core = read_core(archive)
    metadata: dict[str, str | int | float | bool | list[str]] = {
        "sheets": [sheet.name for sheet in book.sheets]
    }
    if book.hidden:
        metadata["hidden_sheets"] = book.hidden
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=given_title(core.title),
        author=core.author,
        created_at=core.created_at,
        updated_at=core.updated_at,
        language=core.language,
        metadata=metadata,
        notice=reader.notice,
    )


def _write_drawings(archive: Archive, part: str, writer: TextWriter) -> None:
    """Write what is drawn on a sheet: text boxes and shapes, charts, diagrams."""
    for drawing in _related(archive, part, "drawing"):
        root = _part(archive, drawing)
        if root is None:
            continue
        relations = read_relations(archive, drawing)
        for item in root.iter("{*}txBody", "{*}chart", "{*}relIds"):
            if next(item.iterancestors("{*}Fallback"), None) is not None:
                continue
            if local_name(item) == "txBody":
                writer.add("paragraph", "\n".join(read_paragraphs(item)))
                continue
            name = attribute(item, "id" if local_name(item) == "chart" else "dm")
            one = relations.get(name)
            inner = None if one is None or one.external else _part(archive, one.target)
            if inner is None:
                continue
            if local_name(item) == "chart":
                said, rows = read_chart(inner)
                writer.add("paragraph", said)
                writer.add("table", render_table(rows))
            else:
                writer.add("list", "\n".join(f"- {said}" for said in read_paragraphs(inner)))


def _related(archive: Archive, part: str, kind: str) -> list[str]:
    relations = read_relations(archive, part).values()
    return [
        relation.target for relation in relations if relation.kind == kind and not relation.external
    ]


def _part(archive: Archive, name: str) -> etree._Element | None:
    try:
        return archive.xml(name)
    except ConversionError as error:
        if error.code == "too_large":
            raise
        return None  # a drawing that can't be read costs no workbook


@dataclass(frozen=True, slots=True)
class _Sheet:
    name: str
    part: str


@dataclass(slots=True)
class _Book:
    sheets: list[_Sheet] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)  # names of sheets that are not read
    strings_part: str = "xl/sharedStrings.xml"
    styles_part: str = "xl/styles.xml"
    epoch: datetime = datetime(1899, 12, 30)  # noqa: DTZ001 (a spreadsheet's clock has no zone)


def _read_book(archive: Archive) -> _Book:
    package = read_relations(archive, "")
    part = next(
        (item.target for item in package.values() if item.kind == "officeDocument"),
        "xl/workbook.xml",
    )
    root = archive.xml(part)
    if root is None:
        raise damaged()
    relations = read_relations(archive, part)
    book = _Book()
    for item in relations.values():
        if item.kind == "sharedStrings":
            book.strings_part = item.target
        elif item.kind == "styles":
            book.styles_part = item.target
    hidden: list[_Sheet] = []
    for number, element in enumerate(root.iter("{*}sheet"), start=1):
        relation = relations.get(attribute(element, "id"))
        if relation is not None and relation.kind not in {"worksheet", "chartsheet"}:
            continue  # a macro or a dialogue on a sheet of its own
        target = relation.target if relation is not None else f"xl/worksheets/sheet{number}.xml"
        sheet = _Sheet(" ".join((element.get("name") or f"Sheet{number}").split()), target)
        is_hidden = element.get("state") in {"hidden", "veryHidden"}
        (hidden if is_hidden else book.sheets).append(sheet)
    if book.sheets:
        book.hidden = [sheet.name for sheet in hidden]
    else:
        book.sheets = hidden
    properties = next(root.iter("{*}workbookPr"), None)
    if properties is not None and properties.get("date1904") in {"1", "true"}:
        book.epoch = datetime(1904, 1, 1)  # noqa: DTZ001
    return book


class _SheetReader:
    """Rows of sheets, in all no more than the limit."""

    def __init__(self, archive: Archive, book: _Book, limit: int) -> None:
        self._archive = archive
        self._epoch = book.epoch
        self._limit = limit
        self._left = limit
        self._strings = _read_strings(archive, book.strings_part)
        self._dates, self._percents = _read_formats(archive, book.styles_part)
        self.notice = ""

    def rows(self, sheet: _Sheet) -> list[Row]:
        """The rows with cells of a sheet."""
        stream = self._archive.stream(sheet.part)
        if stream is None:
            return []
        rows: list[Row] = []
        at: dict[int, int] = {}  # index in `rows` by the row's number, for links
        links = None
        number = 0
        for element in stream_xml(stream, "row", "hyperlink"):
            if local_name(element) == "hyperlink":
                if links is None:
                    links = read_relations(self._archive, sheet.part)
                relation = links.get(attribute(element, "id"))
                if relation is not None and relation.external:
                    _link(rows, at, element.get("ref") or "", safe_link(relation.target))
                element.clear()
                continue
            given = element.get("r") or ""
            number = int(given) if given.isdecimal() and len(given) < 9 else number + 1
            cells = self._cells(element)
            element.clear()
            while element.getprevious() is not None:  # or the tree grows with the sheet
                del element.getparent()[0]
            if not any(cells):
                continue
            if not self._left:
                self.notice = (
                    f"Only the first {self._limit:,} rows were read (up to row {number - 1:,} of"
                    f" sheet {sheet.name!r}); split the workbook to get all of it."
                )
                break
            self._left -= 1
            at[number] = len(rows)
            rows.append((number, cells))
        return rows

    def _cells(self, row: etree._Element) -> list[str]:
        cells: list[str] = []
        for element in row:
            reference = _REFERENCE.match(element.get("r") or "")
            index = _column(reference[1]) if reference else len(cells)
            if index >= _CELLS or local_name(element) != "c":
                continue
            value = self._value(element)
            if not value:
                continue
            if index >= len(cells):
                cells.extend([""] * (index - len(cells)))
                cells.append(value)
            else:
                cells[index] = value
        return cells

    def _value(self, element: etree._Element) -> str:
        kind = element.get("t") or "n"
        if kind == "inlineStr":
            return _text_of(element)
        value = next((child.text for child in element if local_name(child) == "v"), None) or ""
        if kind == "s":
            index = int(value) if value.isdecimal() else -1
            return self._strings[index] if 0 <= index < len(self._strings) else ""
        if kind == "b":
            return "TRUE" if value == "1" else "FALSE"
        if kind != "n" or not value:
            return value.strip()
        return self._number(value, element.get("s") or "0")

    def _number(self, value: str, style: str) -> str:
        index = int(style) if style.isdecimal() else 0
        try:
            number = float(value)
        except ValueError:
            return value.strip()
        if index in self._dates:
            return _date(number, self._epoch)
        if index in self._percents:
            return f"{number * 100:.10g}%"
        return f"{number:.15g}" if abs(number) < 1e15 else value


def _date(number: float, epoch: datetime) -> str:
    try:
        moment = epoch + timedelta(seconds=round(number * 86_400))
    except OverflowError:
        return f"{number:.15g}"
    if 0 <= number < 1:
        return f"{moment:%H:%M:%S}".removesuffix(":00")
    if number == int(number):
        return f"{moment:%Y-%m-%d}"
    return f"{moment:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def _column(letters: str) -> int:
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - 64
    return index - 1


def _link(rows: list[Row], at: dict[int, int], reference: str, target: str) -> None:
    """Put a link's target beside the text of its cell, unless the text is the target."""
    match = _REFERENCE.match(reference)
    index = at.get(int(match[2])) if match and target else None
    if match is None or index is None:
        return
    cells, column = list(rows[index][1]), _column(match[1])
    if column < len(cells) and cells[column] and cells[column] not in target:
        cells[column] = f"[{cells[column]}]({target})"
        rows[index] = rows[index][0], cells


def _text_of(element: etree._Element) -> str:
    """The text of a string, without the readings of East Asian words beside it."""
    pieces = []
    for item in element.iter("{*}t"):
        parent = item.getparent()
        if parent is None or local_name(parent) != "rPh":
            pieces.append(item.text or "")
    return "".join(pieces).strip()


def _read_strings(archive: Archive, part: str) -> list[str]:
    stream = archive.stream(part)
    if stream is None:
        return []
    strings = []
    for element in stream_xml(stream, "si"):
        strings.append(_text_of(element))
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]
    return strings


def _read_formats(archive: Archive, part: str) -> tuple[frozenset[int], frozenset[int]]:
    """Which cell formats show a date, and which a share of a hundred."""
    root = archive.xml(part)
    if root is None:
        return frozenset(), frozenset()
    codes = {
        element.get("numFmtId") or "": element.get("formatCode") or ""
        for element in root.iter("{*}numFmt")
    }
    dates, percents = set(), set()
    formats = next(root.iter("{*}cellXfs"), None)
    for index, element in enumerate(() if formats is None else formats):
        name = element.get("numFmtId") or "0"
        code = _NO_CODE.sub("", codes.get(name, ""))
        if _DATE_CODE.search(code) or (name.isdecimal() and int(name) in _DATES and not code):
            dates.add(index)
        elif code.rstrip().endswith("%") or name in {"9", "10"}:
            percents.add(index)
    return frozenset(dates), frozenset(percents)
