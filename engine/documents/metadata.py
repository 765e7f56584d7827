"""A document's tags, own fields and ranking features: checked, kept, and changed afterwards.

SQL is what filters and hits read, so a change of fields holds at once; tags and features follow in
the index by a job.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.clock import now
from engine.custom_fields import (
    FIELDS_MAX,
    VALUES_MAX,
    checked_name,
    index_features,
    lookup_of,
    parse_fields,
)
from engine.db.tables import Document
from engine.documents.hiding import queue_fields
from engine.domain import Principal
from engine.errors import InvalidInput

TAG_MAX = 100  # characters
BY_PIPELINE = "set_by_pipeline"  # in a document's details: the names of the fields its pipeline set


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """What is to be set of a document; None leaves tags, a field or feature of None is removed."""

    tags: Sequence[str] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, float | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.tags is not None or bool(self.fields) or bool(self.features)


def parse_change(
    *,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, object] | None = None,
    features: Mapping[str, object] | None = None,
) -> MetadataChange:
    """What a door was given, checked; `InvalidInput` names the field that is wrong."""
    return MetadataChange(
        tags=None if tags is None else parse_tags(tags),
        fields=parse_fields(metadata or {}),
        features=parse_features(features or {}),
    )


def parse_tags(given: Sequence[str]) -> list[str]:
    """Tags as they are kept and compared: small letters, once each, sorted."""
    tags = {" ".join(tag.replace("\0", " ").casefold().split()) for tag in given}
    tags.discard("")
    for tag in tags:
        if len(tag) > TAG_MAX:
            raise InvalidInput(
                f"tags: {tag[:40]!r}… has {len(tag)} characters; at most {TAG_MAX} are allowed.",
                field="tags",
            )
    if len(tags) > VALUES_MAX:
        raise InvalidInput(
            f"tags: {len(tags)} are given; at most {VALUES_MAX} are allowed.", field="tags"
        )
    return sorted(tags)


def parse_features(given: Mapping[str, object]) -> dict[str, float | None]:
    """Ranking features: finite numbers by name."""
    found: dict[str, float | None] = {}
    for said, value in given.items():
        name = checked_name(said, field="features")
        if value is None:
            found[name] = None
            continue
        try:
            number = float(value) if isinstance(value, str | int | float) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise InvalidInput(
                f"features.{name}: {str(value)[:60]!r} is not a number.", field=f"features.{name}"
            )
        found[name] = number
    return found


def apply(document: Document, change: MetadataChange) -> bool:
    """Set what is to be set; whether that changes what the index knows."""
    before = (list(document.tags), index_features(document.fields, document.features))
    if change.tags is not None:
        document.tags = list(change.tags)
    if change.fields:
        _set_fields(document, {**document.fields, **change.fields})
        by_pipeline = set(document.details.get(BY_PIPELINE, ())) - change.fields.keys()
        if BY_PIPELINE in document.details:
            document.details = {**document.details, BY_PIPELINE: sorted(by_pipeline)}
    if change.features:
        merged = {**document.features, **change.features}
        document.features = {name: value for name, value in merged.items() if value is not None}
    return before != (list(document.tags), index_features(document.fields, document.features))


def pipeline_values(
    fields: Mapping[str, Any], details: Mapping[str, Any], found: Mapping[str, Any]
) -> dict[str, Any]:
    """The columns of a document whose pipeline set these fields: what people set stays theirs."""
    earlier = set(details.get(BY_PIPELINE, ()))
    theirs = {name: value for name, value in fields.items() if name not in earlier}
    merged = {**found, **theirs}
    return {"fields": merged, "lookup": lookup_of(merged)}


def _set_fields(document: Document, merged: Mapping[str, Any]) -> None:
    kept = {name: value for name, value in merged.items() if value is not None}
    if len(kept) > FIELDS_MAX:
        raise InvalidInput(
            f"metadata: the document would have {len(kept)} fields; at most {FIELDS_MAX} are"
            " allowed.",
            field="metadata",
        )
    document.fields, document.lookup = kept, lookup_of(kept)


async def change_document(
    session: AsyncSession, principal: Principal, document_id: str, change: MetadataChange
) -> Document:
    """Set tags, fields and features of a document, with an audit row."""
    document = await gate.get_writable_document(session, principal, document_id)
    await set_metadata(session, principal, document, change)
    return document


async def set_metadata(
    session: AsyncSession, principal: Principal, document: Document, change: MetadataChange
) -> None:
    """The same for a document that its caller may write."""
    if not change:
        return
    outdated = apply(document, change)
    document.updated_at = now()
    await session.flush()
    if outdated:
        await queue_fields(session, document.tenant_id, document.id)
    detail: dict[str, Any] = {"fields": sorted(change.fields), "features": dict(change.features)}
    if change.tags is not None:
        detail["tags"] = list(change.tags)
    await gate.audit(session, principal, "document.update", document.id, detail)
