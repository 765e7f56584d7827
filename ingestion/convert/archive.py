"""Office files are zip archives of XML: reads their members in memory, bounded and inert.

Nothing is ever unpacked to a folder, so a member's name can lead nowhere. Document types,
entities and network look-ups are off: XML here is data.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, cast

from lxml import etree

from ingestion.convert.document import ConversionError, ConversionLimits

ZIP_MAGIC = b"PK\x03\x04"
_MEMBERS = 20_000


def directory(data: bytes) -> bytes:
    """The directory at the end of a zip file, which names its own members and no others' within.

    Empty where the file was cut short.
    """
    at = data.rfind(b"PK\x05\x06", -66_000)
    if not data.startswith(ZIP_MAGIC) or at < 0 or len(data) < at + 22:
        return b""
    size, offset = struct.unpack_from("<II", data, at + 12)
    if offset == 0xFFFFFFFF or offset + size > at:  # zip64, or something comes before the archive
        return data[max(0, at - 1_000_000) : at]
    return data[offset : offset + size]


class Archive:
    """The members of a zip file by name; what is read adds up to `limits.unpacked_bytes`."""

    def __init__(self, data: bytes, limits: ConversionLimits) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, OSError, struct.error) as error:
            raise damaged() from error
        if len(self._zip.namelist()) > _MEMBERS:
            raise ConversionError(
                "too_large",
                f"the file contains more than {_MEMBERS:,} parts: save it"
                " again from its own program and add that",
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
        self.take(len(content))
        return content

    def stream(self, name: str) -> IO[bytes] | None:
        """A member to be read bit by bit, within the same bound; None where there is none."""
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            return None
        if info.flag_bits & 1:
            raise encrypted()
        try:
            return cast("IO[bytes]", _Bounded(self._zip.open(info), self))
        except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
            raise damaged() from error

    def take(self, size_bytes: int) -> None:
        """Count what was unpacked; over the limit that is an error."""
        self._left -= size_bytes
        if self._left < 0:
            raise ConversionError(
                "too_large",
                f"the file unpacks to more than {self._limits.unpacked_bytes:,} bytes: split it"
                " into smaller files and add those",
            )

    def xml(self, name: str) -> etree._Element | None:
        """A member's XML, None where there is none of that name."""
        content = self.read(name)
        return None if content is None else parse_xml(content)


class _Bounded(io.RawIOBase):
    """A member of an archive that reports what is read of it."""

    def __init__(self, member: IO[bytes], archive: Archive) -> None:
        self._member = member
        self._archive = archive

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes; damage is an error of the document."""
        try:
            data = self._member.read(size if size > 0 else 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise damaged() from error
        self._archive.take(len(data))
        return data


def stream_xml(stream: IO[bytes], *names: str) -> Iterator[etree._Element]:
    """Elements of these local names as they end; a stream's document may declare no types."""
    try:
        events = etree.iterparse(
            stream,
            events=("end",),
            tag=[f"{{*}}{name}" for name in names],
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            remove_comments=True,
        )
        for _, element in events:
            yield element
    except (etree.XMLSyntaxError, ValueError) as error:
        raise damaged() from error


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
            " never expands: save it again from its own program and add that",
        )
    return root


def damaged() -> ConversionError:
    return ConversionError(
        "unreadable",
        "the file is damaged or truncated: open it in its own program, save it again and add that",
    )


def encrypted() -> ConversionError:
    return ConversionError(
        "encrypted", "the file is encrypted: save a copy without a password and add that"
    )
