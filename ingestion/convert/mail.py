"""E-mail (.eml): who wrote to whom and when, the body, and what was attached, apart.

Of a body that comes as text and as HTML the text is taken, unless it is a stub of the other.
Attachments are handed back as files of their own; `msg.py` writes its messages the same way.
"""

from __future__ import annotations

import contextlib
import email
import email.generator  # what a message within a message is written by loads it late
import email.policy
import email.utils
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import Message
from typing import Any

from ingestion.convert import html
from ingestion.convert.document import (
    ConversionError,
    ConversionLimits,
    Converted,
    EmbeddedFile,
    TextWriter,
    clean,
)
from ingestion.convert.encoding import decode_text

MIME = "message/rfc822"

_HEADER = re.compile(rb"(?:[A-Za-z][A-Za-z0-9-]{0,40}:[^\n]*\n(?:[ \t]+[^\n]*\n)*){3}")
_KNOWN = re.compile(
    rb"^(?:Received|Return-Path|Delivered-To|MIME-Version|Message-ID|From|Date|Subject|To|Cc):",
    re.IGNORECASE | re.MULTILINE,
)
_PARAGRAPHS = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_SAID_NOTHING = frozenset(("smime.p7s", "winmail.dat", "signature.asc", "pgp.asc"))
_ENVELOPES = frozenset(("application/pkcs7-mime", "application/x-pkcs7-mime"))
_SIGNED = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"  # signedData, RFC 5652
_STUB = 0.5  # of the words of the HTML: a plain text with fewer is no text of the message
_PARTS = 1000
_HEADER_MAX = 10_000  # characters: decoding one takes time by their square


def is_mail(data: bytes) -> bool:
    """Whether `data` begins with at least three headers of a message."""
    head = data[:16384].replace(b"\r\n", b"\n").lstrip(b"\n")
    if head.startswith(b"From "):  # of a mailbox
        head = head.partition(b"\n")[2]
    match = _HEADER.match(head)
    if match is None:
        return False
    block = head.split(b"\n\n", 1)[0]
    return len(_KNOWN.findall(block)) >= 3


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The message, its attachments beside it."""
    if data.startswith(b"From "):
        data = data.partition(b"\n")[2]
    try:
        message = email.message_from_bytes(data, policy=email.policy.compat32)
        letter = _read(message, limits)
        _refuse_encrypted(message, letter)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConversionError(
            "unreadable",
            "the message is damaged: save it again from the mail program and add that",
        ) from error
    return write_letter(letter, limits, MIME)


def encrypted_mail(how: str) -> ConversionError:
    return ConversionError(
        "encrypted",
        f"the message is encrypted ({how}): open it in the mail program that has the key, save its text"
        " and add that",
    )


def _refuse_encrypted(message: Message[Any, Any], letter: Letter) -> None:
    """Where nothing but ciphertext is left of a message, say so."""
    if message.get_content_type() == "multipart/encrypted":
        raise encrypted_mail("PGP")
    if letter.body.lstrip().startswith("-----BEGIN PGP MESSAGE-----"):
        raise encrypted_mail("PGP")
    if letter.body.strip() or letter.page.strip():
        return
    for part in _parts(message):
        kind, name = part.get_content_type(), _filename(part).lower()
        if kind in _ENVELOPES or name.endswith((".p7m", ".p7z")):
            data = part.get_payload(decode=True)
            if _SIGNED in (data[:100] if isinstance(data, bytes) else b""):
                raise ConversionError(
                    "unknown_type",
                    "the message is packed into its signature (S/MIME), which Scrubjay doesn't open:"
                    " save its text from the mail program and add that",
                )
            raise encrypted_mail("S/MIME")
        if kind == "application/pgp-encrypted" or name.endswith((".pgp", ".gpg")):
            raise encrypted_mail("PGP")
        if name == "message.rpmsg" or kind == "application/x-microsoft-rpmsg-message":
            raise encrypted_mail("Microsoft rights management")


@dataclass(slots=True)
class Letter:
    """A message, whatever file it came in. `page` is its HTML, `body` its plain text."""

    subject: str = ""
    sender: str = ""
    to: str = ""
    cc: str = ""
    sent_at: datetime | None = None
    body: str = ""
    page: bytes = b""
    attachments: list[EmbeddedFile] = field(default_factory=list)
    left_out: int = 0  # attachments over the limits


def write_letter(letter: Letter, limits: ConversionLimits, mime: str) -> Converted:
    """A message as a document."""
    writer = TextWriter(limits)
    subject = " ".join(clean(letter.subject).split())
    writer.heading(1, subject)
    date = f"{letter.sent_at:%Y-%m-%d %H:%M} UTC" if letter.sent_at else ""
    names = ", ".join(attachment.name for attachment in letter.attachments)
    lines = [
        f"{name}: {' '.join(value.split())}"
        for name, value in (
            *(("From", letter.sender), ("To", letter.to), ("Cc", letter.cc), ("Date", date)),
            ("Attachments", names),
        )
        if value.strip()
    ]
    writer.add("paragraph", "\n".join(lines))
    _write_body(letter, writer, limits)
    text, blocks = writer.finish()
    return Converted(
        text=text,
        blocks=blocks,
        mime=mime,
        title=subject[:500],
        author=" ".join(letter.sender.split())[:200],
        created_at=letter.sent_at,
        updated_at=letter.sent_at,
        metadata={"attachments": [attachment.name for attachment in letter.attachments]}
        if letter.attachments
        else {},
        attachments=tuple(letter.attachments),
        notice=f"{letter.left_out} attachments were left out: too many, or too large."
        if letter.left_out
        else "",
    )


def _write_body(letter: Letter, writer: TextWriter, limits: ConversionLimits) -> None:
    page: Converted | None = None
    if letter.page.strip():
        inner = TextWriter(limits)
        with contextlib.suppress(ConversionError):
            html.write_page(letter.page, inner, within=True)
        text, blocks = inner.finish()
        page = Converted(text, blocks, html.MIME)
    plain = clean(letter.body).strip()
    if page is not None and len(plain.split()) < _STUB * len(page.text.split()):
        if page.blocks:
            writer.include(page)
        return
    for paragraph in _PARAGRAPHS.split(plain):
        lines = paragraph.strip("\n").split("\n")
        quoted = all(line.startswith(">") for line in lines)
        writer.add("quote" if quoted else "paragraph", "\n".join(lines))


def _read(message: Message[Any, Any], limits: ConversionLimits) -> Letter:
    letter = Letter(
        subject=_header(message, "Subject"),
        sender=_header(message, "From"),
        to=_header(message, "To"),
        cc=_header(message, "Cc"),
        sent_at=_date(message),
    )
    size = 0
    for part in _parts(message):
        kind = part.get_content_type()
        name = _filename(part)
        if not name and kind == "text/plain":
            letter.body = "\n\n".join(filter(None, (letter.body, _text(part))))
        elif not name and kind == "text/html":
            letter.page = letter.page or _page(part)
        elif data := _attached(part, name):
            name = name or _invented(part)
            size += len(data)
            if len(letter.attachments) >= limits.attachments or size > limits.attachment_bytes:
                letter.left_out += 1
            else:
                letter.attachments.append(EmbeddedFile(name, data))
    return letter


def _parts(message: Message[Any, Any]) -> Iterator[Message[Any, Any]]:
    """Leaves of the message, attached messages whole; of alternatives those that are text."""
    waiting: list[Message[Any, Any]] = [message]
    count = 0
    while waiting and count < _PARTS:
        part = waiting.pop(0)
        count += 1
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            waiting[:0] = [item for item in payload if isinstance(item, Message)]
        else:
            yield part


def _header(message: Message[Any, Any], name: str) -> str:
    value = message.get(name)
    if value is None:
        return ""
    value = value if isinstance(value, str) else str(value)
    try:
        said = str(make_header(decode_header(value[:_HEADER_MAX])))
    except (ValueError, LookupError, TypeError):
        said = value
    return _recoded(said)[:2000]


def _recoded(text: str) -> str:
    """Header bytes that nobody encoded, read as the text they most likely are."""
    if not any("\udc80" <= letter <= "\udcff" for letter in text):
        return text
    raw = text.encode("utf-8", "surrogateescape")
    try:
        return decode_text(raw)[0]
    except ConversionError:
        return raw.decode("latin-1")


def _date(message: Message[Any, Any]) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(str(message.get("Date") or ""))
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _filename(part: Message[Any, Any]) -> str:
    try:
        name = part.get_filename() or ""
        with contextlib.suppress(ValueError, LookupError):
            name = str(make_header(decode_header(name)))
    except (ValueError, TypeError, LookupError):
        name = ""
    attached = str(part.get("Content-Disposition") or "").strip().lower().startswith("attachment")
    name = file_name(_recoded(name))
    return name or (_invented(part) if attached else "")


def file_name(name: str) -> str:
    """The last part of a path, on one line; a name is never a way to anywhere."""
    return " ".join(clean(name).replace("\\", "/").rpartition("/")[2].split())[:200]


def _invented(part: Message[Any, Any]) -> str:
    kind = part.get_content_type()
    if kind == MIME:
        inner = part.get_payload()
        first = inner[0] if isinstance(inner, list) and inner else None
        subject = _header(first, "Subject") if isinstance(first, Message) else ""
        return f"{file_name(subject) or 'message'}.eml"
    suffixes = {"text/plain": ".txt", "text/html": ".html", "text/calendar": ".ics"}
    return f"attachment{suffixes.get(kind, '')}"


def _attached(part: Message[Any, Any], name: str) -> bytes:
    """The bytes of what is worth a document of its own: no signatures, no pictures of the layout."""
    if name.lower() in _SAID_NOTHING:
        return b""
    shown = part.get("Content-ID") or "inline" in str(part.get("Content-Disposition") or "").lower()
    if part.get_content_maintype() == "image" and (shown or not name):
        return b""
    payload = part.get_payload()
    if isinstance(payload, list):
        first: Sequence[object] = payload[:1]
        return b"".join(item.as_bytes() for item in first if isinstance(item, Message))
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _text(part: Message[Any, Any]) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes) or not data.strip():
        return ""
    charset = part.get_content_charset() or ""
    try:
        return data.decode(charset or "utf-8")
    except (UnicodeDecodeError, LookupError):
        try:
            return decode_text(data)[0]
        except ConversionError:
            return data.decode("latin-1")


def _page(part: Message[Any, Any]) -> bytes:
    """A part's HTML in UTF-8 with a mark, so that what it declares of itself counts no more."""
    return b"\xef\xbb\xbf" + _text(part).encode("utf-8", "replace")
