"""Types that are recognised and not read, each with the sentence that says what to do instead."""

from __future__ import annotations

import re

from ingestion.convert.archive import ZIP_MAGIC, damaged, encrypted
from ingestion.convert.document import ConversionError
from ingestion.convert.encoding import not_text

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # the container of Office before 2007, and of Outlook
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_LEGACY = {
    "WordDocument": ("Word before 2007 (.doc)", "Word document (.docx)"),
    "Workbook": (
        "Excel before 2007 (.xls)",
        "Excel workbook (.xlsx), then export its sheets as .csv",
    ),
    "PowerPoint Document": ("PowerPoint before 2007 (.ppt)", "PDF"),
    "__properties_version1.0": ("Outlook (.msg)", "text or HTML file"),
}
_PACKED = (  # what a zip archive's directory names
    (b"ppt/presentation.xml", "a PowerPoint presentation", "export it as PDF"),
    (b"xl/workbook.", "an Excel workbook", "save each sheet as .csv"),
    (b"opendocument.text", "an OpenDocument text", "save it as .docx or PDF"),
    (b"opendocument.", "an OpenDocument file", "export it as PDF"),
    (b"application/epub+zip", "an EPUB book", "convert it to HTML or PDF"),
)
_PICTURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF8",
    b"II*\x00",
    b"MM\x00*",
    b"BM",
    b"\x00\x00\x01\x00",
)
_MAIL = re.compile(
    rb"(?:(?:Received|Return-Path|Delivered-To|MIME-Version|Message-ID|From|Date|Subject|To)"
    rb":[^\n]*\n(?:[ \t][^\n]*\n)*){3}",
    re.IGNORECASE,
)
_SUFFIXES = {
    ".ipynb": ("a Jupyter notebook", "export it as Markdown or HTML"),
    ".json": ("JSON data", "save what should be found as Markdown or text"),
    ".xml": ("XML data", "save what should be found as HTML, Markdown or text"),
}


def refuse(data: bytes, suffix: str) -> None:
    """Raise `ConversionError` where `data` is of a type that is known and not read."""
    if data.startswith(_OLE):
        raise _ole(data)
    if data.startswith(ZIP_MAGIC):
        raise _packed(data)
    if data.startswith(_PICTURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        raise ConversionError(
            "no_text",
            "the file is a picture: add a document with text, or install the ocr extra",
        )
    if data.startswith(b"{\\rtf"):
        raise _unknown("Rich Text (.rtf)", "save it as .docx or PDF and add that")
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith((b"<?xml", b"<!DOCTYPE", b"<svg")):
        kind = "an SVG drawing" if b"<svg" in data[:8192] else _SUFFIXES[".xml"][0]
        raise _unknown(kind, "save it as HTML, Markdown or text and add that")
    if suffix in _SUFFIXES:
        raise _unknown(_SUFFIXES[suffix][0], f"{_SUFFIXES[suffix][1]} and add that")
    if suffix == ".eml" or _MAIL.match(data[:8192]):
        raise _unknown("an e-mail (.eml)", "save its text as .txt or .html and add that")
    if suffix in {".pdf", ".docx"}:
        raise damaged()
    if suffix in {".gz", ".zip", ".7z", ".exe", ".bin"}:
        raise not_text()


def _ole(data: bytes) -> ConversionError:
    if _ENCRYPTED_PACKAGE in data:
        return encrypted()
    for stream, (name, target) in _LEGACY.items():
        if stream.encode("utf-16-le") in data:
            return ConversionError(
                "unknown_type",
                f"the file is from {name}, which Scrubjay doesn't read: open it, save it as"
                f" {target} and add that",
            )
    return _unknown("an old Office file", "save it as .docx or PDF and add that")


def _packed(data: bytes) -> ConversionError:
    for mark, name, action in _PACKED:
        if mark in data:
            return _unknown(name, f"{action} and add that")
    if b"[Content_Types].xml" in data or b"PK\x05\x06" not in data[-66_000:]:
        return damaged()
    return _unknown("a zip archive", "unpack it and add the files within")


def _unknown(what: str, action: str) -> ConversionError:
    return ConversionError(
        "unknown_type", f"the file is {what}, which Scrubjay doesn't read yet: {action}"
    )
