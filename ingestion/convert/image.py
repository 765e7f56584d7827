"""Pictures (PNG, JPEG, TIFF, WebP, BMP, GIF): their words, where a reader of pictures is at hand."""

from __future__ import annotations

from ingestion.convert.document import Converted, Limits, NoText

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


def convert(data: bytes, limits: Limits) -> Converted:  # noqa: ARG001 (every reader takes the same)
    """Always `NoText`: without a reader of pictures there is nothing to read."""
    raise NoText("the file is a picture: add a document with text, or install the ocr extra")
