"""What all Office Open XML files share: relations between parts, and what the file says of itself."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree

from ingestion.convert.archive import Archive

R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_DCTERMS = "{http://purl.org/dc/terms/}"


@dataclass(frozen=True, slots=True)
class Core:
    """The core properties."""

    title: str = ""
    author: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    language: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """Where a part points: `kind` is the last word of the relation's type."""

    kind: str
    target: str  # of an internal one, the name of a part
    external: bool


def read_core(archive: Archive) -> Core:
    """What `docProps/core.xml` says."""
    root = archive.xml("docProps/core.xml")
    if root is None:
        return Core()
    return Core(
        title=" ".join((root.findtext(f"{_DC}title") or "").split())[:500],
        author=" ".join((root.findtext(f"{_DC}creator") or "").split())[:200],
        created_at=parse_moment(root.findtext(f"{_DCTERMS}created")),
        updated_at=parse_moment(root.findtext(f"{_DCTERMS}modified")),
        language=(root.findtext(f"{_DC}language") or "").lower(),
    )


def read_relations(archive: Archive, part: str) -> dict[str, Relation]:
    """The relations of a part by their ids; of the whole package where `part` is empty."""
    folder, name = posixpath.split(part)
    root = archive.xml(posixpath.join(folder, "_rels", f"{name}.rels"))
    if root is None:
        return {}
    relations = {}
    for item in root:
        target = item.get("Target") or ""
        external = item.get("TargetMode") == "External"
        if not external:
            target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
        kind = (item.get("Type") or "").rpartition("/")[2]
        relations[item.get("Id") or ""] = Relation(kind, target, external)
    return relations


def safe_link(target: str) -> str:
    """A link's target, fit for Markdown, where following it is harmless; else nothing."""
    target = "".join(target.split())
    if not target.startswith(("https://", "http://", "mailto:")):
        return ""
    return target.replace("(", "%28").replace(")", "%29")


def local_name(element: etree._Element) -> str:
    """An element's name without its namespace, which strict and transitional files spell apart."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: etree._Element, name: str) -> str:
    """An attribute by its name, whatever its namespace."""
    value: str | None = element.get(name)
    if value is None:
        ends = "}" + name
        value = next((v for k, v in element.attrib.items() if k.endswith(ends)), "")
    return value or ""


def parse_moment(value: str | None) -> datetime | None:
    """A date as office files write it, in UTC; None where it is not one."""
    try:
        moment = datetime.fromisoformat((value or "").strip())
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
