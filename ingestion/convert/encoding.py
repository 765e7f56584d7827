"""Bytes as text: which encoding they are in, and whether they are text at all.

A byte order mark decides; then UTF-8, which other encodings hardly ever satisfy by chance; then
what the file declares; then a guess over the encodings people still send.
"""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from ingestion.convert.document import ConversionError

_MARKS = (  # longest first: the UTF-32 mark begins with the UTF-16 one
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# The guess is kept to what is met in practice: among a hundred tables some exotic one always fits.
GUESSED = (
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "koi8_r",
    "shift_jis",
    "cp932",
    "euc_jp",
    "iso2022_jp",
    "gb18030",
    "big5",
    "cp949",
    "euc_kr",
)

_SAMPLE = 64 * 1024
_DECLARED = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML_DECLARED = re.compile(rb"^\s*<\?xml[^>]+encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)

# Control characters that text has no use for; their share distinguishes a binary file from a text.
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def decode_text(data: bytes, *, declared: bool = False) -> tuple[str, str]:
    """The text of `data` and the encoding found; with `declared`, a HTML or XML head is heeded.

    Raises `ConversionError` where the bytes are no text.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _decode(data[len(mark) :], name), name
    if wide := _without_mark(data):
        return data.decode(wide, "replace"), wide
    if b"\x00" in data[:_SAMPLE] or looks_binary(data):
        raise not_text()
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    if declared and (match := _DECLARED.search(data[:4096]) or _XML_DECLARED.match(data)):
        try:
            name = codecs.lookup(match[1].decode("ascii")).name
            return data.decode("cp1252" if name == "iso8859-1" else name), name
        except (LookupError, UnicodeDecodeError):
            pass
    return _guess(data)


def looks_binary(data: bytes) -> bool:
    """Whether more than one byte in fifty of the beginning is a control character."""
    sample = data[:4096]
    return len(_BINARY.findall(sample)) * 50 > len(sample)


def not_text() -> ConversionError:
    return ConversionError(
        "unknown_type",
        "the file is neither text nor a document of a known type: save it as PDF, Word (.docx),"
        " HTML, Markdown or plain text and add that",
    )


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        return data.decode(name, "replace")  # the mark settled what it is; the fault is a few bytes


def _without_mark(data: bytes) -> str:
    """UTF-16 without a mark shows by its zeros: every second byte of Latin text is one."""
    sample = data[:2000]
    if len(sample) < 4 or len(data) % 2:
        return ""
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 0.7 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.7 * half and odd < 0.05 * half:
        return "utf-16-be"
    return ""


def _guess(data: bytes) -> tuple[str, str]:
    sample = data[:_SAMPLE]
    matches = from_bytes(sample, cp_isolation=list(GUESSED), enable_fallback=False)
    best = matches.best()
    names = [] if best is None else [best.encoding]
    if best is not None:
        equals = [match.encoding for match in matches if match.chaos <= best.chaos]
        if "euc_jp" in equals and len(_KANA.findall(sample.decode("euc_jp", "replace"))) > 1:
            names.insert(0, "euc_jp")
        if "cp1255" in equals and not best.coherence:
            names.insert(0, "cp1255")  # Hebrew; Russian and Greek would have shown as such
        if best.encoding in {"cp1250", "cp1252", "cp1254"}:
            names.insert(0, _latin(sample))
    for name in [*names, "cp1252"]:
        try:
            return data.decode(name), name
        except UnicodeDecodeError:
            continue
    text = data.decode("utf-8", "replace")
    if text.count("\ufffd") * 100 > len(text):
        raise not_text()
    return text, "utf-8"


_KANA = re.compile("[\u3041-\u30ff]")
# What Central European and Turkish text looks like when it is read as Western European.
_CENTRAL = re.compile(
    "[\u0161\u017e\u0160\u017d\ufffd]|\\w[\u00b9\u00b3\u00bf\u00a3\u00a5\u0153\u0178]\\w"
)
_TURKISH = re.compile("[\u00f0\u00fe\u00d0\u00de]")
_ICELANDIC = re.compile("[\u00e1\u00e6\u00ed\u00f3\u00fa]")


def _latin(sample: bytes) -> str:
    """Which of three tables that hardly differ; Western European unless its reading looks wrong."""
    western = sample.decode("cp1252", "replace")
    if _CENTRAL.search(western):
        return "cp1250"
    if _TURKISH.search(western) and not _ICELANDIC.search(western):
        return "cp1254"
    return "cp1252"
