"""Index documents as Vespa's JSON: pure, and the only place that spells a document for it.

Names, ids and the spelling of values are `vespa_app.fields`'; texts become terms by `analysis.py`,
the same ones the embedded index stores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from engine.errors import InvalidInput
from engine.index.analysis import analyse
from engine.index.port import (
    FieldUpdate,
    IndexChunk,
    IndexDocument,
    Space,
    StoredFields,
    Vector,
)
from vespa_app.fields import (
    Field,
    decode_value,
    document_key,
    encode_date,
    encode_value,
    requirement,
)
from vespa_app.tenancy import Cells

_TOKEN = re.compile(r"[a-z0-9:_-]{1,100}")


def key_of(tenant_id: str, document: IndexDocument) -> str:
    """The last piece of a document's id."""
    return document_key(tenant_id, document.document_id, document.revision_id, document.part)


def render_document(
    tenant_id: str, space: Space, document: IndexDocument, *, cells: Cells, version: int
) -> dict[str, Any]:
    """All fields of a document. `version` orders writes of the same id.

    Raises `InvalidInput` for a vector of another dimension or with infinities, and for a token
    outside the alphabet.
    """
    vectors = {
        str(place): _checked_vector(document, chunk, space)
        for place, chunk in enumerate(document.chunks)
        if chunk.vector is not None
    }
    return {
        Field.TENANT: encode_value(tenant_id),
        Field.DOC_ID: encode_value(document.document_id),
        Field.REVISION: encode_value(document.revision_id),
        Field.PART: document.part,
        Field.KB_ID: encode_value(document.kb_id),
        Field.ACL: _tokens(document.acl),
        Field.ACL_ALL: _requirement(document.acl_all),
        Field.BRANCHES: _encoded(document.branches),
        Field.TAGS: _encoded(document.tags),
        Field.SOURCE: encode_value(document.source),
        Field.LANGUAGE: encode_value(document.language),
        Field.HIDDEN: document.hidden,
        Field.UPDATED_AT: encode_date(document.updated_at),
        Field.FEATURES: _features(document.features),
        Field.VERSION: version,
        Field.TITLE_TERMS: " ".join(analyse(document.title, document.language)),
        Field.CHUNK_TERMS: [
            " ".join(analyse(f"{chunk.context}\n{chunk.text}", document.language))
            for chunk in document.chunks
        ],
        Field.ORDINALS: [chunk.ordinal for chunk in document.chunks],
        Field.CHUNK_COUNT: len(document.chunks),
        Field.VECTOR_COUNT: len(vectors),
        Field.EMBEDDINGS: {
            "blocks": {place: encode_vector(vector, cells) for place, vector in vectors.items()}
        },
    }


def render_update(update: FieldUpdate) -> dict[str, Any]:
    """The new values of the fields that change."""
    fields: dict[str, Any] = {}
    if update.acl is not None:
        fields[Field.ACL] = _tokens(update.acl)
    if update.acl_all is not None:
        fields[Field.ACL_ALL] = _requirement(update.acl_all)
    if update.branches is not None:
        fields[Field.BRANCHES] = _encoded(update.branches)
    if update.hidden is not None:
        fields[Field.HIDDEN] = update.hidden
    if update.tags is not None:
        fields[Field.TAGS] = _encoded(update.tags)
    if update.features is not None:
        fields[Field.FEATURES] = _features(update.features)
    return fields


STORED_FIELDS = (Field.ACL, Field.TAGS, Field.FEATURES, Field.HIDDEN)  # what `read_fields` reads


def read_fields(stored: Mapping[str, Any]) -> StoredFields:
    """The fields that may change, of a document as Vespa returns it."""
    cells = stored.get(Field.FEATURES) or {}  # {"pagerank": 1.0}: a tensor's short value
    if isinstance(cells.get("cells"), dict | list):
        cells = cells["cells"]
    if isinstance(cells, list):  # its long form, as it is fed
        cells = {cell["address"]["f"]: cell["value"] for cell in cells}
    return StoredFields(
        acl=tuple(sorted(stored.get(Field.ACL) or ())),
        tags=tuple(sorted(decode_value(str(tag)) for tag in stored.get(Field.TAGS) or ())),
        features=tuple(sorted((name, float(value)) for name, value in cells.items())),
        hidden=bool(stored.get(Field.HIDDEN)),
    )


def encode_vector(vector: Vector, cells: Cells) -> str:
    """A vector as hexadecimal, most significant byte first: 8 digits a float, 4 a bfloat16.

    Vespa reads it many times faster than decimal numbers. A bfloat16 is the upper half of a float,
    rounded to the nearest, of two to the even one: [1.0, -2.0] is "3f80c000".
    """
    if cells == "float":
        return vector.astype(">f4").tobytes().hex()
    bits = vector.astype("<f4").view("<u4").astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype(">u2").tobytes().hex()


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970, for versions."""
    return encode_date(moment)


def _encoded(values: Sequence[str]) -> list[str]:
    return [encode_value(value) for value in dict.fromkeys(values)]


def _tokens(tokens: Sequence[str]) -> list[str]:
    for token in tokens:
        if not _TOKEN.fullmatch(token):
            raise InvalidInput(
                f"{token!r} is not an ACL token: those contain only a-z, 0-9, ':', '_' and '-'.",
                field="acl",
            )
    return list(dict.fromkeys(tokens))


def _requirement(tokens: Sequence[str]) -> str:
    try:
        return requirement(tokens)
    except ValueError as error:
        raise InvalidInput(str(error), field="acl_all") from None


def _features(features: Mapping[str, float]) -> dict[str, Any]:
    return {"cells": [{"address": {"f": n}, "value": v} for n, v in sorted(features.items())]}


def _checked_vector(document: IndexDocument, chunk: IndexChunk, space: Space) -> Vector:
    vector = chunk.vector
    if vector is None or vector.shape != (space.dimension,) or not np.isfinite(vector).all():
        raise InvalidInput(
            f"Chunk {chunk.ordinal} of document {document.document_id} has a vector of shape "
            f"{None if vector is None else vector.shape}; space {space.name} takes "
            f"{space.dimension} finite numbers.",
            field="vector",
        )
    return vector
