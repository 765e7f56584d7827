"""Rich Text (.rtf): paragraphs, headings by style or outline level, tables, links.

One pass over the tokens with a stack of groups, as the format's specification (1.9.1) describes.
Bytes are decoded with the code page of the font they are set in, which is how East Asian text comes.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ingestion.convert.document import ConversionLimits, Converted, TextWriter, cell, render_table
from ingestion.convert.office import safe_link
from ingestion.convert.titles import document_title

MIME = "application/rtf"

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})?[ ]?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|([^\\{}\r\n]+)|[\r\n]+|\\"
)
_SKIPPED = frozenset(
    (
        *(b"colortbl", b"pict", b"object", b"header", b"headerl", b"headerf", b"headerr"),
        *(b"footer", b"footerl", b"footerr", b"footerf", b"themedata", b"colorschememapping"),
        *(
            b"datastore",
            b"latentstyles",
            b"listtable",
            b"listoverridetable",
            b"rsidtbl",
            b"xmlnstbl",
        ),
        *(b"generator", b"pntext", b"pntxta", b"pntxtb", b"nonshppict", b"bkmkstart", b"bkmkend"),
        *(b"datafield", b"template", b"filetbl", b"revtbl", b"comment", b"annotation", b"atnid"),
        *(b"atnauthor", b"mmathPr", b"listtext", b"fldinst", b"do", b"xe", b"tc", b"formfield"),
    )
)
_CHARSETS = {
    0: "cp1252",
    77: "mac-roman",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gb18030",
    136: "cp950",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    254: "cp437",
    255: "cp850",
}
_LETTERS = {
    b"tab": "\t",
    b"line": "\n",
    b"emdash": "\u2014",
    b"endash": "\u2013",
    b"lquote": "\u2018",
    b"rquote": "\u2019",
    b"ldblquote": "\u201c",
    b"rdblquote": "\u201d",
    b"bullet": "\u2022",
    b"emspace": " ",
    b"enspace": " ",
    b"qmspace": " ",
}
_SYMBOLS = {b"~": "\u00a0", b"_": "-", b"{": "{", b"}": "}", b"\\": "\\", b"\n": "\n", b"\r": "\n"}
_HEADING = re.compile(
    r"(?:heading|\u898b\u51fa\u3057|\u00dcberschrift|titre)\s*(\d)", re.IGNORECASE
)
_DEPTH = 500


def is_rtf(data: bytes) -> bool:
    """Whether `data` begins as rich text does."""
    return data[:64].lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{\\rtf")


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The document's paragraphs."""
    reader = _RtfReader(limits)
    reader.read(data)
    text, blocks = reader.writer.finish()
    facts = reader.facts
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        title=document_title(facts.get("title", ""), blocks),
        author=" ".join(facts.get("author", "").split())[:200],
        created_at=reader.moments.get("creatim"),
        updated_at=reader.moments.get("revtim"),
    )


def plain_text(data: bytes, limits: ConversionLimits) -> str:
    """The words alone, as a message's body wants them."""
    return convert(data, limits).text


@dataclass(slots=True)
class _Group:
    """What a brace opens and its counterpart restores."""

    skipped: bool = False
    target: str = ""  # where text goes: "" the document, else a table's or a property's name
    skip: int = 1  # letters after \u that replace it
    font: int = 0
    hidden: bool = False
    link: str = ""


@dataclass(slots=True)
class _RtfReader:
    limits: ConversionLimits
    writer: TextWriter = field(init=False)
    facts: dict[str, str] = field(default_factory=dict)
    moments: dict[str, datetime] = field(default_factory=dict)
    _group: _Group = field(default_factory=_Group)
    _stack: list[_Group] = field(default_factory=list)
    _page: str = "cp1252"
    _fonts: dict[int, str] = field(default_factory=dict)
    _levels: dict[int, int] = field(default_factory=dict)  # of headings, by the style's number
    _style: int = 0
    _outline: int = 0
    _in_table: bool = False
    _bulleted: bool = False
    _text: list[str] = field(default_factory=list)
    _bytes: bytearray = field(default_factory=bytearray)
    _cells: list[str] = field(default_factory=list)
    _rows: list[list[str]] = field(default_factory=list)
    _items: list[str] = field(default_factory=list)
    _pending: int = 0  # letters still to be left out after \u
    _half: int = 0  # the first of a pair of surrogates
    _named: list[str] = field(default_factory=list)
    _instruction: str = ""
    _link_at: int = 0
    _moment: dict[bytes, int] = field(default_factory=dict)
    _first: bool = False  # the next word decides what a group is for

    def __post_init__(self) -> None:
        self.writer = TextWriter(self.limits)

    def read(self, data: bytes) -> None:
        """All tokens, then what is left open."""
        starred = False
        for match in _TOKEN.finditer(data):
            word, number, code, symbol, brace, plain = match.groups()
            if brace:
                self._brace(brace)
            elif code is not None:
                self._byte(int(code, 16))
            elif plain is not None:
                self._plain(plain)
            elif symbol == b"*":
                starred = True
                continue
            elif symbol is not None:
                self._put(_SYMBOLS.get(symbol, ""))
            elif word is not None:
                if starred and word not in {b"fldinst", b"listtext", b"shppict", b"htmltag"}:
                    self._group.skipped = True
                self._word(word, int(number) if number else None)
            starred = False
        self._end_paragraph()
        self._end_table()
        self._end_list()

    def _brace(self, brace: bytes) -> None:
        self._decode()
        self._pending = 0
        if brace == b"{":
            if len(self._stack) < _DEPTH:
                self._stack.append(replace(self._group))
            else:
                self._group.skipped = True
            return
        if self._group.target and self._stack and self._stack[-1].target != self._group.target:
            self._close_target(self._group.target)
        if self._stack:
            self._group = self._stack.pop()

    def _close_target(self, target: str) -> None:
        said = "".join(self._named)
        self._named.clear()
        if target in {"title", "author"}:
            self.facts[target] = said
        elif target == "fldinst":
            self._instruction = said
        elif target == "fldrslt":
            self._end_link()
        elif target in {"creatim", "revtim"}:
            year, month, day = (self._moment.get(word, 1) for word in (b"yr", b"mo", b"dy"))
            hour, minute = self._moment.get(b"hr", 0), self._moment.get(b"min", 0)
            with contextlib.suppress(ValueError, OverflowError):
                self.moments[target] = datetime(year, month, day, hour, minute, tzinfo=UTC)
            self._moment = {}

    def _end_link(self) -> None:
        match = re.search(r'HYPERLINK\s+"?([^"\s]+)', self._instruction)
        target = safe_link(match[1]) if match else ""
        said = "".join(self._text[self._link_at :])
        if target and said.strip() and said.strip() not in target:
            self._text[self._link_at :] = [f"[{said}]({target})"]
        self._instruction = ""

    def _word(self, word: bytes, number: int | None) -> None:  # noqa: C901, PLR0912, PLR0915 (a table of the format's words)
        group = self._group
        if word == b"u":
            self._unicode(number or 0)
            return
        if word == b"bin":
            return
        self._decode()
        if word in _LETTERS:
            self._put(_LETTERS[word])
        elif word in {b"par", b"sect", b"page"}:
            if not group.skipped and not group.target:
                self._end_paragraph()
        elif word == b"pard":
            self._style = self._outline = 0
            self._in_table = self._bulleted = False
        elif word == b"plain":
            group.hidden = False
        elif word == b"intbl":
            self._in_table = True
        elif word in {b"cell", b"nestcell"}:
            self._end_cell()
        elif word in {b"row", b"nestrow"}:
            self._end_row()
        elif word == b"fonttbl":
            group.target = "fonttbl"
        elif word == b"stylesheet":
            group.target = "stylesheet"
            self._named.clear()
        elif word in {b"title", b"author"}:
            group.target = word.decode("ascii")
            self._named.clear()
        elif word in {b"creatim", b"revtim"}:
            group.target = word.decode("ascii")
        elif word in {b"yr", b"mo", b"dy", b"hr", b"min"}:
            self._moment[word] = number or 0
        elif word == b"info":
            group.target = "info"
        elif word == b"fldinst":
            group.target = "fldinst"
            self._named.clear()
        elif word == b"fldrslt":
            group.target = "" if group.target in {"", "fldrslt"} else group.target
            self._link_at = len(self._text)
            if not group.target and self._instruction:
                group.target = "fldrslt"
        elif word in {b"listtext", b"pntext"}:
            group.skipped = True
            self._bulleted = True
        elif word in _SKIPPED:
            group.skipped = True
        elif word == b"ls":
            self._bulleted = bool(number)
        elif word == b"uc":
            group.skip = min(max(number or 0, 0), 8)
        elif word == b"f":
            group.font = number or 0
        elif word == b"fcharset" and group.target == "fonttbl":
            self._fonts[group.font] = _CHARSETS.get(number or 0, "")
        elif word == b"ansicpg" and number:
            self._page = f"cp{number}" if number != 65001 else "utf-8"
        elif word == b"mac":
            self._page = "mac-roman"
        elif word == b"s":
            self._style = number or 0
        elif word == b"outlinelevel":
            if group.target == "stylesheet":
                self._levels[self._style] = (number or 0) + 1
            else:
                self._outline = (number or 0) + 1
        elif word in {b"v", b"deleted"}:
            group.hidden = number != 0

    def _unicode(self, number: int) -> None:
        self._decode()
        code = number + 65_536 if number < 0 else number
        if 0xD800 <= code < 0xDC00:
            self._half = code
        elif 0xDC00 <= code < 0xE000 and self._half:
            self._put(chr(0x10000 + ((self._half - 0xD800) << 10) + code - 0xDC00))
            self._half = 0
        elif 0 <= code <= 0x10FFFF:
            self._put(chr(code))
        self._pending = self._group.skip

    def _byte(self, code: int) -> None:
        if self._pending:
            self._pending -= 1
        elif not self._group.skipped:
            self._bytes.append(code)

    def _plain(self, data: bytes) -> None:
        if self._pending:
            dropped = min(self._pending, len(data))
            self._pending -= dropped
            data = data[dropped:]
        if not self._group.skipped:
            self._bytes += data  # together with what is escaped: pairs of bytes mix both

    def _decode(self) -> None:
        if not self._bytes:
            return
        data = bytes(self._bytes)
        self._bytes.clear()
        if data.isascii():
            self._put(data.decode("ascii"))
            return
        name = self._fonts.get(self._group.font) or self._page
        try:
            self._put(data.decode(name, "replace"))
        except LookupError:
            self._put(data.decode("cp1252", "replace"))

    def _put(self, text: str) -> None:
        group = self._group
        if group.skipped or group.hidden or not text:
            return
        if group.target == "stylesheet":
            if match := _HEADING.search(text):
                self._levels.setdefault(self._style, int(match[1]))
        elif group.target in {"title", "author", "fldinst"}:
            self._named.append(text)
        elif group.target in {"", "fldrslt"}:
            self._text.append(text)

    def _take(self) -> str:
        text = "".join(self._text)
        self._text.clear()
        self._link_at = 0
        return text

    def _end_paragraph(self) -> None:
        self._decode()
        if self._in_table:
            self._text.append("\n")
            return
        text = self._take().strip()
        if not text:
            return
        self._end_table()
        level = self._outline or self._levels.get(self._style, 0)
        if self._bulleted and not level:
            self._items.append(f"- {' '.join(text.split())}")
            return
        self._end_list()
        if 0 < level <= 6 and len(text) < 300:
            self.writer.heading(level, text)
        else:
            self.writer.add("paragraph", text)

    def _end_cell(self) -> None:
        self._cells.append(cell(self._take()))

    def _end_row(self) -> None:
        if self._cells and any(self._cells):
            self._end_list()
            self._rows.append(self._cells)
        self._cells = []

    def _end_table(self) -> None:
        if self._cells:
            self._end_row()
        if self._rows:
            self.writer.add("table", render_table(self._rows))
            self._rows = []

    def _end_list(self) -> None:
        if self._items:
            self.writer.add("list", "\n".join(self._items))
            self._items = []
