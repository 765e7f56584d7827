"""Mailboxes are their messages; a message that is ciphertext says so."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from ingestion.convert.document import ConversionError, ConversionLimits
from ingestion.convert.formats import convert
from tests.fakes import outlook

LINE = b"From ann@b.example Mon Jan  2 15:04:05 2006\n"


def message(number: int, body: str = "", *, file: bytes = b"") -> bytes:
    made = EmailMessage()
    made["From"] = f"Ann <ann{number}@b.example>"
    made["To"] = "Bob <bob@b.example>"
    made["Subject"] = f"Letter {number}"
    made["Date"] = f"Mon, {number} Jan 2006 15:04:05 +0000"
    made.set_content(body or f"Body of letter {number}.\n")
    if file:
        made.add_attachment(file, maintype="text", subtype="plain", filename=f"{number}.txt")
    return made.as_bytes()


def mbox(*messages: bytes) -> bytes:
    return b"".join(LINE + one + b"\n\n" for one in messages)


def test_a_mailbox_is_its_messages_each_under_its_subject() -> None:
    document = convert(mbox(*(message(n) for n in (1, 2, 3))), "archive.mbox")
    headings = [block.heading_path for block in document.blocks if block.kind == "heading"]
    assert headings == [("Letter 1",), ("Letter 2",), ("Letter 3",)]
    assert all(f"Body of letter {n}." in document.text for n in (1, 2, 3))
    assert "Mon Jan  2" not in document.text
    assert document.metadata == {"messages": 3}
    assert [moment and moment.day for moment in (document.created_at, document.updated_at)] == [
        1,
        3,
    ]


def test_lines_that_only_look_like_a_beginning_are_text() -> None:
    body = "From me at 10:20 in 2006 it begins.\n\n>From the start of 12:00 on 2007 too.\nSubject: no\n"
    document = convert(mbox(message(1, body), message(2)), "a.mbox")
    assert document.metadata == {"messages": 2}
    assert "\nFrom the start" in document.text


def test_line_ends_of_windows_part_messages_as_well() -> None:
    data = mbox(message(1), message(2)).replace(b"\n", b"\r\n")
    assert convert(data, "a.mbox").metadata["messages"] == 2


def test_what_is_attached_in_a_mailbox_comes_apart_up_to_the_limit() -> None:
    data = mbox(*(message(n, file=b"kept") for n in (1, 2, 3)))
    document = convert(data, "a.mbox", ConversionLimits(attachments=2))
    assert [attachment.name for attachment in document.attachments] == ["1.txt", "2.txt"]
    assert document.notice == "1 attachments were left out: too many, or too large."


def test_one_message_that_can_not_be_read_costs_no_other() -> None:
    document = convert(mbox(message(1), encrypted_pgp(), message(3)), "a.mbox")
    assert "Body of letter 1." in document.text
    assert "Body of letter 3." in document.text
    assert document.notice == "1 of 3 messages could not be read."
    assert "encrypted" in document.text


HEAD = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: Secret\r\nDate: Mon, 2 Jan 2006 15:04:05 +0000\r\n"
HEAD += b"MIME-Version: 1.0\r\n"


def encrypted_pgp() -> bytes:
    return HEAD + (
        b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=x\r\n\r\n--x\r\n'
        b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--x\r\nContent-Type:"
        b" application/octet-stream\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nabc\r\n--x--\r\n"
    )


def smime(kind: str) -> bytes:
    return (
        HEAD
        + (
            f'Content-Type: application/pkcs7-mime; smime-type={kind}; name="smime.p7m"\r\n'
            'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="smime.p7m"\r\n'
            "\r\nMIAGCSqGSIb3DQEHA6CAMIACAQA=\r\n"
        ).encode()
    )


ENVELOPE = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80" + b"\1\2\3" * 50


@pytest.mark.parametrize(
    ("data", "name", "how"),
    [
        (encrypted_pgp(), "a.eml", "PGP"),
        (
            HEAD + b"\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQEM\r\n-----END PGP MESSAGE-----\r\n",
            "a.eml",
            "PGP",
        ),
        (smime("enveloped-data"), "a.eml", "S/MIME"),
        (smime("authEnveloped-data"), "a.eml", "S/MIME"),
        (ENVELOPE, "smime.p7m", "S/MIME"),
        (b"-----BEGIN PGP MESSAGE-----\n\nhQEM\n-----END PGP MESSAGE-----\n", "a.asc", "PGP"),
        (b"age-encryption.org/v1\n-> X25519 abc\n", "a.txt.age", "age"),
        (b"$ANSIBLE_VAULT;1.1;AES256\n3132\n", "secrets.yml", "Ansible Vault"),
        (outlook.container(outlook.message("A", "", kind="IPM.Note.SMIME")), "a.msg", "S/MIME"),
        (outlook.container(outlook.message("A", "-----BEGIN PGP MESSAGE-----")), "a.msg", "PGP"),
    ],
)
def test_what_is_encrypted_says_so_and_how(data: bytes, name: str, how: str) -> None:
    with pytest.raises(ConversionError, match=f"is encrypted .{how}.:") as caught:
        convert(data, name)
    assert caught.value.code == "encrypted"


def test_a_message_packed_into_its_signature_is_not_called_encrypted() -> None:
    data = smime("signed-data").replace(b"DQEHA6", b"DQEHAq")
    with pytest.raises(ConversionError, match="packed into its signature"):
        convert(data, "a.eml")


def test_a_message_that_is_only_signed_is_read() -> None:
    kind = "IPM.Note.SMIME.MultipartSigned"
    data = outlook.container(outlook.message("A", "Clear text.", kind=kind))
    assert "Clear text." in convert(data, "a.msg").text
