"""Outlook messages (.msg): an OLE container of properties, rendered as an e-mail is.

Property numbers are from Microsoft's [MS-OXPROPS], the container's layout from [MS-OXMSG].
"""

from __future__ import annotations

import email.generator  # `as_bytes` loads it late, where nothing can be loaded any more
import email.utils
import io
import struct
from datetime import UTC, datetime, timedelta
from email.header import Header
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from hashlib import blake2b

import olefile

from ingestion.convert.archive import damaged
from ingestion.convert.document import (
    ConversionError,
    ConversionLimits,
    Converted,
    EmbeddedFile,
    clean,
)
from ingestion.convert.encoding import decode_text
from ingestion.convert.mail import Letter, encrypted_mail, file_name, write_letter
from ingestion.convert.rtf import plain_text

MIME = "application/vnd.ms-outlook"

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MARK = "__properties_version1.0".encode("utf-16-le")
_CLASS = 0x001A
_SUBJECT, _BODY, _HTML, _RTF = 0x0037, 0x1000, 0x1013, 0x1009
_SENDER, _SENDER_SMTP, _SENDER_ADDRESS = 0x0C1A, 0x5D01, 0x0C1F
_TO, _CC = 0x0E04, 0x0E03
_SENT, _DELIVERED = 0x0039, 0x0E06
_LONG_NAME, _SHORT_NAME, _DATA, _SHOWN_NAME, _CONTENT_ID = 0x3707, 0x3704, 0x3701, 0x3001, 0x3712
_MESSAGE_CODEPAGE, _INTERNET_CODEPAGE = 0x3FFD, 0x3FDE
_CODE_PAGES = {65001: "utf-8", 936: "gb18030", 28591: "cp1252", 20127: "ascii", 51932: "euc_jp"}
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_DEPTH = 3  # of messages within messages
_STREAM = 200 * 1024 * 1024


def is_msg(data: bytes) -> bool:
    """Whether `data` is an OLE container that holds a message's properties."""
    return (
        data.startswith(_OLE) and _MARK in data and b"W\x00o\x00r\x00d\x00D\x00o\x00c" not in data
    )


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The message, its attachments beside it."""
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            letter = _Store(container, limits).read((), 0)
    except (OSError, ValueError, struct.error, IndexError, TypeError, AttributeError) as error:
        raise damaged() from error
    return write_letter(letter, limits, MIME)


class _Store:
    """The properties of the message in a container, and of those within it."""

    def __init__(self, container: olefile.OleFileIO, limits: ConversionLimits) -> None:
        self._container = container
        self._limits = limits
        self._encoding = ""
        self._left = limits.attachment_bytes

    def read(self, at: tuple[str, ...], depth: int) -> Letter:
        """The message in the storage `at`."""
        fixed = self._fixed(at, depth)
        kind = self._text(at, _CLASS).lower()
        if not depth and "smime" in kind and "multipartsigned" not in kind:
            raise encrypted_mail("S/MIME")
        for number in (_MESSAGE_CODEPAGE, _INTERNET_CODEPAGE):
            page = struct.unpack("<I", fixed[number][:4])[0] if number in fixed else 0
            if page and page != 1200:
                self._encoding = _CODE_PAGES.get(page, f"cp{page}")
                break
        name, address = self._text(at, _SENDER), ""
        for number in (_SENDER_SMTP, _SENDER_ADDRESS):
            address = address or self._text(at, number)
        if "@" in address and address not in name:
            name = f"{name} <{address}>" if name else address
        letter = Letter(
            subject=self._text(at, _SUBJECT),
            sender=name or address,
            to=self._text(at, _TO),
            cc=self._text(at, _CC),
            sent_at=_moment(fixed.get(_SENT)) or _moment(fixed.get(_DELIVERED)),
            body=self._text(at, _BODY),
            page=self._page(at),
        )
        if not letter.body.strip() and not letter.page and (packed := self._bytes(at, _RTF)):
            letter.body = plain_text(unpack_rtf(packed), self._limits)
        for storage in self._storages(at):
            self._attach(letter, (*at, storage), depth)
        if not depth and any(
            attachment.name.lower() == "message.rpmsg" for attachment in letter.attachments
        ):
            raise encrypted_mail("Microsoft rights management")
        if not depth and letter.body.lstrip().startswith("-----BEGIN PGP MESSAGE-----"):
            raise encrypted_mail("PGP")
        return letter

    def _attach(self, letter: Letter, at: tuple[str, ...], depth: int) -> None:
        name = self._text(at, _LONG_NAME) or self._text(at, _SHORT_NAME)
        name = file_name(name or self._text(at, _SHOWN_NAME))
        data = self._bytes(at, _DATA)
        inner = (*at, f"__substg1.0_{_DATA:04X}000D")
        if not data and self._container.exists([*inner, "__properties_version1.0"]):
            if depth >= _DEPTH:
                letter.left_out += 1
                return
            message = self.read(inner, depth + 1)
            data = _as_mail(message)
            name = f"{file_name(message.subject) or name or 'message'}.eml"
        picture = name.lower().endswith((".png", ".jpg", ".jpeg", ".gif", ".bmp"))
        if not data or (picture and self._text(at, _CONTENT_ID)):
            return
        self._left -= len(data)
        if len(letter.attachments) >= self._limits.attachments or self._left < 0:
            letter.left_out += 1
        else:
            letter.attachments.append(EmbeddedFile(name or "attachment", data))

    def _storages(self, at: tuple[str, ...]) -> list[str]:
        names = {
            path[len(at)]
            for path in self._container.listdir(streams=True, storages=False)
            if tuple(path[: len(at)]) == at
            and len(path) > len(at)
            and path[len(at)].startswith("__attach_version1.0_")
        }
        return sorted(names)

    def _fixed(self, at: tuple[str, ...], depth: int) -> dict[int, bytes]:
        """Properties of fixed length, by number: eight bytes each."""
        path = [*at, "__properties_version1.0"]
        if not self._container.exists(path):
            return {}
        data = self._container.openstream(path).read(1 << 20)
        head = 24 if depth else 32
        return {
            struct.unpack_from("<H", data, offset + 2)[0]: data[offset + 8 : offset + 16]
            for offset in range(head, len(data) - 15, 16)
        }

    def _bytes(self, at: tuple[str, ...], number: int, kind: str = "0102") -> bytes:
        path = [*at, f"__substg1.0_{number:04X}{kind}"]
        if not self._container.exists(path):
            return b""
        data: bytes = self._container.openstream(path).read(_STREAM)
        return data

    def _text(self, at: tuple[str, ...], number: int) -> str:
        if wide := self._bytes(at, number, "001F"):
            return wide.decode("utf-16-le", "replace").rstrip("\0")
        narrow = self._bytes(at, number, "001E").rstrip(b"\0")
        if not narrow:
            return ""
        try:
            return narrow.decode(self._encoding or "utf-8")
        except (UnicodeDecodeError, LookupError):
            pass
        try:
            return decode_text(narrow)[0]
        except ConversionError:
            return narrow.decode("latin-1")

    def _page(self, at: tuple[str, ...]) -> bytes:
        text = self._text(at, _HTML)
        if text:
            return b"\xef\xbb\xbf" + text.encode("utf-8", "replace")
        return self._bytes(at, _HTML)


def _moment(value: bytes | None) -> datetime | None:
    """A time as Windows counts it: tenths of microseconds since 1601."""
    if not value or len(value) < 8:
        return None
    ticks = struct.unpack("<Q", value)[0]
    try:
        return _EPOCH + timedelta(microseconds=ticks // 10) if ticks else None
    except OverflowError:
        return None


def _as_mail(letter: Letter) -> bytes:
    """A message within a message as the file of an e-mail."""
    # The same message gives the same bytes: a boundary drawn by lot would make it a new file.
    said = f"{letter.subject}\0{letter.body}".encode("utf-8", "replace")
    boundary = blake2b(said + letter.page, digest_size=16).hexdigest()
    message = MIMEMultipart(boundary=f"={boundary}=outer")
    for name, value in (("Subject", letter.subject), ("From", letter.sender), ("To", letter.to)):
        if value := " ".join(clean(value).split()):
            message[name] = Header(value, "utf-8").encode()
    if letter.sent_at:
        message["Date"] = email.utils.format_datetime(letter.sent_at)
    body = MIMEMultipart("alternative", boundary=f"={boundary}=inner")
    body.attach(MIMEText(clean(letter.body), "plain", "utf-8"))
    if letter.page:
        page = letter.page.decode("utf-8", "replace").removeprefix("\ufeff")
        body.attach(MIMEText(clean(page), "html", "utf-8"))
    message.attach(body)
    for attachment in letter.attachments:
        part = MIMEApplication(attachment.data)
        part.add_header(
            "Content-Disposition", "attachment", filename=("utf-8", "", attachment.name)
        )
        message.attach(part)
    return message.as_bytes()


_PRIMED = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern "
    b"\\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0"
    b"\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)


def unpack_rtf(data: bytes) -> bytes:
    """Rich text as messages keep it: LZ77 over a window primed with common words ([MS-OXRTFCP])."""
    if len(data) < 16:
        return b""
    size, kind = struct.unpack_from("<I4s", data, 4)
    if kind == b"MELA":
        return data[16:]
    window = bytearray(_PRIMED.ljust(4096, b"\0"))
    at, end = 16, len(_PRIMED)
    out = bytearray()
    size = min(size, 64 * len(data))
    while at < len(data) and len(out) < size:
        flags = data[at]
        at += 1
        for bit in range(8):
            if at >= len(data):
                break
            if not flags >> bit & 1:
                out.append(data[at])
                window[end] = data[at]
                end = (end + 1) % 4096
                at += 1
                continue
            if at + 1 >= len(data):
                return bytes(out[:size])
            offset, length = data[at] << 4 | data[at + 1] >> 4, (data[at + 1] & 15) + 2
            at += 2
            if offset == end:
                return bytes(out[:size])
            for step in range(length):
                byte = window[(offset + step) % 4096]
                out.append(byte)
                window[end] = byte
                end = (end + 1) % 4096
    return bytes(out[:size])
