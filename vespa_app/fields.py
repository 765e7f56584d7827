"""The names that the application package shares with the code that feeds and queries it.

Fields, rank profiles, their inputs and what they return, document ids, and the spelling of values.
`app/` holds the same names in Vespa's own languages; `tests/vespa_app/test_fields.py` compares
them. Nothing here talks to a Vespa.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote, unquote

NAMESPACE = "scrubjay"  # of document ids; it isolates nothing, the schema does
CLUSTER = "kb"  # the content cluster's id: another one would be a new, empty cluster
NEAREST = "dense"  # the label of the nearestNeighbor item that `semantic` reads
SUMMARY = "hit"  # what a search returns of a hit
SUMMARY_KEYS = "keys"  # ids and counts, from memory, for listing and counting

UNDATED = -(2**62)  # `updated_at` of a document without a date; no real date is as early
EARLIEST = -(2**61)  # where a date range without a start starts, so that UNDATED stays out

_TOKEN = re.compile(r"[a-z0-9:_-]{1,100}")
_EMPTY = "%"  # what an empty value is written as: `in` can't be asked for an empty one


class Field(StrEnum):
    """The fields of a document, one document a part of a revision. See app/schemas/kb.sd.jinja."""

    TENANT = "tenant"
    DOC_ID = "doc_id"
    REVISION = "revision"
    PART = "part"
    KB_ID = "kb_id"
    ACL = "acl"
    ACL_ALL = "acl_all"
    BRANCHES = "branches"
    TAGS = "tags"
    SOURCE = "source"
    LANGUAGE = "language"
    HIDDEN = "hidden"
    UPDATED_AT = "updated_at"
    FEATURES = "features"
    VERSION = "version"
    TITLE_TERMS = "title_terms"
    CHUNK_TERMS = "chunk_terms"
    ORDINALS = "ordinals"
    CHUNK_COUNT = "chunk_count"
    VECTOR_COUNT = "vector_count"
    EMBEDDINGS = "embeddings"


class Profile(StrEnum):
    """The rank profiles a search may name; an unknown one would silently be nativeRank."""

    HYBRID_LINEAR = "hybrid_linear"
    HYBRID_RRF = "hybrid_rrf"
    KEYWORD_ONLY = "keyword_only"
    SEMANTIC_ONLY = "semantic_only"


class Input(StrEnum):
    """What a search hands to its rank profile, as `input.query(<name>)`."""

    VECTOR = "q"  # tensor<float>(x[dimension]), of length 1
    ALPHA = "alpha"
    TITLE_WEIGHT = "title_weight"
    FEATURE_WEIGHTS = "feature_weights"  # tensor<double>(f{})
    HALF_LIFE_S = "half_life_s"  # 0: no decay
    DECAY_FLOOR = "decay_floor"
    NOW_S = "now_s"  # the caller's present; 0: the node's own clock
    PASSAGES = "passages"


class MatchFeature(StrEnum):
    """What `fields.matchfeatures` of every hit holds."""

    BM25_TITLE = "bm25_title"
    BM25_CHUNK = "bm25_chunk"
    LEXICAL = "lexical"
    SEMANTIC = "semantic"  # the best chunk's cosine; NaN (null in JSON) without vectors
    FRESHNESS = "freshness"
    FEATURE_SCORE = "feature_score"


class SummaryFeature(StrEnum):
    """What `fields.summaryfeatures` of a returned hit holds, by the chunk's place in its part."""

    PASSAGES = "passages"
    PASSAGE_BM25 = "passage_bm25"  # a passage without a word of the query is absent
    PASSAGE_COSINE = "passage_cosine"  # a passage without a vector is absent


class Summary(StrEnum):
    """What the summary `hit` adds to fields of the document."""

    PASSAGE_TERMS = "passage_terms"  # the analysed text of each passage, in the part's order
    PASSAGE_ORDINALS = "passage_ordinals"  # their ordinals, in the same order


def encode_value(value: str) -> str:
    """A free text (tag, source, id, language) spelt so that `in (@list)` takes it as one value.

    Vespa splits such a list at commas and strips quotes, and has no escape for either. Letters,
    digits and `_.:~-` stay as they are, the rest becomes %XX of its UTF-8, nothing becomes `%`.
    """
    return quote(value, safe=":", errors="surrogatepass") or _EMPTY


def decode_value(value: str) -> str:
    """What `encode_value` was given."""
    return "" if value == _EMPTY else unquote(value, errors="surrogatepass")


def encode_date(value: datetime | None) -> int:
    """A date as `updated_at` holds it: whole microseconds since 1970, or `UNDATED`."""
    if value is None:
        return UNDATED
    since = value - datetime.fromtimestamp(0, value.tzinfo)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def requirement(acl_all: Collection[str]) -> str:
    """The predicate that `acl_all` holds: every one of these tokens must be held.

    `acl_all in ['g:a'] and acl_all in ['w:b']`, or `true` where nothing is asked for. A query names
    what it holds as the attribute `acl_all`. Raises ValueError for an invalid token.
    """
    terms = [f"{Field.ACL_ALL} in ['{_checked(token)}']" for token in sorted(set(acl_all))]
    return " and ".join(terms) or "true"


def held(tokens: Collection[str]) -> str:
    """The YQL condition on `acl_all`: a holder of these tokens meets its requirement.

    The one value that goes into the text of a query: `predicate` ignores parameters in silence.
    So it raises ValueError for an invalid token; a valid one can't end a literal.
    """
    values = ", ".join(f'"{token}"' for token in sorted(map(_checked, tokens)))
    return f'predicate({Field.ACL_ALL}, {{"{Field.ACL_ALL}": [{values}]}}, {{}})'


def document_key(tenant_id: str, document_id: str, revision_id: str, part: int) -> str:
    """The last piece of a document's id; no two parts share one, in a pooled schema either."""
    pieces = [encode_value(piece) for piece in (tenant_id, document_id, revision_id)]
    return ".".join([*(piece.replace(".", "%2E") for piece in pieces), str(part)])


def _checked(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            f"{token!r} is not an ACL token: those contain only a-z, 0-9, ':', '_' and '-'"
        )
    return token
