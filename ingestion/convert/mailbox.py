"""Mailboxes (.mbox): the messages one after another, each under its subject.

Messages begin with a line `From … date` after an empty one. One that can't be read costs no other.
"""

from __future__ import annotations

import re

from ingestion.convert import mail
from ingestion.convert.document import (
    ConversionError,
    ConversionLimits,
    Converted,
    EmbeddedFile,
    TextWriter,
)

MIME = "application/mbox"

# RFC 4155; the date has a time of day and a year, and headers follow at once.
_FROM = re.compile(
    rb"(?:\A|(?<=\n\n)|(?<=\r\n\r\n))From [^\n]*\d{1,2}:\d{2}[^\n]*\d{4}[^\n]*\n(?=>?[A-Za-z][\w-]*:)"
)
_ESCAPED = re.compile(rb"^>(?=>*From )", re.MULTILINE)


def is_mbox(data: bytes) -> bool:
    """Whether more than one message follows another; a single one is an e-mail."""
    if not data.startswith(b"From "):
        return False
    found = _FROM.finditer(data)
    return next(found, None) is not None and next(found, None) is not None


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """All messages as one document, what is attached to them beside it."""
    starts = [match.start() for match in _FROM.finditer(data)]
    writer = TextWriter(limits)
    attachments: list[EmbeddedFile] = []
    sent = []
    left_out = unread = size = 0
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(data)], strict=True), 1):
        try:
            letter = mail.convert(_ESCAPED.sub(b"", data[start:end]), limits)
        except ConversionError as error:
            if error.code == "too_large":
                raise
            writer.heading(1, f"Message {number}")
            writer.add("paragraph", f"Not read: {error.message}.")
            unread += 1
            continue
        if not (letter.blocks and letter.blocks[0].kind == "heading"):
            writer.heading(1, f"Message {number}")
        if letter.blocks:
            writer.include(letter)
        sent += [letter.created_at] if letter.created_at else []
        for attachment in letter.attachments:
            size += len(attachment.data)
            if len(attachments) >= limits.attachments or size > limits.attachment_bytes:
                left_out += 1
            else:
                attachments.append(attachment)
    text, blocks = writer.finish()
    if unread == len(starts):
        raise ConversionError(
            "unreadable", "none of the mailbox's messages could be read: export it anew"
        )
    notices = [f"{unread} of {len(starts)} messages could not be read."] if unread else []
    notices += (
        [f"{left_out} attachments were left out: too many, or too large."] if left_out else []
    )
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        created_at=min(sent, default=None),
        updated_at=max(sent, default=None),
        metadata={"messages": len(starts)},
        attachments=tuple(attachments),
        notice=" ".join(notices),
    )
