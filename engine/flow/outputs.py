"""What a component may hand on: JSON, plus references to blobs for anything big.

Outputs are checkpointed and read again by another process, so each one is brought into exactly
the form it would have after a round trip (`normalise_output`): a resumed run sees what the first
one saw. Bytes and long texts go to the blob store and travel as a `BlobRef`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidInput, TooLarge

MAX_OUTPUT_BYTES = 1_000_000  # of one node, as JSON; more belongs in a blob

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A blob by its SHA-256, written `{"$blob": "<64 hexadecimal digits>"}` in JSON."""

    hash: str

    def __post_init__(self) -> None:
        if not _HASH.fullmatch(self.hash):
            raise InvalidInput(f"{self.hash!r} is not the SHA-256 of a blob", field="$blob")

    def to_json(self) -> dict[str, str]:
        """The form it travels in."""
        return {"$blob": self.hash}

    @classmethod
    def parse(cls, value: object) -> BlobRef:
        """The reference that `value` is; `InvalidInput` where it is none."""
        match value:
            case BlobRef():
                return value
            case {"$blob": str(digest)} if len(value) == 1:  # type: ignore[arg-type]
                return cls(digest)
        raise InvalidInput('expected a blob reference {"$blob": hash}', field="$blob")


def iter_blobs(value: object) -> Iterator[BlobRef]:
    """Every blob that a normalised output refers to, in order, repeats included."""
    if isinstance(value, Mapping):
        if len(value) == 1 and isinstance(value.get("$blob"), str):
            yield BlobRef.parse(value)
            return
        for item in value.values():
            yield from iter_blobs(item)
    elif isinstance(value, list):
        for item in value:
            yield from iter_blobs(item)


def normalise_output(
    output: Mapping[str, object], *, limit_bytes: int = MAX_OUTPUT_BYTES
) -> tuple[dict[str, Any], int]:
    """`output` as JSON would give it back, detached from the component, and its size in bytes.

    Raises `InvalidInput` on what JSON can't hold (NaN included), `TooLarge` over `limit_bytes`.
    """
    try:
        text = json.dumps(output, allow_nan=False, separators=(",", ":"), default=_encode)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the output is not JSON: {error}") from error
    if len(text) > limit_bytes:
        raise TooLarge(
            f"the output is {len(text):,} bytes of JSON, more than {limit_bytes:,}: "
            'put what is big into a blob and hand on {"$blob": hash}'
        )
    result: dict[str, Any] = json.loads(text)
    return result, len(text)


def _encode(value: object) -> object:
    if isinstance(value, BlobRef):
        return value.to_json()
    raise TypeError(f"{type(value).__name__} can't be written as JSON")
