"""The formats Scrubjay reads, and `convert()`, which distinguishes them by content.

A format is one module with `convert(data, limits)` and one line in `FORMATS`. What a file is
called only decides among the text formats, which have no signature of their own.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ingestion.convert import (
    delimited,
    docx,
    epub,
    html,
    image,
    mail,
    mailbox,
    markdown,
    msg,
    notebook,
    odf,
    pdf,
    pptx,
    rst,
    rtf,
    source,
    structured,
    text,
    wordml,
    xlsx,
    xml_data,
)
from ingestion.convert.document import ConversionError, ConversionLimits, Converted
from ingestion.convert.ocr import Recogniser
from ingestion.convert.refusals import refuse


@dataclass(frozen=True, slots=True)
class Format:
    """A type of file: `is_it` looks at the bytes, None where only the name decides.

    `by_name`: the name's ending decides as well, where no other format's signature was found.
    """

    name: str
    suffixes: tuple[str, ...]
    mime: str
    is_it: Callable[[bytes], bool] | None
    convert: Callable[[bytes, ConversionLimits], Converted]
    samples: tuple[bytes, ...] = ()  # small files that make the reader load all it needs
    by_name: bool = False
    recognise: Callable[[bytes, ConversionLimits, Recogniser | None], Converted] | None = (
        None  # of pictures
    )


_PAGE = b"<!doctype html><title>A</title><h1>A</h1><p>B <a href='http://c/'>c</a><table></table>"
_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>"
    b"endobj 3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F"
    b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj 4 0 obj<</Length 32>>stream\n"
    b"BT /F 9 Tf 9 9 Td (Warm up) Tj ET\nendstream endobj trailer<</Root 1 0 R>>"
)
_MAIL = (
    b"From: =?iso-8859-1?Q?J=F6rg?= <a@b.example>\r\nTo: c@d.example\r\nSubject: A\r\nDate: Mon, 2 Jan"
    b" 2006 15:04:05 +0000\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type:"
    b" text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n8NLJ18XU\r\n--x\r\n"
    b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=41</p>\r\n--x\r\n"
    b"Content-Disposition: attachment; filename*=utf-8''a.txt\r\n\r\nA\r\n--x--\r\n"
)
_MAILBOX = b"From a@b.example Mon Jan  2 15:04:05 2006\n" + _MAIL + b"\n\n"
_RTF = b"{\\rtf1\\ansi{\\fonttbl{\\f0\\fcharset128 A;}}\\f0 A\\par\\'82\\'a0\\u8217?}"

# One line a format. Those with a signature are asked in this order; the last one takes what text
# is left over.
FORMATS: tuple[Format, ...] = (
    Format("PDF", (".pdf",), pdf.MIME, pdf.is_pdf, pdf.convert, (_PDF,), recognise=pdf.convert),
    Format(
        "Word", (".docx", ".docm", ".dotx"), docx.MIME, docx.is_docx, docx.convert, (docx.sample(),)
    ),
    Format(
        "PowerPoint",
        (".pptx", ".pptm", ".ppsx", ".potx"),
        pptx.MIME,
        pptx.is_pptx,
        pptx.convert,
        (pptx.sample(),),
    ),
    Format(
        "Excel",
        (".xlsx", ".xlsm", ".xltx"),
        xlsx.MIME,
        xlsx.is_xlsx,
        xlsx.convert,
        (xlsx.sample(),),
    ),
    Format(
        "OpenDocument",
        (".odt", ".ods", ".odp", ".odg", ".ott", ".fodt", ".fods", ".fodp"),
        odf.MIME,
        odf.is_odf,
        odf.convert,
        (odf.sample(),),
    ),
    Format("EPUB", (".epub",), epub.MIME, epub.is_epub, epub.convert, (epub.sample(),)),
    Format("Outlook", (".msg",), msg.MIME, msg.is_msg, msg.convert, (b"\xd0\xcf\x11\xe0",)),
    Format("Rich Text", (".rtf",), rtf.MIME, rtf.is_rtf, rtf.convert, (_RTF,)),
    Format(
        "Word 2003",
        (".xml", ".doc"),
        wordml.MIME,
        wordml.is_wordml,
        wordml.convert,
        (wordml.sample(),),
    ),
    Format(
        "picture",
        (".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp", ".bmp"),
        image.MIME,
        image.is_picture,
        image.convert,
        (b"GIF89a",),
        recognise=image.convert,
    ),
    Format(
        "HTML",
        (".html", ".htm", ".xhtml"),
        html.MIME,
        html.is_html,
        html.convert,
        (_PAGE,),
        by_name=True,
    ),
    Format(
        "SVG",
        (".svg",),
        xml_data.SVG_MIME,
        xml_data.is_svg,
        xml_data.convert_svg,
        (b"<svg xmlns='http://www.w3.org/2000/svg'><text>A</text></svg>",),
        by_name=True,
    ),
    Format(
        "XML",
        (".xml", ".rss", ".atom", ".xsd", ".xsl", ".xslt", ".kml", ".gpx", ".plist", ".opml"),
        xml_data.MIME,
        xml_data.is_xml,
        xml_data.convert,
        (b"<?xml version='1.0'?><a><b>A</b><c>B</c></a>",),
        by_name=True,
    ),
    Format(
        "notebook",
        (".ipynb",),
        notebook.MIME,
        notebook.is_notebook,
        notebook.convert,
        (b'{"cells": [{"cell_type": "markdown", "source": "# A"}], "nbformat": 4}',),
        by_name=True,
    ),
    Format(
        "JSON Lines",
        (".jsonl", ".ndjson"),
        structured.LINES_MIME,
        structured.is_json_lines,
        structured.convert_lines,
        (b'{"a": 1}\n{"a": 2}\n',),
        by_name=True,
    ),
    Format(
        "JSON",
        (".json", ".geojson", ".har", ".webmanifest", ".jsonld"),
        structured.MIME,
        structured.is_json,
        structured.convert,
        (b'{"a": {"b": [1.5, true]}}',),
        by_name=True,
    ),
    Format(
        "mailbox",
        (".mbox", ".mbx"),
        mailbox.MIME,
        mailbox.is_mbox,
        mailbox.convert,
        (_MAILBOX,),
    ),
    Format(
        "e-mail",
        (".eml", ".mht", ".mhtml"),
        mail.MIME,
        mail.is_mail,
        mail.convert,
        (_MAIL,),
        by_name=True,
    ),
    Format(
        "delimited text",
        (".csv", ".tsv", ".tab", ".psv", ".xls"),  # programs call tab-separated text .xls
        delimited.MIME,
        None,
        delimited.convert,
        (b"a;b\n1;2\n",),
        by_name=True,
    ),
    Format(
        "Markdown",
        (".md", ".markdown", ".mdown", ".mdx", ".qmd", ".rmd"),
        markdown.MIME,
        None,
        markdown.convert,
        (b"# A",),
        by_name=True,
    ),
    Format(
        "reStructuredText",
        (".rst", ".rest"),
        rst.MIME,
        None,
        rst.convert,
        (b"A\n=\n\nB",),
        by_name=True,
    ),
    Format(
        "source code",
        source.SUFFIXES,
        source.MIME,
        source.has_shebang,
        source.convert,
        (b"def a():\n    pass\n",),
        by_name=True,
    ),
    Format(
        "plain text",
        (".txt", ".text", ".log", ".adoc", ".org", ".srt", ".vtt", ".ics", ".vcf", ""),
        text.MIME,
        None,
        text.convert,
        (b"A", "ähnlich wäre es möglich".encode("cp1252")),
        by_name=True,
    ),
)

SUFFIXES = frozenset(suffix for known in FORMATS for suffix in known.suffixes if suffix)


def convert(
    data: bytes,
    filename: str,
    limits: ConversionLimits | None = None,
    recogniser: Recogniser | None = None,
) -> Converted:
    """The document in `data`; raises `ConversionError` with one sentence that says what to do.

    Words that are pictures are read where there is a `recogniser`.

    A page of nothing but front matter is no error: it has only hidden blocks, and so no chunks.
    """
    limits = limits or ConversionLimits()
    suffix = PurePosixPath(filename.replace("\\", "/")).suffix.lower()
    if not data:
        raise ConversionError("empty", "the file is empty: add one with content")
    if len(data) > limits.size_bytes:
        raise ConversionError(
            "too_large",
            f"the file has {len(data):,} bytes and the limit is {limits.size_bytes:,}: split it, or"
            " raise the limit in the settings",
        )
    found = detect(data, suffix)
    if recogniser is not None and found.recognise is not None:
        document = found.recognise(data, limits, recogniser)
    elif language := source.language_of(suffix) if found.convert is source.convert else "":
        document = source.convert_as(data, limits, language)
    else:
        document = found.convert(data, limits)
    if not document.blocks and not document.attachments:
        raise ConversionError("empty", "the file contains no text: add one with content")
    if suffix not in found.suffixes:
        facts: Mapping[str, str | int | float | bool | list[str]] = {
            **document.metadata,
            "read_as": found.name,
        }
        document = replace(document, metadata=facts)
    return document


def detect(data: bytes, suffix: str) -> Format:
    """The format of `data`; a signature in the bytes goes before the name's ending.

    Raises `ConversionError` on a type that is known and not read, and on what is no text.
    """
    seen = _as_utf8(data)
    named = next((known for known in FORMATS if known.by_name and suffix in known.suffixes), None)
    for known in FORMATS:
        if known.is_it is None or not known.is_it(seen):
            continue
        if known.convert is mail.convert and named is not None and named is not FORMATS[-1]:
            continue  # front matter, a log or a script may begin with lines that look like headers
        return known
    refuse(data, suffix)
    return named or FORMATS[-1]


def _as_utf8(data: bytes) -> bytes:
    """UTF-16 text in UTF-8, so that signatures can be seen; all else as it is."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace").encode("utf-8", "replace")
    return data
