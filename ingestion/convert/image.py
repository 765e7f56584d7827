"""Pictures (PNG, JPEG, TIFF, WebP, BMP, GIF): their words, where a reader of pictures is at hand."""

from __future__ import annotations

from ingestion.convert import ocr
from ingestion.convert.document import (
    ConversionError,
    ConversionLimits,
    Converted,
    NoText,
    TextWriter,
)
from ingestion.convert.ocr import Recogniser
from ingestion.convert.pdf import Layout, PdfPage, lines_of

MIME = "image/*"

_PICTURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
    b"\x00\x00\x01\x00",
    b"\xff\x0a",
    b"\x00\x00\x00\x0cjP  ",
)


def is_picture(data: bytes) -> bool:
    """Whether the first bytes are those of a picture."""
    if data.startswith(_PICTURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return True
    return data.startswith(b"BM") and data[6:10] == b"\x00\x00\x00\x00"


def convert(
    data: bytes, limits: ConversionLimits, recogniser: Recogniser | None = None
) -> Converted:
    """The words of a picture; `NoText` where there is no reader of pictures, or nothing to read."""
    if recogniser is None:
        raise NoText("the file is a picture: add a document with text, or install the ocr extra")
    pages = []
    left_out = 0
    for number, picture in enumerate(ocr.decode(data), start=1):
        if recogniser.is_over:
            left_out += 1
            continue
        pages.append(PdfPage(number, lines_of(recogniser.read(picture), 1.0, picture.shape[0])))
    if not any(page.lines for page in pages):
        raise ConversionError(
            "no_text", "the picture contains no readable text: add a document with text"
        )
    layout = Layout(pages, {})
    writer = TextWriter(limits)
    for page in pages:
        layout.write(page, writer)
    text, blocks = writer.finish()
    return Converted(
        text=text,
        blocks=blocks,
        mime=MIME,
        page_count=len(pages),
        metadata={"pages_recognised": len(pages)},
        notice=f"{left_out} pages were left out; split the file to get all of it."
        if left_out
        else "",
    )
