"""PDF files: text in reading order with pages, headings by size, weight or bookmark.

pdfium gives letters in the order they were written, which follows columns in all but odd files.
Lines are kept as lines, so that rows of a table stay rows. What a font does not map to Unicode is
left out rather than indexed as garbage, and a scan without a text layer is refused with a reason.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import pypdfium2 as pdfium
from pypdfium2 import raw

from ingestion.convert import pdf_tables
from ingestion.convert.document import (
    ConversionError,
    ConversionLimits,
    Converted,
    NoText,
    TextWriter,
    render_table,
)
from ingestion.convert.ocr import Piece, Recogniser
from ingestion.convert.pdf_columns import by_rows
from ingestion.convert.pdf_continued import ContinuedTables
from ingestion.convert.pdf_furniture import without_furniture
from ingestion.convert.pdf_joints import joined
from ingestion.convert.pdf_lines import Line, read_lines
from ingestion.convert.pdf_rulings import read_grids
from ingestion.convert.pdf_turned import turn_back, turn_of
from ingestion.convert.progress import tell_pages
from ingestion.convert.titles import given_title, shown_title

MIME = "application/pdf"

_DPI = 200  # of pages that are read off their pictures
_SIDE = 4000  # pixels at most
_HEADING_CHARS = 160  # longer lines are text, however large
_BULLET = re.compile(r"\s*(?:[\u2022\u25cf\u25e6\u25aa\u2023\u2043\u00b7\uf0b7]|[-\u2013*]\s)\s*")
_VOWELS = re.compile("[aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýœ]", re.IGNORECASE)
_LATIN = re.compile("[a-zà-öø-ÿ]", re.IGNORECASE)


def is_pdf(data: bytes) -> bool:
    """Whether a PDF begins within the first kilobyte, as readers allow; a text about one does not."""
    head = data[:1024]
    return b"%PDF-" in head and (
        head.lstrip(b"\xef\xbb\xbf\x00 \t\r\n").startswith(b"%PDF-") or b" obj" in data[:65_536]
    )


def convert(
    data: bytes, limits: ConversionLimits, recogniser: Recogniser | None = None
) -> Converted:
    """The text of all pages; with a recogniser also of those that are pictures."""
    document = _open(data)
    try:
        if len(document) > limits.pages:
            raise ConversionError(
                "too_large",
                f"the PDF has {len(document):,} pages and the limit is {limits.pages:,}: split it"
                " into smaller files and add those",
            )
        pages, unmapped = _read_pages(document, limits)
        pictured = _recognise(document, pages, recogniser) if recogniser else 0
        facts = document.get_metadata_dict()
        bookmarks = _read_bookmarks(document)
    finally:
        document.close()
    refuse_without_text(pages, unmapped, is_read=recogniser is not None)
    for page, lines in zip(pages, without_furniture([p.lines for p in pages]), strict=True):
        page.lines = lines
    layout = Layout(pages, bookmarks)
    writer = TextWriter(limits)
    for page in pages:
        layout.write(page, writer)
    text, blocks = writer.finish()
    metadata: dict[str, str | int | float | bool | list[str]] = {}
    notice = ""
    if empty := sum(1 for page in pages if not page.lines and page.has_ink):
        metadata["pages_without_text"] = empty
        if recogniser is not None and recogniser.is_over:
            notice = (
                f"{empty} scanned pages at the end were left out; split the file to get all of it."
            )
    if pictured:
        metadata["pages_recognised"] = pictured
    if unmapped:
        metadata["unreadable_letters"] = unmapped
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=given_title(facts.get("Title", "")) or shown_title(blocks),
        author=" ".join(facts.get("Author", "").split())[:200],
        created_at=parse_pdf_date(facts.get("CreationDate", "")),
        updated_at=parse_pdf_date(facts.get("ModDate", "")),
        page_count=len(pages),
        metadata=metadata,
        notice=notice,
    )


@dataclass(slots=True)
class PdfPage:
    """A page's lines; `has_ink` where it shows something at all."""

    number: int
    lines: list[Line] = field(default_factory=list)
    has_ink: bool = False


def _open(data: bytes) -> pdfium.PdfDocument:
    try:
        document = pdfium.PdfDocument(data)
        len(document)
    except pdfium.PdfiumError as error:
        if _asks_for_password(data):
            raise ConversionError(
                "encrypted", "the PDF requires a password: save a copy without one and add that"
            ) from error
        raise ConversionError(
            "unreadable",
            "the PDF is damaged or truncated: open it in a viewer, print or export it to a new PDF"
            " and add that",
        ) from error
    return document


def _asks_for_password(data: bytes) -> bool:
    """Why a PDF does not open; pdfium may report the reason of the one before, so that is set first."""
    codes = []
    for content in (b"%PDF-", data):
        try:
            pdfium.PdfDocument(content).close()
        except pdfium.PdfiumError as error:
            codes.append(getattr(error, "err_code", None))
    return len(codes) == 2 and codes[1] == raw.FPDF_ERR_PASSWORD


def _read_pages(
    document: pdfium.PdfDocument, limits: ConversionLimits
) -> tuple[list[PdfPage], int]:
    pages, unmapped, chars = [], 0, 0
    for number in range(len(document)):
        tell_pages(number, len(document))
        page = PdfPage(number + 1)
        pages.append(page)
        try:
            handle = document[number]
        except pdfium.PdfiumError:
            continue  # a page that can't be loaded is as good as empty
        text = None
        try:
            text = handle.get_textpage()
            if turn := turn_of(text):
                text.close()
                turn_back(handle, turn)
                handle.close()
                handle = document[number]
                text = handle.get_textpage()
            lines, missing = read_lines(text, handle.get_width(), read_grids(handle))
            page.lines = lines if any(line.table for line in lines) else by_rows(lines)
            unmapped += missing
            page.has_ink = bool(page.lines) or raw.FPDFPage_CountObjects(handle) > 0
        except pdfium.PdfiumError:
            continue
        finally:
            if text is not None:
                text.close()
            handle.close()
        chars += sum(len(line.text) for line in page.lines)
        if chars > limits.text_chars:
            raise ConversionError(
                "too_large",
                f"the PDF contains more than {limits.text_chars:,} characters of text: split it into"
                " smaller files and add those",
            )
        if page.lines and _is_garbage(page.lines):
            unmapped += sum(len(line.text) for line in page.lines)
            page.lines = []
    return pages, unmapped


def _recognise(
    document: pdfium.PdfDocument, pages: Sequence[PdfPage], recogniser: Recogniser
) -> int:
    """Read pages without text off their pictures; how many were."""
    count = 0
    for page in pages:
        tell_pages(page.number - 1, len(pages))
        if page.lines or not page.has_ink or recogniser.is_over:
            continue
        try:
            handle = document[page.number - 1]
            try:
                scale = min(_DPI / 72, _SIDE / max(*handle.get_size(), 1))
                picture = handle.render(scale=scale, rev_byteorder=False).to_numpy()
                height = handle.get_height()
            finally:
                handle.close()
        except (pdfium.PdfiumError, ValueError):
            continue
        page.lines = lines_of(recogniser.read(picture[:, :, :3]), scale, height)
        count += bool(page.lines)
    return count


def lines_of(pieces: Sequence[Piece], scale: float, height: float) -> list[Line]:
    """What was read off a picture as lines of a page `height` points high, `scale` pixels a point.

    Letters measured on a picture vary; lines about as high as most count as one size.
    """
    if not pieces:
        return []
    sizes = sorted(piece.height for piece in pieces)
    usual = sizes[len(sizes) // 2]
    lines = []
    for piece in pieces:
        size = piece.height if piece.height > 1.5 * usual else usual
        bottom = height - piece.bottom / scale
        lines.append(
            Line(
                text=piece.text,
                size=round(size / scale * 2) / 2 or 0.5,
                bold=False,
                left=piece.left / scale,
                right=piece.right / scale,
                bottom=bottom,
                end_bottom=bottom,
            )
        )
    return lines


def _is_garbage(lines: Sequence[Line]) -> bool:
    """Whether a page's letters make no text, as with fonts that don't say what they draw."""
    text = "".join(line.text for line in lines)
    dense = "".join(text.split())
    words = sum(map(str.isalnum, dense))
    if words < 0.4 * len(dense):
        return len(set(dense)) > 3  # a row of dots or dashes is no text either, but harmless
    latin = len(_LATIN.findall(text))
    return latin > 60 and latin > 0.5 * words and len(_VOWELS.findall(text)) < 0.15 * latin


def refuse_without_text(pages: Sequence[PdfPage], unmapped: int, *, is_read: bool) -> None:
    """Raise `NoText` where no page has a line; `is_read` where its pictures were read as well."""
    if any(page.lines for page in pages):
        return
    if is_read:
        raise ConversionError(
            "no_text",
            "the PDF has no text layer, and its pictures contain no readable text: add a"
            " version with text",
        )
    if unmapped:
        raise NoText(
            "the PDF's fonts don't map to characters, so its text can't be read: export"
            " it again from its source, or install the ocr extra",
        )
    raise NoText(
        "the PDF has no text layer (it is a scan or contains only pictures): add a version with text,"
        " or install the ocr extra",
    )


def _read_bookmarks(document: pdfium.PdfDocument) -> dict[tuple[int, str], int]:
    """Levels of headings from the PDF's outline, by page (from 1) and title."""
    found: dict[tuple[int, str], int] = {}
    for bookmark in document.get_toc(max_depth=6):
        title = _key(bookmark.get_title() or "")
        target = bookmark.get_dest()
        index = target.get_index() if target is not None else None
        if title and index is not None:
            found.setdefault((index + 1, title), bookmark.level + 1)
        if len(found) > 20_000:
            break
    return found


def _key(title: str) -> str:
    """A heading as bookmarks and pages spell it alike: without its number and spacing."""
    return "".join(re.sub(r"^[\s\d.]+", "", title).split()).casefold()


class Layout:
    """Tells headings from text, and where paragraphs end."""

    def __init__(self, pages: Sequence[PdfPage], bookmarks: dict[tuple[int, str], int]) -> None:
        sizes: Counter[float] = Counter()
        for page in pages:
            for line in page.lines:
                sizes[line.size] += len(line.text)
        self._body = sizes.most_common(1)[0][0]
        large = sorted({s for s in sizes if s > self._body * 1.15}, reverse=True)
        levels: dict[float, int] = {}
        for size in large:  # sizes within a twentieth of one another are the same level
            near = next((known for known in levels if known < size * 1.05), None)
            levels[size] = levels[near] if near is not None else len(set(levels.values())) + 1
        self._levels = levels
        self._bold_level = min(len(set(levels.values())) + 1, 6)
        self._bookmarks = bookmarks
        gaps = [
            above.end_bottom - below.bottom
            for page in pages
            for above, below in zip(page.lines, page.lines[1:], strict=False)
            if 0 < above.end_bottom - below.bottom < 2 * above.size
        ]
        self._leading = statistics.median(gaps) if gaps else self._body * 1.2
        self._continued = ContinuedTables()

    def write(self, page: PdfPage, writer: TextWriter) -> None:
        """A page's paragraphs, headings and tables."""
        for number, (lines, rows) in enumerate(pdf_tables.apart(page.lines)):
            if rows:
                whole = self._continued.read(page.number, lines, rows, is_first=not number)
                writer.add("table", render_table(whole), page=page.number)
            else:
                self._continued.text_follows()
                self._write_lines(page, lines, writer)

    def _write_lines(self, page: PdfPage, of_page: Sequence[Line], writer: TextWriter) -> None:
        for lines in self._paragraphs(of_page):
            text = joined(lines, " ")
            level = self._heading_level(page.number, lines, text)
            if level:
                writer.heading(level, text, page=page.number)
            elif _BULLET.match(lines[0].text):
                items = [_BULLET.sub("- ", joined(item, "\n"), count=1) for item in _items(lines)]
                writer.add("list", "\n".join(items), page=page.number)
            else:
                writer.add("paragraph", joined(lines, "\n"), page=page.number)

    def _paragraphs(self, lines: Sequence[Line]) -> list[list[Line]]:
        groups: list[list[Line]] = []
        for line in lines:
            if groups and self._continues(groups[-1], line):
                groups[-1].append(line)
            else:
                groups.append([line])
        return groups

    def _continues(self, group: Sequence[Line], line: Line) -> bool:
        last = group[-1]
        if abs(line.size - last.size) > 0.08 * last.size:
            return False
        if bool(_BULLET.match(line.text)) != bool(_BULLET.match(group[0].text)):
            return line.left > group[0].left + 1 and not _BULLET.match(line.text)
        if line.bold != last.bold and (last.bold or line.bold) and len(group) == 1:
            return False
        drop = last.end_bottom - line.bottom
        if drop < 0:  # the next column continues a sentence
            beside = line.left > max(member.right for member in group) - line.size or (
                line.right < min(member.left for member in group) + line.size
            )
            return beside and not last.text.rstrip().endswith((".", "!", "?", ":", "\u3002"))
        if drop > 1.35 * max(self._leading, 1.1 * line.size):
            return False
        indented = line.left > group[-1].left + 0.8 * line.size
        return not (indented and last.text.rstrip().endswith((".", "!", "?")))

    def _heading_level(self, page: int, lines: Sequence[Line], text: str) -> int:
        if len(text) > _HEADING_CHARS or not any(letter.isalpha() for letter in text):
            return 0
        if level := self._bookmarks.get((page, _key(text))):
            return level
        if level := self._levels.get(lines[0].size, 0):
            return min(level, 6)
        plain = not text.endswith((".", ",", ";", ":")) and len(text) <= 80 and len(lines) == 1
        return self._bold_level if plain and lines[0].bold and lines[0].size >= self._body else 0


def _items(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines of each item of a list."""
    items: list[list[Line]] = []
    for line in lines:
        if not items or _BULLET.match(line.text):
            items.append([])
        items[-1].append(line)
    return items


def parse_pdf_date(value: str) -> datetime | None:
    """A date as PDF writes it, `D:20240103093826+01'00'`, in UTC; None where it is not one."""
    match = re.match(
        r"D?:?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:([+-])(\d\d)'?(\d\d)?)?", value.strip()
    )
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    offset = timedelta(hours=int(match[8] or 0), minutes=int(match[9] or 0))
    try:
        zone = timezone(-offset if match[7] == "-" else offset)
        moment = datetime(year, month or 1, day or 1, hour, minute, second, tzinfo=zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
