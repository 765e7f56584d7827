"""E-mail and Outlook messages: who wrote, what was said, what was attached."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from ingestion.convert import msg
from ingestion.convert.document import ConversionError, ConversionLimits
from ingestion.convert.formats import convert
from ingestion.convert.mail import Letter

DOCS = Path(__file__).resolve().parents[3] / "shared" / "data" / "docs"


def letter(body: str = "Hello there, all of you.", html: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Jörg <joerg@example.org>"
    message["To"] = "ada@example.org"
    message["Subject"] = "Größe der Lieferung"
    message["Date"] = "Mon, 02 Mar 2026 10:30:00 +0100"
    message.set_content(body)
    if html:
        message.add_alternative(html, subtype="html")
    return message


def test_a_message_says_who_wrote_when_and_what() -> None:
    document = convert(letter().as_bytes(), "a.eml")
    assert document.text == (
        "# Größe der Lieferung\n\nFrom: Jörg <joerg@example.org>\nTo: ada@example.org\n"
        "Date: 2026-03-02 09:30 UTC\n\nHello there, all of you."
    )
    assert document.title == "Größe der Lieferung"
    assert document.updated_at == datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def test_a_message_is_known_without_its_ending() -> None:
    assert convert(letter().as_bytes(), "saved").mime == "message/rfc822"
    assert convert(b"From: me\nabout: nothing\n\nA text.", "note.txt").mime == "text/plain"
    front = b"---\nDate: 2026-01-01\nSubject: a\nTo: b\n---\n# A"
    assert convert(front, "a.md").mime == "text/markdown"


def test_of_alternatives_the_text_is_taken_unless_it_is_a_stub() -> None:
    page = "<p>Prices rise in <b>May</b> by four per cent, says the board.</p>"
    both = convert(
        letter("Prices rise in May by four per cent, says the board.", page).as_bytes(), "a.eml"
    )
    assert both.text.count("four per cent") == 1
    stub = convert(letter("See HTML.", page).as_bytes(), "a.eml")
    assert "four per cent" in stub.text
    assert "See HTML" not in stub.text


def test_attachments_come_apart_and_signatures_and_pictures_of_the_layout_do_not() -> None:
    message = letter()
    message.add_attachment(
        b"a,b\n1,2\n", maintype="text", subtype="csv", filename="../../zahlen ä.csv"
    )
    message.add_attachment(b"sig", maintype="application", subtype="pgp", filename="smime.p7s")
    message.add_attachment(
        b"\x89PNG",
        maintype="image",
        subtype="png",
        filename="logo.png",
        disposition="inline",
        cid="<l>",
    )
    message.add_attachment(letter("The inner one."))
    document = convert(message.as_bytes(), "a.eml")
    assert [attachment.name for attachment in document.attachments] == [
        "zahlen ä.csv",
        "Größe der Lieferung.eml",
    ]
    assert document.attachments[0].data == b"a,b\n1,2\n"
    assert "The inner one." in convert(document.attachments[1].data, "b.eml").text
    assert "The inner one." not in document.text
    assert "Attachments: zahlen ä.csv, Größe der Lieferung.eml" in document.text


def test_attachments_over_the_limit_are_left_out_with_a_word() -> None:
    message = letter()
    for number in range(4):
        message.add_attachment(b"x", maintype="text", subtype="plain", filename=f"{number}.txt")
    document = convert(message.as_bytes(), "a.eml", ConversionLimits(attachments=3))
    assert len(document.attachments) == 3
    assert document.notice.startswith("1 attachments were left out")


@pytest.mark.parametrize(
    "raw",
    [
        b"From: a\nTo: b\nSubject: =?x-nothing?Q?a?=\nDate: never\n\nbody",
        b"From: \xe4\xf6\nTo: b\nSubject: \xfc\nDate: x\n\nbody",
        b"From: a\nTo: b\nSubject: c\nContent-Type: text/plain; charset=nonsense\n\nbody",
        b"From: a\nTo: b\nSubject: c\nContent-Type: multipart/mixed; boundary=x\n\nbody, no parts",
        b"From: a\nTo: b\nSubject: c\nContent-Transfer-Encoding: base64\n\nbody!!",
    ],
)
def test_messages_with_faults_are_read_all_the_same(raw: bytes) -> None:
    assert convert(raw, "a.eml").text


def test_parts_within_parts_without_end_are_no_crash() -> None:
    raw = b"From: a\nTo: b\nSubject: c\n"
    for number in range(3000):
        raw += b"Content-Type: multipart/mixed; boundary=x%d\n\n--x%d\n" % (number, number)
    with pytest.raises(ConversionError, match="the message is damaged"):
        convert(raw + b"\nend", "a.eml")


def test_a_message_within_a_message_becomes_a_file_of_its_own() -> None:
    inner = Letter(
        "Ünder",
        "Ada <a@b.example>",
        "c@d.example",
        "",
        datetime(2026, 1, 2, tzinfo=UTC),
        "Text",
        b"",
    )
    document = convert(msg._as_mail(inner), "a.eml")
    assert (document.title, document.author) == ("Ünder", "Ada <a@b.example>")
    assert document.text.endswith("Text")


def test_packed_rich_text_is_unpacked() -> None:
    # The example of [MS-OXRTFCP] 3.1.1.
    packed = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af320"
        "68656c090020627705b06c647d0a800fa0"
    )
    assert msg.unpack_rtf(packed) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert msg.unpack_rtf(b"") == b""
    bomb = struct.pack("<II4sI", 0, 1 << 31, b"LZFu", 0) + b"\xff" * 64
    assert len(msg.unpack_rtf(bomb)) < 10_000


@pytest.mark.skipif(not DOCS.is_dir(), reason="the shared documents are not here")
def test_an_outlook_message_cut_short_anywhere_is_text_or_a_clear_error() -> None:
    data = (DOCS / "outlook.msg").read_bytes()
    ends = set()
    for size in range(600, len(data), 977):
        try:
            ends.add(convert(data[:size], "a.msg").mime)
        except ConversionError as error:
            ends.add(error.code)
    assert ends <= {msg.MIME, "unreadable", "empty", "unknown_type"}
