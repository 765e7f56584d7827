"""Types that are recognised and not read, each with the sentence that says what to do instead."""

from __future__ import annotations

import io
import struct
import zipfile

from ingestion.convert.archive import ZIP_MAGIC, damaged, directory, encrypted
from ingestion.convert.document import ConversionError
from ingestion.convert.encoding import looks_binary

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # the container of Office before 2007, and of Outlook
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_LEGACY = {  # a stream of the container, the program, and what to save it as
    "WordDocument": ("Word before 2007 (.doc)", "Word document (.docx)"),
    "Workbook": ("Excel before 2007 (.xls)", "Excel workbook (.xlsx)"),
    "Book": ("Excel before 2007 (.xls)", "Excel workbook (.xlsx)"),
    "PowerPoint Document": ("PowerPoint before 2007 (.ppt)", "PowerPoint presentation (.pptx)"),
    "HwpSummaryInformation": ("Hangul (.hwp)", "PDF or Word document (.docx)"),
    "VisioDocument": ("Visio (.vsd)", "PDF"),
    "MatOST": ("Microsoft Works (.wps)", "Word document (.docx)"),
    "Contents": ("Publisher (.pub)", "PDF"),
}
_PACKED = (  # what a zip archive's directory names
    (b"xl/workbook.bin", "a binary Excel workbook (.xlsb)", "save it as .xlsx"),
    (b"visio/document.xml", "a Visio drawing", "export it as PDF"),
    (b".fdseq", "an XPS document", "print or save it as PDF"),
    (b"FixedDocSeq", "an XPS document", "print or save it as PDF"),
    (b"Documents/1/FixedDoc", "an XPS document", "print or save it as PDF"),
    (b"Contents/content.hpf", "a Hangul document (.hwpx)", "save it as PDF or .docx"),
    (b"Contents/section0.xml", "a Hangul document (.hwpx)", "save it as PDF or .docx"),
    (b"AndroidManifest.xml", "an Android program", "add its documents instead"),
    (b"META-INF/MANIFEST.MF", "a Java archive", "add its sources or documents instead"),
)
_IWORK = (b"Index/Document.iwa", b"Index.zip", b"index.apxl", b"buildVersionHistory.plist")
_APPLE = {
    ".pages": "a Pages document",
    ".numbers": "a Numbers table",
    ".key": "a Keynote presentation",
}
_SIGNATURES = (  # first bytes, what it is, what to do
    (b"\x1f\x8b", "compressed (gzip)", "unpack it and add the files within"),
    (b"BZh", "compressed (bzip2)", "unpack it and add the files within"),
    (b"\xfd7zXZ\x00", "compressed (xz)", "unpack it and add the files within"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)", "unpack it and add the files within"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it and add the files within"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it and add the files within"),
    (b"MZ", "a Windows program", "add its documents instead"),
    (b"\x7fELF", "a program", "add its documents instead"),
    (b"\xca\xfe\xba\xbe", "a program", "add its documents instead"),
    (b"\xcf\xfa\xed\xfe", "a program", "add its documents instead"),
    (b"SQLite format 3\x00", "a database", "export its tables as .csv"),
    (b"PAR1", "a Parquet table", "export it as .csv"),
    (b"OggS", "a recording", "add its transcript"),
    (b"ID3", "a recording", "add its transcript"),
    (b"fLaC", "a recording", "add its transcript"),
    (b"\x1aE\xdf\xa3", "a film", "add its transcript"),
    (b"wOFF", "a font", "add documents set in it instead"),
    (b"wOF2", "a font", "add documents set in it instead"),
    (b"\x00\x01\x00\x00\x00", "a font", "add documents set in it instead"),
    (b"OTTO", "a font", "add documents set in it instead"),
    (b"%!PS", "PostScript", "convert it to PDF"),
    (b"AT&TFORM", "a DjVu book", "convert it to PDF"),
    (b"ITSF", "a compiled help file (.chm)", "save its pages as HTML"),
    (b"!BDN", "an Outlook store (.pst)", "export its messages as .eml or .msg"),
    (b"HWP Document File", "a Hangul document (.hwp)", "save it as PDF or .docx"),
    (b"\xffWPC", "a WordPerfect document", "save it as .docx or PDF"),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", "a OneNote section", "export it as PDF or .docx"),
    (b"\x00\x01\x00\x00Standard", "an Access database", "export its tables as .csv"),
    (b"\x06\x06\xed\xf5", "an InDesign file", "export it as PDF"),
    (b"AC10", "an AutoCAD drawing", "export it as PDF"),
    (b"\x76\x2f\x31\x01", "a picture", "add a document with text"),
    (b"8BPS", "a Photoshop file", "export it as PDF or PNG"),
)
_CIPHERED = (  # first bytes, and by what
    (b"-----BEGIN PGP MESSAGE-----", "PGP"),
    (b"-----BEGIN PKCS7-----", "S/MIME"),
    (b"-----BEGIN CMS-----", "S/MIME"),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", "age"),
    (b"age-encryption.org/v1", "age"),
    (b"$ANSIBLE_VAULT;", "Ansible Vault"),
    (b"Salted__", "OpenSSL"),
)
_ENVELOPED = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"  # envelopedData, RFC 5652
_WITH_SIGNATURE = frozenset(  # endings of formats that no plain text is meant by
    (
        *(".pdf", ".docx", ".docm", ".pptx", ".xlsx", ".xlsm", ".odt", ".ods", ".odp", ".epub"),
        *(".msg", ".doc", ".xls", ".ppt", ".rtf", ".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff"),
    )
)


def refuse(data: bytes, suffix: str) -> None:
    """Raise `ConversionError` where `data` is of a type that is known and not read."""
    _refuse_ciphered(data, suffix)
    if data.startswith(_OLE):
        raise _ole(data)
    if data[60:68] == b"BOOKMOBI":
        raise _unknown("a Kindle book (.mobi)", "save it as .epub")
    if data.startswith((ZIP_MAGIC, b"PK\x05\x06")):
        raise _packed(data, suffix)
    for mark, what, action in _SIGNATURES:
        if data.startswith(mark) and (len(mark) > 3 or b"\x00" in data[:256]):
            raise _unknown(what, action)
    if data[4:8] == b"ftyp":
        picture = data[8:12] in {b"heic", b"heix", b"mif1", b"avif"}
        what = "a picture (HEIF)" if picture else "a film or a recording"
        raise _unknown(what, "save it as PNG" if picture else "add its transcript")
    if data[:4] == b"RIFF":
        raise _unknown("a recording or a film", "add its transcript")
    if suffix in _WITH_SIGNATURE and looks_binary(data):
        raise damaged()


def _refuse_ciphered(data: bytes, suffix: str) -> None:
    head = data[:200].lstrip()
    how = next((name for mark, name in _CIPHERED if head.startswith(mark)), "")
    if head.startswith(b"0") and _ENVELOPED in data[:40]:
        how = "S/MIME"
    if suffix in {".gpg", ".pgp"} and looks_binary(data):
        how = "PGP"
    if how:
        raise ConversionError(
            "encrypted",
            f"the file is encrypted ({how}): decrypt it with the key and add what was in it",
        )


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


def _packed(data: bytes, suffix: str) -> ConversionError:
    names = directory(data)
    if suffix in _APPLE or any(mark in names for mark in _IWORK):
        what = _APPLE.get(suffix, "a Pages, Numbers or Keynote file")
        return _unknown(what, "export it as PDF or Office file")
    for mark, what, action in _PACKED:
        if mark in names:
            return _unknown(what, action)
    if b"[Content_Types].xml" in data or b"PK\x05\x06" not in data[-66_000:]:
        return damaged()
    try:
        zipfile.ZipFile(io.BytesIO(data)).close()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error):
        return damaged()
    return _unknown("a zip archive", "unpack it and add the files within")


def _unknown(what: str, action: str) -> ConversionError:
    return ConversionError(
        "unknown_type", f"the file is {what}, which Scrubjay doesn't read: {action}"
    )
