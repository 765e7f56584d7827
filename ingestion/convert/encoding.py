"""Bytes as text: which encoding they are in, and whether they are text at all.

A byte order mark decides; then escapes that shift between alphabets; then UTF-8, which other
encodings hardly ever satisfy by chance; then what the file declares; then a guess over the
encodings people still send (`guessing.py`). What no guess makes words of is refused.
"""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from ingestion.convert.document import ConversionError
from ingestion.convert.guessing import (
    COMMON,
    SAMPLE,
    guess_shifting,
    guess_table,
    guess_wide,
    is_ebcdic,
    is_spoiled_utf8,
)

_MARKS = (  # longest first: the UTF-32 mark begins with the UTF-16 one
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Of two bytes a letter, told apart by a library.
WIDE = ("shift_jis", "cp932", "euc_jp", "gb18030", "big5", "cp949", "euc_kr")

# What browsers read under a name: the wider table that programs write by it (WHATWG, Encoding).
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
}

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
    if shifting := guess_shifting(data):
        return data.decode("iso2022_jp_ext" if shifting == "iso2022_jp" else shifting), shifting
    if is_ebcdic(data):
        raise ConversionError(
            "unknown_type",
            "the file is in EBCDIC, the encoding of mainframes, which Scrubjay doesn't read:"
            " convert it to UTF-8 (`iconv -f IBM-037 -t UTF-8`) and add that",
        )
    if b"\x00" in data[:SAMPLE] or looks_binary(data):
        raise not_text()
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    if declared and (match := _DECLARED.search(data[:4096]) or _XML_DECLARED.match(data)):
        name = codec_named(match[1].decode("ascii"))
        try:
            return data.decode(_MEANT.get(name, name)), name
        except (LookupError, UnicodeDecodeError):
            pass
    return _guess(data)


def doubt(data: bytes, encoding: str) -> str:
    """A sentence for the person who added a text whose encoding too few letters tell, else nothing."""
    if encoding.startswith("utf"):
        return ""
    guess = guess_table(data)
    if encoding != guess.encoding or guess.is_certain:
        return ""
    return (
        f"The encoding was guessed as {encoding} from few letters: if they read wrongly,"
        " save the file as UTF-8 and add it again."
    )


def codec_named(charset: str) -> str:
    """Python's name of an encoding that a page or a message declares; empty where it has none."""
    charset = charset.strip().lower().removeprefix("x-").removesuffix("-i")
    for name in (charset, charset.replace("windows-", "cp"), charset.replace("-", "_")):
        try:
            return codecs.lookup(name).name
        except LookupError:
            continue
    return ""


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
    if is_spoiled_utf8(data):
        return data.decode("utf-8", "replace"), "utf-8"
    table = guess_table(data)
    wide, share = guess_wide(data)
    if share >= COMMON and not table.is_sure:
        return data.decode(wide, "replace"), wide
    if table.is_plausible or _hardly_any(data):
        return data.decode(table.encoding, "replace"), table.encoding
    if wide := wide if share >= COMMON / 2 else _guess_wide(data):
        return data.decode(wide, "replace"), wide
    raise ConversionError(
        "unknown_encoding",
        "the file is text in an encoding that can't be told: open it in the program it is from,"
        " save it as UTF-8 and add that",
    )


_FEW = 6  # high bytes, or one in a thousand: signs in a log are no reason to refuse it


def _hardly_any(data: bytes) -> bool:
    high = sum(byte > 0x7F for byte in data[:SAMPLE])
    return high <= _FEW or high * 1000 < len(data[:SAMPLE])


def _guess_wide(data: bytes) -> str:
    """An encoding of two bytes a letter, where one reads the whole beginning."""
    sample = data[:SAMPLE]
    matches = from_bytes(sample, cp_isolation=list(WIDE), enable_fallback=False)
    best = matches.best()
    if best is None:
        return ""
    text = data.decode(best.encoding, "replace")
    return best.encoding if text.count("\ufffd") * 500 <= len(text) else ""
