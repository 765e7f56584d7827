"""Office files are zip archives of XML: reads their members in memory, bounded and inert.

Nothing is ever unpacked to a folder, so a member's name can lead nowhere. Document types,
entities and network look-ups are off: XML here is data.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from lxml import etree

from ingestion.convert.document import ConversionError, Limits

ZIP_MAGIC = b"PK\x03\x04"
_MEMBERS = 20_000


class Archive:
    """The members of a zip file by name; what is read adds up to `limits.unpacked_bytes`."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, OSError, struct.error) as error:
            raise damaged() from error
        if len(self._zip.namelist()) > _MEMBERS:
            raise ConversionError(
                "too_large",
                f"the file holds more than {_MEMBERS:,} parts, which no document needs: save it"
                " anew from its own program and add that",
            )
        self._left = limits.unpacked_bytes
        self._limits = limits

    def names(self) -> list[str]:
        """What the archive says it holds."""
        return self._zip.namelist()

    def read(self, name: str) -> bytes | None:
        """A member's bytes, None where there is none of that name."""
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            return None
        if info.flag_bits & 1:
            raise encrypted()
        try:
            with self._zip.open(info) as member:
                content = member.read(self._left + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
            raise damaged() from error
        self._left -= len(content)
        if self._left < 0:
            raise ConversionError(
                "too_large",
                f"the file unpacks to more than {self._limits.unpacked_bytes:,} bytes: split it"
                " into smaller files and add those",
            )
        return content

    def xml(self, name: str) -> etree._Element | None:
        """A member's XML, None where there is none of that name."""
        content = self.read(name)
        return None if content is None else parse_xml(content)


def parse_xml(content: bytes) -> etree._Element:
    """The root of an XML document that may declare no types and reach for nothing."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise damaged() from error
    if root.getroottree().docinfo.doctype:
        raise ConversionError(
            "unreadable",
            "the file declares XML entities, which office programs never write and Scrubjay"
            " never expands: save it anew from its own program and add that",
        )
    return root


def damaged() -> ConversionError:
    return ConversionError(
        "unreadable",
        "the file is damaged or cut short: open it in its own program, save it anew and add that",
    )


def encrypted() -> ConversionError:
    return ConversionError(
        "encrypted", "the file is encrypted: save a copy without a password and add that"
    )
